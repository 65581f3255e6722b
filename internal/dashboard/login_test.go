package dashboard_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"zohomirror/internal/dashboard"
	"zohomirror/internal/pgembed/pgtest"
)

func (v *visitor) try(t *testing.T, word string, headers ...string) (int, string) {
	t.Helper()
	a := v.post("/dashboard/login", url.Values{"password": {word}}, headers...)
	if strings.Contains(a.body, `id="problem"`) {
		return a.status, a.part(t, "problem")
	}
	return a.status, ""
}

// Nothing is shown to who has not logged in; the log-in leads to where one was going.
func TestLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	v := s.visitor(t)
	for path, to := range map[string]string{
		"/":                        "/dashboard",
		"/dashboard":               "/dashboard/login",
		"/dashboard/runs/x?y=1":    "/dashboard/login?next=%2Fdashboard%2Fruns%2Fx%3Fy%3D1",
		"/dashboard/quarantine":    "/dashboard/login?next=%2Fdashboard%2Fquarantine",
		"/dashboard?status=failed": "/dashboard/login?next=%2Fdashboard%3Fstatus%3Dfailed",
	} {
		if a := v.get(path); a.status/100 != 3 || a.header.Get("Location") != to || strings.Contains(a.body, "Leads") {
			t.Errorf("%s: %d to %q, want %q", path, a.status, a.header.Get("Location"), to)
		}
	}
	for _, path := range []string{"/dashboard/runs", "/dashboard/quarantine", "/dashboard/logout"} {
		if a := v.post(path, url.Values{"module": {"leads"}}); a.status != http.StatusSeeOther || a.header.Get("Location") != "/dashboard/login" {
			t.Errorf("POST %s: %d to %q", path, a.status, a.header.Get("Location"))
		}
	}
	if n := value[int](t, s, "SELECT count(*) FROM sync_runs"); n != 0 {
		t.Errorf("%d runs", n)
	}
	for next, to := range map[string]string{
		"/dashboard/runs?module=leads": "/dashboard/runs?module=leads", "": "/dashboard",
		"https://evil.example": "/dashboard", "//evil.example": "/dashboard", "/dashboard\\@evil.example": "/dashboard",
		"/dashboard/\n//evil": "/dashboard", "/dashboardevil": "/dashboard", "/api/sync": "/dashboard",
	} {
		a := s.visitor(t).post("/dashboard/login", url.Values{"password": {password}, "next": {next}})
		if a.status != http.StatusSeeOther || a.header.Get("Location") != to {
			t.Errorf("next %q: %d to %q, want %q", next, a.status, a.header.Get("Location"), to)
		}
		c := a.header.Get("Set-Cookie")
		for _, part := range []string{"; Path=/dashboard", "; Max-Age=43200", "; HttpOnly", "; SameSite=Strict"} {
			if !strings.Contains(c, part) {
				t.Errorf("the cookie %q lacks %q", c, part)
			}
		}
		if strings.Contains(c, "Secure") {
			t.Errorf("over plain http: %q", c)
		}
	}
	if a := s.visitor(t).post("/dashboard/login", url.Values{"password": {password}}, "X-Forwarded-Proto", "https"); !strings.Contains(a.header.Get("Set-Cookie"), "; Secure") {
		t.Errorf("over https: %q", a.header.Get("Set-Cookie"))
	}
	// A link in a message of another site comes without the cookie, and asks once more by itself.
	if a := v.get("/dashboard/runs?module=leads&status=ok", "Sec-Fetch-Site", "cross-site"); a.status != 200 || !strings.Contains(a.body, `<meta http-equiv="refresh" content="0; url=/dashboard/runs?module=leads&amp;status=ok">`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	o := s.operator(t)
	if a := o.get("/dashboard/"); a.header.Get("Location") != "/dashboard" {
		t.Errorf("/dashboard/: %d to %q", a.status, a.header.Get("Location"))
	}
	if a := o.get("/dashboard/login?next=/dashboard/runs"); a.header.Get("Location") != "/dashboard/runs" {
		t.Errorf("who has logged in is asked again: %d", a.status)
	}
	a := o.post("/dashboard/logout", url.Values{"token": {o.get("/dashboard").token(t)}})
	if a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Set-Cookie"), "Max-Age=0") || o.get("/dashboard").status != http.StatusSeeOther {
		t.Errorf("log-out: %d %v", a.status, a.header)
	}
}

