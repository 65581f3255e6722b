package zoho_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

// exchanger is a simulated Zoho and what asks it.
func exchanger(t *testing.T, shape zohosim.Config) (*zohosim.Zoho, zoho.Config) {
	t.Helper()
	sim := zohosim.New(shape)
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	return sim, zoho.Config{AccountsURL: server.URL, APIURL: server.URL, ClientID: zohosim.DefaultClientID, ClientSecret: zohosim.DefaultClientSecret, UserAgent: "zohomirror/test"}
}

func TestExchange(t *testing.T) {
	t.Parallel()
	sim, config := exchanger(t, zohosim.Config{APIDomain: "https://www.zohoapis.eu/"})
	code := sim.GrantCode(3 * time.Minute)
	grant, err := zoho.Exchange(t.Context(), config, code)
	if err != nil {
		t.Fatal(err)
	}
	if grant.RefreshToken == "" || grant.APIDomain != "https://www.zohoapis.eu" || len(grant.Lacks()) != 0 {
		t.Errorf("%+v", grant)
	}
	if diff := cmp.Diff(zohosim.DefaultScopes, grant.Scopes); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
	for _, call := range sim.Calls() {
		if strings.Contains(call.Query, "1000.") {
			t.Errorf("a secret in an address: %s", call.Query)
		}
	}
	if len(sim.Refused()) != 0 || len(sim.Calls()) != 1 {
		t.Errorf("calls %v, refused %v", sim.Calls(), sim.Refused())
	}
}

// Each refusal says what it means for a code, whatever its status, and tells no secret. A
// code is never sent twice.
func TestExchangeRefused(t *testing.T) {
	t.Parallel()
	for body, hint := range map[string]string{
		`{"error":"invalid_code"}`:                 "too old",
		`{"error":"invalid_grant"}`:                "too old",
		`{"error":"invalid_client"}`:               "the data centre whose API console made it",
		`{"error":"invalid_client_secret"}`:        "ZOHO_CLIENT_SECRET is wrong",
		`{"error":"invalid_redirect_uri"}`:         "not a self client",
		`{"error":"access_denied"}`:                "too many codes",
		`{"error":"general_error"}`:                "within the code's life",
		denied:                                     "nothing is to be done but to wait",
		`<html>busy</html>`:                        "within the code's life",
		`{"access_token":"1000.0123456789abcdef"}`: "not a self client's",
	} {
		for _, status := range []int{200, 400, 401} {
			sim, config := exchanger(t, zohosim.Config{TokenStatus: status})
			sim.FailTokens(body)
			grant, err := zoho.Exchange(t.Context(), config, sim.GrantCode(time.Minute))
			var failure *zoho.Error
			if grant != nil || !errors.As(err, &failure) || !strings.Contains(failure.Hint(), hint) {
				t.Errorf("%s with %d: %v %v", body, status, grant, err)
				continue
			}
			noSecret(t, err)
			if n := len(sim.Calls()); n != 1 {
				t.Errorf("%s with %d: %d calls", body, status, n)
			}
		}
	}
}

// A server that repeats the code and the secret does not get them into an error; one that
// redirects does not get them at all.
func TestExchangeKeepsSecrets(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("the redirect was followed")
		}
		if r.FormValue("client_id") == "redirect" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprintf(w, `{"error":"odd","error_description":"%s of %s"}`, r.FormValue("code"), r.FormValue("client_secret"))
	}))
	t.Cleanup(server.Close)
	for _, client := range []string{"1000.X", "redirect"} {
		_, err := zoho.Exchange(t.Context(), zoho.Config{AccountsURL: server.URL, ClientID: client, ClientSecret: zohosim.DefaultClientSecret}, "1000.0123456789abcdef")
		if err == nil {
			t.Errorf("%s: no error", client)
		}
		noSecret(t, err)
	}
}

func TestLacks(t *testing.T) {
	t.Parallel()
	for scopes, want := range map[string]string{
		"":                                       "",
		"ZohoCRM.modules.READ ZohoCRM.coql.READ": "ZohoCRM.settings.fields.READ ZohoCRM.users.READ",
		"zohocrm.modules.all ZohoCRM.coql.READ ZohoCRM.settings.ALL ZohoCRM.users.ALL":                   "",
		"ZohoCRM.modules.leads.READ ZohoCRM.settings.fields.READ ZohoCRM.users.READ":                     "ZohoCRM.coql.READ",
		"ZohoCRM.modules.leads.CREATE ZohoCRM.coql.READ ZohoCRM.settings.fields.READ ZohoCRM.users.READ": "ZohoCRM.modules.READ",
	} {
		grant := &zoho.Grant{Scopes: strings.Fields(scopes)}
		if got := strings.Join(grant.Lacks(), " "); got != want {
			t.Errorf("%q lacks %q, want %q", scopes, got, want)
		}
	}
}
