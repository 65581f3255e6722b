package mirror_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

// entries are the whole rows of the quarantine by record, times and plan aside.
func entries(t testing.TB, o *org) map[string]map[string]any {
	t.Helper()
	all := value[[]map[string]any](t, o, `SELECT coalesce(jsonb_agg(jsonb_strip_nulls(to_jsonb(q) - ARRAY['first_seen_at', 'last_seen_at', 'plan', 'settled_at'])
		|| jsonb_build_object('open', settled_at IS NULL) ORDER BY first_seen_at), '[]') FROM sync_quarantine q`)
	by := map[string]map[string]any{}
	for _, e := range all {
		by[e["record_id"].(string)] = e
	}
	if len(by) != len(all) {
		t.Errorf("%d entries of %d records", len(all), len(by))
	}
	return by
}

// replay is a run of mode replay that must be ok.
func (o *org) replay(t testing.TB, module string, ids ...string) mirror.Result {
	t.Helper()
	found, _ := crm.Find(module)
	result, err := o.mirror.Run(t.Context(), mirror.Request{Module: found, Mode: mirror.ModeReplay, IDs: ids})
	if err != nil || result.Status != mirror.StatusOK {
		t.Fatalf("replay of %s: %v, %+v", module, err, result)
	}
	return result
}

func open(t testing.TB, o *org) int {
	t.Helper()
	return value[int](t, o, "SELECT count(*) FROM sync_quarantine WHERE settled_at IS NULL")
}

// byID are the calls that read records by their ids.
func byID(o *org) (calls []zohosim.Call) {
	for _, c := range o.Calls() {
		if strings.Contains(c.Query, "id in (") || strings.Contains(c.Query, "ids=") {
			calls = append(calls, c)
		}
	}
	return calls
}

const allowPodcast = `ALTER TABLE leads DROP CONSTRAINT leads_lead_status_check, ADD CONSTRAINT leads_lead_status_check CHECK (lead_status IN ('Contacted', 'Podcast'))`

