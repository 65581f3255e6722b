package dashboard_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"zohomirror/internal/dashboard"
	"zohomirror/internal/mirror"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// What passes from one test run to the next is not compared.
var passing = strings.NewReplacer("\u00a0", " ")

func steady(text string) string {
	for _, c := range []struct{ pattern, by string }{ // dates before the times in them
		{`\d{1,2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec), \d\d:\d\d`, "AT"},
		{`\d{1,2} [A-Z][a-z]+ 20\d\d, \d\d:\d\d:\d\d`, "AT"},
		{`\d\d:\d\d`, "AT"},
		{`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`, "ID"},
		{`127\.0\.0\.1:\d+`, "HOST"},
	} {
		text = regexp.MustCompile(c.pattern).ReplaceAllString(text, c.by)
	}
	return passing.Replace(text)
}

func lines(text ...string) string { return strings.Join(text, "\n") }

// The whole first page in words, of a day on which one module fails and the other has
// records that do not fit.
func TestFront(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	for module, failed := range map[string]bool{"leads": false, "deals": true} {
		s.aRun(t, module, "ok", "50 minutes", "caught_up", "true", "inserted", "1200", "credits", "7")
		if failed {
			s.aRun(t, module, "failed", "20 minutes", "error", "E'refresh the token: <b>no</b>\nsecond line'", "cause", "'zoho-credentials'")
			s.aRun(t, module, "failed", "5 minutes", "error", "'gone wrong'", "cause", "'zoho-credentials'", "trigger", "'pg_net'")
		} else {
			s.aRun(t, module, "skipped", "19 minutes")
			s.aRun(t, module, "ok", "4 minutes", "caught_up", "true", "updated", "3", "deleted", "1", "quarantined", "2", "more", "true", "credits", "4", "trigger", "'vercel-cron'")
		}
	}
	s.execute(t,
		`INSERT INTO sync_quarantine (module, record_id, reason, payload, run_id) SELECT 'leads', g::text, 'does not fit', '{}', gen_random_uuid() FROM generate_series(1, 2) g`,
		`INSERT INTO sync_verifications (id, module, mode, as_of, verdict) VALUES (gen_random_uuid(), 'leads', 'verify', now() - interval '3 hours', 'equal')`)
	a := s.operator(t).get("/dashboard")
	want := lines(
		"Deals has failed twice since AT UTC: Zoho refuses the client or its refresh token.",
		"Leads", "Current 4 minutes behind Zoho · about 0 rows",
		"Runs in 24 hours", "2 2 ok 0 failed 1 skipped", "24 h agonow",
		"Mean duration", "1.2 s p95 1.2 s", "24 h agodeadline 20 snow",
		"Open quarantine", "2 records", "API credits, 24 h", "11", "Last verification", "equal up to AT UTC",
		"Deals", "Failing 50 minutes behind Zoho · about 0 rows · failing since AT UTC",
		"Runs in 24 hours", "3 1 ok 2 failed", "24 h agonow",
		"Mean duration", "1.2 s p95 1.2 s", "24 h agodeadline 20 snow",
		"Open quarantine", "none", "API credits, 24 h", "7", "Last verification", "never",
		"Last runs",
		"ModuleAll", "Leads", "Deals", "StatusAll", "OK", "Failed", "Skipped", "Running",
		"When", "Module", "Outcome", "Duration", "Called by",
		"AT UTC, run of Leads 4 minutes ago", "Leads", "OK 3 changed, 1 deleted, 2 quarantined; more to come", "1.2 s", "Vercel cron",
		"AT UTC, run of Deals 5 minutes ago", "Deals", "Failed gone wrong", "1.2 s", "pg_net",
		"AT UTC, run of Leads 19 minutes ago", "Leads", "Skipped another run was at work", "another caller",
		"AT UTC, run of Deals 20 minutes ago", "Deals", "Failed refresh the token: <b>no</b> …", "1.2 s", "another caller",
	)
	got := steady(a.text())
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")[:strings.Count(want, "\n")+1]); diff != "" || a.status != http.StatusOK {
		t.Errorf("%d (-want +got):\n%s", a.status, diff)
	}
	if got := plain(regexp.MustCompile(`(?s)<svg class="strip".*?</desc>`).FindAllString(a.body, 2)[1]); !regexp.MustCompile(`^Deals, the last 24 hours\nOf 96 quarters of an hour, \d with good runs only, \d with a failure \(.* UTC\) and 9\d without a run\.$`).MatchString(got) {
		t.Errorf("the strip in words: %q", got)
	}
	if strings.Contains(a.body, "style=") || strings.Contains(a.body, "<script>") || strings.Contains(a.body, " onclick") {
		t.Error("the page has inline style or script, which its policy refuses")
	}
}

