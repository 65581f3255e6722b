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
		}
	}
	if n := len(sim.Calls()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// A 401 is met with one new token; a second one is the end.
func TestRejectedToken(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	c := client()
	if _, err := c.Query(t.Context(), leadsQuery); err != nil {
		t.Fatal(err)
	}
	sim.ExpireTokens()
	if _, err := c.Query(t.Context(), leadsQuery); err != nil || sim.Minted() != 2 {
		t.Errorf("%v, %d minted", err, sim.Minted())
	}
	sim.ResetCalls()
	sim.Plan(10, nil, zohosim.Fault{Status: 401, Body: `{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}`})
	_, err := c.Query(t.Context(), leadsQuery)
	var failure *zoho.Error
	if !errors.As(err, &failure) || failure.Code != "INVALID_TOKEN" || !strings.Contains(failure.Hint(), "another data centre") {
		t.Errorf("error %v", err)
	}
	if n := len(sim.Calls()); n != 3 || sim.Minted() != 3 {
		t.Errorf("%d calls, %d minted", n, sim.Minted())
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
}

// What is stored can be opened with the same credentials only, and new ones take effect at once.
func TestStoredTokenIsSealed(t *testing.T) {
	sim := zohosim.New(zohosim.Config{})
	server := httptest.NewServer(sim)
	defer server.Close()
	store := &shared{kept: map[string]zoho.StoredToken{}}
	config := zoho.Config{AccountsURL: server.URL, APIURL: server.URL, ClientID: zohosim.DefaultClientID,
		ClientSecret: zohosim.DefaultClientSecret, RefreshToken: zohosim.DefaultRefreshToken}
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

// A token follows no redirect, from wherever it comes.
func TestNoRedirectIsFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	sim := zohosim.New(zohosim.Config{})
	good := httptest.NewServer(sim)
	defer good.Close()
	bad := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer bad.Close()
	for _, hosts := range [][2]string{{bad.URL, good.URL}, {good.URL, bad.URL}} {
		config := zoho.Config{AccountsURL: hosts[0], APIURL: hosts[1], ClientID: zohosim.DefaultClientID,
			ClientSecret: zohosim.DefaultClientSecret, RefreshToken: zohosim.DefaultRefreshToken}
		_, err := zoho.New(config, &shared{kept: map[string]zoho.StoredToken{}}, slog.New(slog.DiscardHandler)).Query(t.Context(), leadsQuery)
		var failure *zoho.Error
		if !errors.As(err, &failure) || failure.Status != http.StatusTemporaryRedirect || !strings.Contains(failure.Hint(), "Zoho's own hosts") {
			t.Errorf("error %v", err)
		}
	}
}

// The connection may break in any way once: the client recovers, over real HTTP.
func TestRecovers(t *testing.T) {
	for name, fault := range map[string]zohosim.Fault{
		"cut": {Cut: true}, "reset": {Reset: true}, "expired": {ExpireTokens: true},
		"html":    {Status: 502, Body: "<html>Bad Gateway</html>", ContentType: "text/html"},
		"limited": {Status: 429, Body: `{"code":"TOO_MANY_REQUESTS","details":{},"message":"too many requests. please try again after some time","status":"error"}`, RetryAfter: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, client := start(t, zohosim.Config{})
			sim.Insert("Leads", zohosim.Record{"Last_Name": "Boyle"})
			sim.Plan(1, nil, fault)
			if page, err := client().Query(t.Context(), leadsQuery); err != nil || len(page.Records) != 1 {
				t.Errorf("%v, %v", page, err)
			}
		})
	}
}
