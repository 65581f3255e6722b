package config

import (
	"testing"

	"github.com/sethvargo/go-envconfig"
)

func TestCentreOf(t *testing.T) {
	for api, want := range map[string]string{
		"https://www.zohoapis.com": "us", "https://sandbox.zohoapis.eu": "eu",
		"https://developer.zohoapis.com.au": "au", "https://www.zohoapis.ca": "ca",
		"http://www.zohoapis.com": "", "https://www.zohoapis.com.evil.example": "", "https://evil.zohoapis.com": "", "https://www.zohoapis.com:8443": "",
		"https://www.zohoapis.com/crm": "", "": "", "::": "",
	} {
		if got, known := CentreOf(api); known != (want != "") || got != want {
			t.Errorf("%s: %s %t, want %s", api, got, known, want)
		}
	}
	if !StandardHosts("ca", "https://accounts.zohocloud.ca", "https://www.zohoapis.ca") || StandardHosts("ca", "https://accounts.zoho.com", "https://www.zohoapis.ca") || StandardHosts("", "https://accounts.zoho.com", "https://www.zohoapis.com") {
		t.Error("StandardHosts")
	}
}

// Exchanging a code takes the client and its data centre alone.
func TestLoadClient(t *testing.T) {
	c, dc, err := LoadClient(t.Context(), envconfig.MapLookuper(map[string]string{"ZOHO_CLIENT_ID": "id", "ZOHO_CLIENT_SECRET": "secret", "ZOHO_DC": "EU"}))
	if err != nil || dc != "eu" || c.Zoho.AccountsURL != "https://accounts.zoho.eu" || c.Zoho.RefreshToken != "" {
		t.Errorf("%+v %s %v", c, dc, err)
	}
	_, _, err = LoadClient(t.Context(), envconfig.MapLookuper(nil))
	const want = "the settings cannot be used:\n  ZOHO_CLIENT_ID: is missing\n  ZOHO_CLIENT_SECRET: is missing\n  ZOHO_DC: is missing: one of us, eu, in, au, jp, ca, sa, cn, uk, ae, whichever the address of your CRM ends in (com is us)"
	if err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
}
