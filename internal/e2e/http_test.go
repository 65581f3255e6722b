package e2e

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// onBoth runs a test on the server and on the function.
func onBoth(t *testing.T, test func(t *testing.T, w *world, deploy func(*testing.T, ...string) *deployment)) {
	t.Helper()
	t.Run("serve", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		test(t, w, w.serve)
	})
	t.Run("function", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		test(t, w, w.function)
	})
}

// A page is what a caller gets.
type page struct {
	Status  int
	Headers http.Header
	Text    string
	Body    map[string]any // of JSON
}

// get calls a path as it stands; headers are name, value and so on.
func (d *deployment) get(t *testing.T, method, path string, headers ...string) page {
	t.Helper()
	return d.send(t, method, path, "", headers...)
}

// send brings a body along.
func (d *deployment) send(t *testing.T, method, path, body string, headers ...string) page {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, d.address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request) // redirects are answers
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	d.world.heard(string(text))
	p := page{Status: response.StatusCode, Headers: response.Header, Text: string(text)}
	if len(text) > 0 && strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(text, &p.Body); err != nil {
			t.Errorf("%s %s: %v: %.200q", method, path, err, text)
		}
	}
	return p
}

var key = []string{"Authorization", "Bearer " + cronSecret}

// What a scheduler, a person and a monitor get, from the server as from the function.
func TestAnswers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world, deploy func(*testing.T, ...string) *deployment) {
		d := deploy(t)
		id := uuid.NewString()
		for _, c := range []struct {
			name, method, path string
			headers            []string
			status             int
			members            map[string]any // that the answer must have
		}{
			{"health", "GET", "/healthz", nil, 200, map[string]any{"status": "ok", "database": "ok"}},
			{"without the secret", "GET", "/api/sync?module=leads", nil, 403, map[string]any{"error": "the secret is missing or wrong"}},
			{"with another secret", "GET", "/api/sync?module=leads", []string{"Authorization", "Bearer x"}, 403, nil},
			{"no module", "GET", "/api/sync", key, 400, map[string]any{"modules": []any{"leads", "deals"}}},
			{"not a module", "GET", "/api/sync?module=Leads%3B", key, 400, map[string]any{"error": `there is no module "Leads;"`}},
			{"a sync", "GET", "/api/sync?module=leads&run_id=" + id, key, 200, map[string]any{"status": "ok", "inserted": 200.0, "run_id": id, "reason": "complete", "more": false}},
			{"the same call again", "GET", "/api/sync?module=leads&run_id=" + id, key, 200, map[string]any{"status": "ok", "inserted": 200.0, "run_id": id}},
			{"its id for another module", "GET", "/api/sync?module=deals&run_id=" + id, key, 409, map[string]any{"status": "failed"}},
			{"the next sync", "GET", "/api/sync?module=leads", key, 200, map[string]any{"status": "ok", "inserted": 0.0}},
			{"a verification", "GET", "/api/sync?module=leads&mode=verify", key, 200, map[string]any{"mode": "verify"}},
			{"another method", "POST", "/api/sync?module=leads", key, 405, map[string]any{"error": "only GET is allowed here"}},
			{"another path", "GET", "/api/index", key, 404, map[string]any{"error": "there is nothing here"}},
			{"the root's neighbour", "GET", "/go.mod", nil, 404, nil},
		} {
			got := d.get(t, c.method, c.path, c.headers...)
			if got.Status != c.status {
				t.Errorf("%s: %d %s", c.name, got.Status, got.Text)
			}
			for name, want := range c.members {
				if diff := cmp.Diff(want, got.Body[name]); diff != "" {
					t.Errorf("%s: %s (-want +got):\n%s%s", c.name, name, diff, got.Text)
				}
			}
		}
		w.equal(t)

		w.FailTokens(`{"error":"invalid_code"}`)
		w.ExpireTokens()
		got := d.get(t, "GET", "/api/sync?module=leads", key...)
		if hint, _ := got.Body["hint"].(string); got.Status != 500 || got.Body["status"] != "failed" || !strings.Contains(hint, "data centre") {
			t.Errorf("a failed run: %d %s", got.Status, got.Text)
		}
		w.exec(t, "UPDATE sync_locks SET claimed_by = $1, claimed_at = clock_timestamp()", uuid.NewString())
		got = d.get(t, "GET", "/api/sync?module=leads", key...)
		if got.Status != 200 || got.Body["status"] != "skipped" || got.Body["skipped"] != "lock-held" {
			t.Errorf("a skipped run: %d %s", got.Status, got.Text)
		}
	})
}

