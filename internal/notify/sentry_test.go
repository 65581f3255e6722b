package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/panics"
)

var oneRun = Run{ID: "0192d5a1-7c3e-7b6f-8a41-5c2f9be31d07", Module: "leads", Mode: "sync", Trigger: "vercel-cron", Expected: true, Deadline: 55 * time.Second}

// An item of an envelope, as Sentry reads it.
type item struct {
	kind    string
	payload map[string]any
}

// items reads the envelopes that the desk got.
func (d *desk) items(t *testing.T) (all []item) {
	t.Helper()
	for _, letter := range d.letters() {
		if letter.path != "/api/42/envelope/" || letter.header.Get("Content-Type") != "application/x-sentry-envelope" ||
			!strings.Contains(letter.header.Get("X-Sentry-Auth"), "sentry_key=publickey") {
			t.Errorf("an envelope to %s with %v", letter.path, letter.header)
		}
		lines := strings.Split(strings.TrimSuffix(letter.body, "\n"), "\n")
		if len(lines) != 3 {
			t.Fatalf("an envelope of %d lines: %s", len(lines), letter.body)
		}
		head, itemHead := parsed[map[string]any](t, lines[0]), parsed[map[string]any](t, lines[1])
		if head["event_id"] == "" || head["sent_at"] == nil || itemHead["length"] != float64(len(lines[2])) {
			t.Errorf("headers %v, %v", head, itemHead)
		}
		all = append(all, item{itemHead["type"].(string), parsed[map[string]any](t, lines[2])})
	}
	return all
}

func (d *desk) report(t *testing.T, n *Notifier, run Run) *Report {
	t.Helper()
	r := n.Report(run)
	t.Cleanup(r.Close)
	return r
}

// A run's failure arrives with what leads to its cause, and without what nobody needs.
func TestSentryEvent(t *testing.T) {
	t.Setenv("SENTRY_TAGS_SECRET", "tag-of-the-environment")
	t.Setenv("SENTRY_RELEASE", "release-of-the-environment")
	d := newDesk(t)
	r := d.report(t, d.sentry(t), Run{ID: oneRun.ID, Module: "leads", Mode: "verify", Trigger: "cli"})
	log := slog.New(r.Handler(slog.DiscardHandler)).With("run_id", oneRun.ID)
	log.Debug("page written", "stream", "modified", "rows", 200, "took", time.Second, "values", []string{"payload"}, "id", "5725767000000411002", "name", "payload")
	log.Warn("a call to Zoho is sent again", "error", errors.New("HTTP 503\npayload"))
	r.Begin(t.Context())
	r.Fail("zoho", "wait", fmt.Errorf("read leads: %w", errors.New("HTTP 503")))
	r.End(false) // nobody expected it: no check-in
	if err := r.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := d.items(t)
	if len(all) != 1 || all[0].kind != "event" {
		t.Fatalf("%+v", all)
	}
	event := all[0].payload
	crumbs := event["breadcrumbs"].([]any)
	for _, crumb := range crumbs {
		delete(crumb.(map[string]any), "timestamp")
	}
	for _, variable := range []string{"event_id", "timestamp", "sdk"} {
		delete(event, variable)
	}
	delete(event["contexts"].(map[string]any), "trace") // ids that are drawn
	want := map[string]any{
		"level": "error", "platform": "go", "release": "v1.2.3", "environment": "preview", "user": map[string]any{},
		"tags":        map[string]any{"module": "leads", "run_id": oneRun.ID, "mode": "verify", "trigger": "cli", "cause": "zoho"},
		"fingerprint": []any{"leads", "zoho"},
		"exception":   []any{map[string]any{"type": "zoho", "value": "read leads: HTTP 503"}},
		"contexts":    map[string]any{"advice": map[string]any{"hint": "wait"}},
		"breadcrumbs": []any{
			map[string]any{"category": "run", "level": "debug", "message": "page written", "data": map[string]any{"stream": "modified", "rows": 200.0, "took": "1s"}},
			map[string]any{"category": "run", "level": "warning", "message": "a call to Zoho is sent again", "data": map[string]any{"error": "HTTP 503"}},
		},
	}
	if diff := cmp.Diff(want, event); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if body := d.letters()[0].body; strings.Contains(body, "payload") || strings.Contains(body, "of-the-environment") {
		t.Errorf("the event shows too much: %s", body)
	}
}

