package mirror_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zohosim"
)

// verify runs a verification to its verdict, as a scheduler would call for it.
func (o *org) verify(t testing.TB, request mirror.Request) *postgres.Verification {
	t.Helper()
	for range 100 {
		got, err := o.mirror.Run(t.Context(), request)
		if err != nil {
			t.Fatalf("verify: %v, %+v", err, got)
		}
		if !got.More {
			return got.Verification
		}
		o.Advance(time.Minute)
	}
	t.Fatal("a hundred runs were not enough")
	return nil
}

// told is what a verification says, without what differs from run to run.
func told(v *postgres.Verification) map[string]any {
	all := map[string]any{"verdict": v.Verdict, "checked": v.Checked}
	for finding, n := range v.Found {
		if n > 0 {
			all[finding] = n
		}
	}
	if v.Repaired > 0 {
		all["repaired"] = v.Repaired
	}
	return all
}

// Every way in which a mirror can differ from the CRM is found, told apart, and mended; a
// row that Zoho neither shows nor lists as deleted only on a person's word.
func TestVerifyAndRepair(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.PageSize = 7 // the states of conversion are merged from pages of different reach
	o := newOrg(t, zohosim.Config{}, config)
	o.AddField("Leads", zohosim.Field{API: "Score", Type: "formula", Custom: true})
	ids := seed(o, 40)
	for _, i := range []int{3, 4, 5, 20, 39} {
		o.Convert(ids[i], false)
	}
	short := o.Insert("Leads", zohosim.Record{"id": "999999999999999999", "Last_Name": "An id of 18 digits"})
	o.Delete("Leads", ids[30])
	leads, _ := crm.Find("leads")
	o.runAll(t, "leads")
	o.Advance(5 * time.Minute)
	o.Delete("Leads", ids[31], ids[32])
	o.run(t, "leads")
	o.Advance(2 * time.Hour)
	o.run(t, "leads")

	request := mirror.Request{Module: leads, Mode: mirror.ModeVerify, Deep: true}
	if diff := cmp.Diff(map[string]any{"verdict": "equal", "checked": int64(38)}, told(o.verify(t, request))); diff != "" {
		t.Errorf("a good mirror (-want +got):\n%s", diff)
	}

	o.UpdateQuietly("Leads", ids[0], zohosim.Record{"Score": 17}) // a formula moves no time
	execute(t, o, "DELETE FROM leads WHERE id = ANY ($1)", []string{ids[1], ids[3], short})
	execute(t, o, "UPDATE leads SET modified_time = modified_time - interval '1 hour', company = 'Old' WHERE id = ANY ($1)", []string{ids[2], ids[4]})
	execute(t, o, "UPDATE leads SET deleted_at = now() WHERE id = ANY ($1)", []string{ids[6], ids[20]})
	execute(t, o, "UPDATE leads SET deleted_at = NULL WHERE id = $1", ids[31])
	execute(t, o, "INSERT INTO leads (id, created_time, modified_time) VALUES ('5725767000000500002', $1, $1), ('17', $1, $1)", noon)
	want := map[string]any{"verdict": "different", "checked": int64(38), "different": int64(1), "missing": int64(3), "stale": int64(2),
		"wrongly_deleted": int64(2), "wrongly_live": int64(1), "unlisted": int64(2)}
	for range 2 { // a verification changes nothing
		if diff := cmp.Diff(want, told(o.verify(t, request))); diff != "" {
			t.Errorf("a bad mirror (-want +got):\n%s", diff)
		}
	}
	delete(want, "different")
	if diff := cmp.Diff(want, told(o.verify(t, mirror.Request{Module: leads, Mode: mirror.ModeVerify}))); diff != "" {
		t.Errorf("times alone (-want +got):\n%s", diff)
	}

	request.Mode = mirror.ModeRepair
	if diff := cmp.Diff(map[string]any{"verdict": "different", "checked": int64(38), "unlisted": int64(2), "repaired": int64(9)}, told(o.verify(t, request))); diff != "" {
		t.Errorf("repair (-want +got):\n%s", diff)
	}
	request.AcceptUnlisted = true
	if diff := cmp.Diff(map[string]any{"verdict": "equal", "checked": int64(38), "repaired": int64(2)}, told(o.verify(t, request))); diff != "" {
		t.Errorf("repair with a person's word (-want +got):\n%s", diff)
	}
	o.equal(t, "leads")
	if n := len(o.marked(t, "leads")); n != 4 {
		t.Errorf("%d rows are marked", n)
	}
	row := value[map[string]any](t, o, `SELECT to_jsonb(v) - ARRAY['id', 'as_of', 'started_at', 'ended_at', 'duration_ms', 'calls', 'credits'] FROM sync_verifications v
		WHERE ended_at >= started_at AND calls > 0 AND credits >= calls ORDER BY started_at DESC LIMIT 1`)
	if diff := cmp.Diff(map[string]any{"module": "leads", "mode": "repair", "deep": true, "accept_unlisted": true, "cause": nil, "verdict": "equal", "swept": true, "cursor_id": "", "checked": 38.0,
		"missing": 0.0, "stale": 0.0, "different": 0.0, "wrongly_deleted": 0.0, "wrongly_live": 0.0, "unlisted": 0.0, "quarantined": 0.0, "repaired": 2.0}, row); diff != "" {
		t.Errorf("sync_verifications (-want +got):\n%s", diff)
	}
}

