package mirror_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zohosim"
)

// These tests are named after the pains of users of such mirrors, by number.

// Pain 1: a delta above 2,000 rows fails or is cut.
func TestPain01DeltaAbove2000Rows(t *testing.T) {
	t.Parallel()
	sizes := []int{2001, 10_001}
	if os.Getenv("ZOHOMIRROR_SLOW") != "" {
		sizes = append(sizes, 100_001)
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			config := defaultConfig
			config.Deadline = 10 * time.Minute // a slow machine too reads it in one run
			o := newOrg(t, zohosim.Config{}, config)
			o.InsertMany("Deals", n, deal)
			o.runAll(t, "deals")
			o.Advance(time.Hour)
			o.MassUpdate("Deals", nil, zohosim.Record{"Next_Step": "Call"}) // all of one second
			o.ResetCalls()
			said := len(o.loud(t))
			got := o.runAll(t, "deals")
			if got.Counts.Updated != int64(n) {
				t.Errorf("updated %d", got.Counts.Updated)
			}
			if said = len(o.loud(t)) - said; said != 1 { // platforms cut a log that grows with its run
				t.Errorf("%d lines at info and above", said)
			}
			o.equal(t, "deals")
			pages, credits := 0, 0
			for _, call := range o.Calls() {
				if strings.Contains(call.Query, "offset") {
					t.Errorf("a growing offset: %s", call.Query)
				}
				pages, credits = pages+1, credits+call.Credit
			}
			// 200, 1000, then 2000 at a time; metadata is an hour old and asked for once more.
			if least := n/2000 + 5; pages > least || credits > 3*least {
				t.Errorf("%d calls, %d credits", pages, credits)
			}
		})
	}
}

// Pain 2: records of the cursor's own second are missed.
func TestPain02SameSecondAfterTheRead(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"5725767000000000001", "5725767000009000001"} { // before and after the one that was read
		o := newOrg(t, zohosim.Config{}, defaultConfig)
		read := o.Insert("Deals", zohosim.Record{"id": "5725767000005000001", "Deal_Name": "read"})
		o.run(t, "deals")
		o.Insert("Deals", zohosim.Record{"id": id, "Deal_Name": "the same second"})
		o.Update("Deals", read, zohosim.Record{"Deal_Name": "edited in the same second"})
		o.Advance(time.Minute)
		if got := o.run(t, "deals"); got.Counts.Inserted != 1 || got.Counts.Updated != 1 {
			t.Errorf("%+v", got.Counts)
		}
		o.equal(t, "deals")
	}
}

// Pain 3: Zoho shows a record after its timestamp has passed.
func TestPain03LateVisibility(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{VisibilityLag: 50 * time.Second}, defaultConfig)
	for i := range 40 {
		id := o.Insert("Leads", lead(i))
		o.Advance(7 * time.Second)
		if i%3 == 0 {
			o.Convert(id, i%2 == 0)
		}
		o.run(t, "leads")
	}
	o.Advance(time.Minute)
	o.run(t, "leads")
	o.equal(t, "leads")
}

// Pain 5: converted leads vanish from the mirror, or stay there as they were.
func TestPain05ConvertedLeads(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	var ids []string
	for i := range 6 {
		ids = append(ids, o.Insert("Leads", lead(i)))
	}
	o.Convert(ids[0], false) // before the first load
	o.run(t, "leads")
	for i, wait := range []time.Duration{time.Hour, 48 * time.Hour, time.Second} {
		o.Advance(wait)
		o.UpdateQuietly("Leads", ids[i+1], zohosim.Record{"Converted_Account": zohosim.Ref{ID: "5725767000000777001", Name: "Zylker"}})
		o.Convert(ids[i+1], i%2 == 1) // whether that moves Modified_Time is not known
		o.Advance(10 * time.Minute)
		o.run(t, "leads")
		o.equal(t, "leads")
	}
	o.Advance(time.Hour)
	o.Update("Leads", ids[0], zohosim.Record{"Company": "Edited after its conversion"})
	o.run(t, "leads")
	o.equal(t, "leads")
	if n := value[int](t, o, "SELECT count(*) FROM leads WHERE converted AND converted_date_time IS NOT NULL"); n != 4 {
		t.Errorf("%d converted leads", n)
	}
}

