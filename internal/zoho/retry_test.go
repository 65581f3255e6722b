package zoho

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// canned answers requests in turn, the last one for ever; time in a synctest bubble does
// not pass while the network works, so these tests have none.
type canned struct {
	answers []http.Response
	bodies  []string
	asked   []time.Time
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/oauth/v2/token" {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"access_token":"t","expires_in":3600}`))}, nil
	}
	i := min(len(c.asked), len(c.bodies)-1)
	c.asked = append(c.asked, time.Now())
	if c.bodies[i] == "reset" {
		return nil, errors.New("connection reset by peer")
	}
	answer := c.answers[i]
	if answer.Header == nil {
		answer.Header = http.Header{}
	}
	answer.Body = io.NopCloser(strings.NewReader(c.bodies[i]))
	return &answer, nil
}

func (c *canned) then(status int, body string, header ...string) *canned {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	c.answers = append(c.answers, http.Response{StatusCode: status, Header: h})
	c.bodies = append(c.bodies, body)
	return c
}

// alone keeps a token for one process.
type alone struct{ kept StoredToken }

func (a *alone) Token(context.Context, string) (StoredToken, error) { return a.kept, nil }

func (a *alone) UpdateToken(ctx context.Context, _ string, update func(context.Context, StoredToken) (StoredToken, error)) (err error) {
	a.kept, err = update(ctx, a.kept)
	return err
}

func (c *canned) client(store TokenStore) *Client {
	client := New(Config{AccountsURL: "https://accounts", APIURL: "https://api"}, store, slog.New(slog.DiscardHandler))
	client.http.Transport = c
	return client
}

var anyQuery = Query{Module: "Leads", Columns: []string{"id"}, OrderBy: "Modified_Time", Limit: 200}

const busy = `{"code":"TOO_MANY_REQUESTS","details":{},"message":"too many requests. please try again after some time","status":"error"}`

// Trouble is met with five retries, each after a random pause within 1, 2, 4, 8, 16 s.
func TestBackoff(t *testing.T) {
	for name, zoho := range map[string]*canned{
		"429": (&canned{}).then(429, busy), "500": (&canned{}).then(500, `{"code":"INTERNAL_ERROR","details":{},"message":"x","status":"error"}`),
		"503 without a body": (&canned{}).then(503, ""), "HTML with 200": (&canned{}).then(200, "<html>", "Content-Type", "text/html"),
		"cut body": (&canned{}).then(200, `{"data":[{"id":"1"}`), "reset": (&canned{}).then(0, "reset"),
		"an error with 200": (&canned{}).then(200, busy),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := zoho.client(&alone{}).Query(t.Context(), anyQuery)
				var failure *Error
				if !errors.As(err, &failure) || failure.Call != "COQL query of Leads" || failure.Hint() == "" {
					t.Errorf("error %v, hint %q", err, failure.Hint())
				}
				if len(zoho.asked) != 6 {
					t.Fatalf("asked %d times", len(zoho.asked))
				}
				for i := 1; i < 6; i++ {
					if pause := zoho.asked[i].Sub(zoho.asked[i-1]); pause < 0 || pause > backoffs[i-1] {
						t.Errorf("pause %d was %s, at most %s", i, pause, backoffs[i-1])
					}
				}
			})
		})
	}
}

// The jitter is full: pauses lie anywhere between zero and their bound.
func TestBackoffJitter(t *testing.T) {
	for attempt, bound := range backoffs {
		var low, high bool
		for range 1000 {
			wait, again := backoff(attempt, &Error{transient: true})
			if !again || wait < 0 || wait > bound {
				t.Fatalf("attempt %d waits %s, %v", attempt, wait, again)
			}
			low, high = low || wait < bound/4, high || wait > 3*bound/4
		}
		if !low || !high {
			t.Errorf("attempt %d: the jitter is not full", attempt)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now().Add(90 * time.Second)
		zoho := (&canned{}).then(429, busy, "Retry-After", "7").then(503, "", "Retry-After", at.UTC().Format(http.TimeFormat)).
			then(200, busy, "Retry-After", "5").then(204, "")
		page, err := zoho.client(&alone{}).Query(t.Context(), anyQuery)
		if err != nil || len(page.Records) != 0 {
			t.Fatalf("%v, %v", page, err)
		}
		if first, second := zoho.asked[1].Sub(zoho.asked[0]), zoho.asked[2]; first != 7*time.Second || !second.Equal(at) {
			t.Errorf("waited %s, then until %s", first, second)
		}
		if third := zoho.asked[3].Sub(zoho.asked[2]); third != 5*time.Second {
			t.Errorf("waited %s after an error with status 200", third)
		}
	})
}

// Zoho documents no Retry-After, so it may hold anything.
func TestRetryAfterForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		for header, want := range map[string]time.Duration{
			"": 0, "0": 0, "1": time.Second, "120": 2 * time.Minute, "-5": 0, "1.5": 0, "soon": 0, "1e3": 0,
			"99999999": 24 * time.Hour, date(time.Minute): time.Minute, date(-time.Minute): 0,
		} {
			if got := retryAfter(header); got != want {
				t.Errorf("%q: %s, want %s", header, got, want)
			}
		}
	})
}

