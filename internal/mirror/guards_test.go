package mirror_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zohosim"
)

// A person's word lets a mass deletion pass, once: the next one is asked about again.
func TestAcceptMassDelete(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 1500, deal)
	o.runAll(t, "deals")
	var ids []string
	for id := range o.Truth("Deals") {
		ids = append(ids, id)
	}
	deals, _ := crm.Find("deals")
	for _, part := range [][]string{ids[:101], ids[101:202]} {
		o.Advance(5 * time.Minute)
		o.Delete("Deals", part...)
		marked := len(o.marked(t, "deals"))
		if got, err := o.mirror.Run(t.Context(), mirror.Request{Module: deals}); err == nil || !strings.Contains(got.Hint, "--accept-mass-delete") {
			t.Errorf("%v, %+v", err, got)
		}
		if n := len(o.marked(t, "deals")); n != marked {
			t.Errorf("%d rows are marked, %d were before", n, marked)
		}
		got, err := o.mirror.Run(t.Context(), mirror.Request{Module: deals, AcceptMassDelete: true})
		if err != nil || got.Counts.Deleted != 101 {
			t.Errorf("%v, %+v", err, got)
		}
		o.equal(t, "deals")
		o.run(t, "deals")
	}
}

// A repair marks, on a person's word, what Zoho neither shows nor lists; but no unlikely
// share of a module, since fewer rights look just like that, unless the person says so too.
func TestRepairOfTooManyUnlistedAsks(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 1500, deal)
	o.runAll(t, "deals")
	unlisted := func(n int) {
		execute(t, o, "INSERT INTO deals (id, created_time, modified_time) SELECT (100 + i)::text, $1, $1 FROM generate_series(1, $2::int) i ON CONFLICT (id) DO NOTHING", noon, n)
	}
	unlisted(101)
	deals, _ := crm.Find("deals")
	request := mirror.Request{Module: deals, Mode: mirror.ModeRepair, AcceptUnlisted: true}
	// What was deleted after the list was read looks just like that: the next list tells.
	if got, err := o.mirror.Run(t.Context(), request); err != nil || !got.More || got.Reason != mirror.ReasonSettling || got.Verification.Found[postgres.FoundUnlisted] != 0 {
		t.Errorf("%v, %+v, %+v", err, got, got.Verification)
	}
	o.Advance(2 * time.Minute)
	for range 2 {
		got, err := o.mirror.Run(t.Context(), request)
		if err == nil || got.Status != mirror.StatusFailed || !strings.Contains(got.Hint, "zohomirror repair deals --accept-unlisted --accept-mass-delete") ||
			!strings.Contains(err.Error(), "101 of 1601 live rows of deals are neither shown nor listed as deleted by Zoho, more than 5 %: none of them was marked") {
			t.Errorf("%v, %+v", err, got)
		}
		o.Advance(2 * time.Minute)
	}
	// Nobody's word, or nobody's wish to mark: the guard is not asked.
	want := map[string]any{"verdict": "different", "checked": int64(1500), "unlisted": int64(101)}
	for _, r := range []mirror.Request{
		{Module: deals, Mode: mirror.ModeVerify},
		{Module: deals, Mode: mirror.ModeRepair},
		{Module: deals, Mode: mirror.ModeRepair, AcceptMassDelete: true},
	} {
		if diff := cmp.Diff(want, told(o.verify(t, r))); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", r, diff)
		}
	}
	if n := len(o.marked(t, "deals")); n != 0 {
		t.Errorf("%d rows are marked", n)
	}
	request.AcceptMassDelete = true
	if diff := cmp.Diff(map[string]any{"verdict": "equal", "checked": int64(1500), "repaired": int64(101)}, told(o.verify(t, request))); diff != "" {
		t.Errorf("with both words (-want +got):\n%s", diff)
	}
	o.equal(t, "deals")

	execute(t, o, "DELETE FROM deals WHERE deleted_at IS NOT NULL")
	unlisted(100) // a hundred are never too many
	request.AcceptMassDelete = false
	if diff := cmp.Diff(map[string]any{"verdict": "equal", "checked": int64(1500), "repaired": int64(100)}, told(o.verify(t, request))); diff != "" {
		t.Errorf("a hundred (-want +got):\n%s", diff)
	}
	o.equal(t, "deals")
}

