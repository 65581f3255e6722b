package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"zohomirror/internal/zohosim"
)

// A kind is a run that does more, or other things, than read what was edited.
type kind struct {
	name    string
	command string
	prepare func(*testing.T, *world)
	sync    bool   // it does first what every tick does, which has tests of its own
	done    string // a query for what is true in the end, beside equality
}

// some are as many leads as take more than one look by their ids.
const some = 60

var kinds = []kind{
	{"verify", "verify leads --deep", func(*testing.T, *world) {}, true,
		"SELECT (SELECT verdict FROM sync_verifications ORDER BY started_at DESC LIMIT 1) = 'equal'"},
	{"repair", "repair leads --deep", spoil, true, "SELECT NOT EXISTS (SELECT FROM sync_verifications WHERE verdict = 'running')"},
	{"replay", "quarantine replay --module leads", func(t *testing.T, w *world) {
		for _, id := range w.leads[:some] {
			w.Update("Leads", id, zohosim.Record{"Lead_Status": "Podcast"})
		}
		w.advance(2 * time.Minute)
		w.recover(t, lockFree)
		for _, id := range w.leads[:some] { // no time tells the ordinary runs
			w.UpdateQuietly("Leads", id, zohosim.Record{"Lead_Status": "Contacted"})
		}
	}, false, "SELECT NOT EXISTS (SELECT FROM sync_quarantine WHERE settled_at IS NULL)"},
	{"since", "sync leads --since 2026-11-23T00:00:00Z", spoil, false,
		"SELECT NOT EXISTS (SELECT FROM sync_watermarks WHERE stream LIKE 'since%')"},
	{"deletions", "sync leads", func(_ *testing.T, w *world) {
		w.edits++
		w.Delete("Leads", w.leads[:some]...)
		w.leads = w.leads[some:]
		for i := range some {
			w.leads = append(w.leads, w.Insert("Leads", lead(1000*w.edits+i)))
		}
	}, true, "SELECT NOT EXISTS (SELECT FROM sync_deletions WHERE state <> 'confirmed')"},
	{"fill", "sync leads", func(t *testing.T, w *world) {
		w.edits++
		name := fmt.Sprintf("Hat_Size_%d", w.edits)
		w.AddField("Leads", zohosim.Field{API: name, Type: "integer", Custom: true})
		for i, id := range w.leads {
			w.UpdateQuietly("Leads", id, zohosim.Record{name: i})
		}
		w.exec(t, "UPDATE sync_metadata SET fetched_at = fetched_at - interval '2 hours'")
	}, true, "SELECT NOT EXISTS (SELECT FROM sync_watermarks WHERE stream LIKE 'fill%' AND window_as_of IS NOT NULL)"},
}

// spoil lets rows of the mirror differ in every way that no time tells.
func spoil(t *testing.T, w *world) {
	t.Helper()
	w.exec(t, "UPDATE leads SET company = 'spoiled' WHERE id IN (SELECT id FROM leads WHERE deleted_at IS NULL ORDER BY md5(id) LIMIT 40)")
	w.exec(t, "UPDATE leads SET deleted_at = now() WHERE id IN (SELECT id FROM leads WHERE deleted_at IS NULL ORDER BY md5(id) DESC LIMIT 2)")
	w.exec(t, "DELETE FROM leads WHERE id = ANY ($1)", w.leads[10:15])
}

// A disaster is what befalls a run at its n-th call to Zoho, or request to the database.
type disaster struct {
	name      string
	requests  bool // it counts those to the database
	lock      int  // what becomes of the lock
	befall    func(w *world, n int, signal func(syscall.Signal))
	tolerates func(outcome) bool
}