// Failed attempts are counted over processes, a source at a time, also those made at once.
func TestThrottle(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	other := newSite(t, s.database) // another process with another store
	v, w := s.visitor(t), other.visitor(t)
	for i, want := range []string{"4 tries are left.", "3 tries are left.", "2 tries are left.", "1 try is left."} {
		on := v
		if i%2 == 1 {
			on = w
		}
		if status, says := on.try(t, "wrong"); status != http.StatusUnauthorized || says != "Wrong password. "+want {
			t.Errorf("attempt %d: %d %q", i+1, status, says)
		}
	}
	// A success forgets them.
	if status, _ := v.try(t, password); status != http.StatusSeeOther {
		t.Errorf("the right one: %d", status)
	}
	if n := value[int](t, s, "SELECT failures FROM sync_logins WHERE source = '*'"); n != 4 {
		t.Errorf("%d failures overall", n)
	}

	var refused, wrong atomic.Int64
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			on := v
			if i%2 == 1 {
				on = w
			}
			switch status, _ := on.try(t, "wrong"); status {
			case http.StatusUnauthorized:
				wrong.Add(1)
			case http.StatusTooManyRequests:
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if wrong.Load() != 5 || refused.Load() != 19 {
		t.Errorf("of 24 at once %d were looked at and %d refused", wrong.Load(), refused.Load())
	}
	a := w.post("/dashboard/login", url.Values{"password": {password}})
	if a.status != http.StatusTooManyRequests || a.part(t, "problem") != "Too many wrong passwords. Try again in 15 minutes." || a.header.Get("Retry-After") == "" || a.header.Get("Set-Cookie") != "" {
		t.Errorf("the right one, too late: %d %q %v", a.status, a.text(), a.header)
	}
	if got := value[string](t, s, "SELECT string_agg(source, ' ') FROM sync_logins WHERE source <> '*'"); len(got) != 32 || strings.Contains(got, "127") {
		t.Errorf("the source is stored as %q", got)
	}
	s.execute(t, "UPDATE sync_logins SET window_started_at = now() - interval '16 minutes'")
	if status, says := v.try(t, "wrong"); status != http.StatusUnauthorized || says != "Wrong password. 4 tries are left." {
		t.Errorf("a quarter of an hour later: %d %q", status, says)
	}
}

// Many addresses do not help: there is a limit over all. Where nobody vouches for the
// header, it is not an address at all.
func TestThrottleOverall(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), func(o *dashboard.Options) { o.Forwarded = true })
	v := s.visitor(t)
	from := func(n int) string {
		return "203.0.113." + strconv.Itoa(n) + ", 10.0.0.1"
	}
	for n := range 50 {
		if status, says := v.try(t, "wrong", "X-Forwarded-For", from(n)); status != http.StatusUnauthorized {
			t.Fatalf("attempt %d: %d %q", n+1, status, says)
		}
	}
	if status, says := v.try(t, password, "X-Forwarded-For", from(77)); status != http.StatusTooManyRequests {
		t.Errorf("the next: %d %q", status, says)
	}

	s = newSite(t, pgtest.Database(t), func(o *dashboard.Options) { o.Forwarded = true })
	v = s.visitor(t)
	for n := range 5 { // one network of IPv6
		v.try(t, "wrong", "X-Forwarded-For", "2001:db8:1:2::"+string(rune('1'+n)))
	}
	if status, _ := v.try(t, "wrong", "X-Forwarded-For", "2001:db8:1:2:ffff::9"); status != http.StatusTooManyRequests {
		t.Errorf("another address of the network: %d", status)
	}
	if status, _ := v.try(t, "wrong", "X-Forwarded-For", "2001:db8:1:3::1"); status != http.StatusUnauthorized {
		t.Errorf("another network: %d", status)
	}

	s = newSite(t, pgtest.Database(t))
	v = s.visitor(t)
	for n := range 5 {
		v.try(t, "wrong", "X-Forwarded-For", from(n))
	}
	if status, _ := v.try(t, "wrong", "X-Forwarded-For", from(9)); status != http.StatusTooManyRequests {
		t.Errorf("a made-up address helps: %d", status)
	}
}