// Pain 8: "success" with nothing moved. An empty delta is a success, an errored page is a
// failure, and no cursor moves on it.
func TestPain08ErroredPageMovesNothing(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.Deadline = 2 * time.Second // no time for a retry
	o := newOrg(t, zohosim.Config{}, config)
	if got := o.run(t, "deals"); got.Counts.Processed != 0 || got.Reason != "complete" {
		t.Errorf("an empty CRM: %+v", got)
	}
	o.InsertMany("Deals", 500, deal)
	const checkpoints = "SELECT coalesce(jsonb_agg(to_jsonb(w) - 'updated_at'), '[]')::text FROM sync_watermarks w"
	before := value[string](t, o, checkpoints)
	o.ExpireTokens()
	isQuery := func(c zohosim.Call) bool { return c.Path == "/crm/v8/coql" }
	for _, fault := range []zohosim.Fault{
		{Status: 400, Body: `{"code":"SYNTAX_ERROR","details":{},"message":"error occured while parsing the query","status":"error"}`},
		{Status: 200, Body: `{"code":"INTERNAL_ERROR","details":{},"message":"internal error","status":"error"}`},
		{Status: 200, Body: `{}`},
		{Status: 200, Body: `<html>maintenance</html>`, ContentType: "text/html"},
		{Status: 429, Body: `{"code":"TOO_MANY_REQUESTS","details":{},"message":"too many requests. please try again after some time","status":"error"}`, RetryAfter: "60"},
		{Cut: true}, {Reset: true},
	} {
		o.Plan(100, isQuery, fault)
		module, _ := crm.Find("deals")
		result, err := o.mirror.Run(t.Context(), mirror.Request{Module: module})
		if err == nil || result.Status != mirror.StatusFailed || result.Err == "" {
			t.Errorf("%+v: %v, %+v", fault, err, result)
		}
		if after := value[string](t, o, checkpoints); after != before {
			t.Errorf("%+v moved the checkpoint:\n%s\n%s", fault, before, after)
		}
		o.ClearPlans()
	}
	o.runAll(t, "deals")
	o.equal(t, "deals")
}

// Pain 9: what runs cost can be seen before the day's credits are gone.
func TestPain09CreditsAreCounted(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 1500, deal)
	o.runAll(t, "deals")
	o.Advance(time.Minute)
	o.run(t, "deals")
	var spent int64
	for _, call := range o.Calls() {
		spent += int64(call.Credit)
	}
	if got := value[int64](t, o, "SELECT sum(credits) FROM sync_runs WHERE module = 'deals'"); got != spent || spent < 5 {
		t.Errorf("the run history counts %d credits, Zoho took %d", got, spent)
	}
	if got := value[int64](t, o, "SELECT credits_24h FROM sync_health WHERE module = 'deals'"); got != spent {
		t.Errorf("sync_health counts %d credits, Zoho took %d", got, spent)
	}
}

// Pain 10: a wrong data centre looks like anything but that.
func TestPain10DataCentreIsNamed(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	module, _ := crm.Find("deals")
	o.FailTokens(`{"error":"invalid_client"}`, `{"error":"invalid_code"}`)
	for range 2 {
		result, err := o.mirror.Run(t.Context(), mirror.Request{Module: module})
		if err == nil || !strings.Contains(result.Hint, "most often the data centre is wrong (check ZOHO_DC") {
			t.Errorf("accounts host: %v, hint %q", err, result.Hint)
		}
	}
	o.Plan(4, nil, zohosim.Fault{Status: 401, Body: `{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}`})
	result, err := o.mirror.Run(t.Context(), mirror.Request{Module: module})
	if err == nil || !strings.Contains(result.Hint, "ZOHO_API_URL belongs to another data centre") {
		t.Errorf("API host: %v, hint %q", err, result.Hint)
	}
	if n := o.Minted(); n != 2 {
		t.Errorf("%d tokens minted, want the first and one forced", n)
	}
}

