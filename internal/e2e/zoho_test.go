package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"zohomirror/internal/zohosim"
)

// A refresh token that was revoked: every run fails, says so, and writes nothing; with a good
// one the next run goes on.
func TestRefreshTokenRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t)
	w.tick = w.deployed(t).tick
	before := w.ready(t)
	w.ExpireTokens()
	const ticks = 3
	w.FailTokens(slices.Repeat([]string{`{"error":"invalid_code"}`}, ticks)...)
	for range ticks {
		out := w.tick(t)
		w.failed(t, out)
		if !strings.Contains(out.Hint, "consent anew") {
			t.Errorf("%s", out)
		}
	}
	if n := value[int](t, w, "SELECT count(*)::int FROM sync_quarantine"); n != 0 {
		t.Errorf("%d rows are in the quarantine for a bad token", n)
	}
	w.goesOn(t, before, lockFree, 0)
}

// Zoho mints no more tokens for now: it is left in peace for five minutes.
func TestTooManyTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t)
	before := w.ready(t)
	w.ExpireTokens()
	w.FailTokens(`{"error_description":"You have made too many requests continuously. Please try again after some time.","error":"Access Denied","status":"failure"}`)
	w.wire.strike(0, 0, nil)
	for range 3 {
		w.failed(t, w.tick(t))
	}
	if calls, _ := w.wire.calm(); calls != 1 {
		t.Errorf("Zoho was asked %d times", calls)
	}
	w.exec(t, "UPDATE sync_tokens SET not_before = not_before - interval '5 minutes'")
	w.goesOn(t, before, lockFree, 0)
}

// A scope that was taken away. Without that of COQL runs fail and name it; without the others
// they go on with what they know.
func TestScopeRevoked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scope string
		fails bool
	}{
		{"ZohoCRM.coql.READ", true},
		{"ZohoCRM.settings.fields.READ", false},
		{"ZohoCRM.users.READ", false},
	} {
		t.Run(c.scope, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.begin(t)
			w.work()
			before := w.look(t)
			w.SetScopes(slices.DeleteFunc(slices.Clone(zohosim.DefaultScopes), func(s string) bool { return s == c.scope })...)
			w.exec(t, "UPDATE sync_metadata SET fetched_at = fetched_at - interval '2 hours'")
			out := w.tick(t)
			if c.fails {
				w.failed(t, out)
				if !strings.Contains(out.Hint, c.scope) {
					t.Errorf("%s", out)
				}
			} else if out.Status != "ok" || out.More {
				t.Errorf("%s", out)
			}
			w.SetScopes(zohosim.DefaultScopes...)
			w.exec(t, "UPDATE sync_metadata SET fetched_at = fetched_at - interval '2 hours'")
			w.goesOn(t, before, lockFree, 0)
		})
	}
}

// An answer that never comes is given up after 20 s, and asked for again.
func TestZohoHangsOnce(t *testing.T) {
	t.Parallel()
	onlySlow(t)
	w := newWorld(t)
	w.begin(t)
	before := w.ready(t)
	began := time.Now()
	w.wire.strike(5, 1, hang)
	out := w.sync(t)
	w.wire.calm()
	if took := time.Since(began); out.Status != "ok" || out.More || took < 20*time.Second {
		t.Errorf("after %s: %s", took, out)
	}
	w.goesOn(t, before, lockFree, 0)
}

// The day's credits are used up: runs fail until they come back.
func TestCreditsUsedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t)
	before := w.ready(t)
	w.wire.strike(5, always, answers(http.StatusTooManyRequests, plain, tooMany, "Retry-After", "3600"))
	for range 3 {
		w.failed(t, w.tick(t))
	}
	w.wire.calm()
	w.goesOn(t, before, lockFree, 0)
}
