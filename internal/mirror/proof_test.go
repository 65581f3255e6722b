package mirror_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zohosim"
)

// The proof: after any sequence of edits, deletes, restores, merges, conversions, faults and
// kills, whatever the answers to what Zoho does not document, the mirror equals the CRM row
// for row once the CRM is quiet and every deletion has been looked at. What moves no time is
// not promised: a deep verification finds it, and a repair mends it. A failing schedule is
// shrunk, and its seed printed.
func TestProofOfEquality(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt, o)
		defer w.org.mirror.Close()
		w.insert(20)
		w.tick(rt)
		number := func(most int) int { return rapid.IntRange(0, most).Draw(rt, "which") }
		rt.Repeat(map[string]func(*rapid.T){
			"insert":  func(rt *rapid.T) { w.insert(1 + number(3)) },
			"edit":    func(rt *rapid.T) { w.edit(number(1000)) },
			"twice":   func(rt *rapid.T) { n := number(1000); w.edit(n); w.edit(n) },
			"all":     func(rt *rapid.T) { w.editAll() },
			"convert": func(rt *rapid.T) { w.convert(number(1000), rapid.Bool().Draw(rt, "moves")) },
			"delete":  func(rt *rapid.T) { w.remove(number(1000), w.org.Delete) },
			"purge":   func(rt *rapid.T) { w.remove(number(1000), w.org.Purge) },
			"restore": func(rt *rapid.T) { w.restore(number(1000), rapid.Bool().Draw(rt, "moves")) },
			"merge":   func(rt *rapid.T) { w.merge(number(1000), number(1000)) },
			"quiet":   func(rt *rapid.T) { w.quiet(number(1000)) },
			"field":   func(rt *rapid.T) { w.field(number(1000)) },
			"fault":   func(rt *rapid.T) { w.fault(rt) },
			"wait":    func(rt *rapid.T) { w.pass(time.Duration(number(100)) * time.Second) },
			"hours":   func(rt *rapid.T) { w.pass(time.Duration(1+number(20)) * time.Hour) },
			"round":   func(rt *rapid.T) { w.org.nextRound(t) },
			"tick":    func(rt *rapid.T) { w.tick(rt) },
			"killed":  func(rt *rapid.T) { w.killed(rt) },
		})
		w.settle()
		w.holdAgainstTruth(rt)
	})
}

// world is a simulated org that is worked on while it is mirrored, and everything happens to both.
type world struct {
	*model
	quietly map[string]bool // records that were changed without moving their time
	fields  []string
}

func newWorld(t *testing.T, rt *rapid.T, with *org) *world {
	t.Helper()
	execute(t, with, "TRUNCATE leads, sync_watermarks, sync_quarantine, sync_locks, sync_deletions, sync_verifications, sync_findings, sync_metadata, sync_drift")
	config := mirror.Config{Deadline: 20 * time.Second, Overlap: time.Minute, StaleAfter: time.Nanosecond,
		PageSize: rapid.IntRange(1, 9).Draw(rt, "page"), MassDelete: 100}
	unknowns := zohosim.Unknowns{
		DeletedOrder:    zohosim.DeletedOrder(rapid.IntRange(0, 2).Draw(rt, "order of the list")),
		DeletedEmpty:    rapid.SampledFrom([]int{0, http.StatusOK, http.StatusNoContent, http.StatusNotModified}).Draw(rt, "empty list"),
		PurgeKeepsTime:  rapid.Bool().Draw(rt, "a purge keeps the time"),
		LosersPermanent: rapid.Bool().Draw(rt, "losers are permanent"),
		SinceExclusive:  rapid.Bool().Draw(rt, "since is exclusive"),
	}
	lag := time.Duration(rapid.IntRange(0, 59).Draw(rt, "lag")) * time.Second
	w := &world{quietly: map[string]bool{}, model: newModel(t, with, zohosim.Config{VisibilityLag: lag, Unknowns: unknowns}, config)}
	w.org.AddField("Leads", zohosim.Field{API: "Score", Type: "formula", Custom: true})
	return w
}

