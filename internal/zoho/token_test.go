package zoho_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

const denied = `{"error_description":"You have made too many requests continuously. Please try again after some time.","error":"Access Denied","status":"failure"}`

// Errors of the token endpoint come with any status; each says what to do.
func TestTokenErrors(t *testing.T) {
	for body, hint := range map[string]string{
		`{"error":"invalid_client"}`:                   "most often the data centre is wrong",
		`{"error":"invalid_code"}`:                     "most often the data centre is wrong",
		`{"error":"invalid_grant"}`:                    "most often the data centre is wrong",
		`{"error":"invalid_client_secret"}`:            "ZOHO_CLIENT_SECRET is wrong",
		`{"error":"invalid_redirect_uri"}`:             "consent anew",
		`{"error":"access_denied"}`:                    "refuses for now",
		`{"access_token":"","error":"invalid_client"}`: "most often the data centre is wrong",
		denied: "nothing is to be done but to wait",
	} {
		for _, status := range []int{200, 400, 401} {
			sim, client := start(t, zohosim.Config{TokenStatus: status})
			sim.FailTokens(body)
			_, err := client().Query(t.Context(), leadsQuery)
			var failure *zoho.Error
			if !errors.As(err, &failure) || failure.Call != "token refresh" || failure.Status != status || !strings.Contains(failure.Hint(), hint) {
				t.Errorf("%s with %d: %v", body, status, err)
			}
			noSecret(t, err)
			if n := len(sim.Calls()); n != 1 {
				t.Errorf("%s with %d: %d calls, want one and no retry", body, status, n)
			}
		}
	}
}

