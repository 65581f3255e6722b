// Package zoho is a client of Zoho CRM's REST API, version 8: access tokens, COQL by
// keyset, fields and users. It knows nothing of where the records go.
package zoho

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Config says which Zoho to talk to, and as whom. Base URLs have no trailing slash.
type Config struct {
	AccountsURL  string // e.g. https://accounts.zoho.eu
	APIURL       string // e.g. https://www.zohoapis.eu
	ClientID     string
	ClientSecret string
	RefreshToken string
	UserAgent    string
}

const (
	attemptTimeout = 20 * time.Second // one try of one call
	maxBody        = 32 << 20         // of one answer, decompressed
)

// Client calls Zoho. It is safe for concurrent use.
type Client struct {
	config Config
	http   *http.Client
	tokens *broker
	log    *slog.Logger
	usage  *Usage
}

// Usage is what a client's calls have cost so far. It is safe for concurrent use.
type Usage struct {
	calls, credits atomic.Int64
}

// Calls is how many requests were answered, refused ones included.
func (u *Usage) Calls() int64 { return u.calls.Load() }

// Credits is what the answered requests cost the org, by Zoho's price list (zoho-api, "Rate limits").
func (u *Usage) Credits() int64 { return u.credits.Load() }

// New returns a client that shares its access token through store.
func New(config Config, store TokenStore, log *slog.Logger) *Client {
	httpClient := newHTTP()
	return &Client{config: config, http: httpClient, tokens: newBroker(config, httpClient, store), log: log, usage: &Usage{}}
}

