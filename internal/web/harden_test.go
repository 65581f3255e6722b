package web_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/web"
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

// The server reads no more of a request's head than a scheduler may send.
func TestLargeHeaders(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	handler := behind(t, secret).Config.Handler
	go func() { served <- web.Serve(ctx, listener, handler, time.Second, func() {}, quiet) }()
	for size, want := range map[int]int{80 << 10: letIn, 300 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/api/sync", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+secret)
		request.Header.Set("X-Much", strings.Repeat("x", size))
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%d bytes of headers: %d", size, response.StatusCode)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
