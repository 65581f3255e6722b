package zoho_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

const (
	tooMany  = `{"code":"TOO_MANY_REQUESTS","details":{},"message":"too many requests. please try again after some time","status":"error"}`
	internal = `{"code":"INTERNAL_ERROR","details":{},"message":"Internal Server Error","status":"error"}`
	edge     = "<!DOCTYPE html><html><title>Zoho</title><body>We'll be right back</body></html>"
	html     = "text/html;charset=UTF-8"
)

// passing are faults after which the same call succeeds.
var passing = map[string]zohosim.Fault{
	"429":                    {Status: 429, Body: tooMany},
	"429, Retry-After 0":     {Status: 429, Body: tooMany, RetryAfter: "0"},
	"429, Retry-After 1":     {Status: 429, Body: tooMany, RetryAfter: "1"},
	"429, Retry-After words": {Status: 429, Body: tooMany, RetryAfter: "in a while"},
	"429 as 200":             {Status: 200, Body: tooMany},
	"500":                    {Status: 500, Body: internal},
	"500 as 200":             {Status: 200, Body: internal},
	"502, HTML":              {Status: 502, Body: edge, ContentType: html},
	"503, no body":           {Status: 503},
	"200, HTML":              {Status: 200, Body: edge, ContentType: html},
	"200, HTML as JSON":      {Status: 200, Body: edge},
	"200, no body":           {Status: 200},
	"403, HTML":              {Status: 403, Body: edge, ContentType: html},
	"cut":                    {Cut: true},
	"reset":                  {Reset: true},
	"token expired":          {ExpireTokens: true},
}

// requests are the three kinds of call; each says how much it read.
var requests = map[string]func(context.Context, *zoho.Client) (int, error){
	"query": func(ctx context.Context, c *zoho.Client) (int, error) {
		page, err := c.Query(ctx, leadsQuery)
		if err != nil {
			return 0, err
		}
		return len(page.Records), nil
	},
	"fields": func(ctx context.Context, c *zoho.Client) (int, error) {
		fields, err := c.Fields(ctx, "Leads")
		return len(fields), err
	},
	"users": func(ctx context.Context, c *zoho.Client) (int, error) {
		users, err := c.Users(ctx)
		return len(users), err
	},
}

// Whatever breaks once, over real HTTP, is asked for once more, and nothing is missing.
func TestRecovers(t *testing.T) {
	var all sync.WaitGroup // all at once, not as many as there are processors: most of it is waiting
	defer all.Wait()
	for name, fault := range passing {
		for kind, request := range requests {
			all.Go(func() { t.Run(kind+": "+name, func(t *testing.T) { recovers(t, fault, request) }) })
		}
	}
}

func recovers(t *testing.T, fault zohosim.Fault, request func(context.Context, *zoho.Client) (int, error)) {
	sim, client := start(t, zohosim.Config{})
	sim.Insert("Leads", zohosim.Record{"Last_Name": "Boyle"})
	c := client()
	defer c.Close()
	want, err := request(t.Context(), c)
	if err != nil || want == 0 {
		t.Fatal(want, err)
	}
	sim.ResetCalls()
	sim.Plan(1, nil, fault)
	began := time.Now()
	got, err := request(t.Context(), c)
	if err != nil || got != want {
		t.Errorf("read %d, want %d, %v", got, want, err)
	}
	if fault.RetryAfter == "1" && time.Since(began) < time.Second {
		t.Errorf("asked again after %s", time.Since(began))
	}
	if n := calls(sim, "/crm/"); n != 2 {
		t.Errorf("%d calls", n)
	}
	if n := calls(sim, "/oauth/"); n != 0 != fault.ExpireTokens {
		t.Errorf("%d token requests", n)
	}
	if refused := sim.Refused(); refused != nil {
		t.Errorf("the client asked for what is not documented: %v", refused)
	}
}

func calls(sim *zohosim.Zoho, prefix string) (n int) {
	for _, call := range sim.Calls() {
		if strings.HasPrefix(call.Path, prefix) {
			n++
		}
	}
	return n
}