// Whatever is edited, deleted, restored or converted while a verification goes on is no false
// alarm, and it goes on where a killed or late run stopped.
func TestVerifyWhileEdited(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.PageSize = 10
	o := newOrg(t, zohosim.Config{VisibilityLag: 20 * time.Second}, config)
	ids := seed(o, 200)
	o.Convert(ids[7], false)
	o.Advance(time.Minute)
	o.runAll(t, "leads")
	o.Advance(time.Hour)
	leads, _ := crm.Find("leads")
	n := 0
	o.OnCall(func(c zohosim.Call) {
		if !strings.Contains(c.Query, "order by id") {
			return
		}
		n++
		o.Advance(time.Second)
		switch victim := ids[(n*37)%200]; n % 5 {
		case 0:
			o.Update("Leads", victim, zohosim.Record{"Company": fmt.Sprint("Company ", n)})
		case 1:
			if _, live := o.Truth("Leads")[victim]; live {
				o.Delete("Leads", victim)
			}
		case 2:
			if record, live := o.Truth("Leads")[victim]; live && record["Converted__s"] == false {
				o.Convert(victim, n%2 == 0)
			}
		case 3:
			o.Insert("Leads", lead(1000+n))
		}
	})
	got := o.verify(t, mirror.Request{Module: leads, Mode: mirror.ModeVerify, Deep: true})
	if got.Verdict != postgres.VerdictEqual || got.Checked < 150 {
		t.Errorf("%+v: %s", got, value[string](t, o, "SELECT jsonb_agg(to_jsonb(f))::text FROM sync_findings f WHERE state = 'confirmed'"))
	}
}

// A verification is cut by the deadline like any run and goes on where it stopped, also in
// ordinary ticks.
func TestVerifyIsResumed(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.PageSize = 50
	o := newOrg(t, zohosim.Config{}, config)
	o.InsertMany("Deals", 1000, deal)
	o.runAll(t, "deals")
	deals, _ := crm.Find("deals")
	calls := 0
	o.OnCall(func(c zohosim.Call) {
		if strings.Contains(c.Query, "order by id") {
			if calls++; calls == 5 {
				o.mirror.Stop()
			}
		}
	})
	got, err := o.mirror.Run(t.Context(), mirror.Request{Module: deals, Mode: mirror.ModeVerify})
	if err != nil || !got.More || got.Verification.Verdict != postgres.VerdictRunning || got.Verification.Checked != 250 {
		t.Fatalf("%v %+v %+v", err, got, got.Verification)
	}
	calls = 0
	o.mirror = o.process(t, o.database)
	if tick := o.run(t, "deals"); !tick.More || tick.Reason != "stopping" || tick.Verification == nil || tick.Verification.Checked != 500 {
		t.Errorf("a tick that was stopped: %+v %+v", tick, tick.Verification)
	}
	o.config.Deadline = 8 * time.Second
	o.Plan(1, func(c zohosim.Call) bool { return strings.Contains(c.Query, "order by id") }, zohosim.Fault{Hang: true})
	o.mirror = o.process(t, o.database)
	if tick := o.run(t, "deals"); !tick.More || tick.Reason != "time-budget" || tick.Verification == nil || tick.Verification.Checked != 500 {
		t.Errorf("a tick whose time was spent: %+v %+v", tick, tick.Verification)
	}
	o.config.Deadline = config.Deadline
	o.mirror = o.process(t, o.database)
	o.ResetCalls()
	second := o.run(t, "deals")
	if second.More || second.Reason != "complete" || second.Verification == nil || second.Verification.Verdict != postgres.VerdictEqual || second.Verification.Checked != 1000 || second.Verification.ID != got.Verification.ID {
		t.Errorf("%+v %+v", second, second.Verification)
	}
	body, err := json.Marshal(second)
	if err != nil || !strings.Contains(string(body), `"verification":{"id":"`+got.Verification.ID+`","mode":"verify","deep":false,"verdict":"equal"`) {
		t.Errorf("%s", body)
	}
	o.run(t, "deals")
}

