package mirror_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/mirror/mirrortest"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zohosim"
)

// The proof: after any sequence of edits, deletes, restores, merges, conversions, changes of
// the schema, records that do not fit, verifications, repairs, replays, faults and kills,
// whatever the answers to what Zoho does not document, the mirror equals the CRM row for row
// once the CRM is quiet and every deletion has been looked at; and what was deleted is kept
// as it was last seen. What moves no time is not promised: a deep verification finds it, and
// a repair mends it. A failing schedule is shrunk, and its seed printed.
func TestProofOfEquality(t *testing.T) {
	t.Parallel()
	for worker := range provers {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			prove(t, worker)
		})
	}
}

// provers work side by side, each on its share of schedules: a schedule mostly waits.
const provers = 4

func prove(t *testing.T, worker int) {
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	rapid.Check(t, func(rt *rapid.T) {
		for range worker {
			rapid.Uint64().Draw(rt, "worker") // so that each has schedules of its own
		}
		w := newWorld(t, rt, o)
		defer w.org.mirror.Close()
		w.insert(w.size)
		w.begin(rapid.SampledFrom([]int{0, 0, 6}).Draw(rt, "deals"))
		w.remember()
		w.tick(rt)
		number := func(most int) int { return rapid.IntRange(0, most).Draw(rt, "which") }
		rt.Repeat(map[string]func(*rapid.T){
			"":        func(*rapid.T) { w.remember() },
			"insert":  func(rt *rapid.T) { w.insert(1 + number(3)) },
			"edit":    func(rt *rapid.T) { w.edit(number(1000)) },
			"twice":   func(rt *rapid.T) { n := number(1000); w.edit(n); w.edit(n) },
			"all":     func(rt *rapid.T) { w.editAll() },
			"convert": func(rt *rapid.T) { w.convert(number(1000), rapid.Bool().Draw(rt, "moves")) },
			"delete":  func(rt *rapid.T) { w.remove(number(1000)) },
			"mass":    func(rt *rapid.T) { w.removeMany() },
			"purge":   func(rt *rapid.T) { w.purge(w.shown, number(1000)) },
			"emptied": func(rt *rapid.T) { w.purge(w.gone, number(1000)) },
			"restore": func(rt *rapid.T) { w.restore(number(1000), rapid.Bool().Draw(rt, "moves")) },
			"returns": func(rt *rapid.T) { w.thereAndBack(rt, number(1000), rapid.Bool().Draw(rt, "moves")) },
			"merge":   func(rt *rapid.T) { w.merge(number(1000), number(1000)) },
			"quiet":   func(rt *rapid.T) { w.quiet(number(1000)) },
			"misfit":  func(rt *rapid.T) { w.misfit(number(1000)) },
			"fits":    func(rt *rapid.T) { w.fits(number(1000)) },
			"field":   func(rt *rapid.T) { w.field(number(1000)) },
			"unfield": func(rt *rapid.T) { w.toggleField(number(1000), rapid.Bool().Draw(rt, "metadata tells")) },
			"fault":   func(rt *rapid.T) { w.fault(rt) },
			"wait":    func(rt *rapid.T) { w.pass(time.Duration(number(100)) * time.Second) },
			"hours":   func(rt *rapid.T) { w.pass(time.Duration(1+number(20)) * time.Hour) },
			"round":   func(rt *rapid.T) { w.org.nextRound(t) },
			"tick":    func(rt *rapid.T) { w.tick(rt) },
			"other":   func(rt *rapid.T) { w.runOnce(rt, w.anyRequest(rt)) },
			"killed":  func(rt *rapid.T) { w.killed(rt) },
			"deal":    func(rt *rapid.T) { w.deal(number(1000)) },
			"account": func(rt *rapid.T) { w.mergeAccounts(number(1000)) },
			"deals":   func(rt *rapid.T) { w.tickDeals(rt) },
		})
		w.settle(rt)
		w.holdQuarantine(rt)
		w.holdAgainstTruth(rt)
		w.holdDeleted(rt)
		w.holdVerification(rt)
		w.holdDeals(rt)
		w.holdRuns(rt)
	})
}