// Pain 11: token errors that come as a success.
func TestPain11TokenErrorsThatLie(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{TokenStatus: http.StatusOK}, defaultConfig)
	module, _ := crm.Find("deals")
	for _, body := range []string{`{"error":"invalid_client_secret"}`, `{"access_token":"","error":"invalid_grant"}`,
		`{"error_description":"You have made too many requests continuously. Please try again after some time.","error":"Access Denied","status":"failure"}`} {
		o.FailTokens(body)
		result, err := o.mirror.Run(t.Context(), mirror.Request{Module: module})
		if err == nil || result.Hint == "" || result.Status != mirror.StatusFailed {
			t.Errorf("%s: %v, %+v", body, err, result)
		}
	}
	// After Access Denied nobody asks again for minutes, in whatever process.
	calls := len(o.Calls())
	if result, err := o.process(t, o.database).Run(t.Context(), mirror.Request{Module: module}); err == nil || !strings.Contains(result.Err, "not asked again before") {
		t.Errorf("%v, %+v", err, result)
	}
	if after := o.Calls(); len(after) != calls {
		t.Errorf("asked again: %+v", after[calls:])
	}
	for _, call := range o.Calls() {
		if call.Path != "/oauth/v2/token" {
			t.Errorf("called with no token: %+v", call)
		}
	}
}

// Pain 18: times in whatever zone, across daylight saving, are instants.
func TestPain18TimeZones(t *testing.T) {
	t.Parallel()
	var zones []*time.Location
	for _, name := range []string{"Europe/Helsinki", "America/Los_Angeles", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, zone)
	}
	o := newOrg(t, zohosim.Config{Zones: zones}, defaultConfig)
	o.clock.now = time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC) // Helsinki leaves summer time at 01:00 UTC on the 25th
	for i := range 50 {
		o.Insert("Leads", lead(i))
		if i%5 == 0 {
			o.run(t, "leads")
		}
		o.Advance(47 * time.Minute)
	}
	o.run(t, "leads")
	o.equal(t, "leads")
	for _, call := range o.Calls() {
		if strings.Contains(call.Query, ">") && !strings.Contains(call.Query, "+00:00'") {
			t.Errorf("a literal without +00:00: %s", call.Query)
		}
	}
}

// Pain 19: the scheduler calls twice, or while another run goes.
func TestPain19CalledTwice(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{Latency: 50 * time.Millisecond}, defaultConfig)
	o.InsertMany("Deals", 3000, deal)
	module, _ := crm.Find("deals")
	var mu sync.Mutex
	statuses := map[string]int{}
	var calls sync.WaitGroup
	for range 5 {
		m := o.process(t, o.database)
		calls.Go(func() {
			result, err := m.Run(t.Context(), mirror.Request{Module: module})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[result.Status]++
		})
	}
	calls.Wait()
	want := map[string]int{mirror.StatusOK: 1, mirror.StatusSkipped: 4}
	if diff := cmp.Diff(want, statuses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	o.equal(t, "deals")
	if n := value[int](t, o, "SELECT count(*) FROM sync_runs WHERE ended_at IS NOT NULL AND (status = 'ok' OR reason = 'lock-held')"); n != 5 {
		t.Errorf("%d run rows", n)
	}
}

