package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

// client is the settings of a client without a consent.
func client(t *testing.T, sim *zohosim.Zoho) map[string]string {
	settings := settingsFor(t, sim, "")
	delete(settings, "DATABASE_URL")
	delete(settings, "ZOHO_REFRESH_TOKEN")
	return settings
}

func TestAuthExchange(t *testing.T) {
	t.Parallel()
	sim := zohosim.New(zohosim.Config{})
	settings := client(t, sim)
	printed, complaints, status := output(t, settings, "auth", "exchange", "--code", sim.GrantCode(time.Minute))
	if status != 0 || complaints != "" {
		t.Fatalf("%d %s", status, complaints)
	}
	got := map[string]string{}
	for line := range strings.Lines(printed) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		got[name] = value
	}
	if got["ZOHO_REFRESH_TOKEN"] == "" || got["ZOHO_ACCOUNTS_URL"] != settings["ZOHO_ACCOUNTS_URL"] || got["ZOHO_CLIENT_ID"] != zohosim.DefaultClientID || strings.Contains(printed, zohosim.DefaultClientSecret) {
		t.Errorf("printed:\n%s", printed)
	}

	delete(settings, "ZOHO_CLIENT_ID")
	delete(settings, "ZOHO_CLIENT_SECRET")
	printed, complaints, status = output(t, settings, "auth", "exchange", "--json", "--code", sim.GrantCode(time.Minute), "--client-id", zohosim.DefaultClientID, "--client-secret", zohosim.DefaultClientSecret)
	var answer consent
	if err := json.Unmarshal([]byte(printed), &answer); err != nil || status != 0 || answer.Settings["ZOHO_REFRESH_TOKEN"] == "" || len(answer.Scopes) == 0 {
		t.Errorf("%d %s %s %v", status, printed, complaints, err)
	}
	if len(sim.Refused()) != 0 {
		t.Errorf("refused %v", sim.Refused())
	}
}

func TestAuthExchangeComplaints(t *testing.T) {
	t.Parallel()
	sim := zohosim.New(zohosim.Config{TokenStatus: 200})
	used := sim.GrantCode(time.Minute)
	settings := client(t, sim)
	if _, complaints, status := output(t, settings, "auth", "exchange", "--code", used); status != 0 {
		t.Fatal(complaints)
	}
	for _, c := range []struct {
		code, says string
		flags      []string
	}{
		{used, "what to do: the code is too old", nil},
		{sim.GrantCode(0), "what to do: the code is too old", nil},
		{sim.GrantCode(time.Minute), "invalid_client\nwhat to do: this accounts host does not know the client id", []string{"--client-id", "1000.OTHER"}},
		{sim.GrantCode(time.Minute), "what to do: ZOHO_CLIENT_SECRET is wrong", []string{"--client-secret", "another secret"}},
		{used, "ZOHO_DC: must be one of us, eu", []string{"--dc", "com"}},
	} {
		printed, complaints, status := output(t, settings, append([]string{"auth", "exchange", "--code", c.code}, c.flags...)...)
		if status == 0 || printed != "" || !strings.Contains(complaints, c.says) {
			t.Errorf("%s: %d %s %s", c.says, status, printed, complaints)
		}
		if strings.Contains(complaints, c.code) || strings.Contains(complaints, zohosim.DefaultClientSecret) {
			t.Errorf("a secret is told: %s", complaints)
		}
	}
	_, complaints, status := output(t, nil, "auth", "exchange", "--code", used)
	if status == 0 || !strings.Contains(complaints, "ZOHO_CLIENT_ID: is missing\n  ZOHO_CLIENT_SECRET: is missing\n  ZOHO_DC: is missing") {
		t.Errorf("without settings: %d %s", status, complaints)
	}
}

// Pain 10: the data centre is found out and named at set-up, whatever was asked for, and no
// token goes to an address that is not Zoho's.
func TestPain10SetUpNamesTheDataCentre(t *testing.T) {
	t.Parallel()
	us := zoho.Config{AccountsURL: "https://accounts.zoho.com", APIURL: "https://www.zohoapis.com", ClientID: "1000.C"}
	for _, c := range []struct {
		domain, dc, accounts, api, warning string
	}{
		{"https://www.zohoapis.com", "us", "", "", ""},
		{"", "us", "", "", ""},
		{"https://www.zohoapis.eu", "eu", "https://accounts.zoho.com", "https://www.zohoapis.eu", "lives in the data centre eu, not in us"},
		{"https://sandbox.zohoapis.com", "us", "https://accounts.zoho.com", "https://sandbox.zohoapis.com", "of https://sandbox.zohoapis.com"},
		{"https://www.zohoapis.com.evil.example", "us", "", "", "none of Zoho's known addresses"},
	} {
		got := consented(us, "us", &zoho.Grant{RefreshToken: "1000.R", APIDomain: c.domain})
		want := map[string]string{"ZOHO_DC": c.dc, "ZOHO_ACCOUNTS_URL": c.accounts, "ZOHO_API_URL": c.api, "ZOHO_CLIENT_ID": "1000.C", "ZOHO_REFRESH_TOKEN": "1000.R"}
		if diff := cmp.Diff(want, got.Settings); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.domain, diff)
		}
		if said := strings.Join(got.Warnings, "\n"); (c.warning == "") != (said == "") || !strings.Contains(said, c.warning) {
			t.Errorf("%s: warnings %q", c.domain, said)
		}
	}

	sim := zohosim.New(zohosim.Config{APIDomain: "https://www.zohoapis.in", Scopes: []string{"ZohoCRM.modules.READ"}})
	printed, complaints, status := output(t, client(t, sim), "auth", "exchange", "--code", sim.GrantCode(time.Minute))
	if status != 0 || !strings.HasPrefix(printed, "ZOHO_DC=in\n") || !strings.Contains(printed, "ZOHO_API_URL=https://www.zohoapis.in\n") ||
		!strings.Contains(complaints, "the data centre in, not in http://127.0.0.1") || !strings.Contains(complaints, "without ZohoCRM.coql.READ") {
		t.Errorf("%d %s %s", status, printed, complaints)
	}
}
