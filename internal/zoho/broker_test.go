package zoho

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wire is a network in which time passes as in a synctest bubble.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

func (w wire) client(config Config, store TokenStore) *Client {
	client := New(config, store, slog.New(slog.DiscardHandler))
	client.http.Transport = w
	return client
}

func reply(status int, body string, header ...string) (*http.Response, error) {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// inBubble runs a test of its own name with a clock of its own.
func inBubble(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// accounts answers token requests with answer, by their number from 1, and all else with 204.
func accounts(asked *[]time.Time, answer func(n int) (*http.Response, error)) wire {
	return func(r *http.Request) (*http.Response, error) {
		if r.URL.Path != "/oauth/v2/token" {
			return reply(204, "")
		}
		*asked = append(*asked, time.Now())
		return answer(len(*asked))
	}
}

const minted = `{"access_token":"1000.fresh","api_domain":"https://www.zohoapis.eu","token_type":"Bearer","expires_in":3600}`

// troubles are answers of an accounts server that may be well again soon.
var troubles = map[string]func() (*http.Response, error){
	"general_error":          func() (*http.Response, error) { return reply(400, `{"error":"general_error"}`) },
	"general_error with 200": func() (*http.Response, error) { return reply(200, `{"error":"general_error"}`) },
	"HTML with 200": func() (*http.Response, error) {
		return reply(200, "<html>maintenance</html>", "Content-Type", "text/html")
	},
	"HTML with 502":           func() (*http.Response, error) { return reply(502, "<html>Bad Gateway</html>") },
	"503 without a body":      func() (*http.Response, error) { return reply(503, "") },
	"429 without a body":      func() (*http.Response, error) { return reply(429, "") },
	"503 with an unknown one": func() (*http.Response, error) { return reply(503, `{"error":"temporarily_unavailable"}`) },
	"reset":                   func() (*http.Response, error) { return nil, errors.New("connection reset by peer") },
	"cut": func() (*http.Response, error) {
		answer, _ := reply(200, "")
		answer.Body = io.NopCloser(io.MultiReader(strings.NewReader(minted[:20]), broken{}))
		return answer, nil
	},
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Trouble of the accounts server is waited out, and the call never sees it.
func TestTokenTroubleIsRetried(t *testing.T) {
	for name, trouble := range troubles {
		inBubble(t, name, func(t *testing.T) {
			var asked []time.Time
			network := accounts(&asked, func(n int) (*http.Response, error) {
				if n <= refreshRetries {
					return trouble()
				}
				return reply(200, minted)
			})
			_, err := network.client(Config{}, &alone{}).Query(t.Context(), anyQuery)
			if err != nil || len(asked) != refreshRetries+1 {
				t.Errorf("asked %d times, %v", len(asked), err)
			}
			for i := 1; i < len(asked); i++ {
				if pause := asked[i].Sub(asked[i-1]); pause > backoffs[i-1] {
					t.Errorf("pause %d was %s", i, pause)
				}
			}
		})
	}
}

// Lasting trouble ends after the refresh's own retries: those of the call, times those of
// the refresh, would be two dozen requests.
func TestTokenTroubleIsNotRetriedTwofold(t *testing.T) {
	for name, trouble := range troubles {
		inBubble(t, name, func(t *testing.T) {
			var asked []time.Time
			network := accounts(&asked, func(int) (*http.Response, error) { return trouble() })
			_, err := network.client(Config{}, &alone{}).Query(t.Context(), anyQuery)
			var failure *Error
			if !errors.As(err, &failure) || failure.Call != refreshCall || failure.Hint() == "" || len(asked) != refreshRetries+1 {
				t.Errorf("asked %d times, %v", len(asked), err)
			}
		})
	}
}

func TestTokenRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Time
		network := accounts(&asked, func(n int) (*http.Response, error) {
			if n == 1 {
				return reply(503, "", "Retry-After", "9")
			}
			return reply(200, minted)
		})
		if _, err := network.client(Config{}, &alone{}).Query(t.Context(), anyQuery); err != nil || len(asked) != 2 || asked[1].Sub(asked[0]) != 9*time.Second {
			t.Errorf("asked at %s, %v", asked, err)
		}
	})
}

// A token answer's life is read in every form it is known in; what cannot be read is an hour,
// and no reason to ask for another token.
func TestTokenLife(t *testing.T) {
	for body, want := range map[string]time.Duration{
		minted: time.Hour,
		`{"access_token":"a","expires_in":3600000,"expires_in_sec":3600}`: time.Hour,
		`{"access_token":"a","expires_in_sec":1800}`:                      30 * time.Minute,
		`{"access_token":"a","expires_in":600}`:                           10 * time.Minute,
		`{"access_token":"a"}`:                                            time.Hour,
		`{"access_token":"a","expires_in":"3600"}`:                        time.Hour,
		`{"expires_in":"soon","access_token":"a","scope":["x"]}`:          time.Hour,
		`{"access_token":"a","error":"not for us"}`:                       time.Hour,
	} {
		for _, status := range []int{200, 400, 500} {
			inBubble(t, fmt.Sprintf("%s with %d", body, status), func(t *testing.T) {
				var asked []time.Time
				store := &alone{}
				network := accounts(&asked, func(int) (*http.Response, error) { return reply(status, body) })
				_, err := network.client(Config{}, store).Query(t.Context(), anyQuery)
				if life := time.Until(store.kept.ExpiresAt); err != nil || life != want || len(asked) != 1 {
					t.Errorf("lives %s, want %s; asked %d times, %v", life, want, len(asked), err)
				}
			})
		}
	}
}