// The sentence names what is worst, for each way a module can stand.
func TestHeadline(t *testing.T) {
	t.Parallel()
	const current, other = "caught_up", "true"
	for name, c := range map[string]struct {
		set  func(s *site, t *testing.T)
		want string
	}{
		"nothing has run": {func(*site, *testing.T) {}, "Nothing has run yet. The first call of each module makes its mirror."},
		"one has never run": {func(s *site, t *testing.T) { s.aRun(t, "leads", "ok", "3 minutes", current, other) },
			"Deals has never run; the other mirrors are current."},
		"all is well": {func(s *site, t *testing.T) {
			s.aRun(t, "leads", "ok", "3 minutes", current, other)
			s.aRun(t, "deals", "ok", "9 minutes", current, other)
		}, "All mirrors are current, 9 minutes behind Zoho."},
		"one record does not fit": {func(s *site, t *testing.T) {
			s.aRun(t, "leads", "ok", "3 minutes", current, other)
			s.aRun(t, "deals", "ok", "10 seconds", current, other)
			s.execute(t, `INSERT INTO sync_quarantine (module, record_id, reason, payload, run_id) VALUES ('leads', '1', 'does not fit', '{}', gen_random_uuid())`)
		}, "All mirrors are current, 3 minutes behind Zoho. 1 record does not fit: see the quarantine."},
		"silent": {func(s *site, t *testing.T) {
			s.aRun(t, "leads", "ok", "3 minutes", current, other)
			s.aRun(t, "deals", "ok", "5 hours", current, other)
		}, "Deals has had no good run for 5 hours, since AT UTC: nothing calls it, or its calls end before they begin. See its last run."},
		"behind": {func(s *site, t *testing.T) {
			s.aRun(t, "leads", "ok", "3 hours", current, other)
			s.aRun(t, "leads", "ok", "3 minutes", "more", "true")
			s.aRun(t, "deals", "ok", "3 minutes", current, other)
		}, "Leads is 3 hours behind Zoho: its runs end before they have read all that is new. See its last run."},
		"first load": {func(s *site, t *testing.T) {
			s.aRun(t, "leads", "ok", "3 minutes", "more", "true")
			s.aRun(t, "deals", "ok", "3 minutes", current, other)
		}, "Leads is being read for the first time: each run goes on where the last one stopped. See its last run."},
		"both are in trouble": {func(s *site, t *testing.T) {
			s.aRun(t, "leads", "failed", "3 minutes", "cause", "'killed'")
			for _, ago := range []string{"40 minutes", "25 minutes", "10 minutes"} {
				s.aRun(t, "deals", "failed", ago, "cause", "'zoho-limit'")
			}
		}, "Deals has failed 3 times in a row since AT UTC: Zoho's limits of credits, calls or tokens are used up. Leads is failing too."},
		"a cause of a later version": {func(s *site, t *testing.T) {
			s.aRun(t, "leads", "failed", "3 minutes", "cause", "'tomorrow'")
			s.aRun(t, "deals", "ok", "3 minutes", current, other)
		}, "Leads has failed once since AT UTC: something unexpected happened."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, pgtest.Database(t))
			c.set(s, t)
			a := s.operator(t).get("/dashboard")
			if got := steady(a.part(t, "headline")); got != c.want || a.status != http.StatusOK {
				t.Errorf("%d\n got %s\nwant %s", a.status, got, c.want)
			}
		})
	}
}