// An entry says what is wrong, to people and to programs, and counts its attempts.
func TestQuarantineEntry(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.Insert("Leads", lead(1))
	status := o.Insert("Leads", zohosim.Record{"Last_Name": "no such status", "Lead_Status": "Podcast", "No_of_Employees": 7})
	number := o.Insert("Leads", zohosim.Record{"Last_Name": "no number", "No_of_Employees": "many"})
	first := o.run(t, "leads")

	entry := func(id, field, bad, rule, reason string, attempts int, by mirror.Result) map[string]any {
		return map[string]any{"module": "leads", "record_id": id, "modified_time": "2026-11-23T12:00:00+00:00", "field": field, "value": bad, "rule": rule,
			"reason": reason, "attempts": float64(attempts), "run_id": by.RunID.String(), "open": true}
	}
	compare := func(want ...map[string]any) {
		t.Helper()
		got := entries(t, o)
		for id, e := range got {
			if payload, _ := e["payload"].(map[string]any); payload["id"] != id || payload["Last_Name"] == nil {
				t.Errorf("payload of %s: %v", id, e["payload"])
			}
			delete(e, "payload")
		}
		by := map[string]map[string]any{}
		for _, e := range want {
			by[e["record_id"].(string)] = e
		}
		if diff := cmp.Diff(by, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	const refused, many = "refused by the table's leads_lead_status_check", `No_of_Employees is "many", not a whole number of at most 64 bits`
	compare(entry(status, "Lead_Status", "Podcast", "leads_lead_status_check", refused, 1, first),
		entry(number, "No_of_Employees", "many", "bigint", many, 1, first))

	untouched(t, o, func() { o.run(t, "leads") }, "sync_quarantine") // the overlap shows them again
	o.ResetCalls()
	second := o.replay(t, "leads", number)
	for _, call := range o.Calls() {
		if call.Path != "/crm/v8/coql" {
			t.Errorf("a record that came was asked for again: %+v", call)
		}
	}
	compare(entry(status, "Lead_Status", "Podcast", "leads_lead_status_check", refused, 1, first),
		entry(number, "No_of_Employees", "many", "bigint", many, 2, second))
	if got := answer(t, second); got["mode"] != "replay" || got["quarantined"] != 1.0 || len(got["still_bad"].([]any)) != 1 {
		t.Errorf("%v", got)
	}
	third := o.replay(t, "leads")
	compare(entry(status, "Lead_Status", "Podcast", "leads_lead_status_check", refused, 2, third),
		entry(number, "No_of_Employees", "many", "bigint", many, 3, third))

	execute(t, o, allowPodcast)
	fourth := o.replay(t, "leads")
	if diff := cmp.Diff([]string{status}, fourth.Replay.Settled); diff != "" || len(fourth.Replay.StillBad) != 1 || fourth.Counts.Inserted != 1 {
		t.Errorf("%+v", fourth)
	}
	if by := entries(t, o)[status]; by["open"] != false || by["settled_by"] != fourth.RunID.String() || by["reason"] != refused {
		t.Errorf("settled: %v", by)
	}
	o.equal(t, "leads", number)
}

// Records without an id are kept, and cannot be replayed.
func TestQuarantineWithoutID(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.Insert("Leads", lead(1))
	o.InsertBroken("Leads", zohosim.Record{"Last_Name": "without an id"})
	if got := o.run(t, "leads"); got.Counts.Inserted != 1 || got.Counts.Quarantined != 1 {
		t.Errorf("%+v", got)
	}
	o.ResetCalls()
	execute(t, o, allowPodcast) // nothing that could be tried again
	o.run(t, "leads")
	result := o.replay(t, "leads")
	if len(result.Replay.NoID) != 1 || len(byID(o)) != 0 || open(t, o) != 1 {
		t.Errorf("%+v", result.Replay)
	}
	if result = o.replay(t, "leads", result.Replay.NoID...); len(result.Replay.NoID) != 1 {
		t.Errorf("asked for by name: %+v", result.Replay)
	}
}

// After a migration the next tick tries what may fit now, without an edit; what is still
// bad costs nothing more.
func TestQuarantineIsTriedAfterAMigration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		migration string
		record    zohosim.Record
		fits      bool
	}{
		"a column widened": {"DROP VIEW deals_live; ALTER TABLE deals ALTER COLUMN amount TYPE numeric(14,3); CREATE VIEW deals_live AS SELECT * FROM deals", zohosim.Record{"Deal_Name": "D", "Amount": json.Number("0.005")}, true},
		"a CHECK replaced": {"ALTER TABLE deals DROP CONSTRAINT deals_stage_check, ADD CONSTRAINT deals_stage_check CHECK (stage IN ('Qualification', 'Nowhere'))",
			zohosim.Record{"Deal_Name": "D", "Stage": "Nowhere"}, true},
		"a CHECK dropped":            {"ALTER TABLE deals DROP CONSTRAINT deals_stage_check", zohosim.Record{"Deal_Name": "D", "Stage": "Nowhere"}, true},
		"something else":             {"ALTER TABLE deals ADD CONSTRAINT probability CHECK (probability < 1000)", zohosim.Record{"Deal_Name": "D", "Stage": "Nowhere"}, false},
		"a column of the team's own": {"ALTER TABLE deals ADD COLUMN mood text", zohosim.Record{"Deal_Name": "D", "Probability": "x"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrg(t, zohosim.Config{}, defaultConfig)
			o.Insert("Deals", deal(1))
			id := o.Insert("Deals", c.record)
			o.run(t, "deals")
			o.Advance(time.Hour)
			o.Insert("Deals", deal(2))
			o.run(t, "deals")
			o.Advance(time.Minute)
			o.run(t, "deals")
			if calls := byID(o); len(calls) != 0 || open(t, o) != 1 {
				t.Fatalf("before: %+v", calls)
			}
			for statement := range strings.SplitSeq(c.migration, ";") {
				execute(t, o, statement)
			}
			got := o.run(t, "deals")
			if calls := byID(o); len(calls) != 1 || got.Reason != "complete" || got.More {
				t.Errorf("%+v, %+v", got, calls)
			}
			e := entries(t, o)[id]
			want := map[string]any{"open": true, "attempts": 2.0, "run_id": got.RunID.String()}
			if c.fits {
				want = map[string]any{"open": false, "attempts": 1.0, "settled_by": got.RunID.String()}
				o.equal(t, "deals")
			}
			for key, v := range want {
				if e[key] != v {
					t.Errorf("%s is %v, want %v", key, e[key], v)
				}
			}
			o.ResetCalls()
			untouched(t, o, func() { o.run(t, "deals") }, "sync_quarantine")
			if calls := o.Calls(); len(calls) != 2 { // the other lists deletions
				t.Errorf("afterwards: %+v", calls)
			}
		})
	}
}

// What is tried again is bounded a run, and yields to the run's own work.
func TestQuarantineIsTriedInParts(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Leads", 450, func(i int) zohosim.Record {
		return zohosim.Record{"Last_Name": fmt.Sprint("L", i), "Lead_Status": "Podcast"}
	})
	o.run(t, "leads")
	o.Advance(time.Hour)
	o.run(t, "leads")
	o.Advance(time.Hour)
	o.run(t, "leads")
	execute(t, o, allowPodcast)

	o.OnCall(func(zohosim.Call) { o.mirror.Stop() })
	if o.run(t, "leads"); open(t, o) != 450 {
		t.Errorf("a run that was asked to end went on: %d open", open(t, o))
	}
	o.OnCall(nil)
	o.mirror = o.process(t, o.database)
	for i, want := range []int{250, 50, 0, 0} {
		o.ResetCalls()
		got := o.run(t, "leads")
		if n := open(t, o); n != want || got.More || got.Reason != "complete" {
			t.Errorf("run %d: %d open, %+v", i, n, got)
		}
		if calls, most := len(byID(o)), []int{8, 8, 2, 0}[i]; calls != most {
			t.Errorf("run %d: %d calls, want %d", i, calls, most)
		}
	}
	o.equal(t, "leads")
}

