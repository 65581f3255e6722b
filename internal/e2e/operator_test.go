package e2e

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// An operator logs in, looks, and runs a module again, at the server as at the function.
func TestOperator(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world, deploy func(*testing.T, ...string) *deployment) {
		d := deploy(t)
		session := []string{"X-Forwarded-Proto", "https"} // of the proxy in front
		post := func(path, from string, form url.Values) page {
			t.Helper()
			return d.send(t, "POST", path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", from}, session...)...)
		}
		password := url.Values{"password": {dashboardPassword}}
		for _, c := range []struct {
			name   string
			got    page
			status int
		}{
			{"the form", d.get(t, "GET", "/dashboard/login"), 200},
			{"nobody", d.get(t, "GET", "/dashboard"), 303},
			{"another site's form", post("/dashboard/login", "cross-site", password), 403},
			{"a wrong password", post("/dashboard/login", "same-origin", url.Values{"password": {"x"}}), 401},
		} {
			if c.got.Status != c.status || c.got.Headers.Get("Set-Cookie") != "" {
				t.Errorf("%s: %d %v", c.name, c.got.Status, c.got.Headers)
			}
		}
		got := post("/dashboard/login", "same-origin", password)
		cookies := (&http.Response{Header: got.Headers}).Cookies()
		if got.Status != 303 || got.Headers.Get("Location") != "/dashboard" || len(cookies) != 1 {
			t.Fatalf("the log-in: %d %v", got.Status, got.Headers)
		}
		if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || !c.Secure || c.Path != "/dashboard" {
			t.Errorf("the cookie: %s", c)
		}
		session = append(session, "Cookie", cookies[0].Name+"="+cookies[0].Value)

		path := "/dashboard"
		for runs := range 3 { // the first from the front page, the next from the page of the one before
			got = d.get(t, "GET", path, session...)
			token := regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(got.Text)
			if got.Status != 200 || token == nil || !strings.Contains(got.Text, "Leads") {
				t.Fatalf("%s: %d %s", path, got.Status, got.Text)
			}
			if runs == 0 && !strings.Contains(got.Text, `id="card-leads"`) {
				t.Errorf("the front page shows no leads: %s", got.Text)
			}
			form := url.Values{"module": {"leads"}, "token": {token[1]}}
			for from, forged := range map[string]url.Values{"same-origin": {"module": {"leads"}}, "cross-site": form} {
				if got = post("/dashboard/runs", from, forged); got.Status != 403 {
					t.Errorf("a forged form, %s: %d", from, got.Status)
				}
			}
			got = post("/dashboard/runs", "same-origin", form)
			if path = got.Headers.Get("Location"); got.Status != 303 || !strings.HasPrefix(path, "/dashboard/runs/") {
				t.Fatalf("run again: %d %v %s", got.Status, got.Headers, got.Text)
			}
			if done := value[int](t, w, "SELECT count(*)::int FROM sync_runs WHERE module = 'leads' AND trigger = 'dashboard' AND status = 'ok'"); done != runs+1 {
				t.Errorf("%d runs of the dashboard after %d clicks", done, runs+1)
			}
		}
		w.equal(t)
	})
}