func newWorld(t *testing.T, rt *rapid.T, with *org) *world {
	t.Helper()
	execute(t, with, "TRUNCATE leads, deals, sync_runs, sync_watermarks, sync_quarantine, sync_locks, sync_deletions, sync_verifications, sync_findings, sync_metadata, sync_drift")
	config := mirror.Config{Deadline: 6 * time.Second, Overlap: time.Minute, StaleAfter: time.Nanosecond,
		PageSize: rapid.SampledFrom([]int{5, 2, 9, 3, 7, 4, 1, 8, 6}).Draw(rt, "page"), MassDelete: rapid.SampledFrom([]int{100, 30}).Draw(rt, "mass delete")}
	size := 20
	if rapid.IntRange(0, 14).Draw(rt, "big") == 14 { // rarely: the list of deleted records has several pages
		size, config.PageSize = 230, 40*config.PageSize
	}
	unknowns := zohosim.Unknowns{
		DeletedOrder:    zohosim.DeletedOrder(rapid.IntRange(0, 2).Draw(rt, "order of the list")),
		DeletedEmpty:    rapid.SampledFrom([]int{0, http.StatusOK, http.StatusNoContent, http.StatusNotModified}).Draw(rt, "empty list"),
		PurgeKeepsTime:  rapid.Bool().Draw(rt, "a purge keeps the time"),
		LosersPermanent: rapid.Bool().Draw(rt, "losers are permanent"),
		SinceExclusive:  rapid.Bool().Draw(rt, "since is exclusive"),
	}
	w := &world{size: size, losersPermanent: unknowns.LosersPermanent, quietly: map[string]bool{}, removed: map[string]bool{}, without: map[string]bool{},
		deletedAt: map[string][]time.Time{}, purgedAt: map[string]time.Time{}, versions: map[string][]zohosim.Record{}, held: map[string]string{},
		repointed: map[string]bool{}, planned: map[string]bool{"are listed as deleted at once": config.MassDelete < 100 && size > 200}}
	w.lag = time.Duration(rapid.IntRange(0, 59).Draw(rt, "lag")) * time.Second
	noDate := rapid.Bool().Draw(rt, "no date")
	w.model = newModel(t, with, zohosim.Config{VisibilityLag: w.lag, NoDate: noDate, Unknowns: unknowns}, config)
	w.changed = w.remember
	if noDate { // our own clock must do
		w.org.Advance(time.Now().Truncate(time.Second).Sub(noon))
	}
	w.org.AddField("Leads", zohosim.Field{API: "Score", Type: "formula", Custom: true})
	w.remember()
	return w
}

// settle lets the CRM rest, and the mirror look at every deletion and every field.
func (w *world) settle(rt *rapid.T) {
	w.org.ClearPlans()
	w.pass(2 * time.Minute)
	execute(w.t, w.org, "UPDATE sync_metadata SET fetched_at = fetched_at - interval '25 hours'")
	execute(w.t, w.org, `UPDATE sync_metadata SET body = (SELECT coalesce(jsonb_object_agg(k, v::timestamptz - interval '25 hours'), '{}')
		FROM jsonb_each_text(body) AS e (k, v)) WHERE key LIKE 'refused:%'`)
	w.calm(rt, "leads")
	w.org.nextRound(w.t)
	w.calm(rt, "leads")
}

// atRest: no fill of a module is under way, no list of deletions waits to be read once more,
// and no comparison that began by itself.
const atRest = `SELECT NOT EXISTS (SELECT FROM sync_watermarks WHERE module = $1 AND stream LIKE 'fill%' AND window_as_of IS NOT NULL)
	AND NOT EXISTS (SELECT FROM sync_watermarks WHERE module = $1 AND stream = 'deleted' AND state ?| ARRAY['before', 'page', 'sweep'])
	AND NOT EXISTS (SELECT FROM sync_verifications WHERE module = $1 AND verdict = 'running' AND cause IS NOT NULL)`