// Where nothing has run, the page teaches the first call, at the address that people use.
func TestFirstCall(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), func(o *dashboard.Options) { o.PublicURL = "https://mirror.example.com" })
	v := s.operator(t)
	a := v.get("/dashboard")
	const line = `curl -H "Authorization: Bearer $CRON_SECRET" 'https://mirror.example.com/api/sync?module=deals'`
	if got := a.part(t, "card-deals"); !strings.Contains(got, line) {
		t.Errorf("the card says\n%s", got)
	}
	if !strings.Contains(a.part(t, "runs"), "No run yet.") {
		t.Errorf("the list says\n%s", a.part(t, "runs"))
	}
	a = v.post("/dashboard/runs", url.Values{"token": {a.token(t)}, "module": {"deals"}})
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/dashboard/runs/") {
		t.Errorf("%d to %s", a.status, a.header.Get("Location"))
	}
}

// A run at work is seen on the first page and on its own, which ask again soon.
func TestRunAtWork(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	id := s.aRun(t, "leads", "running", "4 seconds")
	s.execute(t, `UPDATE sync_runs SET ended_at = NULL`)
	v := s.operator(t)
	front := v.get("/dashboard")
	if !strings.Contains(front.body, `<a class="now" href="/dashboard/runs/`+id+`">running now</a>`) || !strings.Contains(front.body, `data-poll="2"`) {
		t.Errorf("the first page:\n%s", front.text())
	}
	if got := v.get("/dashboard/runs/" + id); !regexp.MustCompile(`^The run of Leads at AT UTC \(another caller\) is at work, for \d+(\.\d)? s so far\.$`).MatchString(steady(got.part(t, "headline"))) || !strings.Contains(got.body, `data-poll="2"`) {
		t.Errorf("its own page:\n%s", got.text())
	}
}

// Filters narrow the list, alone and together, and stay while older runs are read; each
// run is met once, whatever ties there are.
func TestHistory(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	s.execute(t,
		`INSERT INTO sync_locks (module) VALUES ('leads'), ('deals')`,
		`INSERT INTO sync_runs (id, module, status, started_at, ended_at)
		 SELECT gen_random_uuid(), m, CASE WHEN g % 3 = 0 THEN 'failed' ELSE 'ok' END, at, at + interval '1 second'
		 FROM unnest(ARRAY['leads', 'deals']) m, generate_series(0, 49) g, LATERAL (SELECT now() - (g / 5) * interval '1 hour' AS at) x`)
	v := s.operator(t)
	link := regexp.MustCompile(`<tr role="row"><td role="cell" class="when"><a href="/dashboard/runs/([^"]+)"`)
	for query, want := range map[string]string{
		"": "true", "?module=leads": "module = 'leads'", "?status=failed": "status = 'failed'",
		"?module=deals&status=ok": "module = 'deals' AND status = 'ok'", "?status=skipped": "false",
	} {
		var got []string
		next := "/dashboard/runs" + query
		for pages := 0; next != "" && pages < 20; pages++ {
			a := v.get(next)
			if a.status != http.StatusOK {
				t.Fatalf("%s: %d\n%s", next, a.status, a.text())
			}
			rows := link.FindAllStringSubmatch(a.body, -1)
			for _, row := range rows {
				got = append(got, row[1])
			}
			older := regexp.MustCompile(`<a href="([^"]+)">Older runs</a>`).FindStringSubmatch(a.body)
			if next = ""; older != nil {
				next = strings.ReplaceAll(older[1], "&amp;", "&")
				if len(rows) != 20 {
					t.Errorf("%s: a page of %d", query, len(rows))
				}
			}
		}
		all := value[[]string](t, s, "SELECT coalesce(array_agg(id::text ORDER BY started_at DESC, id DESC), '{}') FROM sync_runs WHERE "+want)
		if len(all) == 0 {
			all = nil
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("%q: %d runs, want %d:\n%s", query, len(got), len(all), diff)
		}
	}
	if a := v.get("/dashboard?status=failed&module=leads"); len(link.FindAllString(a.body, -1)) != 17 || !strings.Contains(a.body, `<a href="/dashboard?module=leads&amp;status=failed#runs" aria-current="true">Leads</a>`) {
		t.Errorf("the first page, filtered:\n%s", a.part(t, "runs"))
	}
}