// A log line goes on as if nobody listened.
func TestTrailKeepsTheLog(t *testing.T) {
	d := newDesk(t)
	r := d.report(t, d.sentry(t), oneRun)
	var plain, heard strings.Builder
	for out, wrap := range map[*strings.Builder]func(slog.Handler) slog.Handler{&plain: func(h slog.Handler) slog.Handler { return h }, &heard: r.Handler} {
		log := slog.New(wrap(slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))).With("run_id", 1).WithGroup("g")
		log.Debug("debug")
		log.Info("info", "a", 1)
		log.Error("error", "b", "c")
	}
	if plain.String() != heard.String() || !strings.Contains(plain.String(), "msg=error run_id=1 g.b=c") {
		t.Errorf("%q, want %q", heard.String(), plain.String())
	}
}

// A panic arrives with the place where it began.
func TestSentryPanic(t *testing.T) {
	d := newDesk(t)
	n := d.sentry(t)
	r := d.report(t, n, Run{ID: oneRun.ID, Module: "leads", Mode: "sync"})
	p := fallen(func() { panicsAt(nil) })
	if p.Error() != "panic: runtime error: invalid memory address or nil pointer dereference" || p.Hint() == "" || !strings.Contains(p.Stack(), "panicsAt") {
		t.Errorf("%v, %s", p, p.Stack())
	}
	r.Fail("panic", p.Hint(), fmt.Errorf("in a run: %w", p))
	if err := r.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Panic(t.Context(), "/api/sync", fallen(func() { panic([]string{"payload"}) })); err != nil {
		t.Fatal(err)
	}
	all := d.items(t)
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	for i, want := range []struct{ value, where string }{
		{"in a run: panic: runtime error: invalid memory address or nil pointer dereference", "panicsAt"},
		{"panic: a value of type []string", "TestSentryPanic"},
	} {
		event := all[i].payload
		exception := event["exception"].([]any)[0].(map[string]any)
		frames := exception["stacktrace"].(map[string]any)["frames"].([]any)
		last := frames[len(frames)-1].(map[string]any)
		if event["level"] != "fatal" || exception["value"] != want.value || !strings.HasPrefix(last["function"].(string), want.where) {
			t.Errorf("%v: %v at %v", event["level"], exception["value"], last)
		}
		if print := event["fingerprint"].([]any); len(print) != 3 || !strings.Contains(print[2].(string), want.where) {
			t.Errorf("grouped by %v", print)
		}
	}
	if all[1].payload["tags"].(map[string]any)["where"] != "/api/sync" {
		t.Errorf("tags %v", all[1].payload["tags"])
	}
}

type pointed struct{ value int }

//go:noinline
func panicsAt(p *pointed) int { return p.value }

func fallen(do func()) (p *panics.Error) {
	errors.As(panics.Catch(func() error { do(); return nil }), &p)
	return p
}