var changing = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|"(duration_ms|lag_seconds)":\d+|\d{4}-\d\d-\d\dT[0-9:.]+Z`)

// The function's answers are those of the server, header by header; pages of the dashboard
// are compared by status and headers.
func TestFunctionAnswersAsTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tick(t)
	deployments := []*deployment{w.serve(t, "DASHBOARD_PASSWORD=a-password-of-many-letters"), w.function(t, "DASHBOARD_PASSWORD=a-password-of-many-letters")}
	for _, c := range []struct {
		method, path string
		headers      []string
	}{
		{"GET", "/healthz", nil},
		{"GET", "/healthz?deep=true", nil},
		{"GET", "/api/sync?module=leads", nil},
		{"GET", "/api/sync?module=leads", key},
		{"GET", "/api/sync?module=leads&module=leads", key},
		{"GET", "/api/sync?module=leads&mode=verify&deep=true", key},
		{"GET", "/api/sync?module=%zz", key},
		{"HEAD", "/healthz", nil},
		{"POST", "/api/sync?module=leads", key},
		{"GET", "/", nil},
		{"GET", "/dashboard", nil},
		{"GET", "/dashboard/", nil},
		{"GET", "/dashboard/login", nil},
		{"POST", "/dashboard/login", nil},
		{"GET", "/dashboard/runs", []string{"Accept", "text/html"}},
		{"GET", "/nowhere", nil},
	} {
		var pages [2]page
		for i, d := range deployments {
			p := d.get(t, c.method, c.path, c.headers...)
			for _, name := range []string{"Date", "Content-Length", "Connection"} { // the transport's
				p.Headers.Del(name)
			}
			p.Text = changing.ReplaceAllString(p.Text, "…")
			if p.Body == nil {
				p.Text = ""
				p.Headers = http.Header{"Names": slices.Sorted(maps.Keys(p.Headers)), "Content-Type": p.Headers["Content-Type"]}
			}
			p.Body = nil
			pages[i] = p
		}
		if diff := cmp.Diff(pages[0], pages[1]); diff != "" {
			t.Errorf("%s %s (-serve +function):\n%s", c.method, c.path, diff)
		}
	}
}

// A function is frozen with its answer: by then it must have left the database.
func TestFunctionLeavesTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.function(t)
	w.InsertMany("Deals", 3000, func(int) zohosim.Record { return zohosim.Record{"Deal_Name": "Zylker"} })
	for _, c := range []struct {
		path   string
		before func()
	}{
		{path: "/healthz"},
		{path: "/api/sync?module=leads"},
		{path: "/api/sync?module=deals"},
		{path: "/api/sync?module=leads&mode=verify"},
		{path: "/api/sync?module=leads", before: func() { w.FailTokens(`{"error":"invalid_code"}`); w.ExpireTokens() }},
		{path: "/api/sync?module=leads", before: func() { // a statement that is cut off by the end of the run's time
			w.FailTokens()
			w.exec(t, `CREATE FUNCTION drag() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(30); RETURN NULL; END$$`)
			w.exec(t, "CREATE TRIGGER drag BEFORE UPDATE ON sync_watermarks FOR EACH STATEMENT EXECUTE FUNCTION drag()")
			w.work()
			d.platform.settings = append(d.platform.settings, "SYNC_DEADLINE=2s")
			d.platform.restart()
		}},
	} {
		if c.before != nil {
			c.before()
		}
		got := d.get(t, "GET", c.path, key...)
		open := func() int {
			if pgtest.Pooled() { // which keeps its own
				return w.link.clients()
			}
			return value[int](t, w, "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'zohomirror' AND datname = current_database()")
		}
		left := open()
		for range 50 { // a backend takes a moment to end; a frozen client does not make it
			if left == 0 {
				break
			}
			time.Sleep(20 * time.Millisecond)
			left = open()
		}
		if left != 0 {
			t.Errorf("%s (%d %s): %d connections are left", c.path, got.Status, got.Body["status"], left)
		}
	}
}

// A deployment without its settings says which are missing, to programs and to people.
func TestFunctionWithoutSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.function(t, "DATABASE_URL=", "ZOHO_REFRESH_TOKEN=", "SYNC_OVERLAP=1s")
	want := []any{"DATABASE_URL: is missing", "ZOHO_REFRESH_TOKEN: is missing", "SYNC_OVERLAP: must be at least 2s"}
	for _, path := range []string{"/healthz", "/api/sync?module=leads", "/dashboard"} {
		got := d.get(t, "GET", path, key...)
		if diff := cmp.Diff(want, got.Body["problems"]); got.Status != 500 || diff != "" {
			t.Errorf("%s: %d %s (-want +got):\n%s", path, got.Status, got.Text, diff)
		}
	}
	got := d.get(t, "GET", "/", "Accept", "text/html,application/xhtml+xml")
	for _, says := range want {
		if got.Status != 500 || !strings.Contains(got.Text, "<li>"+says.(string)) || got.Headers.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%d %v %s", got.Status, got.Headers, got.Text)
		}
	}
	// Whom no scheduler could call says so too, where all else is right; not a preview, which
	// does not sync, nor one that lets in an account.
	const closed = "CRON_SECRET: is missing"
	for _, c := range []struct {
		settings []string
		status   int
		problems []any
	}{
		{[]string{"CRON_SECRET="}, 500, []any{closed}},
		{[]string{"CRON_SECRET= "}, 500, []any{closed}},
		{[]string{"CRON_SECRET=", "DATABASE_URL="}, 500, []any{"DATABASE_URL: is missing", closed}},
		{[]string{"CRON_SECRET=", "OIDC_AUDIENCE=https://m.example", "OIDC_SERVICE_ACCOUNT=s@p.iam.gserviceaccount.com"}, 200, nil},
		{[]string{"CRON_SECRET=", "VERCEL_ENV=preview"}, 200, nil},
	} {
		got := w.function(t, c.settings...).get(t, "GET", "/healthz")
		problems, _ := got.Body["problems"].([]any)
		if diff := cmp.Diff(c.problems, problems); got.Status != c.status || diff != "" {
			t.Errorf("%v: %d %s (-want +got):\n%s", c.settings, got.Status, got.Text, diff)
		}
	}
}

// A run ends well within what vercel.json lets a call take: five seconds are for the start
// and the answer.
func TestDeadlineIsBelowThePlatformsLimit(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../vercel.json")
	if err != nil {
		t.Fatal(err)
	}
	var shipped struct {
		Functions map[string]struct{ MaxDuration int }
	}
	if err := json.Unmarshal(text, &shipped); err != nil {
		t.Fatal(err)
	}
	settings, err := config.Load(t.Context(), envconfig.MapLookuper(map[string]string{
		"DATABASE_URL": "postgres://u:p@127.0.0.1/db", "ZOHO_DC": "eu", "ZOHO_CLIENT_ID": "i", "ZOHO_CLIENT_SECRET": "s", "ZOHO_REFRESH_TOKEN": "r",
	}))
	if err != nil {
		t.Fatal(err)
	}
	limit := time.Duration(shipped.Functions["api/index.go"].MaxDuration) * time.Second
	if settings.Mirror.Deadline+5*time.Second > limit || limit != platformLimit {
		t.Errorf("a run may take %s, a call %s", settings.Mirror.Deadline, limit)
	}
}
