package dashboard_test

import (
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/dashboard"
	"zohomirror/internal/mirror"
	"zohomirror/internal/mirror/mirrortest"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/web"
	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

const (
	password = "correct-horse-battery"
	secret   = "a-secret-of-many-letters"
	deadline = 20 * time.Second
)

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	os.Exit(pgtest.Main(m, mirrortest.Migrate))
}

// site is the whole service: router, dashboard, mirror, simulated Zoho, real database.
type site struct {
	url      string
	database string
	zoho     *zohosim.Zoho
	mirror   *mirror.Mirror
	options  dashboard.Options
}

func newSite(t testing.TB, database string, change ...func(*dashboard.Options)) *site {
	t.Helper()
	s := &site{database: database, zoho: zohosim.New(zohosim.Config{})}
	crm := httptest.NewServer(s.zoho)
	t.Cleanup(crm.Close)
	source := zoho.Config{AccountsURL: crm.URL, APIURL: crm.URL, ClientID: zohosim.DefaultClientID,
		ClientSecret: zohosim.DefaultClientSecret, RefreshToken: zohosim.DefaultRefreshToken}
	m, err := mirror.Open(t.Context(), mirror.Config{Deadline: deadline, Overlap: time.Minute, StaleAfter: time.Hour, PageSize: 2000, MassDelete: 5}, source, database, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	s.mirror = m
	s.options = dashboard.Options{Password: password, Mirror: m, Deadline: deadline, StaleAfter: time.Hour, Log: quiet}
	for _, c := range change {
		c(&s.options)
	}
	s.url = s.serve(t)
	return s
}

// serve begins one more process of the service and returns its address.
func (s *site) serve(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(s.handler(t))
	t.Cleanup(server.Close)
	return server.URL
}

func (s *site) handler(t testing.TB) http.Handler {
	t.Helper()
	board, err := dashboard.New(s.options)
	if err != nil {
		t.Fatal(err)
	}
	return web.New(s.mirror, secret, quiet, web.WithDashboard(board))
}

// execute runs statements in the site's database, one after the other.
func (s *site) execute(t testing.TB, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%.200s: %v", sql, err)
		}
	}
}

// value is what one column of one row says.
func value[T any](t testing.TB, s *site, sql string, args ...any) (v T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
	return v
}

// run runs a module as a scheduler would.
func (s *site) run(t testing.TB, module string) mirror.Result {
	t.Helper()
	m, ok := crm.Find(module)
	if !ok {
		t.Fatalf("no module %s", module)
	}
	result, _ := s.mirror.Run(t.Context(), mirror.Request{Module: m})
	return result
}

// A visitor is a browser without script.
type visitor struct {
	t    testing.TB
	base string
	http *http.Client
}

