package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// Two deployments that are called at once, again and again, while the CRM changes: one run
// at a time, one token for all.
func TestTwoDeployments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	deployments := []*deployment{w.deployed(t), w.deployed(t)}
	w.tick = deployments[0].tick
	var callers sync.WaitGroup
	for i := range 6 {
		callers.Go(func() {
			for n := range 8 {
				out := deployments[(i+n)%2].tick(t)
				if out.exit != http.StatusOK || out.Status != "ok" && out.Status != "skipped" {
					t.Errorf("call %d of caller %d: %s", n, i, out)
				}
			}
		})
	}
	for range 3 {
		w.work()
	}
	callers.Wait()
	w.recover(t, lockFree)
	w.equal(t)
	if stale := value[int](t, w, `SELECT count(*)::int FROM sync_runs a JOIN sync_runs b ON a.id < b.id AND a.status = 'ok' AND b.status = 'ok'
		AND (a.started_at, a.ended_at) OVERLAPS (b.started_at, b.ended_at)`); stale > 0 {
		t.Errorf("%d pairs of runs were at work at once", stale)
	}
	if minted, hours := w.Minted(), 3+1+1; minted > hours { // a token lives for an hour of Zoho's
		t.Errorf("%d access tokens were minted in %d hours", minted, hours)
	}
}

// held is a run that has stopped on its way and is still alive.
type held struct {
	*process
	goOn func()
}

// trace is the mirror with the traces that writing leaves.
func (w *world) trace(t *testing.T) string {
	t.Helper()
	return value[string](t, w, "SELECT md5(jsonb_agg(to_jsonb(l) || jsonb_build_object('xmin', xmin, 'ctid', ctid) ORDER BY id)::text) FROM leads l") +
		value[string](t, w, "SELECT jsonb_agg(to_jsonb(s) ORDER BY stream)::text FROM sync_watermarks s")
}

// overtaken: the ticks that come soon are turned away; the one that comes when the lock is
// stale takes it, and all is mirrored; the old run wakes up, writes nothing, and says so.
func (w *world) overtaken(t *testing.T, before start, old held) {
	t.Helper()
	if out := w.tick(t); out.Status != "skipped" {
		t.Errorf("the tick that comes soon: %s", out)
	}
	w.goesOn(t, before, lockHeld, 2)
	trace := w.trace(t)
	old.goOn()
	out := old.end(t)
	w.failed(t, out)
	if w.trace(t) != trace {
		t.Errorf("the run that woke up wrote: %s", out)
	}
	w.recorded(t, lockFree)
	w.recover(t, lockFree)
	w.equal(t)
}

// A run that Zoho keeps waiting for longer than LOCK_STALE_AFTER.
func TestStaleLockOldRunAlive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t)
	for n := 1; n <= w.clean.calls; n++ {
		if !slow && n != 2 && n != 5 && n != w.clean.calls {
			continue // the first call holds the token's row for up to 8 s
		}
		before := w.ready(t)
		reached, release := make(chan struct{}), make(chan struct{})
		w.wire.strike(n, 1, meanwhile(func() { close(reached); <-release }))
		old := held{w.start(t), func() { close(release) }}
		<-reached
		w.wire.calm()
		w.overtaken(t, before, old)
		if t.Failed() {
			t.Fatalf("call %d", n)
		}
	}
}

// A process that is frozen with a request to the database on its lips, and wakes up when the
// lock has long been another's.
func TestFrozenAtEveryRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tidied = true // that comes when the lock is free again
	w.begin(t)
	const claim = 4 // after the start and two steps of a password
	paging := w.clean.requests - 3
	for n := claim + 1; n <= w.clean.requests; n++ {
		if !slow && n != paging && n != w.clean.requests {
			continue
		}
		before := w.ready(t)
		reached, release := make(chan struct{}), make(chan struct{})
		p := w.prepare(t)
		begun := make(chan struct{})
		w.link.strike(moment{n, false}, func() verdict {
			<-begun
			_ = p.Process.Signal(syscall.SIGSTOP) // it is alive
			close(reached)
			<-release
			return arrives
		})
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		close(begun)
		<-reached
		w.link.calm()
		w.overtaken(t, before, held{p, func() {
			close(release)
			_ = p.Process.Signal(syscall.SIGCONT) // it is alive
		}})
		if t.Failed() {
			t.Fatalf("request %d of %d", n, w.clean.requests)
		}
	}
}

