package mirror_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zohosim"
)

// marked are the rows that are marked as deleted, with the time.
func (o *org) marked(t testing.TB, table string) map[string]string {
	t.Helper()
	return value[map[string]string](t, o, fmt.Sprintf(
		`SELECT coalesce(jsonb_object_agg(id, to_char(deleted_at AT TIME ZONE 'UTC', 'HH24:MI:SS')), '{}') FROM %s WHERE deleted_at IS NOT NULL`, table))
}

// nextRound lets a day pass for the deletions that are looked at once a day.
func (o *org) nextRound(t testing.TB) {
	t.Helper()
	execute(t, o, "UPDATE sync_deletions SET due_at = due_at - interval '1 day'")
}

func seed(o *org, n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, o.Insert("Leads", lead(i)))
	}
	return ids
}

func (o *org) calls(path string) int {
	n := 0
	for _, c := range o.Calls() {
		if strings.HasSuffix(c.Path, path) {
			n++
		}
	}
	return n
}

// Pain 4: deletes never arrive.
func TestPain04Deletes(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	ids := seed(o, 6)
	o.Convert(ids[5], false)
	o.run(t, "leads")
	o.Advance(5 * time.Minute)
	o.Delete("Leads", ids[0])
	o.Purge("Leads", ids[1]) // for good: an entry without a name
	o.Advance(time.Minute)
	o.Delete("Leads", ids[2])
	o.Purge("Leads", ids[2]) // from the bin
	o.Delete("Leads", ids[5])
	if got := o.run(t, "leads"); got.Counts.Deleted != 4 || got.Counts.Updated != 0 {
		t.Errorf("%+v", got.Counts)
	}
	want := map[string]string{ids[0]: "12:05:00", ids[1]: "12:05:00", ids[2]: "12:06:00", ids[5]: "12:06:00"}
	if diff := cmp.Diff(want, o.marked(t, "leads")); diff != "" {
		t.Errorf("(-want +marked):\n%s", diff)
	}
	o.equal(t, "leads")

	// What was marked stays so, costs a call a tick, and is not written again.
	before := value[string](t, o, "SELECT jsonb_agg(jsonb_build_array(id, ctid, xmin) ORDER BY id)::text FROM leads")
	for range 3 {
		o.Advance(5 * time.Minute)
		o.ResetCalls()
		o.run(t, "leads")
		if len(o.Calls()) != 4 {
			t.Errorf("an idle tick: %d calls", len(o.Calls()))
		}
	}
	o.nextRound(t)
	o.run(t, "leads")
	if after := value[string](t, o, "SELECT jsonb_agg(jsonb_build_array(id, ctid, xmin) ORDER BY id)::text FROM leads"); after != before {
		t.Error("rows were touched")
	}
}

// Promise 7: a restored record loses its mark within a day, whether or not its time moved
// and whether or not the mirror ever held it.
func TestPromise07Restores(t *testing.T) {
	t.Parallel()
	for _, moves := range []bool{false, true} {
		o := newOrg(t, zohosim.Config{}, defaultConfig)
		ids := seed(o, 3)
		o.run(t, "leads")
		o.Advance(5 * time.Minute)
		o.Update("Leads", ids[0], zohosim.Record{"Company": "Edited just before"}) // never read
		never := o.Insert("Leads", lead(7))                                        // nor was this
		o.Delete("Leads", ids[0], ids[1], never)
		o.run(t, "leads")
		if diff := cmp.Diff(map[string]string{ids[0]: "12:05:00", ids[1]: "12:05:00"}, o.marked(t, "leads")); diff != "" {
			t.Errorf("(-want +marked):\n%s", diff)
		}
		for range 2 { // until the streams read none of it again
			o.Advance(time.Hour)
			o.run(t, "leads")
		}
		for _, id := range []string{ids[0], ids[1], never} {
			o.Restore("Leads", id, moves)
		}
		o.Convert(ids[1], false)
		first := o.run(t, "leads").Counts
		if moves { // by the streams, in the next tick
			o.equal(t, "leads")
		}
		o.Advance(time.Hour)
		o.nextRound(t)
		got := o.run(t, "leads")
		if n := first.Restored + got.Counts.Restored; n != 3 {
			t.Errorf("restored %d: %+v, then %+v", n, first, got.Counts)
		}
		o.equal(t, "leads")
		// Deleted once more, it is marked with its new time.
		o.Delete("Leads", ids[0])
		o.run(t, "leads")
		if diff := cmp.Diff(map[string]string{ids[0]: "15:05:00"}, o.marked(t, "leads")); diff != "" {
			t.Errorf("(-want +marked):\n%s", diff)
		}
	}
}

