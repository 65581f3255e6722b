package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/getsentry/sentry-go"

	"zohomirror/internal/panics"
)

// A courier is Sentry's transport of one run. It keeps what is captured and delivers it when
// it is told to, within the time it is given: nothing of it goes on behind a function that
// has answered. sentry-go's own transports either work on in the background, or wait for
// each event as it is captured, up to half a minute.
type courier struct {
	notifier *Notifier
	dsn      *sentry.Dsn

	mu      sync.Mutex
	waiting []*sentry.Event
}

var _ sentry.Transport = (*courier)(nil)

// SendEvent keeps an event.
func (c *courier) SendEvent(event *sentry.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, event)
}

// Flush delivers what is kept.
func (c *courier) Flush(timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return c.FlushWithContext(ctx)
}

// FlushWithContext delivers what is kept.
func (c *courier) FlushWithContext(ctx context.Context) bool { return c.deliver(ctx) == nil }

// Configure has nothing to do: the courier is made with all it needs.
func (c *courier) Configure(sentry.ClientOptions) {}

// Close has nothing to do: what was not delivered is of no use to anyone later.
func (c *courier) Close() {}

func (c *courier) take() []*sentry.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := c.waiting
	c.waiting = nil
	return events
}

// deliver sends what is kept, an envelope each, in its order. A panic of it is an error: it
// is at work beside a run, and behind a panic.
func (c *courier) deliver(ctx context.Context) error {
	var failures error
	for _, event := range c.take() {
		if err := panics.Catch(func() error { return c.post(ctx, event) }); err != nil {
			failures = errors.Join(failures, undelivered(err))
		}
	}
	return failures
}

func undelivered(cause error) error {
	return &untold{"Sentry", cause, "the event is lost, the run is not; if it lasts, check SENTRY_DSN and see whether its host can be reached from here"}
}

func (c *courier) post(ctx context.Context, event *sentry.Event) error {
	category := categoryOf(event)
	if left := c.notifier.sentry.left(category); left > 0 {
		return fmt.Errorf("%s: it asks for patience for %s", category, left.Round(time.Second))
	}
	body, err := envelope(event)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.dsn.GetAPIURL().String(), bytes.NewReader(body))
	if err != nil {
		return withoutAddress(err)
	}
	agent := event.Sdk.Name + "/" + event.Sdk.Version
	auth := "Sentry sentry_version=7, sentry_client=" + agent + ", sentry_key=" + c.dsn.GetPublicKey()
	if secret := c.dsn.GetSecretKey(); secret != "" { // of older servers
		auth += ", sentry_secret=" + secret
	}
	request.Header.Set("Content-Type", "application/x-sentry-envelope")
	request.Header.Set("User-Agent", agent)
	request.Header.Set("X-Sentry-Auth", auth)
	response, err := c.notifier.http.Do(request)
	if err != nil {
		return withoutAddress(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4<<10)) // so that the connection serves again
	c.notifier.sentry.learn(response)
	if response.StatusCode >= 300 {
		return fmt.Errorf("HTTP %d", response.StatusCode)
	}
	return nil
}

// envelope writes an event as Sentry reads it (develop.sentry.dev, "Envelopes"): a header,
// then the item's header and payload, a line each.
func envelope(event *sentry.Event) ([]byte, error) {
	item, err := event.ToEnvelopeItem()
	if err != nil {
		return nil, err
	}
	head, err := json.Marshal(map[string]any{
		"event_id": event.EventID,
		"sent_at":  time.Now().UTC(),
		"sdk":      map[string]string{"name": event.Sdk.Name, "version": event.Sdk.Version},
	})
	if err != nil {
		return nil, err
	}
	itemHead, err := json.Marshal(item.Header)
	if err != nil {
		return nil, err
	}
	return append(bytes.Join([][]byte{head, itemHead, item.Payload}, []byte("\n")), '\n'), nil
}

// Categories of what Sentry may limit.
const (
	categoryAll     = ""
	categoryError   = "error"
	categoryMonitor = "monitor"
)

func categoryOf(event *sentry.Event) string {
	if event.CheckIn != nil {
		return categoryMonitor
	}
	return categoryError
}

// limits are what Sentry has asked to be spared, and until when, by category.
type limits struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (l *limits) left(category string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(time.Until(l.until[category]), time.Until(l.until[categoryAll]))
}

// learn reads what an answer says of limits (develop.sentry.dev, "Rate Limiting"), e.g.
// 60:error;monitor:organization, 2700::organization.
func (l *limits) learn(response *http.Response) {
	stated := response.Header.Get("X-Sentry-Rate-Limits")
	if stated == "" {
		if response.StatusCode == http.StatusTooManyRequests {
			l.spare(categoryAll, retryAfter(response.Header))
		}
		return
	}
	for limit := range strings.SplitSeq(stated, ",") {
		parts := strings.Split(strings.TrimSpace(limit), ":")
		seconds, err := strconv.Atoi(parts[0])
		if err != nil || len(parts) < 2 {
			continue
		}
		pause := time.Duration(min(max(seconds, 0), int(longestPause/time.Second))) * time.Second
		for category := range strings.SplitSeq(parts[1], ";") {
			l.spare(category, pause)
		}
	}
}

func (l *limits) spare(category string, pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until == nil {
		l.until = map[string]time.Time{}
	}
	if until := time.Now().Add(pause); until.After(l.until[category]) {
		l.until[category] = until
	}
}
