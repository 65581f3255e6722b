package notify

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A desk receives what is sent to Slack or Sentry and answers as it is told.
type desk struct {
	*httptest.Server
	mu     sync.Mutex
	got    []letter
	answer http.HandlerFunc // nil: 200
}

// elsewhere is where nothing may be sent to.
const elsewhere = "/elsewhere"

type letter struct {
	path   string
	header http.Header
	body   string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		d.mu.Lock()
		d.got = append(d.got, letter{r.URL.Path, r.Header, string(body)})
		answer := d.answer
		d.mu.Unlock()
		if answer != nil && r.URL.Path != elsewhere {
			answer(w, r)
		}
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *desk) answers(answer http.HandlerFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = answer
}

func (d *desk) letters() []letter {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]letter(nil), d.got...)
}

// status answers with a status, a body, and headers in pairs.
func status(code int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func (d *desk) notifier(t *testing.T, config Config) *Notifier {
	t.Helper()
	n := New(config)
	t.Cleanup(n.Close)
	return n
}

const secretPath = "/services/T000/B000/webhook-secret"

func (d *desk) slack(t *testing.T) *Notifier {
	t.Helper()
	return d.notifier(t, Config{SlackWebhook: d.URL + secretPath, PublicURL: "https://mirror.example.com"})
}

func (d *desk) sentry(t *testing.T) *Notifier {
	t.Helper()
	return d.notifier(t, Config{SentryDSN: strings.Replace(d.URL, "http://", "http://publickey@", 1) + "/42",
		Release: "v1.2.3", Environment: "preview", Schedule: "*/15 * * * *"})
}

func parsed[T any](t *testing.T, text string) (value T) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}
