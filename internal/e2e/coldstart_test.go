package e2e

import (
	"net/http"
	"testing"
	"time"
)

// From the start of the process to its first answer, and to its first that took the
// database. What is asserted is the answers; the times are for the reader of -v.
func TestColdStart(t *testing.T) {
	w := newWorld(t)
	w.function(t).get(t, "GET", "/healthz") // both are built, and their files are in memory
	w.serve(t).get(t, "GET", "/healthz")
	for _, c := range []struct {
		path   string
		status int
	}{{"/api/sync?module=leads", http.StatusForbidden}, {"/healthz", http.StatusOK}} {
		began := time.Now()
		if got := w.function(t).get(t, "GET", c.path); got.Status != c.status {
			t.Errorf("%s: %d %s", c.path, got.Status, got.Text)
		}
		t.Logf("the function: %s after %s", c.path, time.Since(began).Round(100*time.Microsecond))
		began = time.Now()
		if got := w.serve(t).get(t, "GET", c.path); got.Status != c.status {
			t.Errorf("%s: %d %s", c.path, got.Status, got.Text)
		}
		t.Logf("the server: %s after %s", c.path, time.Since(began).Round(100*time.Microsecond))
	}
}