// A replay that is asked to end says what it did not come to.
func TestReplayIsBounded(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Leads", 120, func(i int) zohosim.Record {
		return zohosim.Record{"Last_Name": fmt.Sprint("L", i), "Lead_Status": "Podcast"}
	})
	o.run(t, "leads")
	execute(t, o, allowPodcast)
	o.OnCall(func(zohosim.Call) { o.mirror.Stop() })
	first := o.replay(t, "leads")
	if did := first.Replay; !first.More || first.Reason != "stopping" || len(did.Settled) != 50 || len(did.Untried) != 70 {
		t.Errorf("%+v", first)
	}
	o.OnCall(nil)
	o.mirror = o.process(t, o.database)
	second := o.replay(t, "leads", first.Replay.Untried...)
	if did := second.Replay; second.More || len(did.Settled) != 70 || open(t, o) != 0 {
		t.Errorf("%+v", second)
	}
	o.equal(t, "leads")
}

// A record that Zoho no longer has is settled; one that a query does not show is not.
func TestReplayOfGoneRecords(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	var ids []string
	for i := range 5 {
		ids = append(ids, o.Insert("Leads", zohosim.Record{"Last_Name": fmt.Sprint("L", i), "Lead_Status": "Podcast"}))
	}
	o.run(t, "leads")
	binned, purged, converted := ids[0], ids[1], ids[2]
	o.Delete("Leads", binned)
	o.Purge("Leads", purged)
	o.Convert(converted, false)
	o.Plan(2, func(c zohosim.Call) bool { return strings.Contains(c.Query, "id in (") }, zohosim.Fault{Status: 200, Body: `{"data":[],"info":{"count":0,"more_records":false}}`})
	result := o.replay(t, "leads")
	want := slices.Clone(ids[:2])
	if diff := cmp.Diff(want, result.Replay.Gone); diff != "" || len(result.Replay.StillBad) != 3 || len(result.Replay.Settled) != 0 {
		t.Errorf("%+v", result.Replay)
	}
	for id, e := range entries(t, o) {
		gone, attempts := slices.Contains(want, id), 2.0
		if gone {
			attempts = 1
		}
		if e["open"] == gone || e["attempts"] != attempts || e["reason"] != "refused by the table's leads_lead_status_check" {
			t.Errorf("%s: %v", id, e)
		}
	}
	execute(t, o, allowPodcast)
	if got := o.run(t, "leads"); got.Counts.Inserted != 3 || open(t, o) != 0 {
		t.Errorf("%+v", got)
	}
	o.equal(t, "leads")
}

// A replay is a run: it has the lock or is turned away, and a fault of the call counts as
// no attempt.
func TestReplayIsARun(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.Insert("Leads", zohosim.Record{"Last_Name": "L", "Lead_Status": "Podcast"})
	o.run(t, "leads")
	module, _ := crm.Find("leads")
	request := mirror.Request{Module: module, Mode: mirror.ModeReplay}

	execute(t, o, "UPDATE sync_locks SET claimed_by = $1, claimed_at = clock_timestamp()", uuid.NewString())
	o.ResetCalls()
	untouched(t, o, func() {
		if result, err := o.mirror.Run(t.Context(), request); err != nil || result.Status != mirror.StatusSkipped || len(o.Calls()) != 0 {
			t.Errorf("%v, %+v", err, result)
		}
	}, "sync_quarantine", "sync_locks")
	execute(t, o, "UPDATE sync_locks SET claimed_by = NULL")

	o.Plan(1, nil, zohosim.Fault{Status: 400, Body: `{"code":"SYNTAX_ERROR","details":{},"message":"error occured while parsing the query","status":"error"}`})
	untouched(t, o, func() {
		if result, err := o.mirror.Run(t.Context(), request); err == nil || result.Status != mirror.StatusFailed {
			t.Errorf("%v, %+v", err, result)
		}
	}, "sync_quarantine", "sync_watermarks")

	// A run that lost its lock meanwhile writes nothing, be it of what came or of what did not.
	gone := o.Insert("Leads", zohosim.Record{"Last_Name": "M", "Lead_Status": "Podcast"})
	o.run(t, "leads")
	o.Purge("Leads", gone)
	for path, ids := range map[string][]string{"/crm/v8/coql": nil, "/crm/v8/Leads": {gone}} {
		request.IDs = ids
		o.OnCall(func(c zohosim.Call) {
			if c.Path == path {
				execute(t, o, "UPDATE sync_locks SET claimed_by = $1", uuid.NewString())
			}
		})
		untouched(t, o, func() {
			if result, err := o.mirror.Run(t.Context(), request); err == nil || !strings.Contains(result.Err, "no longer holds") {
				t.Errorf("%v, %+v", err, result)
			}
		}, "sync_quarantine", "sync_watermarks")
		o.OnCall(nil)
		execute(t, o, "UPDATE sync_locks SET claimed_by = NULL")
	}

	untouched(t, o, func() { o.replay(t, "leads") }, "sync_watermarks", "leads")
	if modes := value[string](t, o, "SELECT string_agg(mode || ' ' || status, ', ' ORDER BY started_at) FROM sync_runs"); modes != "sync ok, replay skipped, replay failed, sync ok, replay failed, replay failed, replay ok" {
		t.Errorf("runs: %s", modes)
	}
}