// A mirror that slept longer than Zoho remembers compares all ids by itself.
func TestLongOutage(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	ids := seed(o, 30)
	o.run(t, "leads")
	o.Advance(time.Hour)
	o.Delete("Leads", ids[0])
	o.Advance(130 * 24 * time.Hour) // longer than Zoho remembers it
	o.Purge("Leads", ids[1])
	for range 3 {
		o.run(t, "leads")
		o.Advance(2 * time.Minute)
	}
	if diff := cmp.Diff(1, len(o.marked(t, "leads"))); diff != "" {
		t.Errorf("marked (-want +got):\n%s", diff)
	}
	row := value[map[string]any](t, o, "SELECT jsonb_build_object('verdict', verdict, 'unlisted', unlisted, 'mode', mode, 'cause', cause) FROM sync_verifications")
	if diff := cmp.Diff(map[string]any{"verdict": "different", "unlisted": 1.0, "mode": "repair", "cause": "the last list of deleted records is older than what Zoho remembers"}, row); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// That ids must be compared is not forgotten when the run that notices it ends early.
func TestLongOutageIsNotForgotten(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	seed(o, 30)
	o.run(t, "leads")
	o.Advance(130 * 24 * time.Hour)
	stopped := false
	o.OnCall(func(c zohosim.Call) {
		if strings.HasSuffix(c.Path, "/deleted") && !stopped {
			stopped = true
			o.mirror.Stop()
		}
	})
	o.run(t, "leads")
	o.mirror = o.process(t, o.database)
	for range 2 {
		o.Advance(2 * time.Minute)
		o.runAll(t, "leads")
	}
	if verdict := value[string](t, o, "SELECT string_agg(verdict, ',') FROM sync_verifications WHERE cause IS NOT NULL"); verdict != "equal" {
		t.Errorf("verdicts %q", verdict)
	}
}

// A record that no longer fits, though its time has not moved, and a row of somebody's own
// are found; neither keeps the ordinary ticks from their work.
func TestVerifyOddRows(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	ids := seed(o, 5)
	o.run(t, "leads")
	o.UpdateQuietly("Leads", ids[0], zohosim.Record{"Annual_Revenue": json.Number("1.234")})
	execute(t, o, "INSERT INTO leads (id, created_time, modified_time) VALUES ('test-1', $1, $1)", noon)
	o.Advance(time.Hour)
	leads, _ := crm.Find("leads")
	got := o.verify(t, mirror.Request{Module: leads, Mode: mirror.ModeVerify, Deep: true})
	if diff := cmp.Diff(map[string]any{"verdict": "different", "checked": int64(5), "quarantined": int64(1), "unlisted": int64(1)}, told(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	o.run(t, "leads")
}

// A page that is too large for a deep sweep is halved.
func TestDeepVerifyOfLargeRecords(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	seed(o, 20)
	o.run(t, "leads")
	o.Plan(3, func(c zohosim.Call) bool { return strings.Contains(c.Query, "order by id") }, zohosim.Fault{Padding: 33 << 20})
	leads, _ := crm.Find("leads")
	if got := o.verify(t, mirror.Request{Module: leads, Mode: mirror.ModeVerify, Deep: true}); got.Verdict != postgres.VerdictEqual || got.Checked != 20 {
		t.Errorf("%+v", got)
	}
}
