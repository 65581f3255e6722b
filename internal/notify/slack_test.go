package notify

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var since = time.Date(2026, 11, 23, 8, 15, 0, 0, time.UTC)

func TestSlackMessage(t *testing.T) {
	d := newDesk(t)
	n := d.slack(t)
	alert := Alert{Kind: Failing, Module: "leads", RunID: "0192d5a1-7c3e-7b6f-8a41-5c2f9be31d07", Count: 3, Cause: "Zoho refuses the credentials",
		Detail: "invalid_code <!channel> & `more`\nsecond line", Hint: "consent anew", Since: since}
	if err := n.Slack(t.Context(), alert); err != nil {
		t.Fatal(err)
	}
	got := d.letters()
	if len(got) != 1 || got[0].path != secretPath || got[0].header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Fatalf("%+v", got)
	}
	section := func(text string) map[string]any {
		return map[string]any{"type": "section", "text": map[string]any{"type": "mrkdwn", "text": text}}
	}
	want := map[string]any{
		"text": "leads fails: 3 runs in a row since 2026-11-23 08:15 UTC: Zoho refuses the credentials",
		"blocks": []any{
			section("*leads fails: 3 runs in a row since <!date^1795421700^{date_short_pretty} {time}|2026-11-23 08:15 UTC>*"),
			section("*Cause:* Zoho refuses the credentials"),
			section("`invalid_code &lt;!channel&gt; &amp; 'more'`"),
			section("*What to do:* consent anew"),
			map[string]any{"type": "context", "elements": []any{map[string]any{"type": "mrkdwn",
				"text": "module leads · run `0192d5a1-7c3e-7b6f-8a41-5c2f9be31d07` · <https://mirror.example.com/dashboard/runs/0192d5a1-7c3e-7b6f-8a41-5c2f9be31d07|open the dashboard>"}}},
		},
	}
	if diff := cmp.Diff(want, parsed[map[string]any](t, got[0].body)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each kind has a title, something to do, and a link that leads somewhere.
func TestSlackMessageOfEachKind(t *testing.T) {
	n := New(Config{PublicURL: "https://m"})
	for kind, c := range map[string]struct {
		alert Alert
		title string
		link  string
	}{
		Failing:    {Alert{Count: 2, Since: since, RunID: "r", Hint: "wait"}, "leads fails: 2 runs in a row since 2026-11-23 08:15 UTC", "https://m/dashboard/runs/r"},
		Recovered:  {Alert{Since: since, RunID: "r"}, "leads has recovered: a run succeeded, after failures since 2026-11-23 08:15 UTC", "https://m/dashboard/runs/r"},
		Stale:      {Alert{Since: since}, "leads is silent: no successful run since 2026-11-23 08:15 UTC", "https://m/dashboard"},
		Quarantine: {Alert{Count: 1, RunID: "r"}, "leads: 1 record was newly quarantined", "https://m/dashboard/runs/r"},
		Drift:      {Alert{Count: 2, RunID: "r"}, "leads: the org's schema differs in 2 new places", "https://m/dashboard/runs/r"},
		Unrecorded: {Alert{RunID: "r", Hint: "wait"}, "leads: a run failed, and the database could not record it", "https://m/dashboard"},
	} {
		c.alert.Kind, c.alert.Module = kind, "leads"
		m := n.message(c.alert)
		if m.Text != c.title {
			t.Errorf("%s: title %q", kind, m.Text)
		}
		if kind != Recovered && !strings.HasPrefix(m.Blocks[len(m.Blocks)-2].Text.Text, "*What to do:*") {
			t.Errorf("%s: nothing to do in %+v", kind, m.Blocks)
		}
		if got := m.Blocks[len(m.Blocks)-1].Elements[0].(*blockText).Text; !strings.Contains(got, "<"+c.link+"|") {
			t.Errorf("%s: %q does not lead to %s", kind, got, c.link)
		}
	}
	if m := New(Config{}).message(Alert{Kind: Drift}); strings.Contains(m.Blocks[len(m.Blocks)-1].Elements[0].(*blockText).Text, "|") {
		t.Error("a link without PUBLIC_URL")
	}
}

// Slack refuses a section above 3,000 characters, however they came about.
func TestSlackLimits(t *testing.T) {
	n := New(Config{})
	long := strings.Repeat("<&é", 5000)
	m := n.message(Alert{Kind: Failing, Module: "leads", Cause: long, Detail: long, Hint: long})
	for _, b := range m.Blocks {
		if b.Text != nil && utf8.RuneCountInString(b.Text.Text) > 3000 {
			t.Errorf("a section of %d characters", utf8.RuneCountInString(b.Text.Text))
		}
	}
	if len(m.Text) > 4000 || len(m.Blocks) > 50 {
		t.Errorf("a text of %d bytes, %d blocks", len(m.Text), len(m.Blocks))
	}
}

// What Slack answers decides whether to ask again; and no error shows the address.
func TestSlackAnswers(t *testing.T) {
	d := newDesk(t)
	reset := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close()
	}
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		refused int    // status
		hint    string // holds
		busy    time.Duration
		passing bool
	}{
		"ok":         {answer: status(200, "ok")},
		"gone":       {answer: status(404, "no_service"), refused: 404, hint: "make a new one"},
		"archived":   {answer: status(410, "channel_is_archived"), refused: 410, hint: "archived"},
		"prohibited": {answer: status(403, "action_prohibited"), refused: 403, hint: "administrator"},
		"payload":    {answer: status(400, "invalid_payload"), refused: 400, hint: "report"},
		"elsewhere":  {answer: status(302, "", "Location", d.URL+elsewhere), refused: 302, hint: "SLACK_WEBHOOK_URL"},
		"busy":       {answer: status(429, "", "Retry-After", "7"), busy: 7 * time.Second},
		"too busy":   {answer: status(429, "", "Retry-After", "999999"), busy: time.Hour},
		"just busy":  {answer: status(429, ""), busy: 30 * time.Second},
		"trouble":    {answer: status(500, "rollup_error"), passing: true},
		"html":       {answer: status(503, "<html>"+secretPath), passing: true},
		"reset":      {answer: reset, passing: true},
	} {
		d.answers(c.answer)
		err := d.slack(t).Slack(t.Context(), Alert{Kind: Drift, Module: "leads"})
		var refused *RefusedError
		var busy *BusyError
		isRefused, isBusy := errors.As(err, &refused), errors.As(err, &busy)
		switch {
		case isRefused != (c.refused != 0), isBusy != (c.busy != 0), (err == nil) != (c.refused == 0 && c.busy == 0 && !c.passing):
			t.Errorf("%s: %v", name, err)
		case isRefused && (refused.Status != c.refused || !strings.Contains(refused.Hint(), c.hint)):
			t.Errorf("%s: %v, %s", name, err, refused.Hint())
		case isBusy && busy.Wait != c.busy:
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), d.URL)) {
			t.Errorf("%s: the error shows the address: %v", name, err)
		}
	}
	for _, letter := range d.letters() {
		if letter.path != secretPath {
			t.Errorf("a redirect was followed to %s", letter.path)
		}
	}
}

