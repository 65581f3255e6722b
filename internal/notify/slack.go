package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// Kinds of an alert.
const (
	Failing    = "failing"
	Recovered  = "recovered"
	Stale      = "stale"
	Quarantine = "quarantine"
	Drift      = "drift"
	Unrecorded = "unrecorded" // a failed run of which the database does not know
)

// An Alert is what a person is to be told. It holds no record's values.
type Alert struct {
	Kind   string
	Module string
	RunID  string // empty: no run is the cause
	Count  int64  // failures in a row, rows or differences
	Cause  string // of a failure, in words
	Detail string // the error; or names of fields and rules
	Hint   string // what to do; empty: what is usual for the kind, where it is no failure
	Since  time.Time
}

// A RefusedError says that Slack does not take a message, and that asking again is useless as long as
// nobody mends the webhook.
type RefusedError struct {
	Status int
	Word   string // Slack's
}

func (e *RefusedError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("Slack refuses the message: HTTP %d: %s", e.Status, e.Word), ": ")
}

// Hint says what to do.
func (e *RefusedError) Hint() string {
	switch {
	case e.Status >= 300 && e.Status < 400:
		return "SLACK_WEBHOOK_URL leads elsewhere: check it; it begins with https://hooks.slack.com/services/"
	case e.Status == http.StatusBadRequest && strings.HasPrefix(e.Word, "invalid"):
		return "please report this with the alert's row of sync_alerts"
	case e.Status == http.StatusGone, e.Word == "channel_is_archived":
		return "the webhook's channel is archived: make a webhook for another one and set SLACK_WEBHOOK_URL"
	case e.Status == http.StatusForbidden:
		return "an administrator of the workspace forbids this webhook: ask them, or make another one"
	default:
		return "the webhook is no longer there, or SLACK_WEBHOOK_URL is wrong: make a new one and set it"
	}
}

// A BusyError says that Slack wants to be left alone for a while.
type BusyError struct{ Wait time.Duration }

func (e *BusyError) Error() string {
	return "Slack asks for patience for " + e.Wait.Round(time.Second).String()
}

// Hint says what to do.
func (e *BusyError) Hint() string { return "nothing is to be done: a later run sends what waits" }

func unsent(cause error) error {
	return &untold{"Slack", cause, "the next run sends what waits; if it lasts, see whether hooks.slack.com can be reached from here"}
}

// Slack sends an alert. Its error is a *RefusedError, a *BusyError, or of a kind that may
// pass by itself.
func (n *Notifier) Slack(ctx context.Context, alert Alert) error {
	return n.post(ctx, n.message(alert))
}

// TestSlack sends a message that says it is a test.
func (n *Notifier) TestSlack(ctx context.Context) error {
	return n.post(ctx, message{Text: "zohomirror: this is a test. Alerts of this mirror arrive here."})
}

var slackWord = regexp.MustCompile(`^[a-z_]{1,40}$`)

func (n *Notifier) post(ctx context.Context, m message) error {
	if left := n.slack.left(); left > 0 {
		return &BusyError{left}
	}
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.config.SlackWebhook, bytes.NewReader(body))
	if err != nil {
		return unsent(withoutAddress(err))
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	response, err := n.http.Do(request)
	if err != nil {
		return unsent(withoutAddress(err))
	}
	defer response.Body.Close()
	const enough = 256
	said, _ := io.ReadAll(io.LimitReader(response.Body, enough)) // only the status decides
	word := strings.TrimSpace(string(said))
	if !slackWord.MatchString(word) {
		word = "" // a page of something else
	}
	switch status := response.StatusCode; {
	case status < 300:
		return nil
	case status == http.StatusTooManyRequests:
		wait := retryAfter(response.Header)
		n.slack.wait(wait)
		return &BusyError{wait}
	case status < 500:
		return &RefusedError{status, word}
	default:
		return unsent(fmt.Errorf("HTTP %d %s", status, word))
	}
}