// A failed run's page has all that is known of it, and where to go from there.
func TestRun(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	before := s.aRun(t, "leads", "ok", "30 minutes")
	id := s.aRun(t, "leads", "failed", "15 minutes", "error", "E'refused: <script>\nsecond line'", "hint", "'check ZOHO_DC'", "cause", "'zoho-credentials'",
		"records_processed", "12431", "inserted", "12000", "updated", "400", "unchanged", "20", "deleted", "5", "restored", "1", "quarantined", "5",
		"pages", "7", "calls", "9", "credits", "15", "watermark", "now()", "trigger", "'cloud-scheduler'")
	after := s.aRun(t, "leads", "skipped", "3 minutes")
	s.aRun(t, "deals", "ok", "14 minutes")
	s.execute(t,
		`INSERT INTO sync_quarantine (module, record_id, reason, payload, run_id, field, value, rule) VALUES
			('leads', '71', 'not shown where field and rule are', '{"Last_Name":"Payload-Person"}', '`+id+`', 'Lead_Status', '<i>', 'leads_lead_status_check')`,
		`INSERT INTO sync_quarantine (module, record_id, reason, payload, run_id, settled_at) VALUES ('leads', '72', 'id is missing', '{}', '`+id+`', now())`,
		`INSERT INTO sync_quarantine (module, record_id, reason, payload, run_id) VALUES ('leads', 'sha256:00112233445566778899aabbccddeeff', 'id is missing', '{}', '`+id+`')`,
		`INSERT INTO sync_drift (module, field, kind, was, is_now, run_id) VALUES
			('leads', 'Age', 'type_changed', 'integer', 'text', '`+id+`'), ('leads', 'Gone', 'field_gone', 'text', '', '`+id+`'),
			('leads', 'Shoe_Size', 'field_added', '', 'double', '`+id+`'), ('leads', 'Lead_Status', 'picklist_value', '', 'Podcast', '`+id+`')`,
		`INSERT INTO sync_watermarks (module, stream, watermark, cursor_time, cursor_id) VALUES ('leads', 'modified', now(), NULL, NULL), ('leads', 'newly_converted', NULL, now(), '1')`)
	a := s.operator(t).get("/dashboard/runs/" + strings.ToUpper(id))
	want := lines(
		"← Run beforeRun after →All runs of Leads",
		"The run of Leads at AT UTC (Cloud Scheduler) failed after 1.2 s: Zoho refuses the client or its refresh token.",
		"Run Leads again", "Run", "ID Copy",
		"What went wrong", "refused: <script> second line",
		"What it means", "Zoho's accounts host knows the client or the refresh token no longer, or never did. Most often the data centre is wrong, or the token was revoked: by a person, or by the twenty-first consent of the same user and client. Nothing is lost: the next run goes on from the last checkpoint.",
		"What to do", "check ZOHO_DC",
		"Figures", "Began", "AT UTC", "Ended", "AT UTC", "Duration", "1.2 s of 20 s", "Records read", "12,431", "New", "12,000", "Changed", "400", "Unchanged", "20",
		"Deleted", "5", "Restored", "1", "Quarantined", "5", "Pages", "7", "Calls to Zoho", "9", "API credits", "15", "Watermark", "AT UTC", "Mode", "sync", "Called by", "Cloud Scheduler",
		"Records that did not fit",
		"Lead_Status is <i>, against leads_lead_status_check", "Leads 71 · tried 1 time, first seen just now", "Replay Leads 71",
		"id is missing", "Leads came without an id · tried 1 time, first seen just now",
		"id is missing", "Leads 72 · tried 1 time, first seen just now · settled just now",
		"Noticed of the org's fields",
		"Age changed from integer to text just now", "Gone gone from the org: its stored values stay just now",
		"Shoe_Size a new field (double): mirrored to custom_fields just now", "Lead_Status has a value that the table does not know: Podcast just now",
		"Where Leads stands now",
		"modified is complete up to AT UTC written just now", "newly converted has no watermark yet, and being read on from AT UTC written just now",
	)
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(steady(a.text()), "\n")); diff != "" || a.status != http.StatusOK {
		t.Errorf("%d (-want +got):\n%s", a.status, diff)
	}
	s.execute(t, `UPDATE sync_runs SET hint = NULL WHERE id = '`+id+`'`)
	if fault := s.operator(t).get("/dashboard/runs/"+id).part(t, "fault"); !strings.HasSuffix(fault, "What to do\n"+mirror.MeaningOf("zoho-credentials").ToDo) {
		t.Errorf("without a hint: %s", fault)
	}
	for _, link := range []string{`<a href="/dashboard/runs/` + before + `" rel="prev">`, `<a href="/dashboard/runs/` + after + `" rel="next">`} {
		if !strings.Contains(a.body, link) {
			t.Errorf("the page lacks %s", link)
		}
	}
	if strings.Contains(a.body, "Payload-Person") {
		t.Error("the page shows what is in a record")
	}
}