// A record that is listed but can be read stays as it is, and is looked at again.
func TestListedButReadable(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	ids := seed(o, 2)
	o.run(t, "leads")
	o.Advance(5 * time.Minute)
	o.Delete("Leads", ids[0])
	readable := fmt.Sprintf(`{"data":[{"id":%q}],"info":{"per_page":200,"count":1,"page":1,"more_records":false}}`, ids[0])
	o.Plan(1, func(c zohosim.Call) bool { return strings.Contains(c.Query, "ids=") }, zohosim.Fault{Status: http.StatusOK, Body: readable})
	o.run(t, "leads")
	if n := len(o.marked(t, "leads")); n != 0 {
		t.Errorf("%d rows are marked", n)
	}
	execute(t, o, "UPDATE sync_deletions SET due_at = due_at - interval '1 minute'")
	o.run(t, "leads")
	if diff := cmp.Diff(map[string]string{ids[0]: "12:05:00"}, o.marked(t, "leads")); diff != "" {
		t.Errorf("(-want +marked):\n%s", diff)
	}
}

// Whoever is absent from an answer is taken for deleted, so an answer of an odd form says nothing.
func TestOddAnswerDeletesNothing(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"{}", `{"data":[],"info":{}}`, `{"data":[{"id":null}],"info":{}}`, `{"data":[{"id":"17"}],"info":{}}`} {
		o := newOrg(t, zohosim.Config{}, defaultConfig)
		ids := seed(o, 2)
		o.run(t, "leads")
		o.Advance(5 * time.Minute)
		o.Delete("Leads", ids[0])
		o.Plan(1, func(c zohosim.Call) bool { return strings.Contains(c.Query, "ids=") }, zohosim.Fault{Status: http.StatusOK, Body: body})
		leads, _ := crm.Find("leads")
		if _, err := o.mirror.Run(t.Context(), mirror.Request{Module: leads}); err == nil || len(o.marked(t, "leads")) != 0 {
			t.Errorf("%s: %v, %v", body, err, o.marked(t, "leads"))
		}
		o.run(t, "leads")
		if diff := cmp.Diff(map[string]string{ids[0]: "12:05:00"}, o.marked(t, "leads")); diff != "" {
			t.Errorf("%s (-want +marked):\n%s", body, diff)
		}
	}
}

// A page that is late shows a deleted record once more: it is settled in the same run.
func TestLatePageAfterDelete(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	ids := seed(o, 2)
	o.run(t, "leads")
	o.Advance(5 * time.Minute)
	o.Delete("Leads", ids[0])
	o.run(t, "leads")
	late := fmt.Sprintf(`{"data":[{"id":%q,"Last_Name":"Lead 0","Created_Time":"2026-11-23T12:00:00Z","Modified_Time":"2026-11-23T12:04:59Z"}],"info":{"count":1,"more_records":false}}`, ids[0])
	o.Plan(1, func(c zohosim.Call) bool { return strings.Contains(c.Query, "from Leads where Modified_Time") }, zohosim.Fault{Status: http.StatusOK, Body: late})
	if got := o.run(t, "leads"); got.Counts.Updated != 1 || got.Counts.Deleted != 1 || got.Counts.Restored != 0 {
		t.Errorf("%+v", got.Counts)
	}
	if diff := cmp.Diff(map[string]string{ids[0]: "12:05:00"}, o.marked(t, "leads")); diff != "" {
		t.Errorf("(-want +marked):\n%s", diff)
	}
}