// calm ticks until nothing is left to do. Where so much was deleted that a person is asked,
// the person agrees.
func (w *world) calm(rt *rapid.T, name string) {
	module, _ := crm.Find(name)
	for range 1000 {
		request := mirror.Request{Module: module}
		result, err := w.org.mirror.Run(w.t.Context(), request)
		if err != nil && strings.Contains(err.Error(), "are listed as deleted at once") {
			request.AcceptMassDelete = true
			result, err = w.org.mirror.Run(w.t.Context(), request)
		}
		w.look()
		switch {
		case result.Status == mirror.StatusSkipped:
			time.Sleep(time.Millisecond) // a killed run's transaction is being rolled back
		case err != nil && w.isPlanned(err):
			w.pass(time.Minute) // two tokens in a row were dead, or too many were asked for
		case err != nil || result.Status != mirror.StatusOK:
			rt.Fatalf("tick: %v, %+v", err, result)
		case !result.More && value[bool](w.t, w.org, atRest, name):
			return
		default:
			w.pass(30 * time.Second)
		}
	}
	rt.Fatal("a thousand runs were not enough")
}

// holdQuarantine demands an open entry for each record that does not fit, and for no other
// that lives; then it lets them fit.
func (w *world) holdQuarantine(rt *rapid.T) {
	misfits := w.misfits()
	var entries []string
	truth := w.org.Truth("Leads")
	for _, id := range value[[]string](w.t, w.org, "SELECT coalesce(array_agg(record_id ORDER BY record_id), '{}') FROM sync_quarantine WHERE settled_at IS NULL") {
		if _, lives := truth[id]; lives {
			entries = append(entries, id)
		}
	}
	if diff := cmp.Diff(misfits, entries); diff != "" {
		rt.Fatalf("the quarantine (-CRM +mirror):\n%s", diff)
	}
	if len(misfits) == 0 {
		return
	}
	w.compare(rt, "but for what does not fit", misfits...)
	live := w.live()
	for _, id := range misfits {
		if w.held[id] != "" && live[id] == nil {
			rt.Fatalf("%s does not fit and lives, but its row is marked as deleted", id)
		}
	}
	for i := range misfits {
		w.fits(len(misfits) - 1 - i)
	}
	w.remember()
	w.pass(2 * time.Minute)
	w.calm(rt, "leads")
}

// holdAgainstTruth compares all rows and columns, but for what is not promised.
func (w *world) holdAgainstTruth(rt *rapid.T) {
	w.compare(rt, "the mirror")
	if refused := w.org.Refused(); refused != nil {
		rt.Fatalf("what is not documented was asked for: %v", refused)
	}
}

func (w *world) compare(rt *rapid.T, what string, except ...string) {
	want, got := w.promised(w.expected()), w.promised(w.live())
	for _, id := range except {
		delete(want, id)
		delete(got, id)
	}
	if diff := cmp.Diff(want, got, sameNumber); diff != "" {
		rt.Fatalf("%s differs (-CRM +mirror):\n%.3000s", what, diff)
	}
}

// promised leaves out what no time tells.
func (w *world) promised(rows map[string]map[string]any) map[string]map[string]any {
	rows = maps.Clone(rows)
	for id := range w.quietly {
		if row, ok := rows[id]; ok {
			row = maps.Clone(row)
			delete(row, "last_activity_time")
			custom := maps.Clone(row["custom_fields"].(map[string]any))
			delete(custom, "Score")
			row["custom_fields"] = custom
			rows[id] = row
		}
	}
	return rows
}

// holdDeleted demands every row that the mirror ever held, and of those that Zoho no longer
// shows that they are marked with the time of their last deletion, and else are as last seen.
// A field that came to the org after the row was last read could not be filled in any more.
func (w *world) holdDeleted(rt *rapid.T) {
	rows, truth := w.org.rows(w.t, "leads"), w.org.Truth("Leads")
	for id := range w.held {
		if rows[id] == nil {
			rt.Fatalf("the row of %s is gone", id)
		}
	}
	for id, row := range rows {
		if _, lives := truth[id]; lives {
			continue
		}
		at, _ := row["deleted_at"].(string)
		if !slices.ContainsFunc(w.lastDeleted(id), func(t time.Time) bool { return rendered(t) == at }) {
			rt.Fatalf("%s is marked at %q; it was deleted at %v, and purged at %v", id, at, w.deletedAt[id], w.purgedAt[id])
		}
		row["deleted_at"] = nil
		row = without(row, w.without)
		last := map[string]any{}
		known := slices.ContainsFunc(w.versions[id], func(version zohosim.Record) bool {
			last = without(w.org.expected(w.t, "leads", version), w.without)
			maps.DeleteFunc(last["custom_fields"].(map[string]any), func(api string, _ any) bool { return row["custom_fields"].(map[string]any)[api] == nil })
			return last["modified_time"].(string) >= w.held[id] && cmp.Equal(last, row, sameNumber)
		})
		if !known {
			rt.Fatalf("the deleted %s is not as it was last seen, at %s (-last version +mirror):\n%s", id, w.held[id], cmp.Diff(last, row, sameNumber))
		}
	}
}

