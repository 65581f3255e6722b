package zoho_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

// A spy sees the access tokens that clients send, and reads what they tell: no test may end
// with a secret in a log.
type spy struct {
	mu      sync.Mutex
	told    bytes.Buffer
	secrets map[string]bool
}

func newSpy(t *testing.T) *spy {
	s := &spy{secrets: map[string]bool{zohosim.DefaultClientSecret: true, zohosim.DefaultRefreshToken: true}}
	t.Cleanup(func() { s.search(t, s.text()) })
	return s
}

func (s *spy) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told.Write(p)
}

func (s *spy) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told.String()
}

// log returns a logger that leaves nothing out.
func (s *spy) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
}

// watch notes the access token of each request.
func (s *spy) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, sent := strings.CutPrefix(r.Header.Get("Authorization"), "Zoho-oauthtoken "); sent {
			s.mu.Lock()
			s.secrets[token] = true
			s.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// search fails the test if text has a secret, or so much of one that it could be used to
// recognise it.
func (s *spy) search(t *testing.T, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret := range s.secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), secret[:min(len(secret), 20)]} {
			if strings.Contains(text, form) {
				t.Errorf("%q is told: %s", form, text)
			}
		}
	}
}

// everything that an error can be made to say.
func everything(err error) string {
	text := fmt.Sprintf("%v %+v %q", err, err, err)
	var failure *zoho.Error
	if errors.As(err, &failure) {
		text += fmt.Sprintf(" %s %+v %#v", failure.Hint(), *failure, *failure)
	}
	return text
}

// noSecret fails the test if err tells a credential or an access token of the simulated org.
func noSecret(t *testing.T, err error) {
	t.Helper()
	if secret := secretForm.FindString(everything(err)); secret != "" {
		t.Errorf("%q is told: %s", secret, everything(err))
	}
}

var secretForm = regexp.MustCompile(`1000\.[0-9a-f]{8}|` + regexp.QuoteMeta(zohosim.DefaultClientSecret) + "|" + regexp.QuoteMeta(zohosim.DefaultRefreshToken))

// soon is a deadline that leaves no time for retries.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// Some servers repeat what they were sent, in any form; an error or a log never does.
func TestServerThatRepeatsItsRequest(t *testing.T) {
	repeated := func(r *http.Request) string {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.QueryUnescape(string(body))
		return r.Header.Get("Authorization") + " " + form
	}
	echoes := map[string]func(w http.ResponseWriter, text string){
		"in a page": func(w http.ResponseWriter, text string) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, "<h1>Blocked</h1>Your request was: %s", text)
		},
		"cut in two by the excerpt": func(w http.ResponseWriter, text string) {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprintf(w, "<h1>Blocked</h1>%s%s", strings.Repeat(".", 25), text)
		},
		"in Zoho's form":      func(w http.ResponseWriter, text string) { writeError(w, 400, text) },
		"in an error and 200": func(w http.ResponseWriter, text string) { writeError(w, 200, text) },
		"in a token's error": func(w http.ResponseWriter, text string) {
			fmt.Fprintf(w, `{"error":"invalid_client %s","error_description":%q}`, text, text)
		},
		"in a redirect": func(w http.ResponseWriter, text string) {
			w.Header().Set("Location", "https://elsewhere.example/?"+url.QueryEscape(text))
			w.WriteHeader(http.StatusFound)
		},
	}
	for name, echo := range echoes {
		for _, host := range []string{"api", "accounts"} {
			t.Run(name+" of "+host, func(t *testing.T) {
				spy := newSpy(t)
				good := httptest.NewServer(spy.watch(zohosim.New(zohosim.Config{})))
				defer good.Close()
				bad := httptest.NewServer(spy.watch(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { echo(w, repeated(r)) })))
				defer bad.Close()
				config := credentials(good.URL, bad.URL)
				if host == "accounts" {
					config = credentials(bad.URL, good.URL)
				}
				_, err := zoho.New(config, &shared{kept: map[string]zoho.StoredToken{}}, spy.log()).Query(soon(t), leadsQuery)
				if err == nil {
					t.Fatal("no error")
				}
				spy.search(t, everything(err))
			})
		}
	}
}

func writeError(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"code":"INVALID_DATA","message":%q,"details":{"header":%q},"status":"error"}`, text, text)
}

// The address of a request, with its parameters, is in no error of the network.
func TestNoSecretInNetworkErrors(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	good := httptest.NewServer(zohosim.New(zohosim.Config{}))
	defer good.Close()
	for _, config := range []zoho.Config{credentials(closed.URL, good.URL), credentials(good.URL, closed.URL), credentials(good.URL, "http://nowhere.invalid"), credentials(good.URL, "%")} {
		spy := newSpy(t)
		_, err := zoho.New(config, &shared{kept: map[string]zoho.StoredToken{}}, spy.log()).Query(soon(t), leadsQuery)
		if err == nil {
			t.Fatal("no error")
		}
		spy.search(t, everything(err))
	}
}