// After Access Denied nobody asks again until the pause is over.
func TestAccessDeniedIsRemembered(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	sim.FailTokens(denied)
	for range 3 { // each a process of its own
		if _, err := client().Query(t.Context(), leadsQuery); err == nil || !strings.Contains(err.Error(), "Access Denied") {
			t.Errorf("error %v", err)
		} else {
			noSecret(t, err)
		}
	}
	if n := len(sim.Calls()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// A token that Zoho rejects, in whatever words, is replaced once; a second refusal is the end.
func TestRejectedToken(t *testing.T) {
	for name, fault := range map[string]zohosim.Fault{
		"INVALID_TOKEN":          {ExpireTokens: true},
		"AUTHENTICATION_FAILURE": {Status: 401, Body: `{"code":"AUTHENTICATION_FAILURE","details":{},"message":"Authentication failed","status":"error"}`},
		"INVALID_TOKEN as 200":   {Status: 200, Body: `{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}`},
		"INVALID_TOKEN as 403":   {Status: 403, Body: `{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}`},
	} {
		t.Run(name, func(t *testing.T) {
			sim, client := start(t, zohosim.Config{})
			c := client()
			for range 2 { // each refusal may be mended once
				sim.Plan(1, nil, fault)
				if _, err := c.Query(t.Context(), leadsQuery); err != nil {
					t.Errorf("refused once: %v", err)
				}
			}
			if calls(sim, "/crm/") != 4 || sim.Minted() != 3 {
				t.Errorf("refused once, twice: %d calls, %d minted", calls(sim, "/crm/"), sim.Minted())
			}
			sim.ResetCalls()
			sim.Plan(10, nil, fault)
			_, err := c.Query(t.Context(), leadsQuery)
			var failure *zoho.Error
			if !errors.As(err, &failure) || !strings.HasPrefix(name, failure.Code) || !strings.Contains(failure.Hint(), "another data centre") {
				t.Errorf("refused for ever: %v", err)
			}
			noSecret(t, err)
			if calls(sim, "/crm/") != 2 || sim.Minted() != 4 {
				t.Errorf("refused for ever: %d calls, %d minted", calls(sim, "/crm/"), sim.Minted())
			}
		})
	}
}

// When Zoho kills all tokens at once, who has an older one in hand finds that the stored one is
// dead too: that is no reason to give up before a new one has been tried.
func TestRejectedStoredToken(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	old, other := client(), client()
	query := func(c *zoho.Client) error {
		_, err := c.Query(t.Context(), leadsQuery)
		return err
	}
	killed := func() { // old has one token in hand, another is stored, and neither lives
		t.Helper()
		for _, c := range []*zoho.Client{old, other} {
			if err := query(c); err != nil {
				t.Fatal(err)
			}
			sim.ExpireTokens()
		}
		sim.ResetCalls()
	}
	killed()
	minted := sim.Minted()
	if err := query(old); err != nil || calls(sim, "/crm/") != 3 || sim.Minted() != minted+1 {
		t.Errorf("%v after %d calls, %d minted", err, calls(sim, "/crm/"), sim.Minted()-minted)
	}
	killed()
	minted = sim.Minted()
	sim.Plan(10, nil, zohosim.Fault{ExpireTokens: true})
	err := query(old)
	var failure *zoho.Error
	if !errors.As(err, &failure) || !strings.Contains(failure.Hint(), "rejects a fresh access token") || calls(sim, "/crm/") != 3 || sim.Minted() != minted+1 {
		t.Errorf("refused for ever: %v after %d calls, %d minted", err, calls(sim, "/crm/"), sim.Minted()-minted)
	}
}

// A missing scope is no matter of the token: it is named, and nothing is refreshed.
func TestScopeIsNotRefreshed(t *testing.T) {
	sim, client := start(t, zohosim.Config{Scopes: []string{"ZohoCRM.modules.READ"}})
	_, err := client().Query(t.Context(), leadsQuery)
	var failure *zoho.Error
	if !errors.As(err, &failure) || !strings.Contains(failure.Hint(), "lacks the scope ZohoCRM.coql.READ") || sim.Minted() != 1 || len(sim.Calls()) != 2 {
		t.Errorf("%v, %d minted, %d calls", err, sim.Minted(), len(sim.Calls()))
	}
	noSecret(t, err)
}

// What is stored can be opened with the same credentials only, and new ones take effect at once.
func TestStoredTokenIsSealed(t *testing.T) {
	sim := zohosim.New(zohosim.Config{})
	server := httptest.NewServer(sim)
	defer server.Close()
	store := &shared{kept: map[string]zoho.StoredToken{}}
	config := credentials(server.URL, server.URL)
	query := func(config zoho.Config) error {
		_, err := zoho.New(config, store, slog.New(slog.DiscardHandler)).Query(t.Context(), leadsQuery)
		return err
	}
	if err := query(config); err != nil {
		t.Fatal(err)
	}
	for fingerprint, kept := range store.kept {
		if bytes.Contains(kept.Sealed, []byte("1000.")) || strings.Contains(fingerprint, "1000.") || len(kept.Sealed) < 60 {
			t.Errorf("%s is kept as %q", fingerprint, kept.Sealed)
		}
		for i := range kept.Sealed { // a byte that was changed is noticed, and the token counts as absent
			kept.Sealed[i] ^= 1
			break
		}
	}
	if err := query(config); err != nil || sim.Minted() != 2 {
		t.Errorf("a spoiled token: %v, %d minted", err, sim.Minted())
	}
	for name, change := range map[string]func(*zoho.Config){
		"secret": func(c *zoho.Config) { c.ClientSecret = "other" }, "token": func(c *zoho.Config) { c.RefreshToken = "other" },
	} {
		other := config
		change(&other)
		if err := query(other); err == nil {
			t.Errorf("another %s could use the stored token", name)
		}
	}
}

// A token and a secret follow no redirect, of whatever kind and from wherever it comes.
func TestNoRedirectIsFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		asked := 0
		bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			http.Redirect(w, r, elsewhere.URL+"/caught", status)
		}))
		good := httptest.NewServer(zohosim.New(zohosim.Config{}))
		for call, config := range map[string]zoho.Config{"token refresh": credentials(bad.URL, good.URL), "COQL query of Leads": credentials(good.URL, bad.URL)} {
			asked = 0
			spy := newSpy(t)
			_, err := zoho.New(config, &shared{kept: map[string]zoho.StoredToken{}}, spy.log()).Query(t.Context(), leadsQuery)
			var failure *zoho.Error
			if !errors.As(err, &failure) || failure.Call != call || failure.Status != status || !strings.Contains(failure.Hint(), "Zoho's own hosts") || asked != 1 {
				t.Errorf("%s, %d: asked %d times, %v", call, status, asked, err)
			}
			noSecret(t, err)
		}
		good.Close()
		bad.Close()
	}
}