// Pain 20: the lock of a killed run is free for the first tick past LOCK_STALE_AFTER, and for none
// before.
func TestPain20KilledRunsLockGrowsOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t)
	impatient := []string{"SYNC_DEADLINE=2s", "LOCK_STALE_AFTER=3s"}
	before := w.ready(t)
	w.victim(t, func(signal func(syscall.Signal)) {
		w.wire.strike(5, always, func(rw http.ResponseWriter, r *http.Request, zoho http.Handler) {
			signal(syscall.SIGKILL)
			hang(rw, r, zoho)
		})
	}, impatient...)
	w.wire.calm()
	if out := w.sync(t, impatient...); out.Status != "skipped" {
		t.Errorf("the tick that comes soon: %s", out)
	}
	stale := value[time.Duration](t, w, "SELECT claimed_at + interval '3 seconds' - clock_timestamp() FROM sync_locks WHERE module = 'leads'")
	time.Sleep(stale + 50*time.Millisecond)
	w.tick = func(t *testing.T) outcome { t.Helper(); return w.sync(t, impatient...) }
	w.goesOn(t, before, lockHeld, 2)
}

// Pain 20: a function that the platform kills in the middle of a run leaves its lock behind.
// The calls that come soon are turned away; one that comes when it is stale goes on.
func TestPain20FunctionIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t)
	d := w.function(t)
	w.tick = d.tick
	before := w.ready(t)
	w.wire.strike(5, always, func(rw http.ResponseWriter, r *http.Request, zoho http.Handler) {
		d.platform.kill()
		hang(rw, r, zoho)
	})
	got := d.get(t, http.MethodGet, "/api/sync?module=leads", key...)
	w.wire.calm()
	if got.Status != http.StatusBadGateway {
		t.Errorf("the killed run: %d %s", got.Status, got.Text)
	}
	if out := w.tick(t); out.Status != "skipped" {
		t.Errorf("the tick that comes soon: %s", out)
	}
	w.goesOn(t, before, lockHeld, 2)
}

// A server that is asked to end while a run is at work answers its caller, ends well, and its
// successor goes on. While Zoho does not answer, or asks for patience, it does not wait for it:
// the platform would kill it ten seconds later.
func TestServeIsStopped(t *testing.T) {
	t.Parallel()
	for name, meets := range map[string]struct {
		calls []int // where it is asked
		times int
		blow  blow
	}{
		"reading":   {[]int{5}, 1, meanwhile(func() { time.Sleep(100 * time.Millisecond) })}, // the signal arrives
		"no answer": {[]int{1, 5}, always, hang},
		"patience":  {[]int{1, 5}, always, answers(http.StatusTooManyRequests, plain, tooMany, "Retry-After", "20")},
	} {
		for _, call := range meets.calls {
			t.Run(fmt.Sprintf("%s, call %d", name, call), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.begin(t)
				before := w.ready(t)
				d := w.serve(t)
				ask := sync.OnceFunc(func() { _ = d.Process.Signal(syscall.SIGTERM) }) // it is alive
				w.wire.strike(call, meets.times, func(rw http.ResponseWriter, r *http.Request, zoho http.Handler) {
					ask()
					meets.blow(rw, r, zoho)
				})
				out := d.tick(t)
				w.wire.calm()
				if out.Status != "ok" || !out.More || out.Reason != "stopping" {
					t.Errorf("the run at work: %s", out)
				}
				if status := d.wait(); status != 0 {
					t.Errorf("exit status %d", status)
				}
				w.tick = w.serve(t).tick
				w.goesOn(t, before, lockFree, 1)
			})
		}
	}
}

// Zoho's clock and ours differ by minutes, Zoho says its time or does not, and shows edits
// late: whatever is edited while it is read arrives.
func TestWrongClock(t *testing.T) {
	t.Parallel()
	const lag = 2 * time.Second
	for _, skew := range []time.Duration{-7 * time.Minute, 7 * time.Minute} {
		for _, silent := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, without Date %v", skew, silent), func(t *testing.T) {
				t.Parallel()
				w := newWorldIn(t, pgtest.Database(t), zohosim.Config{
					Now: func() time.Time { return time.Now().Add(skew) }, NoDate: silent, VisibilityLag: lag,
				})
				if !silent { // ten overlaps are how wrong our clock may be where Zoho does not say its time
					w.settings["SYNC_OVERLAP"] = "3s"
				}
				d := w.deployed(t)
				w.tick = d.tick
				for round := range 8 {
					w.wire.strike(3, always, meanwhile(func() {
						w.Update("Leads", w.leads[(round*37+w.edits)%len(w.leads)], zohosim.Record{"Company": fmt.Sprintf("Edit %d", w.edits)})
						w.edits++
					}))
					w.work()
					if out := w.tick(t); out.Status != "ok" {
						t.Fatalf("round %d: %s", round, out)
					}
					w.wire.calm()
					time.Sleep(300 * time.Millisecond) // rounds lie in different seconds
				}
				time.Sleep(lag + 100*time.Millisecond) // until all is visible
				w.exec(t, "UPDATE sync_deletions SET due_at = due_at - interval '1 day'")
				w.recover(t, lockFree)
				w.equal(t)
			})
		}
	}
}