// Each retry leaves one line, which says what was asked for and why it is asked again.
func TestRetryIsLogged(t *testing.T) {
	sim, spy := zohosim.New(zohosim.Config{}), newSpy(t)
	server := httptest.NewServer(spy.watch(sim))
	defer server.Close()
	sim.Plan(1, nil, zohosim.Fault{Status: 500, Body: internal})
	c := zoho.New(credentials(server.URL, server.URL), &shared{kept: map[string]zoho.StoredToken{}}, spy.log().With("from", "the process")).ForRun(spy.log().With("run", 7))
	if _, err := c.Query(t.Context(), leadsQuery); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(spy.text()), "\n")
	want := [][]string{
		{`"a new access token is in use"`, "run=7", "expires_at="},
		{"level=WARN", `"a call to Zoho is sent again"`, "run=7", `call="COQL query of Leads"`, "attempt=2", "HTTP 500: INTERNAL_ERROR"},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for i, parts := range want {
		for _, part := range parts {
			if !strings.Contains(lines[i], part) {
				t.Errorf("%s: without %s", lines[i], part)
			}
		}
	}
}

// What cannot succeed is asked for once, and the error names the call, the status and all
// that Zoho said, with a hint.
func TestHopelessCallsOverHTTP(t *testing.T) {
	for _, c := range []struct {
		name   string
		query  func(*zoho.Query)
		config zohosim.Config
		fault  zohosim.Fault
		says   string // in order, with anything between
		hint   string
	}{
		{name: "SYNTAX_ERROR", query: func(q *zoho.Query) { q.Filter = "Last_Name = = 'x'" },
			says: "COQL query of Leads: HTTP 400: SYNTAX_ERROR: * {*}", hint: "please report it"},
		{name: "INVALID_MODULE", query: func(q *zoho.Query) { q.Module = "Nonsense" },
			says: "COQL query of Nonsense: HTTP 400: INVALID_MODULE: the given module is not supported in api", hint: "no such module"},
		{name: "INVALID_QUERY", query: func(q *zoho.Query) { q.Columns = []string{"Nonsense"} },
			says: `COQL query of Leads: HTTP 400: INVALID_QUERY: * {*"column_name":"Nonsense"*}`, hint: "for the column"},
		{name: "LIMIT_EXCEEDED", config: zohosim.Config{MaxColumns: 2},
			says: "COQL query of Leads: HTTP 400: LIMIT_EXCEEDED: *", hint: "number of columns"},
		{name: "scope of COQL", config: zohosim.Config{Scopes: []string{"ZohoCRM.modules.ALL"}},
			says: "COQL query of Leads: HTTP 401: OAUTH_SCOPE_MISMATCH: Unauthorized", hint: "lacks the scope ZohoCRM.coql.READ and ZohoCRM.modules.leads.READ: consent anew"},
		{name: "scope, as 403", fault: zohosim.Fault{Status: 403, Body: `{"code":"OAUTH_SCOPE_MISMATCH","details":{},"message":"invalid oauth scope","status":"error"}`},
			says: "COQL query of Leads: HTTP 403: OAUTH_SCOPE_MISMATCH: invalid oauth scope", hint: "lacks the scope"},
		{name: "NO_PERMISSION", fault: zohosim.Fault{Status: 403, Body: `{"code":"NO_PERMISSION","details":{"permissions":["Crm_Implied_View_Leads"]},"message":"permission denied","status":"error"}`},
			says: `COQL query of Leads: HTTP 403: NO_PERMISSION: permission denied {"permissions":["Crm_Implied_View_Leads"]}`, hint: "let an administrator consent"},
		{name: "an error as 200", fault: zohosim.Fault{Status: 200, Body: `{"status":"error","message":"missing clause","details":{"clause":"where"},"code":"SYNTAX_ERROR"}`},
			says: `COQL query of Leads: HTTP 200: SYNTAX_ERROR: missing clause {"clause":"where"}`, hint: "please report it"},
		{name: "another server", fault: zohosim.Fault{Status: 404, Body: edge, ContentType: html},
			says: "COQL query of Leads: HTTP 404: an answer that is not Zoho's: *We'll be right back*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sim, client := start(t, c.config)
			if c.fault.Status != 0 {
				sim.Plan(9, nil, c.fault)
			}
			q := leadsQuery
			q.Columns = slices.Clone(q.Columns)
			if c.query != nil {
				c.query(&q)
			}
			_, err := client().Query(t.Context(), q)
			var failure *zoho.Error
			if !errors.As(err, &failure) {
				t.Fatalf("error %v", err)
			}
			noSecret(t, err)
			if !like(err.Error(), c.says) || !strings.Contains(failure.Hint(), c.hint) {
				t.Errorf("error %q\nwant  %q\nhint %q, want %q", err, c.says, failure.Hint(), c.hint)
			}
			if calls(sim, "/crm/") != 1 || sim.Minted() != 1 {
				t.Errorf("%d calls, %d tokens", calls(sim, "/crm/"), sim.Minted())
			}
		})
	}
}