// A cookie that this server did not sign with the present password opens nothing.
func TestCookies(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	other := newSite(t, s.database, func(o *dashboard.Options) { o.Password = "another-password-altogether" })
	cookieOf := func(s *site, word string) string {
		c := s.visitor(t).post("/dashboard/login", url.Values{"password": {word}}).header.Get("Set-Cookie")
		return strings.TrimPrefix(strings.SplitN(c, ";", 2)[0], "zohomirror_session=")
	}
	opens := func(value string) bool {
		return s.visitor(t).get("/dashboard", "Cookie", "zohomirror_session="+value).status == http.StatusOK
	}
	good := cookieOf(s, password)
	if !opens(good) {
		t.Fatal("the right cookie opens nothing")
	}
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		changed := append([]byte{}, raw...)
		changed[i] ^= 1
		if opens(base64.RawURLEncoding.EncodeToString(changed)) {
			t.Errorf("with byte %d changed it opens", i)
		}
	}
	for name, value := range map[string]string{
		"empty": "", "of another password": cookieOf(other, "another-password-altogether"), "cut": good[:len(good)-1], "longer": good + "A",
		"padded": good + "=", "twice": good + good, "the password": password, "zeros": strings.Repeat("A", len(good)),
	} {
		if opens(value) {
			t.Errorf("a cookie that is %s opens", name)
		}
	}
}

// A preview deployment shows everything and runs nothing.
func TestPreview(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), func(o *dashboard.Options) { o.Preview = true })
	v := s.operator(t)
	form := url.Values{"token": {v.get("/dashboard").token(t)}, "module": {"leads"}, "id": {"1"}}
	for _, path := range []string{"/dashboard/runs", "/dashboard/quarantine"} {
		if a := v.post(path, form); a.status != http.StatusForbidden || !strings.Contains(a.text(), "SYNC_PREVIEW=true") {
			t.Errorf("%s: %d\n%s", path, a.status, a.text())
		}
	}
	if n := value[int](t, s, "SELECT count(*) FROM sync_runs"); n != 0 {
		t.Errorf("%d runs were made", n)
	}
}

// A reader of the dashboard cannot be tricked into a run: another site's form is refused,
// and so is one without the session's own token.
func TestForms(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t))
	v, other := s.operator(t), s.operator(t)
	token := v.get("/dashboard").token(t)
	form := func(token string) url.Values { return url.Values{"token": {token}, "module": {"leads"}, "id": {"1"}} }
	for name, c := range map[string]struct {
		token   string
		headers []string
	}{
		"no token":                {"", nil},
		"another session's token": {other.get("/dashboard").token(t), nil},
		"a token that is cut":     {token[:20], nil},
		"of another site":         {token, []string{"Sec-Fetch-Site", "cross-site"}},
		"of a sibling site":       {token, []string{"Sec-Fetch-Site", "same-site"}},
		"of another origin":       {token, []string{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}},
		"of an origin that hides": {token, []string{"Sec-Fetch-Site", "", "Origin", "null"}},
		"a token in the address":  {"", nil},
	} {
		for _, path := range []string{"/dashboard/runs", "/dashboard/quarantine", "/dashboard/logout"} {
			fields := form(c.token)
			if strings.Contains(name, "address") {
				path += "?token=" + token
				fields.Del("token")
			}
			if a := v.post(path, fields, c.headers...); a.status != http.StatusForbidden || !strings.Contains(a.text(), "Nothing was done") {
				t.Errorf("%s, %s: %d\n%s", path, name, a.status, a.text())
			}
		}
	}
	if n := value[int](t, s, "SELECT count(*) FROM sync_runs"); n != 0 {
		t.Errorf("%d runs were made", n)
	}
	if a := v.post("/dashboard/login", url.Values{"password": {password}}, "Sec-Fetch-Site", "cross-site"); a.status != http.StatusForbidden {
		t.Errorf("another site logs in: %d", a.status)
	}
	if a := v.post("/dashboard/runs", url.Values{"token": {token}, "module": {strings.Repeat("x", 20_000)}}); a.status != http.StatusBadRequest {
		t.Errorf("a long form: %d", a.status)
	}
	// Over plain http browsers do not say Sec-Fetch-Site; the origin is enough.
	if a := v.post("/dashboard/runs", form(token), "Sec-Fetch-Site", "", "Origin", s.url); a.status != http.StatusSeeOther {
		t.Errorf("of the same origin: %d\n%s", a.status, a.text())
	}
	if v.get("/dashboard/runs", "Sec-Fetch-Site", "cross-site").status != http.StatusOK {
		t.Error("a link of another site is not answered")
	}
}