// If an unlikely share of a module is listed at once, nothing is marked and a person is
// asked; edits are mirrored all the while, and a person's word lets it pass.
func TestMassDeleteAsks(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 1500, deal)
	o.runAll(t, "deals")
	ids := make([]string, 0, 1500)
	for id := range o.Truth("Deals") {
		ids = append(ids, id)
	}
	o.Advance(5 * time.Minute)
	o.Delete("Deals", ids[:101]...)
	o.Update("Deals", ids[1400], zohosim.Record{"Next_Step": "Call"})
	module, _ := crm.Find("deals")
	for range 2 {
		got, err := o.mirror.Run(t.Context(), mirror.Request{Module: module})
		if err == nil || !strings.HasPrefix(err.Error(), "at least 101 of 1500 live rows of deals are listed as deleted at once, more than 5 %") ||
			!strings.Contains(got.Hint, "zohomirror sync deals --accept-mass-delete") {
			t.Errorf("%v, %+v", err, got)
		}
		if n := len(o.marked(t, "deals")); n != 0 {
			t.Errorf("%d rows are marked", n)
		}
		o.Advance(time.Minute)
	}
	if step := value[string](t, o, "SELECT next_step FROM deals WHERE id = $1", ids[1400]); step != "Call" {
		t.Error("the edit was not mirrored")
	}
	// One less is no more than a hundred, once the records are looked at again.
	o.Restore("Deals", ids[0], false)
	execute(t, o, "UPDATE sync_deletions SET checked_at = checked_at - interval '5 hours'")
	o.run(t, "deals")
	o.run(t, "deals")
	o.equal(t, "deals")
	if n := len(o.marked(t, "deals")); n != 100 {
		t.Errorf("%d rows are marked", n)
	}
}

// A list of several pages moves the window only when a second one had the same ids.
func TestListOfSeveralPages(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.MassDelete = 100
	o := newOrg(t, zohosim.Config{}, config)
	ids := seed(o, 700)
	o.run(t, "leads")
	o.Advance(5 * time.Minute)
	o.Delete("Leads", ids[:500]...)
	extra := ids[500:510]
	o.OnCall(func(c zohosim.Call) { // pages shift while the first list is read
		if strings.HasSuffix(c.Path, "/deleted") && strings.Contains(c.Query, "page=3") && len(extra) > 0 {
			o.Advance(time.Second)
			o.Delete("Leads", extra...)
			extra = nil
		}
	})
	o.ResetCalls()
	if got := o.run(t, "leads"); got.Counts.Deleted != 510 {
		t.Errorf("%+v", got.Counts)
	}
	if n := o.calls("/deleted"); n != 9 { // three lists of three pages
		t.Errorf("%d calls for the lists", n)
	}
	o.equal(t, "leads")
	o.Advance(5 * time.Minute)
	o.run(t, "leads") // an overlap below the last list
	o.Advance(5 * time.Minute)
	o.ResetCalls()
	if o.run(t, "leads"); o.calls("/deleted") != 1 {
		t.Errorf("%d calls for the lists once the window has moved", o.calls("/deleted"))
	}
}

// A record that came back is not deleted again before it is listed again: that it cannot be
// read may be a lost right, which a person must judge.
func TestRestoredAndHiddenIsNotDeleted(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	ids := seed(o, 3)
	o.run(t, "leads")
	o.Advance(time.Hour)
	o.Delete("Leads", ids[0])
	o.run(t, "leads")
	o.Restore("Leads", ids[0], false)
	o.Advance(time.Hour)
	o.run(t, "leads")
	o.nextRound(t)
	o.run(t, "leads")
	o.equal(t, "leads")
	o.nextRound(t)
	o.Plan(1, func(c zohosim.Call) bool { return strings.Contains(c.Query, "ids=") }, zohosim.Fault{Status: http.StatusNoContent})
	o.run(t, "leads")
	o.equal(t, "leads")
	o.Delete("Leads", ids[0])
	o.run(t, "leads")
	if diff := cmp.Diff(map[string]string{ids[0]: "14:00:00"}, o.marked(t, "leads")); diff != "" {
		t.Errorf("(-want +marked):\n%s", diff)
	}
}