// like reports whether text is as pattern says; * stands for anything.
func like(text, pattern string) bool {
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(text, parts[0]) || !strings.HasSuffix(text, parts[len(parts)-1]) {
		return false
	}
	for _, part := range parts {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}

// A run that ends within a call says so, and what the call suffered from.
func TestCallsEndWithTheirRun(t *testing.T) {
	for name, fault := range map[string]zohosim.Fault{
		"hang": {Hang: true}, "retry too late": {Status: 503, RetryAfter: "30"}, "retry in a year": {Status: 429, Body: tooMany, RetryAfter: "Mon, 02 Jan 2040 15:04:05 GMT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, client := start(t, zohosim.Config{})
			c := client()
			defer c.Close()
			if _, err := c.Query(t.Context(), leadsQuery); err != nil { // the token is not what this is about
				t.Fatal(err)
			}
			sim.ResetCalls()
			sim.Plan(9, nil, fault)
			began := time.Now()
			_, err := c.Query(soon(t), leadsQuery)
			noSecret(t, err)
			var failure *zoho.Error
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), "no time is left to ask again in ") || !errors.As(err, &failure) || failure.Call != "COQL query of Leads" {
				t.Errorf("error %v", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			if n := calls(sim, "/crm/"); n > 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// Processes whose tokens die at once mint one between them.
func TestOneRefreshForAll(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	var clients []*zoho.Client
	for range 6 {
		c := client()
		defer c.Close()
		clients = append(clients, c)
		if _, err := c.Query(t.Context(), leadsQuery); err != nil {
			t.Fatal(err)
		}
	}
	sim.ExpireTokens()
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			if _, err := clients[i%len(clients)].Query(t.Context(), leadsQuery); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := sim.Minted(); n != 2 {
		t.Errorf("%d tokens minted, want 2", n)
	}
}

// A token's own answer names a host; the token goes to the configured one all the same.
func TestTokenStaysWithItsHost(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a token left for another host") }))
	defer elsewhere.Close()
	accounts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("asked for a token with %s and a body of %s", r.URL, r.Header.Get("Content-Type"))
		}
		fmt.Fprintf(w, `{"access_token":"1000.a","api_domain":%q,"expires_in":3600}`, elsewhere.URL)
	}))
	defer accounts.Close()
	asked := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if got := r.Header.Get("Authorization"); got != "Zoho-oauthtoken 1000.a" {
			t.Errorf("Authorization: %s", got)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer api.Close()
	spy := newSpy(t)
	page, err := zoho.New(credentials(accounts.URL, api.URL), &shared{kept: map[string]zoho.StoredToken{}}, spy.log()).Query(t.Context(), leadsQuery)
	if err != nil || asked != 1 || len(page.Records) != 0 || page.More {
		t.Errorf("asked %d times: %v, %v", asked, page, err)
	}
}
