package mirror_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

// world is a simulated org that is worked on while it is mirrored, and everything happens to both.
type world struct {
	*model
	size int           // how many records it begins with
	lag  time.Duration // Zoho's

	quietly map[string]bool // records that were changed without moving their time
	fields  []string
	removed map[string]bool // fields that are gone
	without map[string]bool // fields that have ever been

	losersPermanent bool // of a merge
	deals, accounts []string
	repointed       map[string]bool // deals whose account a merge has moved
	planned         map[string]bool // what a run may fail by

	deletedAt map[string][]time.Time      // of records that are, or once were, deleted
	purgedAt  map[string]time.Time        // of those that are gone for good
	versions  map[string][]zohosim.Record // of all records, in their order
	held      map[string]string           // modified_time of all rows the mirror ever held
}

// remember keeps what the CRM holds now.
func (w *world) remember() {
	for id, record := range w.org.Truth("Leads") {
		all := w.versions[id]
		if len(all) == 0 || !reflect.DeepEqual(all[len(all)-1], record) {
			w.versions[id] = append(all, record)
		}
	}
}

// look keeps what the mirror holds now.
func (w *world) look() {
	maps.Copy(w.held, value[map[string]string](w.t, w.org, "SELECT coalesce(jsonb_object_agg(id, modified_time), '{}') FROM leads"))
}