// travel answers requests without a network, so that time is the test's.
type travel func(*http.Request) (*http.Response, error)

func (f travel) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// While Slack wants to be left alone it is not asked.
func TestSlackIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, busy := 0, true
		n := New(Config{SlackWebhook: "https://slack.invalid/secret"})
		n.http.Transport = travel(func(*http.Request) (*http.Response, error) {
			asked++
			if busy {
				return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"60"}}, Body: http.NoBody}, nil
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})
		for _, left := range []time.Duration{60 * time.Second, 60 * time.Second, time.Second} {
			var err *BusyError
			if got := n.Slack(t.Context(), Alert{}); !errors.As(got, &err) || err.Wait != left {
				t.Errorf("%v, want %s", got, left)
			}
			if !busy {
				time.Sleep(59 * time.Second)
			}
			busy = false
		}
		if got := n.Slack(t.Context(), Alert{}); got != nil || asked != 2 {
			t.Errorf("%v, asked %d times", got, asked)
		}
	})
}

// A Slack that does not answer costs the time it is given, and no more.
func TestSlowSlack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{SlackWebhook: "https://slack.invalid/secret"})
		n.http.Transport = travel(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), Limit)
		defer cancel()
		began := time.Now()
		err := n.Slack(ctx, Alert{})
		if took := time.Since(began); took != Limit || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %s", err, took)
		}
	})
}

func TestTestSlack(t *testing.T) {
	d := newDesk(t)
	if err := d.slack(t).TestSlack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.letters(); len(got) != 1 || !strings.Contains(got[0].body, "this is a test") {
		t.Errorf("%+v", got)
	}
}