// A message is in the form that an incoming webhook takes: text is what a notification shows.
type message struct {
	Text   string  `json:"text"`
	Blocks []block `json:"blocks,omitempty"`
}

type block struct {
	Type     string     `json:"type"`
	Text     *blockText `json:"text,omitempty"`
	Elements []any      `json:"elements,omitempty"`
}

type blockText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func mrkdwn(text string) *blockText { return &blockText{"mrkdwn", text} }

// Slack's characters of markup (docs.slack.dev, "Formatting message text"). A backtick would end a span of code.
var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "`", "'")

// longest is how many characters of an error or a hint are shown: escaped, five times as
// many are below the 3,000 that a section may have.
const longest = 500

func escape(text string) string { return slackEscapes.Replace(firstLine(text, longest)) }

// message says what happened, why, and what to do.
func (n *Notifier) message(a Alert) message {
	title := a.title(plainTime)
	m := message{Text: title}
	if a.Cause != "" {
		m.Text += ": " + escape(a.Cause)
	}
	section := func(text string) { m.Blocks = append(m.Blocks, block{Type: "section", Text: mrkdwn(text)}) }
	section("*" + a.title(viewersTime) + "*")
	if a.Cause != "" {
		section("*Cause:* " + escape(a.Cause))
	}
	if a.Detail != "" {
		section("`" + escape(a.Detail) + "`")
	}
	if hint := a.hint(); hint != "" {
		section("*What to do:* " + escape(hint))
	}
	context := "module " + escape(a.Module)
	if a.RunID != "" {
		context += " · run `" + escape(a.RunID) + "`"
	}
	if link := n.link(a); link != "" {
		context += " · <" + escape(link) + "|open the dashboard>"
	}
	m.Blocks = append(m.Blocks, block{Type: "context", Elements: []any{mrkdwn(context)}})
	return m
}

// link leads to the run, or to the front page where the dashboard has none.
func (n *Notifier) link(a Alert) string {
	switch {
	case n.config.PublicURL == "":
		return ""
	case a.RunID == "" || a.Kind == Unrecorded:
		return n.config.PublicURL + "/dashboard"
	default:
		return n.config.PublicURL + "/dashboard/runs/" + a.RunID
	}
}

func plainTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// viewersTime is shown in each reader's own zone.
func viewersTime(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{date_short_pretty} {time}|%s>", t.Unix(), plainTime(t))
}

func (a Alert) title(render func(time.Time) string) string {
	module := slackEscapes.Replace(a.Module)
	since := ""
	if !a.Since.IsZero() {
		since = " since " + render(a.Since)
	}
	switch a.Kind {
	case Failing:
		return fmt.Sprintf("%s fails: %d runs in a row%s", module, a.Count, since)
	case Recovered:
		return fmt.Sprintf("%s has recovered: a run succeeded, after failures%s", module, since)
	case Stale:
		return fmt.Sprintf("%s is silent: no successful run%s", module, since)
	case Quarantine:
		return fmt.Sprintf("%s: %s newly quarantined", module, plural(a.Count, "record was", "records were"))
	case Drift:
		return fmt.Sprintf("%s: the org's schema differs in %s", module, plural(a.Count, "new place", "new places"))
	case Unrecorded:
		return fmt.Sprintf("%s: a run failed, and the database could not record it", module)
	}
	return module + ": " + a.Kind
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// hint is what to do about the alert.
func (a Alert) hint() string {
	if a.Hint != "" {
		return a.Hint
	}
	switch a.Kind {
	case Stale:
		return "see whether the scheduler still calls /api/sync?module=" + a.Module + " and what its runs answer. If the module is no longer to be mirrored: DELETE FROM sync_locks WHERE module = '" + a.Module + "'"
	case Quarantine:
		return "the rest of the rows is mirrored. zohomirror quarantine list says why these are not; a picklist's new value is let in by zohomirror schema migration --apply"
	case Drift:
		return "zohomirror schema diff " + a.Module + " shows it; zohomirror schema migration " + a.Module + " --apply brings the table in line"
	}
	return ""
}
