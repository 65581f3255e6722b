package zohosim

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// A grant code lives minutes, is good once, and gives a refresh token of its own.
func TestGrantCodes(t *testing.T) {
	now := noon
	c := newCaller(t, Config{Now: func() time.Time { return now }, APIDomain: "https://www.zohoapis.eu"})
	exchange := func(code string, change ...string) (int, map[string]any) {
		form := url.Values{"grant_type": {"authorization_code"}, "client_id": {DefaultClientID}, "client_secret": {DefaultClientSecret}, "code": {code}}
		for i := 0; i < len(change); i += 2 {
			form.Set(change[i], change[i+1])
		}
		return c.call(http.MethodPost, "/oauth/v2/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	refused := func(what, code string, status int, got map[string]any) {
		t.Helper()
		c.answered(what, 400, fmt.Sprintf(`{"error":%q}`, code), status, got)
	}

	code := c.GrantCode(3 * time.Minute)
	status, got := exchange(code, "client_id", "1000.OTHER")
	refused("another client", "invalid_client", status, got)
	status, got = exchange(code, "client_secret", "other")
	refused("another secret", "invalid_client_secret", status, got)
	status, got = exchange("1000.other")
	refused("no such code", "invalid_code", status, got)

	now = now.Add(3*time.Minute - time.Second)
	status, got = exchange(code)
	token, _ := got["refresh_token"].(string)
	if status != 200 || token == "" || token == DefaultRefreshToken || got["access_token"] == "" || got["api_domain"] != "https://www.zohoapis.eu" || got["scope"] == "" {
		t.Fatalf("exchange: %d %v", status, got)
	}
	status, got = exchange(code)
	refused("used", "invalid_code", status, got)

	late := c.GrantCode(3 * time.Minute)
	now = now.Add(3 * time.Minute)
	status, got = exchange(late)
	refused("too old", "invalid_code", status, got)

	status, got = c.call(http.MethodPost, "/oauth/v2/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {DefaultClientID},
		"client_secret": {DefaultClientSecret}, "refresh_token": {token}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if status != 200 || got["access_token"] == "" || got["refresh_token"] != nil {
		t.Errorf("the new refresh token: %d %v", status, got)
	}
	if len(c.Refused()) != 0 {
		t.Errorf("refused %v", c.Refused())
	}
	if status, got = exchange(late, "grant_type", "password"); status != 400 || len(c.Refused()) != 1 {
		t.Errorf("an undocumented grant type: %d %v, refused %v", status, got, c.Refused())
	}
}