// A mass delete that was taken back in Zoho needs nobody's word, and what was deleted one by
// one is looked at daily all the while.
func TestMassDeleteTakenBack(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 1000, deal)
	o.runAll(t, "deals")
	var ids []string
	for id := range o.Truth("Deals") {
		ids = append(ids, id)
	}
	o.Advance(time.Hour)
	o.Delete("Deals", ids[0])
	o.run(t, "deals")
	o.Advance(time.Hour)
	o.Delete("Deals", ids[1:300]...)
	deals, _ := crm.Find("deals")
	if _, err := o.mirror.Run(t.Context(), mirror.Request{Module: deals}); err == nil {
		t.Error("nobody was asked")
	}
	o.ResetCalls()
	if _, err := o.mirror.Run(t.Context(), mirror.Request{Module: deals}); err == nil || o.calls("/Deals") != 0 {
		t.Errorf("%v after %d looks, though it had just looked", err, o.calls("/Deals"))
	}
	o.Restore("Deals", ids[0], false)
	o.nextRound(t)
	if _, err := o.mirror.Run(t.Context(), mirror.Request{Module: deals}); err == nil {
		t.Error("nobody was asked")
	}
	if n := len(o.marked(t, "deals")); n != 0 {
		t.Errorf("%d rows are marked: the restored one was not looked at", n)
	}
	if got, err := o.mirror.Run(t.Context(), mirror.Request{Module: deals, Mode: mirror.ModeVerify}); err != nil || got.Verification == nil {
		t.Errorf("while a person is asked nobody can look: %v", err)
	} else if diff := cmp.Diff(map[string]any{"verdict": "different", "checked": int64(701), "wrongly_live": int64(299)}, told(got.Verification)); diff != "" {
		t.Errorf("while a person is asked (-want +got):\n%s", diff)
	}
	for _, id := range ids[1:300] {
		o.Restore("Deals", id, true)
	}
	execute(t, o, "UPDATE sync_deletions SET checked_at = checked_at - interval '5 hours'")
	o.runAll(t, "deals")
	o.equal(t, "deals")
	if n := len(o.marked(t, "deals")); n != 0 {
		t.Errorf("%d rows are marked", n)
	}
}

// A restored record that does not fit loses its mark like any other: its row is live as it
// last was, and the quarantine says what is wrong.
func TestRestoredMisfitIsLive(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]zohosim.Record{
		"by its value":    {"No_of_Employees": "many"},
		"by the database": {"Lead_Status": "Podcast"},
	} {
		for _, moves := range []bool{false, true} {
			o := newOrg(t, zohosim.Config{}, defaultConfig)
			ids := seed(o, 3)
			o.run(t, "leads")
			o.Advance(5 * time.Minute)
			o.Delete("Leads", ids[0], ids[1])
			o.run(t, "leads")
			o.Advance(time.Hour)
			o.run(t, "leads")
			o.Restore("Leads", ids[0], moves)
			o.UpdateQuietly("Leads", ids[0], bad)
			first := o.run(t, "leads")
			if marked := o.marked(t, "leads"); moves && len(marked) != 1 {
				t.Errorf("%s, seen by its time: marked %v", name, marked)
			}
			o.nextRound(t)
			second := o.run(t, "leads")
			if diff := cmp.Diff(map[string]string{ids[1]: "12:05:00"}, o.marked(t, "leads")); diff != "" {
				t.Errorf("%s, time moved %v (-want +marked):\n%s", name, moves, diff)
			}
			if n := first.Counts.Restored + second.Counts.Restored; n != 1 {
				t.Errorf("%s, time moved %v: restored %d", name, moves, n)
			}
			if name := value[string](t, o, "SELECT last_name FROM leads_live WHERE id = $1", ids[0]); name != "Lead 0" {
				t.Errorf("the row has the name %q", name)
			}
			by := second
			if moves {
				by = first
			}
			if got := value[string](t, o, "SELECT run_id::text FROM leads_live WHERE id = $1", ids[0]); got != by.RunID.String() {
				t.Errorf("%s, time moved %v: the row names the run %s", name, moves, got)
			}
			if n := open(t, o); n != 1 {
				t.Errorf("%s, time moved %v: %d entries are open", name, moves, n)
			}
		}
	}
}