func rendered(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05+00:00") }

// expected are all rows as the CRM has them.
func (w *world) expected() map[string]map[string]any {
	want := map[string]map[string]any{}
	for id, record := range w.org.Truth("Leads") {
		want[id] = without(w.org.expected(w.t, "leads", record), w.removed)
	}
	return want
}

// live are the mirror's rows. The values of fields that are gone stay, and nothing is said of them.
func (w *world) live() map[string]map[string]any {
	rows := w.org.rows(w.t, "leads_live")
	for id, row := range rows {
		rows[id] = without(row, w.removed)
	}
	return rows
}

func without(row map[string]any, fields map[string]bool) map[string]any {
	maps.DeleteFunc(row["custom_fields"].(map[string]any), func(api string, _ any) bool { return fields[api] })
	return row
}

// shown are the records that can be worked with, by state of conversion.
func (w *world) shown(converted bool) []string {
	var ids []string
	for id, record := range w.org.Truth("Leads") {
		if record["Converted__s"] == converted {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// gone are the records that are deleted.
func (w *world) gone(bool) []string {
	truth := w.org.Truth("Leads")
	var gone []string
	for _, id := range w.ids {
		if _, live := truth[id]; !live {
			gone = append(gone, id)
		}
	}
	return gone
}

func pick(ids []string, which int) (string, bool) {
	if len(ids) == 0 {
		return "", false
	}
	return ids[which%len(ids)], true
}

// update is an edit, which moves the record's time.
func (w *world) update(id string, changes zohosim.Record) {
	w.org.Update("Leads", id, changes)
	delete(w.quietly, id)
}

func (w *world) edit(which int) {
	if id, ok := pick(w.shown(which%7 == 0), which); ok {
		w.update(id, zohosim.Record{"Company": fmt.Sprint("Company ", which, " ", len(w.org.Calls()))})
	}
}

// pass lets time pass for the org and, a little faster, for the token that is kept.
func (w *world) pass(d time.Duration) {
	w.org.Advance(d)
	execute(w.t, w.org, "UPDATE sync_tokens SET expires_at = expires_at - make_interval(secs => $1), not_before = not_before - make_interval(secs => $1)", (d + 10*time.Second).Seconds())
}

func (w *world) editAll() {
	w.model.editAll()
	clear(w.quietly)
}

func (w *world) convert(which int, moves bool) {
	id, ok := pick(w.shown(false), which)
	if ok {
		w.org.Convert(id, moves)
	}
}

func (w *world) remove(which int) {
	if id, ok := pick(w.shown(which%5 == 0), which); ok {
		w.org.Delete("Leads", id)
		w.deletedAt[id] = append(w.deletedAt[id], w.org.Now())
	}
}

// purge deletes for good, from the bin or from among the others.
func (w *world) purge(from func(bool) []string, which int) {
	id, ok := pick(from(which%5 == 0), which)
	if !ok {
		return
	}
	if _, live := w.org.Truth("Leads")[id]; live {
		w.deletedAt[id] = append(w.deletedAt[id], w.org.Now())
	}
	w.org.Purge("Leads", id)
	if w.purgedAt[id].IsZero() {
		w.purgedAt[id] = w.org.Now()
	}
}

// lastDeleted are the times that a mark may have: that of the last deletion, or of the purge
// that followed where Zoho gives that instead. Of a record that was deleted twice and then
// purged the mirror may have kept the first one's: see docs/guarantees.md.
func (w *world) lastDeleted(id string) []time.Time {
	times := w.deletedAt[id]
	if at := w.purgedAt[id]; !at.IsZero() {
		return append(slices.Clone(times), at)
	}
	return times[max(0, len(times)-1):]
}

// removeMany deletes more records of a big org than a page of the list holds.
func (w *world) removeMany() {
	const many = 210
	ids := w.shown(false)
	switch {
	case w.size < many:
	case len(ids) < many:
		w.insert(many)
	default:
		w.org.Delete("Leads", ids[:many]...)
		for _, id := range ids[:many] {
			w.deletedAt[id] = append(w.deletedAt[id], w.org.Now())
		}
	}
}

// restore brings a record back. One whose deletion no run has seen, and whose time does not
// move, must be shown again once it is no longer listed: nothing else would tell of it.
func (w *world) restore(which int, moves bool) {
	if id, ok := pick(w.gone(false), which); ok {
		w.bringBack(id, which, moves)
	}
}

// thereAndBack is a deletion that a run has time to see, and a restore.
func (w *world) thereAndBack(rt *rapid.T, which int, moves bool) {
	id, ok := pick(w.shown(false), which)
	if !ok {
		return
	}
	w.org.Delete("Leads", id)
	w.deletedAt[id] = append(w.deletedAt[id], w.org.Now())
	w.pass(w.lag)
	w.tick(rt)
	w.bringBack(id, which, moves)
}

func (w *world) bringBack(id string, which int, moves bool) {
	moves = moves || w.onlyRepair(id)
	w.org.Restore("Leads", id, moves)
	if _, back := w.org.Truth("Leads")[id]; !back {
		return
	}
	if !moves && value[int](w.t, w.org, "SELECT count(*) FROM sync_deletions WHERE record_id = $1", id) == 0 {
		w.pass(w.lag)
	}
	if which%4 == 1 { // it comes back, and somebody spoils it
		w.update(id, zohosim.Record{"Annual_Revenue": json.Number("0.005")})
	}
}

// onlyRepair tells of a record that a run's streams came too early for, with no list since: if
// its time did not move on its return, only a repair would find it (docs/guarantees.md).
func (w *world) onlyRepair(id string) bool {
	listed := value[int](w.t, w.org, "SELECT count(*) FROM sync_deletions WHERE record_id = $1", id) > 0
	all := w.versions[id]
	if listed || len(all) == 0 {
		return false
	}
	modified := w.org.expected(w.t, "leads", all[len(all)-1])["modified_time"]
	return w.held[id] != modified && value[bool](w.t, w.org,
		"SELECT coalesce(max(watermark) - interval '1 minute' > $1::text::timestamptz, false) FROM sync_watermarks WHERE module = 'leads' AND stream <> 'deleted'", modified)
}

func (w *world) merge(master, loser int) {
	ids := w.shown(false)
	to, _ := pick(ids, master)
	from, ok := pick(ids, loser)
	if ok && to != from {
		w.org.Merge("Leads", to, from)
		w.deletedAt[from] = append(w.deletedAt[from], w.org.Now())
		if w.losersPermanent {
			w.purgedAt[from] = w.org.Now()
		}
		delete(w.quietly, to)
	}
}

func (w *world) quiet(which int) {
	if id, ok := pick(w.shown(which%3 == 0), which); ok {
		w.org.UpdateQuietly("Leads", id, zohosim.Record{"Score": which, "Last_Activity_Time": w.org.Now().Truncate(time.Second)})
		w.quietly[id] = true
	}
}

// misfit gives a record a value that its column does not hold.
func (w *world) misfit(which int) {
	if id, ok := pick(w.shown(which%3 == 0), which); ok {
		bad := zohosim.Record{"Annual_Revenue": json.Number("0.005")}
		if which%2 == 0 {
			bad = zohosim.Record{"Lead_Status": "Podcast"}
		}
		w.update(id, bad)
	}
}

// misfits are the records that the mirror cannot hold.
func (w *world) misfits() []string {
	var ids []string
	for id, record := range w.org.Truth("Leads") {
		if record["Annual_Revenue"] == json.Number("0.005") || record["Lead_Status"] == "Podcast" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (w *world) fits(which int) {
	if id, ok := pick(w.misfits(), which); ok {
		w.update(id, zohosim.Record{"Annual_Revenue": json.Number("0.05"), "Lead_Status": "Contacted"})
	}
}

// field adds one to the org and gives it a value in a record.
func (w *world) field(which int) {
	name := fmt.Sprintf("Field_%d", len(w.fields))
	w.fields = append(w.fields, name)
	w.addField(name)
	if id, ok := pick(w.shown(false), which); ok {
		w.update(id, zohosim.Record{name: fmt.Sprint("value ", which)})
	}
}

func (w *world) addField(name string) {
	w.org.AddField("Leads", zohosim.Field{API: name, Type: "text", Custom: true})
	w.ageMetadata()
}

func (w *world) ageMetadata() {
	execute(w.t, w.org, "UPDATE sync_metadata SET fetched_at = fetched_at - interval '2 hours'")
}

// toggleField removes a field of the org, or brings it back. Where the metadata does not tell,
// a query is refused.
func (w *world) toggleField(which int, told bool) {
	name, ok := pick(w.fields, which)
	switch {
	case !ok:
	case w.removed[name]:
		delete(w.removed, name)
		w.addField(name)
	default:
		w.removed[name], w.without[name] = true, true
		w.org.RemoveField("Leads", name)
		if told {
			w.ageMetadata()
		}
	}
}

// fault lets one of the next calls fail in a way that fails the run, or kills its token.
func (w *world) fault(rt *rapid.T) {
	skip := rapid.IntRange(0, 12).Draw(rt, "calls before the fault")
	fault := zohosim.Fault{Status: http.StatusBadRequest, Body: `{"code":"FEATURE_NOT_ENABLED","details":{},"message":"planned","status":"error"}`}
	if rapid.Bool().Draw(rt, "only the token") {
		fault = zohosim.Fault{ExpireTokens: true}
		w.planned["INVALID_TOKEN"], w.planned["Access Denied"] = true, true
	} else {
		w.planned["FEATURE_NOT_ENABLED: planned"] = true
	}
	w.org.Plan(1, func(zohosim.Call) bool { skip--; return skip < 0 }, fault)
}

// isPlanned tells what may fail a run of this schedule from what may not.
func (w *world) isPlanned(err error) bool {
	for known, planned := range w.planned {
		if planned && strings.Contains(err.Error(), known) {
			return true
		}
	}
	return false
}

// tick is one call of the scheduler. What fails is for the next one.
func (w *world) tick(rt *rapid.T) {
	seed := rapid.Uint64().Draw(rt, "between pages")
	w.between = rand.New(rand.NewPCG(seed, seed))
	defer func() { w.between = nil }()
	module, _ := crm.Find("leads")
	w.runOnce(rt, mirror.Request{Module: module})
}

// runOnce may be skipped: the database may be about to find out that a run was killed.
func (w *world) runOnce(rt *rapid.T, request mirror.Request) {
	result, err := w.org.mirror.Run(w.t.Context(), request)
	if err == nil && result.Status == mirror.StatusFailed || err != nil && !w.isPlanned(err) {
		rt.Fatalf("run: %v, %+v", err, result)
	}
	w.look()
}

// anyRequest is one that an operator, or another scheduler, might make.
func (w *world) anyRequest(rt *rapid.T) mirror.Request {
	module, _ := crm.Find("leads")
	request := mirror.Request{Module: module}
	request.Mode = rapid.SampledFrom([]string{mirror.ModeSync, mirror.ModeVerify, mirror.ModeRepair, mirror.ModeReplay, mirror.ModeSince}).Draw(rt, "mode")
	switch request.Mode {
	case mirror.ModeVerify, mirror.ModeRepair:
		request.Deep = rapid.Bool().Draw(rt, "deep")
	case mirror.ModeSince:
		request.Since = w.org.Now().Add(-time.Duration(rapid.IntRange(0, 100).Draw(rt, "hours")) * time.Hour)
	}
	return request
}

// killed is a run whose process dies at some call: from then on it reaches no database and
// asks Zoho for nothing. Nobody waits until it has given up.
func (w *world) killed(rt *rapid.T) {
	left := rapid.IntRange(1, 14).Draw(rt, "calls before it is killed")
	request := w.anyRequest(rt)
	wire := newWire(w.t, w.org.address())
	m := w.org.process(w.t, wire.address)
	ctx, kill := context.WithCancel(w.t.Context())
	w.org.Plan(1, func(zohosim.Call) bool {
		if left--; left == 0 {
			wire.cut()
			kill()
		}
		return false
	}, zohosim.Fault{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = m.Run(ctx, request) // it is killed
		m.Close()
	}()
	w.t.Cleanup(func() { <-ended })
	select {
	case <-ended:
	case <-ctx.Done():
	}
	w.org.ClearPlans()
	wire.cut()
	kill()
	w.look()
}

// begin gives the org deals, of half as many accounts.
func (w *world) begin(deals int) {
	for i := range deals / 2 {
		w.accounts = append(w.accounts, w.org.Insert("Accounts", zohosim.Record{"Account_Name": fmt.Sprint("Account ", i)}))
	}
	for i := range deals {
		w.deals = append(w.deals, w.org.Insert("Deals", w.dealOf(i)))
	}
}

func (w *world) dealOf(which int) zohosim.Record {
	record := deal(which)
	id, _ := pick(w.accounts, which)
	record["Account_Name"] = zohosim.Ref{ID: id, Name: fmt.Sprint(w.org.Truth("Accounts")[id]["Account_Name"])}
	return record
}

// deal is a new one, or an edit of one.
func (w *world) deal(which int) {
	id, ok := pick(w.deals, which)
	switch {
	case !ok:
	case which%3 == 0:
		w.deals = append(w.deals, w.org.Insert("Deals", w.dealOf(which)))
	default:
		w.org.Update("Deals", id, zohosim.Record{"Next_Step": fmt.Sprint("Step ", which)})
		delete(w.repointed, id)
	}
}

// mergeAccounts makes one of two accounts: deals of the loser are the master's from then on,
// and their time does not move.
func (w *world) mergeAccounts(which int) {
	n := len(w.accounts)
	if n < 2 {
		return
	}
	loser, master := w.accounts[which%n], w.accounts[(which+1)%n]
	for id, record := range w.org.Truth("Deals") {
		if ref, ok := record["Account_Name"].(zohosim.Ref); ok && ref.ID == loser {
			w.repointed[id] = true
		}
	}
	w.org.Merge("Accounts", master, loser)
	w.accounts = slices.Delete(w.accounts, which%n, which%n+1)
}

func (w *world) tickDeals(rt *rapid.T) {
	if len(w.deals) > 0 {
		module, _ := crm.Find("deals")
		w.runOnce(rt, mirror.Request{Module: module})
	}
}