// live are the records that can be worked with, by state of conversion.
func (w *world) live(converted bool) []string {
	var ids []string
	for id, record := range w.org.Truth("Leads") {
		if record["Converted__s"] == converted {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func pick(ids []string, which int) (string, bool) {
	if len(ids) == 0 {
		return "", false
	}
	return ids[which%len(ids)], true
}

func (w *world) edit(which int) {
	if id, ok := pick(w.live(which%7 == 0), which); ok {
		w.org.Update("Leads", id, zohosim.Record{"Company": fmt.Sprint("Company ", which, " ", w.steps())})
		delete(w.quietly, id)
	}
}

// pass lets time pass for the org and, a little faster, for the token that is kept.
func (w *world) pass(d time.Duration) {
	w.org.Advance(d)
	execute(w.t, w.org, "UPDATE sync_tokens SET expires_at = expires_at - make_interval(secs => $1)", (d + 10*time.Second).Seconds())
}

func (w *world) steps() int { return len(w.org.Calls()) }

func (w *world) editAll() {
	w.model.editAll()
	clear(w.quietly)
}

func (w *world) convert(which int, moves bool) {
	if id, ok := pick(w.live(false), which); ok {
		w.org.Convert(id, moves)
	}
}

func (w *world) remove(which int, how func(string, ...string)) {
	if id, ok := pick(w.live(which%5 == 0), which); ok {
		how("Leads", id)
		return
	}
}

func (w *world) restore(which int, moves bool) {
	truth := w.org.Truth("Leads")
	var gone []string
	for _, id := range w.ids {
		if _, live := truth[id]; !live {
			gone = append(gone, id)
		}
	}
	if id, ok := pick(gone, which); ok {
		w.org.Restore("Leads", id, moves)
	}
}

func (w *world) merge(master, loser int) {
	ids := w.live(false)
	to, _ := pick(ids, master)
	from, ok := pick(ids, loser)
	if ok && to != from {
		w.org.Merge("Leads", to, from)
		delete(w.quietly, to)
	}
}

func (w *world) quiet(which int) {
	if id, ok := pick(w.live(which%3 == 0), which); ok {
		w.org.UpdateQuietly("Leads", id, zohosim.Record{"Score": which, "Last_Activity_Time": w.org.Now().Truncate(time.Second)})
		w.quietly[id] = true
	}
}

// field adds one to the org and gives it a value in a record.
func (w *world) field(which int) {
	name := fmt.Sprintf("Field_%d", len(w.fields))
	w.fields = append(w.fields, name)
	w.org.AddField("Leads", zohosim.Field{API: name, Type: "text", Custom: true})
	execute(w.t, w.org, "UPDATE sync_metadata SET fetched_at = fetched_at - interval '2 hours'")
	if id, ok := pick(w.live(false), which); ok {
		w.org.Update("Leads", id, zohosim.Record{name: fmt.Sprint("value ", which)})
		delete(w.quietly, id)
	}
}

// fault lets one of the next calls fail in a way that fails the run, or kills its token.
func (w *world) fault(rt *rapid.T) {
	skip := rapid.IntRange(0, 12).Draw(rt, "calls before the fault")
	fault := zohosim.Fault{Status: http.StatusBadRequest, Body: `{"code":"FEATURE_NOT_ENABLED","details":{},"message":"planned","status":"error"}`}
	if rapid.Bool().Draw(rt, "only the token") {
		fault = zohosim.Fault{ExpireTokens: true}
	}
	w.org.Plan(1, func(zohosim.Call) bool { skip--; return skip < 0 }, fault)
}

// tick is one call of the scheduler. What fails is for the next one.
func (w *world) tick(rt *rapid.T) {
	seed := rapid.Uint64().Draw(rt, "between pages")
	w.between = rand.New(rand.NewPCG(seed, seed))
	defer func() { w.between = nil }()
	w.runOnce(w.org.mirror)
}

func (w *world) runOnce(m *mirror.Mirror) {
	module, _ := crm.Find("leads")
	result, err := m.Run(w.t.Context(), mirror.Request{Module: module})
	if err == nil && result.Status != mirror.StatusOK {
		w.t.Fatalf("tick: %+v", result)
	}
}

// killed is a tick whose process dies at some call: from then on it reaches no database.
func (w *world) killed(rt *rapid.T) {
	left := rapid.IntRange(1, 14).Draw(rt, "calls before it is killed")
	wire := newWire(w.t, w.org.database)
	m := w.org.process(w.t, wire.address)
	w.org.Plan(1, func(zohosim.Call) bool {
		if left--; left == 0 {
			wire.cut()
		}
		return false
	}, zohosim.Fault{})
	w.runOnce(m)
	w.org.ClearPlans()
	wire.cut()
	m.Close()
}

// settle lets the CRM rest, and the mirror look at every deletion.
func (w *world) settle() {
	w.org.ClearPlans()
	w.pass(2 * time.Minute)
	w.org.runAll(w.t, "leads")
	w.org.nextRound(w.t)
	w.org.runAll(w.t, "leads")
}

// holdAgainstTruth compares all rows and columns, but for what is not promised, and lets a
// verification say the same.
func (w *world) holdAgainstTruth(rt *rapid.T) {
	fail := func(what string, diff any) {
		rt.Fatalf("%s:\n%.3000v", what, diff)
	}
	want, got := w.expected(), w.org.rows(w.t, "leads_live")
	promised := func(rows map[string]map[string]any) map[string]map[string]any {
		rows = maps.Clone(rows)
		for id, row := range rows {
			if w.quietly[id] {
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
	if diff := cmp.Diff(promised(want), promised(got), sameNumber); diff != "" {
		fail("the mirror differs (-CRM +mirror)", diff)
	}
	if refused := w.org.Refused(); refused != nil {
		fail("what is not documented was asked for", refused)
	}
	verify := func(mode string, deep bool) map[string]any {
		module, _ := crm.Find("leads")
		return told(w.org.verify(w.t, mirror.Request{Module: module, Mode: mode, Deep: deep}))
	}
	checked := int64(len(want))
	if diff := cmp.Diff(map[string]any{"verdict": postgres.VerdictEqual, "checked": checked}, verify(mirror.ModeVerify, false)); diff != "" {
		fail("a verification of times (-want +got)", diff)
	}
	equal := cmp.Equal(want, got, sameNumber)
	if verdict := verify(mirror.ModeVerify, true)["verdict"]; (verdict == postgres.VerdictEqual) != equal {
		fail("a deep verification says", verdict)
	}
	if verdict := verify(mirror.ModeRepair, true)["verdict"]; verdict != postgres.VerdictEqual {
		fail("a repair says", verdict)
	}
	if diff := cmp.Diff(want, w.org.rows(w.t, "leads_live"), sameNumber); diff != "" {
		fail("after the repair (-CRM +mirror)", diff)
	}
}

func (w *world) expected() map[string]map[string]any {
	want := map[string]map[string]any{}
	for id, record := range w.org.Truth("Leads") {
		want[id] = w.org.expected(w.t, "leads", record)
	}
	return want
}

// A wire to a database that can be cut.
type wire struct {
	address  string
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
	broken   bool
}

func newWire(t *testing.T, database string) *wire {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	u.Host = listener.Addr().String()
	w := &wire{address: u.String(), listener: listener}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			if upstream, err := net.Dial("tcp", server); err == nil && w.keep(client, upstream) {
				go carry(client, upstream)
				go carry(upstream, client)
			}
		}
	}()
	return w
}

func carry(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if _, lost := to.Write(buffer[:n]); err != nil || lost != nil {
			_ = to.Close()
			return
		}
	}
}

func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, conns...)
	if w.broken {
		w.breakAll()
	}
	return !w.broken
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = true
	_ = w.listener.Close()
	w.breakAll()
}

func (w *wire) breakAll() {
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}