var disasters = []disaster{
	{"killed at a call", false, lockHeld, func(w *world, n int, signal func(syscall.Signal)) {
		w.wire.strike(n, always, after(func() { signal(syscall.SIGKILL) }))
	}, func(out outcome) bool { return out.exit == -1 }},
	{"stopped at a call", false, lockFree, func(w *world, n int, signal func(syscall.Signal)) {
		w.wire.strike(n, 1, meanwhile(func() {
			signal(syscall.SIGTERM)
			time.Sleep(20 * time.Millisecond) // it arrives
		}))
	}, func(out outcome) bool {
		return out.exit == 0 || out.exit == 1 && (strings.Contains(out.log, "stopped") || strings.Contains(out.log, "asked to end"))
	}},
	{"refused at a call", false, lockFree, func(w *world, n int, _ func(syscall.Signal)) {
		w.wire.strike(n, always, answers(http.StatusTooManyRequests, plain, tooMany, "Retry-After", "60"))
	}, func(out outcome) bool { return out.exit == 1 && strings.Contains(out.log, "what to do: ") }},
	{"killed at a request", true, lockHeld, func(w *world, n int, signal func(syscall.Signal)) {
		w.link.strike(moment{n, false}, func() verdict {
			signal(syscall.SIGKILL)
			return lost
		})
	}, func(out outcome) bool { return out.exit == -1 }},
	{"the database lost after a request", true, lockFree, func(w *world, n int, _ func(syscall.Signal)) {
		w.link.strike(moment{n, true}, func() verdict { return lost })
	}, func(out outcome) bool {
		return out.exit == 0 || out.exit == 1 && strings.Contains(out.log, "what to do: ")
	}},
}

// Every other kind of run, struck anywhere, is gone on with by the same command, and the mirror
// ends equal.
func TestOtherKindsOfRun(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.begin(t)
			var idle, clean cost
			if k.sync {
				idle = w.measure(t, "sync leads")
			}
			k.ready(t, w)
			clean = w.measure(t, k.command)
			k.ended(t, w)
			for _, d := range disasters {
				from, to := idle.calls, clean.calls
				if d.requests {
					from, to = idle.requests, min(clean.requests, clean.answers)
				}
				for _, n := range boundaries(from+1, to) {
					k.ready(t, w)
					p := w.process(t, k.command)
					p.struck(t, func(signal func(syscall.Signal)) { d.befall(w, n, signal) })
					out := p.wait()
					_, called := w.wire.calm()
					_, _, asked := w.link.calm()
					if called+asked > 0 && !d.tolerates(out) {
						t.Errorf("%s", out)
					}
					w.recorded(t, d.lock)
					if d.lock == lockHeld {
						w.age(t)
					}
					k.ended(t, w)
					if t.Failed() {
						t.Fatalf("%s, %d of %d to %d", d.name, n, from+1, to)
					}
				}
			}
		})
	}
}

// boundaries are all of them, or without ZOHOMIRROR_SLOW two.
func boundaries(from, to int) []int {
	var all []int
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	if slow || len(all) < 3 {
		return all
	}
	return []int{all[len(all)/3], all[len(all)-1-len(all)/4]}
}

// ready prepares a round, of which no ordinary run has seen anything.
func (k kind) ready(t *testing.T, w *world) {
	t.Helper()
	w.advance(5 * time.Minute)
	w.recover(t, lockFree)
	k.prepare(t, w)
	w.advance(5 * time.Minute)
}

// measure counts what a run passes through.
func (w *world) measure(t *testing.T, command string) (c cost) {
	t.Helper()
	w.wire.strike(0, 0, nil)
	w.link.strike(moment{}, nil)
	p := w.process(t, command)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if out := p.wait(); out.exit > 1 || out.exit < 0 {
		t.Fatalf("%s with nothing in its way: %s", command, out)
	}
	c.calls, _ = w.wire.calm()
	c.requests, c.answers, _ = w.link.calm()
	return c
}

// ended repeats the command until it has done what it is for, and holds the mirror against the CRM.
func (k kind) ended(t *testing.T, w *world) {
	t.Helper()
	for range 10 {
		p := w.process(t, k.command)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if out := p.wait(); out.exit != 0 {
			t.Fatalf("%s goes on: %s", k.command, out)
		}
		if !strings.Contains(p.out.String(), `"more": true`) && value[bool](t, w, k.done) {
			w.recover(t, lockFree)
			w.equal(t)
			if open := value[int](t, w, "SELECT count(*)::int FROM sync_runs WHERE status = 'running'"); open != 0 {
				t.Errorf("%d runs are left open", open)
			}
			return
		}
	}
	t.Errorf("ten times %s were not enough", k.command)
}
