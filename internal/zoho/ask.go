package zoho

import (
	"context"
	"encoding/json"
	"errors"

	"net/http"
	"net/url"
	"time"
)

// A Question is one request whose answer is looked at rather than used: that is how to
// find out what Zoho does not document. It only reads.
type Question struct {
	Path   string // of a documented endpoint, asked with GET
	Params url.Values
	Since  time.Time // If-Modified-Since; zero is none
	COQL   string    // a query, instead of a path
}

// String is the question as it is sent, the host aside.
func (q Question) String() string {
	if q.COQL != "" {
		return q.COQL
	}
	text := "GET " + q.Path
	if len(q.Params) > 0 {
		text += "?" + q.Params.Encode()
	}
	if !q.Since.IsZero() {
		text += " If-Modified-Since: " + q.Since.UTC().Format(timeLayout)
	}
	return text
}

// A Reply is what came back, refusals included.
type Reply struct {
	Status int
	Code   string // Zoho's, of a refusal
	Header http.Header
	Body   json.RawMessage // of a 200
}

// Ask sends a question. Its error is the network's or the token's: a refusal of the
// question itself is a Reply.
func (c *Client) Ask(ctx context.Context, q Question) (*Reply, error) {
	request := call{name: "question", scope: "of this endpoint", method: http.MethodGet, path: q.Path, params: q.Params, since: q.Since, decode: decodeInto[json.RawMessage]}
	if q.COQL != "" {
		body, err := json.Marshal(map[string]string{"select_query": q.COQL})
		if err != nil {
			return nil, err
		}
		request.method, request.path, request.body = http.MethodPost, "/crm/v8/coql", body
	}
	got, err := c.do(ctx, request)
	var failure *Error
	switch {
	case err == nil:
		body, _ := got.value.(json.RawMessage) // none with 204 and 304
		return &Reply{Status: got.status, Header: got.header, Body: body}, nil
	case errors.As(err, &failure) && failure.Call == request.name && failure.Code != "" && !failure.transient && !failure.rejectsToken():
		return &Reply{Status: failure.Status, Code: failure.Code}, nil
	default:
		return nil, err
	}
}

// APIDomain is the API host that the org's own token answer names, or nothing before a token was asked for.
func (c *Client) APIDomain() string {
	c.tokens.mu.Lock()
	defer c.tokens.mu.Unlock()
	return c.tokens.domain
}