// Pain 20: a lock that a killed run left behind.
func TestPain20StuckLock(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.StaleAfter = time.Hour
	o := newOrg(t, zohosim.Config{}, config)
	o.InsertMany("Deals", 10, deal)
	o.run(t, "deals")
	ghost := uuid.New()
	execute(t, o, `UPDATE sync_locks SET claimed_by = $1, claimed_at = clock_timestamp() - interval '59 minutes'`, ghost.String())
	execute(t, o, `INSERT INTO sync_runs (id, module, status) VALUES ($1, 'deals', 'running')`, ghost.String())
	module, _ := crm.Find("deals")
	if result, err := o.mirror.Run(t.Context(), mirror.Request{Module: module}); err != nil || result.Status != mirror.StatusSkipped {
		t.Errorf("before it is stale: %v, %+v", err, result)
	}
	execute(t, o, `UPDATE sync_locks SET claimed_at = claimed_at - interval '2 minutes'`)
	got := o.run(t, "deals")
	orphan := value[string](t, o, "SELECT status || ': ' || error FROM sync_runs WHERE id = $1 AND ended_at IS NOT NULL", ghost.String())
	if want := "failed: the process ended without closing this run; run " + got.RunID.String() + " took the lock over"; orphan != want {
		t.Errorf("the orphan: %s", orphan)
	}
}

// Pain 22: one bad row stops everything, or a bad token fills the quarantine.
func TestPain22OneBadRow(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	for i := range 30 {
		o.Insert("Leads", lead(i))
	}
	bad := []string{
		o.Insert("Leads", zohosim.Record{"Last_Name": "no such status", "Lead_Status": "Podcast"}),
		o.Insert("Leads", zohosim.Record{"Last_Name": "no number", "No_of_Employees": "many"}),
	}
	o.InsertBroken("Leads", zohosim.Record{"Last_Name": "without an id"})
	got := o.run(t, "leads")
	if got.Counts.Inserted != 30 || got.Counts.Quarantined != 3 {
		t.Errorf("%+v", got.Counts)
	}
	o.equal(t, "leads", bad...)

	o.ExpireTokens()
	o.FailTokens(`{"error":"invalid_code"}`)
	module, _ := crm.Find("leads")
	if _, err := o.process(t, o.database).Run(t.Context(), mirror.Request{Module: module}); err == nil {
		t.Error("a run with a bad token succeeded")
	}
	if n := value[int](t, o, "SELECT count(*) FROM sync_quarantine"); n != 3 {
		t.Errorf("%d quarantined", n)
	}

	o.Advance(time.Minute)
	for _, id := range bad {
		o.Update("Leads", id, zohosim.Record{"Lead_Status": "Contacted", "No_of_Employees": 3})
	}
	o.run(t, "leads")
	o.equal(t, "leads")
	if n := value[int](t, o, "SELECT count(*) FROM sync_quarantine WHERE settled_at IS NULL"); n != 1 {
		t.Errorf("%d still open", n)
	}

	// Nor does it need an edit once the table is mended.
	o.Insert("Leads", zohosim.Record{"Last_Name": "no such status", "Lead_Status": "Podcast"})
	o.run(t, "leads")
	execute(t, o, allowPodcast)
	o.run(t, "leads")
	o.equal(t, "leads")
}

// Pain 23: rows that arrive before what they refer to are refused.
func TestPain23NoForeignKeys(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.Insert("Deals", deal(1)) // of an account that the mirror does not hold
	o.run(t, "deals")
	o.equal(t, "deals")
	if n := value[int](t, o, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'"); n != 0 {
		t.Errorf("%d foreign keys", n)
	}
}