// What is not there is 404; what cannot be meant is 400. Nothing of it is echoed as markup.
func TestWrongAddresses(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	v := s.operator(t)
	for path, want := range map[string]int{
		"/dashboard/runs/" + uuid.NewString():                              404,
		"/dashboard/nowhere":                                               404,
		"/dashboard/assets/style.css":                                      404,
		"/dashboard/runs/17":                                               400,
		"/dashboard/runs/%27%20OR%201=1":                                   400,
		"/dashboard/runs/" + strings.ReplaceAll(uuid.NewString(), "-", ""): 400,
		"/dashboard?module=tasks":                                          400,
		"/dashboard?status=great":                                          400,
		"/dashboard?status=ok&status=failed":                               400,
		"/dashboard/runs?before=yesterday":                                 400,
		"/dashboard/runs?before=-5_" + uuid.NewString():                    400,
		"/dashboard/runs?before=99999999999999999_" + uuid.NewString():     400,
		"/dashboard/runs?module=%3Cscript%3Ealert(1)%3C/script%3E":         400,
		"/dashboard/quarantine?module=tasks":                               400,
		"/dashboard/quarantine?after=leads.1%27":                           400,
		"/dashboard/quarantine?after=nothing":                              400,
	} {
		a := v.get(path)
		if a.status != want || strings.Contains(a.body, "<script>alert") || !strings.Contains(a.body, "<main") {
			t.Errorf("%s: %d, want %d\n%s", path, a.status, want, a.text())
		}
	}
	if a := v.do(http.MethodPut, "/dashboard/runs", ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d", a.status)
	}
}

// The quarantine is read page by page, by module; each entry once.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	s.execute(t, `INSERT INTO sync_quarantine (module, record_id, reason, payload, run_id, settled_at)
		SELECT m, (4876876000000000000 + g)::text, 'does not fit', '{"Last_Name":"Payload-Person"}', gen_random_uuid(), CASE WHEN g > 60 THEN now() END
		FROM unnest(ARRAY['leads', 'deals']) m, generate_series(1, 70) g`)
	v := s.operator(t)
	entry := regexp.MustCompile(`<small>(\w+ \d+) · tried`)
	for query, want := range map[string]int{"": 120, "?module=leads": 60} {
		seen := map[string]bool{}
		next, pages := "/dashboard/quarantine"+query, 0
		for ; next != "" && pages < 9; pages++ {
			a := v.get(next)
			if a.status != 200 || strings.Contains(a.body, "Payload-Person") {
				t.Fatalf("%s: %d\n%s", next, a.status, a.text())
			}
			if !strings.Contains(a.text(), "120 records of Zoho's do not fit the tables and wait here") || !strings.Contains(a.text(), "Leads (60)") {
				t.Errorf("%s says\n%s", next, a.text())
			}
			for _, e := range entry.FindAllStringSubmatch(a.body, -1) {
				seen[e[1]] = true
			}
			more := regexp.MustCompile(`<a href="([^"]+)">More entries</a>`).FindStringSubmatch(a.body)
			if next = ""; more != nil {
				next = strings.ReplaceAll(more[1], "&amp;", "&")
			}
		}
		if len(seen) != want || pages != (want+49)/50 {
			t.Errorf("%q: %d entries on %d pages, want %d", query, len(seen), pages, want)
		}
	}
	s.execute(t, "DELETE FROM sync_quarantine")
	if got := v.get("/dashboard/quarantine").text(); !strings.Contains(got, "Every record fits: nothing waits here.") {
		t.Errorf("when empty it says\n%s", got)
	}
}