// After Access Denied the accounts server is left alone for five minutes, by every process,
// and asked once more after that.
func TestAccessDeniedWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Time
		store := &alone{}
		network := accounts(&asked, func(n int) (*http.Response, error) {
			if n == 1 {
				return reply(400, `{"error_description":"You have made too many requests continuously.","error":"Access Denied","status":"failure"}`)
			}
			return reply(200, minted)
		})
		query := func() error {
			_, err := network.client(Config{}, store).Query(t.Context(), anyQuery)
			return err
		}
		for range 3 {
			if err := query(); err == nil || !strings.Contains(err.Error(), codeAccessDenied) || len(asked) != 1 {
				t.Errorf("asked %d times, %v", len(asked), err)
			}
		}
		if pause := time.Until(store.kept.NotBefore); pause != deniedPause {
			t.Errorf("not asked again for %s", pause)
		}
		time.Sleep(deniedPause - time.Second)
		if err := query(); err == nil || !strings.Contains(err.Error(), store.kept.NotBefore.UTC().Format(time.RFC3339)) || len(asked) != 1 {
			t.Errorf("asked %d times, %v", len(asked), err)
		}
		time.Sleep(time.Second)
		if err := query(); err != nil || len(asked) != 2 || !store.kept.NotBefore.IsZero() {
			t.Errorf("asked %d times, %v, not before %s", len(asked), err, store.kept.NotBefore)
		}
	})
}

// A refresh that is denied leaves the stored token as it was: others may still use it.
func TestAccessDeniedKeepsTheStoredToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Time
		store := &alone{}
		network := accounts(&asked, func(n int) (*http.Response, error) {
			if n == 1 {
				return reply(200, minted)
			}
			return reply(200, `{"error":"Access Denied"}`)
		})
		first := network.client(Config{}, store)
		if _, err := first.Query(t.Context(), anyQuery); err != nil {
			t.Fatal(err)
		}
		first.tokens.reject("1000.fresh")
		if _, err := first.Query(t.Context(), anyQuery); err == nil {
			t.Error("a rejected token was used again")
		}
		if _, err := network.client(Config{}, store).Query(t.Context(), anyQuery); err != nil || len(asked) != 2 {
			t.Errorf("asked %d times, %v", len(asked), err)
		}
	})
}

// A fresh token that is refused most often belongs elsewhere: its answer says where.
func TestRejectedTokenNamesItsHome(t *testing.T) {
	tokens := 0
	network := wire(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/oauth/v2/token" {
			tokens++
			return reply(200, strings.ReplaceAll(minted, "fresh", strings.Repeat("x", tokens)))
		}
		return reply(401, `{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}`)
	})
	for api, named := range map[string]bool{"https://www.zohoapis.com": true, "https://www.zohoapis.eu": false} {
		tokens = 0
		_, err := network.client(Config{APIURL: api}, &alone{}).Query(t.Context(), anyQuery)
		var failure *Error
		if !errors.As(err, &failure) || strings.Contains(failure.Hint(), "https://www.zohoapis.eu") != named || tokens != 2 {
			t.Errorf("%s: %v, hint %q, %d tokens", api, err, failure.Hint(), tokens)
		}
	}
}

// A sealed token opens for the same credentials and hosts only, whole and unchanged.
func TestSeal(t *testing.T) {
	config := Config{AccountsURL: "https://accounts.zoho.eu", APIURL: "https://www.zohoapis.eu", ClientID: "id", ClientSecret: "secret", RefreshToken: "refresh"}
	const token = "1000.6jh82dbbbbb.703adef2bb337b8ca36cfc5d7b83cf24"
	b := newBroker(config, nil, nil)
	sealed := b.close(token)
	if got := newBroker(config, nil, nil).open(sealed); got != token {
		t.Errorf("opened: %q", got)
	}
	if bytes.Equal(sealed, b.close(token)) {
		t.Error("two seals are equal")
	}
	for i := range token[:len(token)-7] {
		if bytes.Contains(sealed, []byte(token[i:i+8])) {
			t.Errorf("%q can be read", token[i:i+8])
		}
	}
	for name, change := range map[string]func(*Config){
		"secret": func(c *Config) { c.ClientSecret += "x" }, "refresh token": func(c *Config) { c.RefreshToken += "x" }, "client": func(c *Config) { c.ClientID += "x" },
		"accounts host": func(c *Config) { c.AccountsURL = "https://accounts.zoho.in" }, "API host": func(c *Config) { c.APIURL = "https://www.zohoapis.in" },
	} {
		other := config
		change(&other)
		stranger := newBroker(other, nil, nil)
		if got := stranger.open(sealed); got != "" {
			t.Errorf("opened with another %s: %q", name, got)
		}
		if same := stranger.fingerprint == b.fingerprint; same != (name == "secret") {
			t.Errorf("another %s: same fingerprint %v", name, same)
		}
	}
	for i := range sealed {
		spoiled := bytes.Clone(sealed)
		spoiled[i] ^= 1
		if b.open(spoiled) != "" || b.open(sealed[:i]) != "" {
			t.Errorf("opened although byte %d is changed or missing", i)
		}
	}
}
