package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/pgembed/pgtest"
)

// Every answer bears the headers that keep browsers from making more of it than JSON, and a
// request that brings more than a form is turned away unread.
func TestHardened(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Empty(t), secret)
	for path, status := range map[string]int{"/healthz": 200, "/api/sync?module=leads": 403, "/nowhere": 404} {
		response, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		want := []string{"no-store", "nosniff", "DENY", "no-referrer", "default-src 'none'; frame-ancestors 'none'"}
		got := []string{}
		for _, name := range []string{"Cache-Control", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy"} {
			got = append(got, response.Header.Get(name))
		}
		if diff := cmp.Diff(want, got); response.StatusCode != status || diff != "" {
			t.Errorf("%s: %d (-want +got):\n%s", path, response.StatusCode, diff)
		}
	}
	for path, status := range map[string]int{"/healthz": 413, "/api/sync?module=leads": 413} {
		response, err := http.Post(s.url+path, "text/plain", strings.NewReader(strings.Repeat("x", 70_000)))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%s with a large body: %d", path, response.StatusCode)
		}
	}
}