// holdVerification lets a verification of either depth say in what the mirror differs, and a
// repair make it equal.
func (w *world) holdVerification(rt *rapid.T) {
	want, got := w.expected(), w.live()
	deep := rapid.Bool().Draw(rt, "deep")
	w.verified(rt, "leads", deep, want, got)
	w.verified(rt, "leads", true, want, nil)
	if diff := cmp.Diff(want, w.live(), sameNumber); diff != "" {
		rt.Fatalf("after the repair (-CRM +mirror):\n%.3000s", diff)
	}
	// No right was lost here: whatever was hidden, some list had it.
	if ids := value[[]string](w.t, w.org, "SELECT coalesce(array_agg(record_id), '{}') FROM sync_findings WHERE finding = 'unlisted'"); len(ids) > 0 {
		rt.Fatalf("a verification took %v for unlisted", ids)
	}
}

// verified holds what a verification tells against the rows: it finds each that differs, and no
// other. Without rows it is a repair, after which nothing differs.
func (w *world) verified(rt *rapid.T, name string, deep bool, want, got map[string]map[string]any) {
	module, _ := crm.Find(name)
	request := mirror.Request{Module: module, Mode: mirror.ModeVerify, Deep: deep}
	expected := map[string]any{"verdict": postgres.VerdictEqual, "checked": int64(len(want))}
	differ := int64(0)
	for id := range want {
		if deep && got != nil && !cmp.Equal(want[id], got[id], sameNumber) {
			differ++
		}
	}
	if differ > 0 {
		expected["verdict"], expected["different"] = postgres.VerdictDifferent, differ
	}
	if got == nil {
		request.Mode = mirror.ModeRepair
	}
	said := told(w.org.verify(w.t, request))
	if got == nil {
		delete(said, "repaired")
	}
	if diff := cmp.Diff(expected, said); diff != "" {
		rt.Fatalf("a %s of %s, deep %v (-want +told):\n%s", request.Mode, name, deep, diff)
	}
}

// holdDeals compares the deals. What a merge of accounts has moved is not promised, but found
// by a deep verification, and mended by a repair.
func (w *world) holdDeals(rt *rapid.T) {
	if len(w.deals) == 0 {
		return
	}
	w.calm(rt, "deals")
	w.calm(rt, "deals") // the first has moved the window: what a run reads again, this one has
	rows := func() (want, got map[string]map[string]any) {
		want, err := mirrortest.Expected(w.t.Context(), w.org.db, w.org.Zoho, "deals")
		if err != nil {
			w.t.Fatal(err)
		}
		return want, w.org.rows(w.t, "deals_live")
	}
	want, got := rows()
	promised := func(all map[string]map[string]any) map[string]map[string]any {
		all = maps.Clone(all)
		for id := range w.repointed {
			all[id] = maps.Clone(all[id])
			delete(all[id], "account_id")
			delete(all[id], "account_name")
		}
		return all
	}
	if diff := cmp.Diff(promised(want), promised(got), sameNumber); diff != "" {
		rt.Fatalf("deals (-CRM +mirror):\n%.3000s", diff)
	}
	w.verified(rt, "deals", true, want, got)
	w.verified(rt, "deals", true, want, nil)
	if want, got = rows(); !cmp.Equal(want, got, sameNumber) {
		rt.Fatalf("deals after the repair (-CRM +mirror):\n%.3000s", cmp.Diff(want, got, sameNumber))
	}
}

// holdRuns demands that no run has failed but by what was planned, or because it was killed.
func (w *world) holdRuns(rt *rapid.T) {
	for _, failure := range value[[]string](w.t, w.org, "SELECT coalesce(array_agg(error), '{}') FROM sync_runs WHERE status = 'failed' AND cause IS DISTINCT FROM 'killed'") {
		if !w.isPlanned(errors.New(failure)) {
			rt.Fatalf("a run failed: %s", failure)
		}
	}
}