// An attempt that hangs, before its answer or within it, is given up after its time; all
// attempts together never outlast the run.
func TestHangs(t *testing.T) {
	hang := func(r *http.Request) error { <-r.Context().Done(); return context.Cause(r.Context()) }
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"before the answer": func(r *http.Request) (*http.Response, error) { return nil, hang(r) },
		"within the answer": func(r *http.Request) (*http.Response, error) {
			answer, _ := reply(200, "")
			answer.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"data":[{"id":"1"},`), reader(func() error { return hang(r) })))
			return answer, nil
		},
	} {
		for _, limit := range []time.Duration{time.Hour, 50 * time.Second} {
			inBubble(t, name+" for "+limit.String(), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				asked := 0
				network := wire(func(r *http.Request) (*http.Response, error) {
					if r.URL.Path == "/oauth/v2/token" {
						return reply(200, minted)
					}
					asked++
					return answer(r)
				})
				began := time.Now()
				_, err := network.client(Config{}, &alone{}).Query(ctx, anyQuery)
				took := time.Since(began)
				var failure *Error
				if !errors.As(err, &failure) || !errors.Is(err, context.DeadlineExceeded) || took > limit {
					t.Errorf("after %s: %v", took, err)
				}
				if limit == time.Hour && (asked != 6 || took < 6*attemptTimeout || took > 6*attemptTimeout+31*time.Second) {
					t.Errorf("asked %d times in %s", asked, took)
				}
				if limit < time.Hour && (asked > 3 || !strings.Contains(err.Error(), "no time is left to ask again in ")) {
					t.Errorf("asked %d times in %s: %v", asked, took, err)
				}
			})
		}
	}
}

type reader func() error

func (r reader) Read([]byte) (int, error) { return 0, r() }

// A refresh that hangs is given up sooner: the store keeps all others waiting for it.
func TestRefreshHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Time
		network := wire(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, time.Now())
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		})
		began := time.Now()
		_, err := network.client(Config{}, &alone{}).Query(t.Context(), anyQuery)
		var failure *Error
		if took := time.Since(began); !errors.As(err, &failure) || failure.Call != refreshCall || len(asked) != refreshRetries+1 || took > 4*refreshLimit+7*time.Second {
			t.Errorf("asked %d times in %s: %v", len(asked), took, err)
		}
	})
}

// A pause that would outlast the deadline is not begun.
func TestNoRetryBeyondTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		zoho := (&canned{}).then(429, busy, "Retry-After", "6")
		began := time.Now()
		_, err := zoho.client(&alone{}).Query(ctx, anyQuery)
		if took := time.Since(began); took != 0 || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no time is left to ask again in 6s") {
			t.Errorf("after %s: %v", took, err)
		}
		var failure *Error
		if !errors.As(err, &failure) || failure.Code != codeTooMany {
			t.Errorf("the cause is lost: %v", err)
		}
	})
}

func TestCancelledPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		zoho := (&canned{}).then(429, busy, "Retry-After", "60")
		began := time.Now()
		if _, err := zoho.client(&alone{}).Query(ctx, anyQuery); !errors.Is(err, context.Canceled) || time.Since(began) != 3*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// What cannot succeed is not asked twice.
func TestHopelessErrorsAreNotRetried(t *testing.T) {
	for code, status := range map[string]int{"SYNTAX_ERROR": 400, "INVALID_QUERY": 400, "INVALID_MODULE": 400, "OAUTH_SCOPE_MISMATCH": 401, "NO_PERMISSION": 403, "LIMIT_EXCEEDED": 400} {
		zoho := (&canned{}).then(status, `{"code":"`+code+`","details":{"column_name":"X"},"message":"m","status":"error"}`)
		_, err := zoho.client(&alone{}).Query(t.Context(), anyQuery)
		want := "COQL query of Leads: HTTP "
		if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), `: `+code+`: m {"column_name":"X"}`) || len(zoho.asked) != 1 {
			t.Errorf("%s: asked %d times, %v", code, len(zoho.asked), err)
		}
	}
}

// A token is used until 120 s before its end.
func TestTokenMargin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		minted := 0
		store := &counting{count: &minted}
		client := (&canned{}).then(204, "").client(store)
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 1}, {57*time.Minute + 59*time.Second, 1}, {2 * time.Second, 2}} {
			time.Sleep(step.wait)
			if _, err := client.Query(t.Context(), anyQuery); err != nil || minted != step.want {
				t.Errorf("after %s more: minted %d, want %d, %v", step.wait, minted, step.want, err)
			}
		}
	})
}

type counting struct {
	alone
	count *int
}

func (c *counting) UpdateToken(ctx context.Context, f string, update func(context.Context, StoredToken) (StoredToken, error)) error {
	*c.count++
	return c.alone.UpdateToken(ctx, f, update)
}
