// Package notify tells people: Slack what they must know, Sentry what failed and that a
// tick came. It knows nothing of the database: what is to be told, and what became of it,
// is kept by whoever calls.
package notify

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/getsentry/sentry-go"
)

// Config says whom to tell, and of what. Empty: nobody.
type Config struct {
	SlackWebhook string
	SentryDSN    string
	Environment  string        // production, preview, …
	Release      string        // of this program
	PublicURL    string        // where the dashboard is, without a slash at the end
	Schedule     string        // of the scheduler, in crontab's five fields
	StaleAfter   time.Duration // a module without a good run for so long is told of
}

// Limit bounds what telling people may add to a run.
const Limit = 2 * time.Second

// ValidDSN reports whether Sentry's address can be used.
func ValidDSN(dsn string) bool {
	_, err := sentry.NewDsn(dsn)
	return err == nil
}

// Notifier reaches Slack and Sentry. It is safe for concurrent use.
type Notifier struct {
	config Config
	http   *http.Client

	slack  patience
	sentry limits
}

// New returns a notifier, which connects to nobody yet.
func New(config Config) *Notifier {
	return &Notifier{
		config: config,
		http: &http.Client{
			Transport: http.DefaultTransport.(*http.Transport).Clone(),
			// The addresses are secrets: they go to the configured hosts and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close ends idle connections.
func (n *Notifier) Close() { n.http.CloseIdleConnections() }

// patience is a time before which a server does not want to be asked again.
type patience struct {
	mu    sync.Mutex
	until time.Time
}

// left is how long is still to be waited; not positive: it may be asked.
func (p *patience) left() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.until)
}

func (p *patience) wait(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Now().Add(d)
}

// Bounds of what a server may ask for, and what it is given where it does not say.
const (
	longestPause = time.Hour
	usualPause   = 30 * time.Second
)

// retryAfter reads the header's seconds or date.
func retryAfter(header http.Header) time.Duration {
	text, pause := header.Get("Retry-After"), usualPause
	if seconds, err := strconv.Atoi(text); err == nil {
		pause = time.Duration(min(max(seconds, 1), int(longestPause/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		pause = time.Until(at)
	}
	return min(max(pause, time.Second), longestPause)
}

// An untold is an error of sending that may pass by itself, or that only costs an event.
type untold struct {
	to    string
	cause error
	hint  string
}

func (e *untold) Error() string { return "send to " + e.to + ": " + e.cause.Error() }

func (e *untold) Unwrap() error { return e.cause }

// Hint says what to do.
func (e *untold) Hint() string { return e.hint }

// withoutAddress takes the address out of an error of the HTTP client: it is a secret.
func withoutAddress(err error) error {
	var address *url.Error
	if errors.As(err, &address) {
		return address.Err
	}
	return err
}

// firstLine is the first line of a text, at most so many characters of it.
func firstLine(text string, most int) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	return cut(text, most)
}

func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "")
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	return text
}