func newHTTP() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = attemptTimeout
	return &http.Client{
		Transport: transport,
		// A token goes to the configured hosts and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ForRun returns a client that shares everything with c but writes its log to log, so that
// each line says which run it belongs to, and counts its own usage.
func (c *Client) ForRun(log *slog.Logger) *Client {
	other := *c
	other.log, other.usage = log, &Usage{}
	return &other
}

// Usage is what this client's calls have cost.
func (c *Client) Usage() *Usage { return c.usage }

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// A call is one request to the API, ready to be sent as often as needed.
type call struct {
	name   string // for errors and logs
	scope  string // what the token must allow
	method string
	path   string
	params url.Values
	since  time.Time // If-Modified-Since; zero is none
	body   []byte
	price  int64                          // credits
	decode func(io.Reader, *answer) error // of a 200
}

// asOf is Zoho's time when it read what it answers, or ours without a Date header. It did so
// somewhere between the sending and the answer: this is the earliest.
func (a *answer) asOf() (at time.Time, zohoClock bool) {
	if a.date.IsZero() {
		return a.sent, false
	}
	return a.date.Add(-a.took), true
}

// An answer is what a call's decoder reads, and what the transport knows beside it.
type answer struct {
	page  *Page
	sent  time.Time     // when the attempt began
	took  time.Duration // until its headers were there
	date  time.Time     // Zoho's Date header; zero where there is none
	value any

	status int
	header http.Header
}

// do sends a call until it is answered or hopeless: transient trouble is retried with
// back-off, an access token that Zoho rejects is replaced: by the stored one, if another process
// has refreshed it, and by a fresh one, which is the last.
func (c *Client) do(ctx context.Context, call call) (*answer, error) {
	const mostTokens = 3 // in hand, stored, fresh
	tokens := 1
	for attempt := 0; ; attempt++ {
		token, got, err := c.attempt(ctx, call)
		if err == nil {
			return got, nil
		}
		var failure *Error
		if !errors.As(err, &failure) || token == "" { // a refresh has had its own retries
			return nil, err
		}
		if failure.rejectsToken() {
			if own := c.tokens.reject(token); own && tokens > 1 || tokens == mostTokens {
				return nil, failure
			}
			tokens++
			attempt-- // a new token is no new attempt
			continue
		}
		wait, again := backoff(attempt, failure)
		if !again {
			return nil, failure
		}
		if err := pause(ctx, wait); err != nil {
			return nil, fmt.Errorf("%w: %w", err, failure)
		}
		c.log.WarnContext(ctx, "a call to Zoho is sent again", "call", call.name, "attempt", attempt+2, "error", failure)
	}
}

// attempt sends a call once. It returns the token that it used.
func (c *Client) attempt(ctx context.Context, call call) (token string, _ *answer, _ error) {
	token, err := c.tokens.token(ctx, c.log)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()

	address := c.config.APIURL + call.path
	if len(call.params) > 0 {
		address += "?" + call.params.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, call.method, address, bytes.NewReader(call.body))
	if err != nil {
		return token, nil, fmt.Errorf("%s: %w", call.name, err)
	}
	request.Header.Set("Authorization", "Zoho-oauthtoken "+token) // not Bearer, whatever the token's answer says
	request.Header.Set("User-Agent", c.config.UserAgent)
	if call.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !call.since.IsZero() {
		request.Header.Set("If-Modified-Since", call.since.UTC().Format(timeLayout)) // Zoho wants ISO 8601 here
	}

	got := &answer{sent: time.Now()}
	response, err := c.http.Do(request)
	if err != nil {
		return token, nil, networkError(call.name, err)
	}
	defer response.Body.Close()
	c.usage.calls.Add(1)
	if response.StatusCode < 300 || response.StatusCode == http.StatusNotModified {
		c.usage.credits.Add(max(call.price, 1))
	}
	got.took, got.status, got.header = time.Since(got.sent), response.StatusCode, response.Header
	got.date, _ = http.ParseTime(response.Header.Get("Date"))
	return token, got, c.read(call, token, response, got)
}

// read judges an answer by its body as well as by its status.
func (c *Client) read(call call, token string, response *http.Response, got *answer) error {
	body := &boundedReader{from: response.Body, left: maxBody}
	switch {
	case response.StatusCode == http.StatusNoContent || response.StatusCode == http.StatusNotModified:
		return nil
	case response.StatusCode == http.StatusOK && isJSON(response):
		err := call.decode(body, got)
		var failure *Error
		switch {
		case err == nil:
			return nil
		case errors.As(err, &failure): // an error with status 200
			failure.Call, failure.Status, failure.scope = call.name, response.StatusCode, call.scope
			failure.retryAfter = retryAfter(response.Header.Get("Retry-After"))
			failure.apiDomain = c.tokens.apiDomain()
			failure.hide(token)
			return failure
		case body.left < 0:
			return fmt.Errorf("%s: %w", call.name, ErrPageTooLarge)
		default:
			return &Error{Call: call.name, Status: response.StatusCode, Message: "the answer broke off or is no JSON", cause: err, transient: true}
		}
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return &Error{Call: call.name, Status: response.StatusCode, Message: "the server redirects elsewhere, and a token follows no redirect"}
	}
	failure := readError(body, token)
	failure.Call, failure.Status, failure.scope = call.name, response.StatusCode, call.scope
	failure.retryAfter = retryAfter(response.Header.Get("Retry-After"))
	failure.apiDomain = c.tokens.apiDomain()
	failure.transient = failure.isTransient()
	return failure
}

func isJSON(response *http.Response) bool {
	kind := response.Header.Get("Content-Type")
	return kind == "" || strings.Contains(kind, "json") || strings.HasPrefix(kind, "text/plain")
}

// boundedReader fails once more than its share has been read; left is then negative.
type boundedReader struct {
	from io.Reader
	left int64
}

func (r *boundedReader) Read(p []byte) (int, error) {
	if r.left < 0 {
		return 0, ErrPageTooLarge
	}
	if int64(len(p)) > r.left+1 {
		p = p[:r.left+1]
	}
	n, err := r.from.Read(p)
	r.left -= int64(n)
	if r.left < 0 {
		return 0, ErrPageTooLarge
	}
	return n, err
}
