package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// noTime ends a run whose calls fail for good within a second.
const noTime = "SYNC_DEADLINE=1s"

// A run that Zoho refuses at any call fails, or ends in time with what it has; the next
// ones go on.
func TestZohoFailsAtEveryCall(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		name    string
		blow    blow
		patient bool // the run tries until its time is over
		slow    bool
	}{
		{"429, come back in a minute", answers(http.StatusTooManyRequests, plain, tooMany, "Retry-After", "60"), false, false},
		{"429", answers(http.StatusTooManyRequests, plain, tooMany), true, true},
		{"500", answers(http.StatusInternalServerError, plain, internal), true, true},
		{"502 with HTML", answers(http.StatusBadGateway, "text/html", edge), true, true},
		{"200 with HTML", answers(http.StatusOK, "text/html", edge), true, true},
		{"cut body", cut, true, true},
		{"reset before", resetBefore, true, true},
		{"reset after", resetAfter, true, true},
		{"hang", hang, true, true},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.begin(t)
			for n := 1; n <= w.clean.calls; n++ {
				if kind.slow && !slow && n != 1 && n != 5 { // the token, and a page behind another
					continue
				}
				before := w.ready(t)
				w.wire.strike(n, always, kind.blow)
				var settings []string
				if kind.patient {
					settings = append(settings, noTime)
				}
				out := w.sync(t, settings...)
				w.wire.calm()
				if out.Status != "ok" || !out.More || !kind.patient {
					w.failed(t, out)
				}
				lock := lockFree
				if kind.patient && strings.Contains(out.Error, "close the run") {
					lock = lockHeld // a machine too busy for the one second that was left
				}
				w.goesOn(t, before, lock, 1)
				if t.Failed() {
					t.Fatalf("call %d: %s", n, out)
				}
			}
		})
	}
}

// A run that meets a fault which passes does not even fail.
func TestZohoStumblesAtEveryCall(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		name string
		blow blow
		slow bool
	}{
		{"expired tokens", expired, false},
		{"429, come back in a second", answers(http.StatusTooManyRequests, plain, tooMany, "Retry-After", "1"), true},
		{"503", answers(http.StatusServiceUnavailable, plain, internal), true},
		{"cut body", cut, true},
		{"reset after", resetAfter, true},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.begin(t)
			for n := 1; n <= w.clean.calls; n++ {
				if kind.slow && !slow && n != 5 {
					continue
				}
				before := w.ready(t)
				w.wire.strike(n, 1, kind.blow)
				out := w.sync(t)
				if _, struck := w.wire.calm(); struck != 1 || out.Status != "ok" || out.More {
					t.Fatalf("call %d, struck %d times: %s", n, struck, out)
				}
				w.goesOn(t, before, lockFree, 1)
				if t.Failed() {
					t.Fatalf("call %d: %s", n, out)
				}
			}
		})
	}
}

// A process that is killed at any call, before Zoho has seen it or when it was answered.
func TestKilledAtEveryCall(t *testing.T) {
	t.Parallel()
	for name, around := range map[string]func(func()) blow{"before": before, "after": after} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.begin(t)
			for n := 1; n <= w.clean.calls; n++ {
				before := w.ready(t)
				out := w.victim(t, func(signal func(syscall.Signal)) {
					w.wire.strike(n, always, around(func() { signal(syscall.SIGKILL) }))
				})
				if _, struck := w.wire.calm(); struck == 0 || out.exit != -1 {
					t.Fatalf("call %d was not struck: %s", n, out)
				}
				w.goesOn(t, before, lockHeld, 2)
				if t.Failed() {
					t.Fatalf("call %d", n)
				}
			}
		})
	}
}

// A process that is asked to end at any call ends well, and the next one goes on.
func TestStoppedAtEveryCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t)
	for n := 1; n <= w.clean.calls; n++ {
		before := w.ready(t)
		out := w.victim(t, func(signal func(syscall.Signal)) {
			w.wire.strike(n, 1, meanwhile(func() {
				signal(syscall.SIGTERM)
				time.Sleep(20 * time.Millisecond) // it arrives
			}))
		})
		w.wire.calm()
		if out.exit != 0 || out.Status != "ok" || out.More != (out.Reason == "stopping") {
			t.Fatalf("call %d: %s", n, out)
		}
		w.goesOn(t, before, lockFree, 1)
		if t.Failed() {
			t.Fatalf("call %d: %s", n, out)
		}
	}
}

// The way to the database breaks at any request: before it arrives or in its middle, and when
// it is answered, so that nobody knows whether the transaction is there.
func TestDatabaseLostAtEveryRequest(t *testing.T) {
	t.Parallel()
	breaks := func(as verdict) func(*testing.T, *world) func() verdict {
		return func(*testing.T, *world) func() verdict { return func() verdict { return as } }
	}
	for _, kind := range []struct {
		name  string
		after bool
		do    func(*testing.T, *world) func() verdict
		step  int
	}{
		{"the connection breaks before", false, breaks(lost), 7},
		{"the connection breaks within", false, breaks(halved), 2},
		{"the connection breaks after", true, breaks(lost), 2},
		{"the backends are killed before", false, killBackends, 7},
		{"the backends are killed after", true, killBackends, 7},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.begin(t)
			w.eachRequest(t, kind.after, kind.step, func(at moment) int {
				w.link.strike(at, kind.do(t, w))
				if out := w.sync(t); out.Status != "ok" {
					w.failed(t, out)
				}
				return lockFree
			})
		})
	}
}

// killBackends ends all the binary's connections from within the database, as an
// administrator would.
func killBackends(t *testing.T, w *world) func() verdict {
	return func() verdict {
		w.exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'zohomirror'")
		return arrives
	}
}

// A process that is killed at any request to the database.
func TestKilledAtEveryRequest(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]bool{"before": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.begin(t)
			w.eachRequest(t, after, 2, func(at moment) int {
				w.victim(t, func(signal func(syscall.Signal)) {
					w.link.strike(at, func() verdict {
						signal(syscall.SIGKILL)
						return lost
					})
				})
				return lockHeld
			})
		})
	}
}

// eachRequest has a round for each request to the database, or answer.
// Without ZOHOMIRROR_SLOW only each step-th has one, and the last.
func (w *world) eachRequest(t *testing.T, after bool, step int, strike func(moment) (lock int)) {
	t.Helper()
	n := w.clean.requests
	if after {
		n = w.clean.answers
	}
	for i := 1; i <= n; i++ {
		if !slow && i%step != 0 && i != n {
			continue
		}
		before := w.ready(t)
		lock := strike(moment{i, after})
		_, _, struck := w.link.calm()
		w.goesOn(t, before, lock, 2)
		if t.Failed() {
			t.Fatalf("request %d of %d, struck %d times", i, n, struck)
		}
	}
}
