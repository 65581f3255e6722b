package web_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"zohomirror/internal/mirror"
	"zohomirror/internal/notify"
	"zohomirror/internal/web"
	"zohomirror/internal/zoho"
)

// fuse is a log handler that panics at a message, which is where the program was then.
type fuse struct {
	slog.Handler
	at string
}

func (f fuse) Enabled(context.Context, slog.Level) bool { return true }

func (f fuse) Handle(_ context.Context, line slog.Record) error {
	if line.Message == f.at {
		panic("the fuse has blown")
	}
	return nil
}

// A panic in a request is answered, and Sentry knows of it when the answer is complete: the
// function may be frozen then.
func TestPanicInARequest(t *testing.T) {
	t.Parallel()
	var events []string
	sentry := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		events = append(events, string(body))
	}))
	t.Cleanup(sentry.Close)
	m, err := mirror.Open(t.Context(), mirror.Config{
		Deadline: 20 * time.Second,
		Notify:   notify.Config{SentryDSN: strings.Replace(sentry.URL, "://", "://key@", 1) + "/1", Release: "v1"},
	}, zoho.Config{}, "postgres://u:p@127.0.0.1:1/db", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	handler := web.New(m, secret, slog.New(fuse{slog.DiscardHandler, "a call without the right secret was refused"}))
	response := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, "/api/sync?module=leads&secret=of-the-query", nil)
	request.Header.Set("Authorization", "Bearer of-the-caller")
	handler.ServeHTTP(response, request)
	if response.Code != http.StatusInternalServerError || !strings.Contains(response.Body.String(), "an internal error") || strings.Contains(response.Body.String(), "fuse") {
		t.Errorf("%d %s", response.Code, response.Body)
	}
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	for _, want := range []string{`"where":"/api/sync"`, `"level":"fatal"`, "authorize", "panic: the fuse has blown"} {
		if !strings.Contains(events[0], want) {
			t.Errorf("the event lacks %s: %s", want, events[0])
		}
	}
	if strings.Contains(events[0], "of-the-caller") || strings.Contains(events[0], "of-the-query") {
		t.Errorf("the event shows the request: %s", events[0])
	}
}