// shift plans the next nine lists: two pages each, never twice the same ids. A minute passes
// with each list, and then something may happen.
func (o *org) shift(ids []string, happen func(list int)) {
	deleted := func(c zohosim.Call) bool { return strings.HasSuffix(c.Path, "/deleted") }
	for list := range 9 {
		at := o.Now().Add(time.Duration(list) * time.Minute).Format(time.RFC3339)
		for page, id := range []string{ids[0], ids[1+list%2]} {
			o.Plan(1, deleted, zohosim.Fault{Status: http.StatusOK, Body: fmt.Sprintf(
				`{"data":[{"id":%q,"type":"recycle","deleted_time":%q}],"info":{"more_records":%t}}`, id, at, page == 0)})
		}
	}
	list := 0
	o.OnCall(func(c zohosim.Call) {
		if deleted(c) && strings.HasPrefix(c.Query, "page=1&") && list < 9 {
			list++
			o.Advance(time.Minute)
			happen(list)
		}
	})
}

// A list that is never twice the same is taken as it is in the end, but only for what was
// deleted before the first of its readings: what came later is listed once more.
func TestListThatShifts(t *testing.T) {
	t.Parallel()
	for _, noDate := range []bool{false, true} {
		o := newOrg(t, zohosim.Config{NoDate: noDate}, defaultConfig)
		if noDate { // our own clock must do
			o.Advance(time.Now().Truncate(time.Second).Sub(noon))
		}
		ids := seed(o, 6)
		o.run(t, "leads")
		o.Advance(15 * time.Minute)
		o.run(t, "leads")
		o.Delete("Leads", ids[:3]...)
		o.shift(ids, func(list int) {
			if list == 4 {
				o.Delete("Leads", ids[3]) // which no page shows
			}
		})
		for range 6 {
			o.run(t, "leads")
			o.Advance(30 * time.Second)
		}
		if n := len(o.marked(t, "leads")); n != 4 {
			t.Errorf("no date %v: %d rows are marked", noDate, n)
		}
		o.equal(t, "leads")
		if diff := cmp.Diff([]string{"equal"}, value[[]string](t, o, "SELECT array_agg(verdict) FROM sync_verifications")); diff != "" {
			t.Errorf("no date %v: ids were compared (-want +verdicts):\n%s", noDate, diff)
		}
	}
}

// While a list shifts nobody knows what it lacks: a verification waits until it is complete.
func TestVerifyWhileTheListShifts(t *testing.T) {
	t.Parallel()
	leads, _ := crm.Find("leads")
	request := mirror.Request{Module: leads, Mode: mirror.ModeVerify}
	for _, deleted := range []int{3, 4} { // the fourth is on no page
		o := newOrg(t, zohosim.Config{}, defaultConfig)
		ids := seed(o, 6)
		o.run(t, "leads")
		o.Advance(15 * time.Minute)
		o.run(t, "leads")
		o.Delete("Leads", ids[:deleted]...)
		o.shift(ids, func(int) {})
		want := map[string]any{"verdict": "running", "checked": int64(6 - deleted)}
		for range 2 { // six lists
			got, err := o.mirror.Run(t.Context(), request)
			if err != nil || !got.More || got.Reason != mirror.ReasonSettling {
				t.Fatalf("%v, %+v", err, got)
			}
			if diff := cmp.Diff(want, told(got.Verification)); diff != "" {
				t.Errorf("%d deleted (-want +got):\n%s", deleted, diff)
			}
			o.Advance(time.Minute)
		}
		want["verdict"] = "equal"
		if diff := cmp.Diff(want, told(o.verify(t, request))); diff != "" {
			t.Errorf("%d deleted (-want +got):\n%s", deleted, diff)
		}
	}
}