// What panics while it tells Sentry, beside a run or behind a panic, is an error and no more.
func TestPanicWhileSentryIsTold(t *testing.T) {
	n := New(Config{SentryDSN: "https://publickey@sentry.invalid/42"})
	n.http.Transport = travel(func(*http.Request) (*http.Response, error) { panic("on the way") })
	r := n.Report(oneRun)
	defer r.Close()
	r.Begin(t.Context())
	r.End(true)
	for what, err := range map[string]error{"a run": r.Send(t.Context()), "a panic": n.Panic(t.Context(), "/", fallen(func() { panic("x") }))} {
		var p *panics.Error
		if !errors.As(err, &p) || p.Error() != "panic: on the way" || !strings.Contains(p.Stack(), "TestPanicWhileSentryIsTold") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A run that the scheduler was to start says that it has begun and how it ended.
func TestSentryCheckIns(t *testing.T) {
	for _, ok := range []bool{true, false} {
		d := newDesk(t)
		r := d.report(t, d.sentry(t), oneRun)
		r.Begin(t.Context())
		r.End(ok)
		if err := r.Send(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := d.items(t)
		if len(all) != 2 || all[0].kind != "check_in" || all[1].kind != "check_in" {
			t.Fatalf("%+v", all)
		}
		begin, end := all[0].payload, all[1].payload
		if begin["check_in_id"] != end["check_in_id"] || begin["check_in_id"] == "" || end["duration"].(float64) <= 0 {
			t.Errorf("%v and %v are not of one run", begin, end)
		}
		delete(end, "duration")
		want := map[string]any{
			"monitor_slug": "zohomirror-leads", "status": "in_progress", "release": "v1.2.3", "environment": "preview", "check_in_id": begin["check_in_id"],
			"monitor_config": map[string]any{"schedule": map[string]any{"type": "crontab", "value": "*/15 * * * *"}, "checkin_margin": 5.0, "max_runtime": 1.0, "timezone": "UTC"},
		}
		if diff := cmp.Diff(want, begin); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		want["status"] = map[bool]string{true: "ok", false: "error"}[ok]
		if diff := cmp.Diff(want, end); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// What Sentry wants to be spared it does not get, by kind.
func TestSentryLimits(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   []string // what is sent after the first answer
	}{
		"none":      {status(200, `{"id":"1"}`), []string{"event", "check_in"}},
		"errors":    {status(200, "", "X-Sentry-Rate-Limits", "60:error;transaction:organization, 1:attachment:key"), []string{"check_in"}},
		"check-ins": {status(429, "", "X-Sentry-Rate-Limits", "60:monitor:organization"), []string{"event"}},
		"all":       {status(200, "", "X-Sentry-Rate-Limits", "60::organization"), nil},
		"busy":      {status(429, "", "Retry-After", "60"), nil},
		"nonsense":  {status(200, "", "X-Sentry-Rate-Limits", "soon, x:error, 60"), []string{"event", "check_in"}},
	} {
		d := newDesk(t)
		d.answers(c.answer)
		n := d.sentry(t)
		_ = n.TestSentry(t.Context()) // it may be refused
		d.answers(nil)
		r := d.report(t, n, oneRun) // of another run
		r.Fail("zoho", "", errors.New("HTTP 503"))
		r.End(false)
		err := r.Send(t.Context())
		var got []string
		for _, i := range d.items(t)[1:] {
			got = append(got, i.kind)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || (err == nil) != (len(got) == 2) {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// What Sentry's side does wrong is said without the address, and no redirect is followed.
func TestSentryTrouble(t *testing.T) {
	d := newDesk(t)
	for want, answer := range map[string]http.HandlerFunc{
		"HTTP 302": status(302, "", "Location", d.URL+elsewhere),
		"HTTP 403": status(403, `{"detail":"bad sentry DSN public key"}`),
		"HTTP 500": status(500, ""),
	} {
		d.answers(answer)
		err := d.sentry(t).TestSentry(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "publickey") {
			t.Errorf("%v, want %s", err, want)
		}
	}
	d.items(t) // none went elsewhere
	d.Server.Close()
	if err := d.sentry(t).TestSentry(t.Context()); err == nil || strings.Contains(err.Error(), "publickey") || strings.Contains(err.Error(), "/api/42") {
		t.Errorf("%v", err)
	}
	if err := New(Config{}).TestSentry(t.Context()); err == nil {
		t.Error("no DSN, and no error")
	}
	if n := New(Config{SentryDSN: "https://sentry.example.com/no-key"}); n.Report(oneRun) != nil || ValidDSN(n.config.SentryDSN) {
		t.Error("a DSN that cannot be used is used")
	}
}

// A Sentry that does not answer costs what it is given in all, however it began.
func TestSlowSentry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{SentryDSN: "https://publickey@sentry.invalid/42"})
		n.http.Transport = travel(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		r := n.Report(oneRun)
		r.Begin(t.Context())
		r.Fail("zoho", "", errors.New("HTTP 503"))
		r.End(false)
		ctx, cancel := context.WithTimeout(t.Context(), Limit)
		defer cancel()
		began := time.Now()
		err := r.Send(ctx)
		r.Close()
		if took := time.Since(began); took != Limit || err == nil {
			t.Errorf("%v after %s", err, took)
		}
	})
}

// Without Sentry a report does nothing.
func TestNoSentry(t *testing.T) {
	n := New(Config{})
	r := n.Report(oneRun)
	r.Begin(t.Context())
	r.Fail("zoho", "", errors.New("HTTP 503"))
	r.End(true)
	handler := slog.DiscardHandler
	if err := errors.Join(r.Send(t.Context()), n.Panic(t.Context(), "", fallen(func() { panic("x") }))); err != nil || r.Handler(handler) != handler {
		t.Errorf("%v", err)
	}
	r.Close()
}

// How a run ended never arrives before that it has begun.
func TestSentryOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{SentryDSN: "https://publickey@sentry.invalid/42"})
		arrived := make(chan string, 2)
		n.http.Transport = travel(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			status := "closing"
			if strings.Contains(string(body), "in_progress") {
				time.Sleep(time.Second)
				status = "opening"
			}
			arrived <- status
			return &http.Response{StatusCode: 200, Body: http.NoBody}, err
		})
		r := n.Report(oneRun)
		defer r.Close()
		r.Begin(t.Context())
		synctest.Wait() // it is on its way
		r.End(true)
		if err := r.Send(t.Context()); err != nil || <-arrived != "opening" {
			t.Errorf("%v, or the end came first", err)
		}
	})
}