// Pain 24: settings that are ignored.
func TestPain24EverySettingHasItsEffect(t *testing.T) {
	t.Parallel()
	config := mirror.Config{Deadline: 3 * time.Second, Overlap: 90 * time.Second, StaleAfter: 40 * time.Second, PageSize: 37}
	o := newOrg(t, zohosim.Config{Latency: 100 * time.Millisecond}, config)
	o.InsertMany("Deals", 2000, deal)
	began := time.Now()
	got := o.run(t, "deals")
	if !got.More || got.Reason != "time-budget" || time.Since(began) > config.Deadline {
		t.Errorf("SYNC_DEADLINE: %+v in %s", got, time.Since(began))
	}
	for _, call := range o.Calls() {
		if call.Path == "/crm/v8/coql" && !strings.HasSuffix(call.Query, "limit 37") {
			t.Errorf("SYNC_PAGE_SIZE: %s", call.Query)
		}
	}
	o.runAll(t, "deals")
	o.equal(t, "deals")
	o.Advance(time.Hour)
	o.Insert("Deals", deal(7))
	o.runAll(t, "deals") // reads all that is within the overlap again
	watermark := value[time.Time](t, o, "SELECT watermark FROM sync_watermarks")
	o.ResetCalls()
	o.run(t, "deals")
	want := "Modified_Time >= '" + watermark.Add(-90*time.Second).UTC().Format("2006-01-02T15:04:05") + "+00:00'"
	if first := o.Calls()[0]; !strings.Contains(first.Query, want) {
		t.Errorf("SYNC_OVERLAP: %s, want %s", first.Query, want)
	}
	for age, status := range map[string]string{"39 seconds": mirror.StatusSkipped, "41 seconds": mirror.StatusOK} {
		execute(t, o, `UPDATE sync_locks SET claimed_by = $1, claimed_at = clock_timestamp() - $2::interval`, uuid.NewString(), age)
		module, _ := crm.Find("deals")
		if result, err := o.mirror.Run(t.Context(), mirror.Request{Module: module}); err != nil || result.Status != status {
			t.Errorf("LOCK_STALE_AFTER, %s: %v, %+v", age, err, result)
		}
	}
}

// Pain 24: a schema of one's own is honoured.
func TestPain24SearchPath(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	execute(t, o, "CREATE SCHEMA north")
	address := o.database + "&search_path=north"
	store, err := postgres.Open(t.Context(), address, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.InsertMany("Deals", 5, deal)
	module, _ := crm.Find("deals")
	if result, err := o.process(t, address).Run(t.Context(), mirror.Request{Module: module}); err != nil || result.Counts.Inserted != 5 {
		t.Errorf("%v, %+v", err, result)
	}
	if public, north := value[int](t, o, "SELECT count(*) FROM public.deals"), value[int](t, o, "SELECT count(*) FROM north.deals"); public != 0 || north != 5 {
		t.Errorf("%d rows in public, %d in north", public, north)
	}
}

// Pain 25: a failed read leaves no trace. Every run leaves its row, with cause and remedy.
func TestPain25FailedReadLeavesItsTrace(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.SetScopes("ZohoCRM.modules.READ", "ZohoCRM.users.READ", "ZohoCRM.settings.fields.READ")
	module, _ := crm.Find("deals")
	result, err := o.mirror.Run(t.Context(), mirror.Request{Module: module})
	if err == nil {
		t.Fatal("a run without the scope of COQL succeeded")
	}
	row := value[map[string]any](t, o, `SELECT jsonb_build_object('id', id, 'status', status, 'error', error, 'hint', hint, 'ended', ended_at IS NOT NULL) FROM sync_runs`)
	want := map[string]any{"id": result.RunID.String(), "status": "failed", "ended": true,
		"error": "read deals, stream modified: COQL query of Deals: HTTP 401: OAUTH_SCOPE_MISMATCH: Unauthorized",
		"hint":  "the refresh token lacks the scope ZohoCRM.coql.READ and ZohoCRM.modules.deals.READ: consent anew with it and set ZOHO_REFRESH_TOKEN"}
	if diff := cmp.Diff(want, row); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := value[int](t, o, "SELECT count(*) FROM sync_locks WHERE claimed_by IS NOT NULL"); n != 0 {
		t.Error("the lock is still held")
	}
}