func (s *site) visitor(t testing.TB) *visitor {
	jar, _ := cookiejar.New(nil)
	return &visitor{t, s.url, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// operator has logged in.
func (s *site) operator(t testing.TB) *visitor {
	t.Helper()
	v := s.visitor(t)
	if a := v.post("/dashboard/login", url.Values{"password": {password}}); a.status != http.StatusSeeOther {
		t.Fatalf("log-in: %d\n%s", a.status, a.text())
	}
	return v
}

// An answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (v *visitor) get(path string, headers ...string) answer {
	v.t.Helper()
	return v.do(http.MethodGet, path, "", headers...)
}

// post sends a form as a browser does from a page of the same server.
func (v *visitor) post(path string, form url.Values, headers ...string) answer {
	v.t.Helper()
	return v.do(http.MethodPost, path, form.Encode(), append([]string{"Sec-Fetch-Site", "same-origin"}, headers...)...)
}

func (v *visitor) do(method, path, body string, headers ...string) answer {
	v.t.Helper()
	request, err := http.NewRequestWithContext(v.t.Context(), method, v.base+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := v.http.Do(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// token is that of the forms of a page.
func (a answer) token(t testing.TB) string {
	t.Helper()
	found := regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(a.body)
	if found == nil {
		t.Fatalf("the page has no token:\n%s", a.body)
	}
	return found[1]
}

var (
	drawings = regexp.MustCompile(`(?s)<svg.*?</svg>|<script.*?</script>|<head>.*?</head>`)
	tags     = regexp.MustCompile(`<[^>]*>`)
	breaks   = regexp.MustCompile(`</(p|h1|h2|h3|li|tr|dd|dt|small|td|th|button|pre|title|desc|form)>|<br>`)
	blanks   = regexp.MustCompile(`[ \t]*\n\s*`)
)

// text is what a page's main part says, a line a block, drawings aside.
func (a answer) text() string {
	body := a.body
	if i := strings.Index(body, "<main"); i >= 0 {
		body = body[i:]
	}
	return plain(drawings.ReplaceAllString(body, ""))
}

func plain(markup string) string {
	markup = strings.ReplaceAll(markup, "\n", " ")
	markup = breaks.ReplaceAllString(markup, "\n")
	markup = html.UnescapeString(tags.ReplaceAllString(markup, ""))
	markup = regexp.MustCompile(` +`).ReplaceAllString(markup, " ")
	return strings.TrimSpace(blanks.ReplaceAllString(markup, "\n"))
}

// part is what the text says of one element, found by its id.
func (a answer) part(t testing.TB, id string) string {
	t.Helper()
	i := strings.Index(a.body, `id="`+id+`"`)
	if i < 0 {
		t.Fatalf("the page has no %s:\n%s", id, a.body)
	}
	i = strings.LastIndex(a.body[:i], "<")
	name := regexp.MustCompile(`^<(\w+)`).FindStringSubmatch(a.body[i:])[1]
	end := strings.Index(a.body[i:], "</"+name+">")
	return plain(drawings.ReplaceAllString(a.body[i:i+end], ""))
}

// aRun inserts a run that ended, so long ago, and returns its id.
func (s *site) aRun(t testing.TB, module, status, ago string, columns ...string) string {
	t.Helper()
	id := uuid.NewString()
	names, values := "", ""
	for i := 0; i < len(columns); i += 2 {
		names, values = names+", "+columns[i], values+", "+columns[i+1]
	}
	s.execute(t,
		`INSERT INTO sync_locks (module) VALUES ('`+module+`') ON CONFLICT DO NOTHING`,
		`INSERT INTO sync_runs (id, module, status, started_at, ended_at`+names+`)
		 VALUES ('`+id+`', '`+module+`', '`+status+`', now() - interval '`+ago+`', now() - interval '`+ago+`' + interval '1.2 seconds'`+values+`)`)
	return id
}

// aDay fills the last day as a scheduler would have: deals fail since an hour, leads were
// skipped twice and not called for two hours.
func (s *site) aDay(t testing.TB) {
	t.Helper()
	s.execute(t,
		`INSERT INTO sync_locks (module) VALUES ('leads'), ('deals') ON CONFLICT DO NOTHING`,
		`INSERT INTO sync_runs (id, module, status, started_at, ended_at, records_processed, inserted, updated, unchanged, deleted, pages, calls, credits, caught_up, reason, trigger, watermark, error, hint, cause)
		 SELECT gen_random_uuid(), m, CASE WHEN bad THEN 'failed' WHEN skip THEN 'skipped' ELSE 'ok' END, at,
		        at + CASE WHEN skip THEN interval '0' ELSE make_interval(secs => 0.9 + 0.8 * sin(g / 7.0) ^ 2 + random() * 0.7 + CASE WHEN g % 24 = 5 THEN 6 ELSE 0 END) END,
		        40 + g % 13, g % 5, 3 + g % 17, 20, CASE WHEN g % 11 = 0 THEN 1 ELSE 0 END, 3, 6, 4, NOT bad AND NOT skip,
		        CASE WHEN bad THEN NULL WHEN skip THEN 'lock-held' ELSE 'complete' END, 'vercel-cron', at,
		        CASE WHEN bad THEN 'refresh the access token: zoho answered 400: invalid_code' END,
		        CASE WHEN bad THEN 'check ZOHO_DC; if it is right, consent anew (README, "Connect a real Zoho org")' END,
		        CASE WHEN bad THEN 'zoho-credentials' END
		 FROM unnest(ARRAY['leads', 'deals']) m, generate_series(0, 95) g,
		      LATERAL (SELECT now() - g * interval '15 minutes' - interval '4 minutes' AS at, m = 'deals' AND (g < 4 OR g = 40) AS bad, m = 'leads' AND g IN (12, 13) AS skip) x
		 WHERE NOT (m = 'leads' AND g BETWEEN 60 AND 67)`,
		`INSERT INTO sync_quarantine (module, record_id, modified_time, reason, payload, run_id, field, value, rule)
		 SELECT 'leads', (4876876000000333000 + g)::text, now(), 'Lead_Status is "Podcast", which the table does not know', '{"Last_Name":"Payload-Person"}', r.id, 'Lead_Status', 'Podcast', 'leads_lead_status_check'
		 FROM generate_series(1, 3) g, (SELECT id FROM sync_runs WHERE module = 'leads' AND status = 'ok' ORDER BY started_at DESC LIMIT 1) r`,
		`INSERT INTO sync_verifications (id, module, mode, as_of, verdict) VALUES (gen_random_uuid(), 'leads', 'verify', date_trunc('hour', now() - interval '6 hours'), 'equal')`,
		`INSERT INTO sync_drift (module, field, kind, is_now, run_id)
		 SELECT 'leads', 'Shoe_Size', 'field_added', 'integer', r.id FROM (SELECT id FROM sync_runs WHERE module = 'leads' AND status = 'ok' ORDER BY started_at DESC LIMIT 1) r`,
		`INSERT INTO sync_watermarks (module, stream, watermark) VALUES ('leads', 'modified', now() - interval '4 minutes'), ('leads', 'converted', now() - interval '5 minutes')`,
		`INSERT INTO leads (id, created_time, modified_time, custom_fields, synced_at, run_id) SELECT g::text, now(), now(), '{}', now(), gen_random_uuid() FROM generate_series(1, 12431) g`)
	s.execute(t, `ANALYZE`) // by another session, which has told the statistics of its inserts
}