// So many rows that none would be looked at again are no faster judged while the list shifts.
func TestVerifyManyWhileTheListShifts(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.MassDelete = 30
	o := newOrg(t, zohosim.Config{Unknowns: zohosim.Unknowns{DeletedOrder: zohosim.OrderShifting}}, config)
	o.InsertMany("Deals", 1000, deal)
	o.runAll(t, "deals")
	ids := slices.Sorted(maps.Keys(o.Truth("Deals")))
	o.Advance(time.Hour)
	o.Delete("Deals", ids[:301]...)
	deals, _ := crm.Find("deals")
	request := mirror.Request{Module: deals, Mode: mirror.ModeVerify}
	got, err := o.mirror.Run(t.Context(), request)
	if err != nil || !got.More || got.Reason != mirror.ReasonSettling || len(got.Verification.Found) == 0 || got.Verification.Found[postgres.FoundUnlisted] != 0 {
		t.Errorf("%v, %+v, %+v", err, got, got.Verification)
	}
}

// A person's word that a mass delete was meant holds while the list shifts, too.
func TestMassDeleteAcceptedWhileTheListShifts(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{Unknowns: zohosim.Unknowns{DeletedOrder: zohosim.OrderShifting}}, defaultConfig)
	o.InsertMany("Deals", 1000, deal)
	o.runAll(t, "deals")
	ids := slices.Sorted(maps.Keys(o.Truth("Deals")))
	o.Advance(time.Hour)
	o.Delete("Deals", ids[:450]...)
	deals, _ := crm.Find("deals")
	if got := o.run(t, "deals"); got.Counts.Deleted != 0 {
		t.Errorf("%+v", got.Counts)
	}
	got, err := o.mirror.Run(t.Context(), mirror.Request{Module: deals, AcceptMassDelete: true})
	if err != nil || got.More || got.Counts.Deleted != 450 {
		t.Errorf("%v, %+v", err, got)
	}
	o.equal(t, "deals")
}

// How old a deletion is goes by the clock that it was dated by, which is Zoho's, and not by the
// database's: only where Zoho tells no time must that do.
func TestDeletionsAreForgottenByZohosClock(t *testing.T) {
	t.Parallel()
	for _, noDate := range []bool{false, true} {
		o := newOrg(t, zohosim.Config{NoDate: noDate}, defaultConfig)
		if noDate {
			o.Advance(time.Now().Truncate(time.Second).Sub(noon))
		} else {
			o.Advance(-300 * 24 * time.Hour)
		}
		ids := seed(o, 4)
		o.run(t, "leads")
		o.Advance(5 * time.Minute)
		o.Delete("Leads", ids[:2]...)
		o.Advance(10 * time.Minute)
		o.Delete("Leads", ids[2]) // the next list begins here
		o.run(t, "leads")
		for i, days := range []int{64, 66} {
			execute(t, o, "UPDATE sync_deletions SET deleted_at = $2 WHERE record_id = $1", ids[i], o.Now().AddDate(0, 0, -days))
		}
		o.Advance(time.Hour)
		o.nextRound(t)
		o.run(t, "leads")
		left := value[[]string](t, o, "SELECT array_agg(record_id ORDER BY record_id) FROM sync_deletions")
		if diff := cmp.Diff([]string{ids[0], ids[2]}, left); diff != "" {
			t.Errorf("no date %v (-want +kept):\n%s", noDate, diff)
		}
	}
}

// What is deleted after the list was read, while so many rows are hidden that none is looked at
// again, is for the next list to tell.
func TestVerifyManyAndOneJustDeleted(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.MassDelete = 30
	o := newOrg(t, zohosim.Config{}, config)
	ids := seed(o, 300)
	o.run(t, "leads")
	o.Advance(time.Hour)
	o.Delete("Leads", ids[:150]...)
	listed, later := false, false
	o.OnCall(func(c zohosim.Call) {
		if listed && !later {
			later = true
			o.Delete("Leads", ids[150])
		}
		listed = listed || strings.HasSuffix(c.Path, "/deleted")
	})
	leads, _ := crm.Find("leads")
	got, err := o.mirror.Run(t.Context(), mirror.Request{Module: leads, Mode: mirror.ModeVerify})
	if !later || got.Verification == nil || got.Verification.Found[postgres.FoundUnlisted] != 0 {
		t.Errorf("%v, %+v, %+v", err, got, got.Verification)
	}
}