// The buttons do what they say, in the name of the dashboard, and lead to the run's page.
func TestRunAgainAndReplay(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	id := s.zoho.Insert("Leads", zohosim.Record{"Last_Name": "Boyle", "Lead_Status": "Podcast"})
	v := s.operator(t)
	token := v.get("/dashboard").token(t)
	a := v.post("/dashboard/runs", url.Values{"token": {token}, "module": {"leads"}})
	first := v.get(a.header.Get("Location"))
	if a.status != http.StatusSeeOther || !strings.HasSuffix(first.part(t, "headline"), "and read all that was new: 1 quarantined.") {
		t.Fatalf("%d\n%s", a.status, first.text())
	}
	s.execute(t, allowPodcast)
	a = v.post("/dashboard/quarantine", url.Values{"token": {token}, "module": {"leads"}, "id": {id}})
	second := v.get(a.header.Get("Location"))
	if a.status != http.StatusSeeOther || !strings.HasPrefix(second.part(t, "headline"), "The replay of quarantined records of Leads at") || !strings.HasSuffix(second.part(t, "headline"), ": 1 new.") {
		t.Errorf("%d\n%s", a.status, second.text())
	}
	want := []string{"sync dashboard ok", "replay dashboard ok"}
	if diff := cmp.Diff(want, value[[]string](t, s, "SELECT array_agg(mode || ' ' || trigger || ' ' || status ORDER BY started_at) FROM sync_runs")); diff != "" {
		t.Error(diff)
	}
	// A failed run has a page too.
	s.zoho.FailTokens(`{"error":"invalid_code"}`)
	s.zoho.ExpireTokens()
	a = v.post("/dashboard/runs", url.Values{"token": {token}, "module": {"leads"}})
	if third := v.get(a.header.Get("Location")); a.status != http.StatusSeeOther || !strings.Contains(third.part(t, "fault"), "What to do") {
		t.Errorf("%d\n%s", a.status, third.text())
	}
	for name, form := range map[string]url.Values{
		"/dashboard/runs":       {"token": {token}, "module": {"tasks"}},
		"/dashboard/quarantine": {"token": {token}, "module": {"leads"}, "id": {"1' OR 1=1"}},
	} {
		if a := v.post(name, form); a.status != http.StatusBadRequest {
			t.Errorf("%s %v: %d", name, form, a.status)
		}
	}
}

// The run that was the first to quarantine a record lists it for good, whatever met it since.
func TestRunListsWhatItQuarantined(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	ids := make([]string, 2)
	for i := range ids {
		ids[i] = s.zoho.Insert("Leads", zohosim.Record{"Last_Name": "Boyle", "Lead_Status": "Podcast"})
	}
	v := s.operator(t)
	token := v.get("/dashboard").token(t)
	run := func(module string) (address string) {
		return v.post("/dashboard/runs", url.Values{"token": {token}, "module": {module}}).header.Get("Location")
	}
	replay := func(id string) (address string) {
		return v.post("/dashboard/quarantine", url.Values{"token": {token}, "module": {"leads"}, "id": {id}}).header.Get("Location")
	}
	none, first, other := run("deals"), run("leads"), run("deals")
	inVain := replay(ids[0])
	s.zoho.Update("Leads", ids[1], zohosim.Record{"Last_Name": "Boyle-Smith"})
	later := run("leads")
	s.execute(t, allowPodcast)
	settled := replay(ids[0])
	for name, c := range map[string]struct{ address, want string }{
		"of deals before": {none, ""}, "of deals after": {other, ""}, "the first": {first, "open settled"},
		"the replay in vain": {inVain, "settled"}, "the one that met an edit": {later, "open"}, "the one that settled": {settled, ""},
	} {
		a := v.get(c.address)
		if strings.Contains(a.body, `id="entries"`) != (c.want != "") {
			t.Errorf("%s:\n%s", name, a.text())
			continue
		}
		if c.want == "" {
			continue
		}
		entries := a.part(t, "entries")
		for i, state := range []string{"settled", "open"} {
			if strings.Contains(entries, ids[i]) != strings.Contains(c.want, state) {
				t.Errorf("%s: not %s of %s:\n%s", name, c.want, ids, entries)
			}
		}
	}
	// The run that met an open one last is a click away.
	link := `<a href="%s">last run that met it</a>`
	if body := v.get(first).body; !strings.Contains(body, fmt.Sprintf(link, later)) || strings.Contains(body, fmt.Sprintf(link, first)) {
		t.Errorf("no link to %s:\n%s", later, body)
	}
	if body := v.get(later).body; strings.Contains(body, fmt.Sprintf(link, later)) {
		t.Errorf("a link to itself:\n%s", body)
	}
}