// Where Zoho lists only so many deleted records, what lies beyond is found by comparing ids,
// without anybody's asking; it is told, and marked only on a person's word.
func TestWallOfTheDeletedList(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.MassDelete = 100
	o := newOrg(t, zohosim.Config{Unknowns: zohosim.Unknowns{DeletedWall: 2000}}, config)
	ids := seed(o, 2400)
	o.runAll(t, "leads")
	o.Advance(5 * time.Minute)
	o.Delete("Leads", ids[:50]...) // listed last
	o.Advance(time.Second)
	o.Delete("Leads", ids[50:2050]...)
	leads, _ := crm.Find("leads")
	settled := false
	for range 10 {
		got, err := o.mirror.Run(t.Context(), mirror.Request{Module: leads})
		if err != nil {
			t.Fatalf("%v, %+v", err, got)
		}
		if v := got.Verification; v == nil {
			t.Fatalf("no ids were compared: %+v", got)
		} else if settled = v.Verdict != "running"; settled {
			break
		}
		o.Advance(3 * time.Minute) // the next window begins after all that was deleted, however long a call takes
	}
	row := value[map[string]any](t, o, `SELECT jsonb_build_object('verdict', verdict, 'unlisted', unlisted, 'repaired', repaired, 'mode', mode, 'cause', cause) FROM sync_verifications ORDER BY started_at LIMIT 1`)
	if diff := cmp.Diff(map[string]any{"verdict": "different", "unlisted": 50.0, "repaired": 0.0, "mode": "repair", "cause": "Zoho lists only so many deleted records at once"}, row); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	marked := o.marked(t, "leads")
	for i, id := range ids {
		if _, is := marked[id]; is != (i >= 50 && i < 2050) {
			t.Fatalf("of %d deleted records %d are marked; number %d: %t", 2050, len(marked), i, is)
		}
	}
	// The window has moved past the wall: later runs have nothing to compare.
	o.Advance(10 * time.Minute)
	if got := o.run(t, "leads"); got.Verification != nil {
		t.Errorf("%+v", got.Verification)
	}
	want := map[string]any{"verdict": "equal", "checked": int64(350), "repaired": int64(50)}
	if diff := cmp.Diff(want, told(o.verify(t, mirror.Request{Module: leads, Mode: mirror.ModeRepair, AcceptUnlisted: true}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	o.equal(t, "leads")
}

// A record in the bin is looked at each day, one that is gone for good never again; and what
// can no longer come back is forgotten, but not before it was looked at. Its row stays marked.
func TestDeletionsAreForgotten(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	ids := seed(o, 8)
	o.run(t, "leads")
	o.Advance(5 * time.Minute)
	binned, purged, old, oldPurged, young := ids[0], ids[1], ids[2], ids[3], ids[4]
	o.Delete("Leads", binned, old, young)
	o.Purge("Leads", purged, oldPurged)
	o.run(t, "leads")
	const watched = "SELECT array_agg(record_id ORDER BY record_id) FROM sync_deletions WHERE due_at IS NOT NULL"
	for range 2 { // then none of them is listed again
		if diff := cmp.Diff([]string{binned, old, young}, value[[]string](t, o, watched)); diff != "" {
			t.Errorf("watched (-want +got):\n%s", diff)
		}
		o.Advance(2 * time.Hour)
		o.run(t, "leads")
	}
	o.nextRound(t)
	execute(t, o, "UPDATE sync_deletions SET deleted_at = $2 WHERE record_id = ANY ($1)", []string{old, oldPurged}, o.Now().AddDate(0, 0, -66))
	execute(t, o, "UPDATE sync_deletions SET deleted_at = $2 WHERE record_id = $1", young, o.Now().AddDate(0, 0, -64))
	execute(t, o, "INSERT INTO sync_deletions (module, record_id, kind, deleted_at, listing, due_at) VALUES ('leads', $1, 'recycle', '2026-08-01T06:30:00Z', 1, clock_timestamp())", ids[5])
	o.Purge("Leads", ids[5])

	o.ResetCalls()
	o.run(t, "leads")
	looked := ""
	for _, call := range byID(o) {
		looked += call.Query
	}
	for id, want := range map[string]bool{binned: true, purged: false, old: true, oldPurged: false, young: true, ids[5]: true} {
		if strings.Contains(looked, id) != want {
			t.Errorf("%s: looked at %t, want %t", id, !want, want)
		}
	}
	known := value[map[string]string](t, o, "SELECT jsonb_object_agg(record_id, kind || ' ' || state || CASE WHEN due_at > clock_timestamp() THEN ', due' ELSE '' END) FROM sync_deletions WHERE record_id <> $1", ids[5])
	if diff := cmp.Diff(map[string]string{binned: "recycle confirmed, due", purged: "permanent confirmed", young: "recycle confirmed, due"}, known); diff != "" {
		t.Errorf("known (-want +got):\n%s", diff)
	}
	marked := o.marked(t, "leads")
	for _, id := range []string{binned, purged, old, oldPurged, young, ids[5]} {
		if marked[id] == "" {
			t.Errorf("%s is not marked", id)
		}
	}
	if len(marked) != 6 {
		t.Errorf("marked: %v", marked)
	}
	o.equal(t, "leads")
}

// Zoho may list a converted lead as deleted; it can be read, so it stays live, however often
// it is looked at.
func TestConvertedLeadListedAsDeleted(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	ids := seed(o, 3)
	o.Convert(ids[0], true)
	o.run(t, "leads")
	o.Advance(5 * time.Minute)
	o.Convert(ids[1], false)
	listed := fmt.Sprintf(`{"data":[{"id":%q,"type":"recycle","deleted_time":"2026-11-23T12:04:00Z"},{"id":%q,"type":"permanent","deleted_time":"2026-11-23T12:04:00Z"}],
		"info":{"per_page":200,"count":2,"page":1,"more_records":false}}`, ids[0], ids[1])
	for range 3 {
		o.Plan(1, func(c zohosim.Call) bool { return strings.HasSuffix(c.Path, "/deleted") }, zohosim.Fault{Status: http.StatusOK, Body: listed})
		o.ResetCalls()
		if got := o.run(t, "leads"); got.Counts.Deleted != 0 || got.Counts.Restored != 0 {
			t.Errorf("%+v", got.Counts)
		}
		if len(byID(o)) == 0 {
			t.Error("nobody looked")
		}
		o.equal(t, "leads")
		o.Advance(5 * time.Minute)
		o.nextRound(t)
	}
	if n := value[int](t, o, "SELECT count(*) FROM sync_deletions WHERE state = 'readable' AND due_at IS NOT NULL"); n != 2 {
		t.Errorf("%d are watched", n)
	}
}

// Whatever befalls the second pass, edits are committed with their watermarks, nothing is
// marked by half, and the next run carries the deletions over.
func TestDeletionsFailAlone(t *testing.T) {
	t.Parallel()
	refusal := func(code string) string {
		return fmt.Sprintf(`{"code":%q,"details":{},"message":"no","status":"error"}`, code)
	}
	for name, c := range map[string]struct {
		fault  zohosim.Fault
		failed string // empty: the run is ok and has more
	}{
		"no permission":     {zohosim.Fault{Status: http.StatusForbidden, Body: refusal("NO_PERMISSION")}, "NO_PERMISSION"},
		"no such scope":     {zohosim.Fault{Status: http.StatusUnauthorized, Body: refusal("OAUTH_SCOPE_MISMATCH")}, "OAUTH_SCOPE_MISMATCH"},
		"out of credits":    {zohosim.Fault{Status: http.StatusTooManyRequests, Body: refusal("TOO_MANY_REQUESTS"), RetryAfter: "3600"}, "TOO_MANY_REQUESTS"},
		"not what it seems": {zohosim.Fault{Status: http.StatusOK, Body: `{"data":[{"id":null}],"info":{}}`}, "leads"},
		"no answer":         {zohosim.Fault{Hang: true}, ""},
	} {
		for call, match := range map[string]func(zohosim.Call) bool{
			"list": func(c zohosim.Call) bool { return strings.HasSuffix(c.Path, "/deleted") },
			"look": func(c zohosim.Call) bool { return strings.Contains(c.Query, "ids=") },
		} {
			if name == "not what it seems" && call == "look" {
				continue // a look is judged by the ids that come, and none does
			}
			t.Run(name+", "+call, func(t *testing.T) {
				t.Parallel()
				config := defaultConfig
				if c.fault.Hang {
					config.Deadline = 3 * time.Second
				}
				o := newOrg(t, zohosim.Config{}, config)
				ids := seed(o, 6)
				o.run(t, "leads")
				o.Advance(5 * time.Minute)
				o.run(t, "leads")
				o.Advance(5 * time.Minute)
				o.Update("Leads", ids[0], zohosim.Record{"Company": "Edited"})
				added := o.Insert("Leads", lead(9))
				o.Convert(ids[1], false)
				o.Delete("Leads", ids[2], ids[3])
				const before, after = "2026-11-23T12:04:59+00:00", "2026-11-23T12:09:59+00:00"
				o.Plan(99, match, c.fault)
				leads, _ := crm.Find("leads")
				got, err := o.mirror.Run(t.Context(), mirror.Request{Module: leads})
				if failed := err != nil && strings.Contains(got.Err, c.failed); failed != (c.failed != "") || (err == nil) != (got.More && got.Reason == "time-budget") {
					t.Errorf("%v, %+v", err, got)
				}
				rows := o.rows(t, "leads")
				if rows[ids[0]]["company"] != "Edited" || rows[added] == nil || rows[ids[1]]["converted"] != true || len(o.marked(t, "leads")) != 0 {
					t.Errorf("rows: %v, %v, %v, marked: %v", rows[ids[0]], rows[added], rows[ids[1]], o.marked(t, "leads"))
				}
				want := map[string]string{"modified": after, "newly_converted": after, "deleted": map[string]string{"list": before, "look": after}[call]}
				marks := value[map[string]string](t, o, "SELECT jsonb_object_agg(stream, watermark) FROM sync_watermarks WHERE stream <> 'converted'")
				if diff := cmp.Diff(want, marks); diff != "" {
					t.Errorf("watermarks (-want +got):\n%s", diff)
				}
				o.ClearPlans()
				o.Advance(time.Minute)
				if got := o.run(t, "leads"); got.Counts.Deleted != 2 {
					t.Errorf("the next run: %+v", got.Counts)
				}
				o.equal(t, "leads")
			})
		}
	}
}