// A database that is away or of another version is a page that keeps trying, and says
// nothing of the database to those who have not logged in.
func TestBroken(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Empty(t))
	v := s.visitor(t)
	a := v.post("/dashboard/login", url.Values{"password": {password}})
	if a.status != http.StatusServiceUnavailable || !strings.Contains(a.text(), "zohomirror migrate") || a.header.Get("Retry-After") == "" {
		t.Errorf("log-in without tables: %d\n%s", a.status, a.text())
	}

	s = newSite(t, pgtest.Database(t))
	v = s.operator(t)
	s.execute(t, "INSERT INTO sync_migrations (version_id, is_applied) VALUES (999, true)")
	if a := v.get("/dashboard"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.text(), "deploy the newer version") || strings.Contains(a.text(), "zohomirror migrate") {
		t.Errorf("a newer schema: %d\n%s", a.status, a.text())
	}
	s.execute(t, "DELETE FROM sync_migrations WHERE version_id = 999", "ALTER TABLE sync_watermarks RENAME TO elsewhere", "ALTER TABLE sync_runs RENAME TO elsewhere_too")
	for _, path := range []string{"/dashboard", "/dashboard/runs", "/dashboard/runs/" + uuid.NewString()} {
		if a := v.get(path); a.status != http.StatusServiceUnavailable || !strings.Contains(a.text(), "zohomirror migrate") {
			t.Errorf("%s without its table: %d\n%s", path, a.status, a.text())
		}
	}

	s.mirror.Close() // no connection is left
	for _, path := range []string{"/dashboard", "/dashboard/runs", "/dashboard/quarantine", "/dashboard/runs/" + uuid.NewString()} {
		a := v.get(path)
		if got := a.text(); a.status != http.StatusServiceUnavailable || !strings.Contains(got, "The database does not answer") || !strings.Contains(got, "Last tried at") ||
			!strings.Contains(a.body, `data-poll="5"`) || !strings.Contains(a.body, `<noscript><meta http-equiv="refresh" content="10"></noscript>`) {
			t.Errorf("%s: %d\n%s", path, a.status, a.body)
		}
	}
	if a := s.visitor(t).post("/dashboard/login", url.Values{"password": {password}}); a.status != http.StatusServiceUnavailable || strings.Contains(a.text(), "pool") {
		t.Errorf("log-in: %d\n%s", a.status, a.text())
	}
}

// Every answer has the headers that keep other sites and caches out; files may be kept, by
// names that change with them.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	v := s.operator(t)
	front := v.get("/dashboard")
	files := regexp.MustCompile(`/dashboard/assets/[\w.]+`).FindAllString(front.body, -1)
	if len(files) != 3 {
		t.Fatalf("the page loads %v", files)
	}
	for _, path := range append(files, "/dashboard", "/dashboard/login", "/dashboard/nowhere", "/dashboard/runs/x") {
		a := v.get(path)
		cache := "no-store"
		if strings.Contains(path, "assets") {
			cache = "public, max-age=31536000, immutable"
		}
		want := map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": cache,
		}
		got := map[string]string{}
		for name := range want {
			got[name] = a.header.Get(name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	bytes := len(front.body)
	for _, path := range files {
		bytes += len(v.get(path).body)
	}
	if bytes > 60_000 {
		t.Errorf("the first page and its files have %s bytes", strconv.Itoa(bytes))
	}
	if a := v.do(http.MethodHead, "/dashboard", ""); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
}

// The page's script gets the main part alone, and 401 once nobody has logged in.
func TestPoll(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	v := s.operator(t)
	whole, part := v.get("/dashboard"), v.get("/dashboard", "X-Dashboard-Poll", "1")
	if !strings.HasPrefix(part.body, "<main") || !strings.Contains(whole.body, part.part(t, "card-leads")[:5]) || part.text() != whole.text() {
		t.Errorf("the part differs from the whole:\n%s", cmp.Diff(whole.text(), part.text()))
	}
	if a := s.visitor(t).get("/dashboard", "X-Dashboard-Poll", "1"); a.status != http.StatusUnauthorized || a.body != "" {
		t.Errorf("%d %q", a.status, a.body)
	}
}
