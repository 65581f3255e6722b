package dashboard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// patience is for a machine that has much else to do; nothing waits for it in vain.
const patience = 60 * time.Second

// plainHost is this machine by a name to which browsers give no more over http than to any other.
const plainHost = "mirror.example"

// A chrome is a running browser and what all tabs of it share.
type chrome struct {
	ctx   context.Context
	axe   string // its source
	shots string // folder of the screenshots
}

// startChrome skips the test where there is no browser, except in CI.
func startChrome(t *testing.T) *chrome {
	t.Helper()
	missing := func(what string) {
		if os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		missing("no Chromium: apt-get install chromium")
	}
	source, err := os.ReadFile(os.Getenv("AXE_JS"))
	if err != nil {
		missing("no axe-core: npm ci in .ci/browser, and set AXE_JS to its axe.min.js")
	}
	shots := os.Getenv("SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	if err := os.MkdirAll(shots, 0o755); err != nil {
		t.Fatal(err)
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("host-resolver-rules", "MAP "+plainHost+" 127.0.0.1"), chromedp.WSURLReadTimeout(patience))...)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() { cancel(); stop() })
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return &chrome{ctx, string(source), shots}
}

// A tab is a browser of its own: cookies are not shared. Whatever it says on its console
// as a warning or an error fails its test.
type tab struct {
	t   *testing.T
	ctx context.Context
	*chrome
	site *site

	mu       sync.Mutex
	said     []string
	expected []string // parts of what may be said
}

func (c *chrome) tab(t *testing.T, s *site) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, chrome: c, site: s}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Kolkata"})
	b.size(1280, 900)
	b.theme("light")
	t.Cleanup(func() {
		b.mu.Lock()
		said := strings.Join(b.said, "\n")
		b.mu.Unlock()
		if said != "" {
			t.Errorf("the console said:\n%s", said)
		}
		if t.Failed() {
			b.shot("failed-" + strings.ReplaceAll(t.Name(), "/", "-"))
		}
	})
	return b
}

// hear keeps what is wrong. A page that answers with an error says so on the console too;
// that is expected where the test has asked for it.
func (b *tab) hear(event any) {
	text := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			text = fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		text = string(e.Type)
		for _, a := range e.Args {
			text += " " + string(a.Value) + a.Description
		}
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, part := range b.expected {
		if strings.Contains(text, part) {
			return
		}
	}
	if text != "" {
		b.said = append(b.said, text)
	}
}

func (b *tab) expect(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, part)
}

func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	do(b, func(ctx context.Context) (R, error) { return chromedp.Call(ctx, command, params) })
}

// do bounds one step, so that a browser that hangs fails its test and no other.
func do[T any](b *tab, step func(context.Context) (T, error)) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := step(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *tab) size(width, height int64) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500})
}

func (b *tab) theme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

// until waits for what a page is to show.
func (b *tab) until(condition string) {
	b.t.Helper()
	end := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(b.ctx, patience/3) // a page that is being left may never answer
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+condition+")"))
		cancel()
		if err == nil && ok {
			return
		}
		if time.Now().After(end) {
			text := b.text("document.body ? document.body.innerText : ''")
			b.t.Fatalf("the page does not come to %s (%v); it says:\n%s", condition, err, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func ask[T any](b *tab, expression string) T {
	b.t.Helper()
	return do(b, func(ctx context.Context) (T, error) {
		v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
		if err != nil {
			err = fmt.Errorf("%.200s: %w", expression, err)
		}
		return v, err
	})
}

func (b *tab) text(expression string) string { b.t.Helper(); return ask[string](b, expression) }

// open goes to an address of the site and waits until it is there and its script has run.
func (b *tab) open(path string) {
	b.t.Helper()
	do(b, func(ctx context.Context) (chromedp.Void, error) {
		return chromedp.Run(ctx, chromedp.Navigate(b.site.url+path))
	})
	b.until(`document.readyState === "complete"`)
}

// leave does what goes to another page, and waits for that.
func (b *tab) leave(do func(), condition string) {
	b.t.Helper()
	ask[bool](b, "window.here = true")
	do()
	b.until(`!window.here && document.readyState === "complete" && ` + condition)
}

func (b *tab) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		do(b, func(ctx context.Context) (chromedp.Void, error) { return chromedp.Run(ctx, chromedp.KeyEvent(k)) })
	}
}

func (b *tab) click(selector string) {
	b.t.Helper()
	ask[bool](b, `document.querySelector(`+quoted(selector)+`).click() || true`)
}

// enter presses an element by the keyboard, as a person does.
func (b *tab) enter(selector string) {
	b.t.Helper()
	ask[bool](b, `document.querySelector(`+quoted(selector)+`).focus() || true`)
	b.press(kb.Enter)
}

// showAgain is a person's return to the tab: the page asks at once.
func (b *tab) showAgain() {
	b.t.Helper()
	ask[bool](b, `document.dispatchEvent(new Event("visibilitychange"))`)
}

// allow answers for the person what the browser would ask.
func (b *tab) allow(permission string, setting browser.PermissionSetting) {
	b.t.Helper()
	do(b, func(ctx context.Context) (cdp.Empty, error) {
		return chromedp.CallBrowser(ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: permission}, Setting: setting, BrowserContextID: chromedp.FromContext(ctx).BrowserContextID,
		})
	})
}

// copies holds that a button says that it has copied, and that the clipboard then has the text.
func (b *tab) copies(selector, want string) {
	b.t.Helper()
	if !ask[bool](b, `document.querySelector(`+quoted(selector)+`).checkVisibility()`) {
		b.t.Errorf("%s cannot be seen", selector)
	}
	b.enter(selector)
	b.until(`document.querySelector(` + quoted(selector) + `).textContent === "Copied"`)
	if got := b.pasted(); got != want {
		b.t.Errorf("%s copies %q, want %q", selector, got, want)
	}
}

// pasted is what the clipboard holds.
func (b *tab) pasted() string {
	b.t.Helper()
	return do(b, func(ctx context.Context) (string, error) {
		return chromedp.Run(ctx, chromedp.Evaluate[string]("navigator.clipboard.readText()", chromedp.EvalAwaitPromise))
	})
}

// A door is a listener that can be shut: whoever comes then is cut off, and nobody else
// gets the port.
type door struct {
	net.Listener
	shut atomic.Bool
}

func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil || !d.shut.Load() {
			return conn, err
		}
		_ = conn.Close()
	}
}

func quoted(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

func (b *tab) logIn() {
	b.t.Helper()
	b.open("/")
	b.until(`document.activeElement.id === "password"`)
	b.press(password)
	b.leave(func() { b.press(kb.Enter) }, `document.querySelector("#headline")`)
}

// shot keeps a picture of the whole page.
func (b *tab) shot(name string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Error(err)
		return
	}
	if err := os.WriteFile(filepath.Join(b.shots, name+".png"), picture, 0o644); err != nil {
		b.t.Error(err)
	}
}

// look is what must be so of every page: axe finds nothing, and nothing is wider than the
// window, in both themes, on a desk and on a phone. It keeps a picture of each.
func (b *tab) look(name string) {
	b.t.Helper()
	for _, theme := range []string{"light", "dark"} {
		for _, size := range [][2]int64{{1280, 900}, {360, 740}} {
			b.theme(theme)
			b.size(size[0], size[1])
			where := fmt.Sprintf("%s-%s-%d", name, theme, size[0])
			if width := ask[int64](b, "document.documentElement.scrollWidth"); width > size[0] {
				b.t.Errorf("%s is %d wide: %s", where, width, b.text(`[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + "." + e.getAttribute("class")).join(" ")`))
			}
			b.axeClean(where)
			b.shot(where)
		}
	}
	b.theme("light")
	b.size(1280, 900)
}

func (b *tab) axeClean(where string) {
	b.t.Helper()
	if ask[string](b, "typeof axe") == "undefined" {
		ask[bool](b, b.axe+";true")
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	found, err := chromedp.Run(ctx, chromedp.Evaluate[string](
		`axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => v.id + ": " + v.help + "\n" + v.nodes.map(n => "  " + n.html + " " + n.failureSummary).join("\n")).join("\n"))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("axe on %s: %v", where, err)
	}
	if found != "" {
		b.t.Errorf("axe on %s:\n%s", where, found)
	}
}

func TestBrowser(t *testing.T) {
	c := startChrome(t)

	t.Run("log in", func(t *testing.T) {
		s := newSite(t, pgtest.Database(t))
		b := c.tab(t, s)
		b.open("/")
		b.look("login")
		b.expect("401")
		b.until(`document.activeElement.id === "password"`)
		b.press("not the password")
		b.leave(func() { b.press(kb.Enter) }, `document.querySelector("#problem")`)
		if got := b.text(`document.querySelector("#problem").innerText.trim()`); got != "Wrong password. 4 tries are left." {
			t.Errorf("it says %q", got)
		}
		b.look("login-wrong")
		b.until(`document.activeElement.id === "password"`)
		b.press(password)
		b.leave(func() { b.press(kb.Enter) }, `document.querySelector("#headline")`)
		if got := b.text("document.cookie"); got != "" {
			t.Errorf("the page's script sees the cookie %q", got)
		}
		b.look("empty")
		b.leave(func() { b.click("form[action='/dashboard/logout'] button") }, `document.querySelector("#password")`)
		b.open("/dashboard/quarantine")
		if got := b.text("location.pathname + location.search"); got != "/dashboard/login?next=%2Fdashboard%2Fquarantine" {
			t.Errorf("after the log-out: %s", got)
		}
	})

	t.Run("overview", func(t *testing.T) {
		s := newSite(t, pgtest.Database(t))
		s.aDay(t)
		b := c.tab(t, s)
		b.logIn()
		b.look("front")
		bars := ask[map[string]int](b, `Object.fromEntries(["ok", "failed", "skipped", "empty"].map(k => [k, (document.querySelector("#card-deals .strip ." + k).getAttribute("d").match(/M/g) || []).length]))`)
		if sum := bars["ok"] + bars["failed"] + bars["skipped"] + bars["empty"]; sum != 96 || bars["failed"] < 4 {
			t.Errorf("the strip of deals: %v", bars)
		}
		if box := ask[[]float64](b, `(() => { const l = document.querySelector("#card-leads .spark .line"), r = l.getBBox(); return [r.width, r.height] })()`); box[0] < 300 || box[1] < 3 {
			t.Errorf("the sparkline of leads is %v", box)
		}
		// Kolkata is five and a half hours ahead; the title stays in UTC.
		at := ask[[]string](b, `(() => { const e = document.querySelector(".runs time"); return [e.textContent, e.title, e.dateTime] })()`)
		instant, err := time.Parse(time.RFC3339, at[2])
		if err != nil {
			t.Fatal(err)
		}
		if local := instant.In(time.FixedZone("", 5*3600+1800)).Format("15:04"); !strings.HasSuffix(at[0], local) || !strings.HasSuffix(at[1], instant.UTC().Format("15:04:05")+" UTC") {
			t.Errorf("the time of a run: %q", at)
		}

		b.leave(func() { b.click("#headline a") }, `document.querySelector("#fault")`)
		b.look("run-failed")
		if got := b.text(`document.querySelector("#fault pre").innerText`); got != "refresh the access token: zoho answered 400: invalid_code" {
			t.Errorf("the error: %q", got)
		}
		b.open("/dashboard/quarantine")
		b.look("quarantine")
		b.open("/dashboard/runs?status=failed")
		b.look("runs")
		b.expect("404")
		b.open("/dashboard/runs/0192d5a1-7c3e-7b6f-8a41-5c2f9be31d07")
		b.look("not-found")
	})

	t.Run("run again and replay", func(t *testing.T) {
		s := newSite(t, pgtest.Database(t))
		id := s.zoho.Insert("Leads", zohosim.Record{"Last_Name": "Boyle", "Lead_Status": "Podcast"})
		s.zoho.FailTokens(`{"error":"invalid_code"}`)
		failed := s.run(t, "leads")
		s.zoho.FailTokens()
		b := c.tab(t, s)
		b.logIn()
		b.open("/dashboard/runs/" + failed.RunID.String())
		b.leave(func() { b.click("#actions button") }, `document.querySelector("#entries")`)
		b.look("run-quarantined")
		if got := b.text(`document.querySelector("#entries .what").innerText`); !strings.Contains(got, "Lead_Status is Podcast, against leads_lead_status_check") {
			t.Errorf("the entry: %q", got)
		}
		s.execute(t, allowPodcast)
		b.leave(func() { b.click("#entries button") }, `document.querySelector("#headline").textContent.includes("replay")`)
		if got := value[string](t, s, "SELECT last_name FROM leads WHERE id = $1", id); got != "Boyle" {
			t.Errorf("the record is %q", got)
		}
		triggers := value[[]string](t, s, "SELECT array_agg(mode || ' ' || trigger ORDER BY started_at) FROM sync_runs")
		if diff := cmp.Diff([]string{"sync other", "sync dashboard", "replay dashboard"}, triggers); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("keyboard", func(t *testing.T) {
		s := newSite(t, pgtest.Database(t))
		s.aDay(t)
		b := c.tab(t, s)
		b.logIn()
		var order []string
		for range 60 {
			b.press(kb.Tab)
			at := ask[map[string]any](b, `(() => { const e = document.activeElement, r = e.getBoundingClientRect(), s = getComputedStyle(e), a = getComputedStyle(e, "::after");
				return {text: e.innerText.trim().split("\n")[0], end: e === document.body, visible: r.width > 0 && r.bottom > 0 && r.top < innerHeight, ring: s.outlineStyle !== "none" || a.outlineStyle !== "none", y: r.top + scrollY} })()`)
			if at["end"] == true {
				break
			}
			order = append(order, at["text"].(string))
			if at["ring"] != true || at["visible"] != true {
				t.Errorf("the focus on %q cannot be seen: %v", at["text"], at)
			}
		}
		head := []string{"Skip to content", "zohomirror", "Overview", "Runs", "Quarantine", "Log out", "Zoho refuses the client or its refresh token"}
		if len(order) < len(head)+20 {
			t.Fatalf("the keyboard comes only to %q", order)
		}
		if diff := cmp.Diff(head, order[:len(head)]); diff != "" {
			t.Error(diff)
		}
		// The skip link, then the first link of the content, by keyboard alone.
		b.open("/dashboard")
		b.press(kb.Tab, kb.Enter, kb.Tab)
		b.leave(func() { b.press(kb.Enter) }, `document.querySelector("#fault")`)
		b.shot("keyboard-run")
	})

	t.Run("copy", func(t *testing.T) {
		s := newSite(t, pgtest.Database(t))
		id := s.aRun(t, "leads", "failed", "1 minute", "error", "'gone wrong'", "cause", "'zoho'")
		b := c.tab(t, s)
		b.allow("clipboard-read", browser.PermissionSettingGranted)
		b.allow("clipboard-write", browser.PermissionSettingGranted)
		b.logIn()
		b.copies("#card-deals .copy", b.text(`document.querySelector("#card-deals code").textContent`))
		b.until(`document.querySelector("#card-deals .copy").textContent === "Copy"`)
		// A page that took another's place has its button too.
		b.expect("503")
		s.execute(t, "ALTER TABLE sync_runs RENAME TO sync_runs_away")
		b.showAgain()
		b.until(`document.querySelector("#main").textContent.includes("zohomirror migrate")`)
		b.copies("#main .copy", "zohomirror migrate")
		s.execute(t, "ALTER TABLE sync_runs_away RENAME TO sync_runs")

		b.open("/dashboard/runs/" + id)
		b.copies("#actions .copy", id)
		b.until(`document.querySelector("#actions .copy").textContent === "Copy"`)
		b.allow("clipboard-write", browser.PermissionSettingDenied)
		b.enter("#actions .copy")
		b.until(`document.querySelector("#actions .copy").textContent === "Not copied"`)
		if got := b.pasted(); got != id {
			t.Errorf("it was copied all the same: %q", got)
		}

		// Without https a browser has no clipboard: a button would do nothing.
		s.url = strings.Replace(s.url, "127.0.0.1", plainHost, 1)
		b = c.tab(t, s)
		b.expect("Cross-Origin-Opener-Policy") // which is ignored there
		b.logIn()
		b.open("/dashboard/runs/" + id)
		if shown := ask[bool](b, `document.querySelector("#actions .copy").checkVisibility()`); shown || ask[bool](b, "isSecureContext") {
			t.Errorf("without a clipboard the button is shown: %v", shown)
		}
	})

	t.Run("server away", func(t *testing.T) {
		s := newSite(t, pgtest.Database(t))
		s.aRun(t, "deals", "ok", "2 minutes", "caught_up", "true", "reason", "'complete'")
		s.aRun(t, "leads", "ok", "2 minutes", "caught_up", "true", "reason", "'complete'")
		s.aRun(t, "leads", "running", "4 seconds")
		s.execute(t, "UPDATE sync_runs SET ended_at = NULL WHERE status = 'running'") // so the page asks every two seconds
		server := httptest.NewUnstartedServer(nil)
		entrance := &door{Listener: server.Listener}
		var broken atomic.Bool // what stands before the server finds nobody behind itself
		handler := s.handler(t)
		server.Listener, server.Config.Handler = entrance, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken.Load() {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(http.StatusBadGateway)
				_, _ = io.WriteString(w, "<!doctype html><h1>502 Bad Gateway</h1>")
				return
			}
			handler.ServeHTTP(w, r)
		})
		server.Start()
		t.Cleanup(server.Close)
		s.url = server.URL
		b := c.tab(t, s)
		b.logIn()
		b.expect("net::ERR_")
		b.expect("502")
		ask[bool](b, "window.here = true")
		const notice = `document.querySelector("#notice").textContent`
		const visible = `(() => { const n = document.querySelector("#notice"); return n.checkVisibility() && n.getBoundingClientRect().width > 100 })()`
		if ask[bool](b, visible) {
			t.Error("there is a notice while all is well")
		}
		for _, away := range []struct {
			how       string
			end, back func()
			fails     bool   // a run, meanwhile
			said      string // how what is said when it is back begins
		}{
			{"cut off", func() { entrance.shut.Store(true); server.CloseClientConnections() }, func() { entrance.shut.Store(false) }, true, "Deals has failed once since "},
			{"bad gateway", func() { broken.Store(true) }, func() { broken.Store(false) }, false, ""},
		} {
			const stateNow = `document.querySelector("#headline").dataset.state`
			before := b.text(stateNow)
			away.end()
			b.until(visible)
			if got := b.text(notice); !regexp.MustCompile(`^The server has not answered since \d\d:\d\d; what you see is from before\. Trying again\.$`).MatchString(got) {
				t.Errorf("%s: the notice is %q", away.how, got)
			}
			b.axeClean(away.how)
			b.shot("server-away-" + strings.ReplaceAll(away.how, " ", "-"))
			if away.fails {
				s.aRun(t, "deals", "failed", "1 second", "error", "'gone wrong'", "cause", "'zoho'")
			}
			if got := b.text(stateNow); got != before {
				t.Errorf("%s: the headline's state %q became %q", away.how, before, got)
			}
			away.back()
			b.until("!" + visible)
			// It is live again, and a change of state is said aloud as ever.
			if got := ask[[]any](b, `[window.here, `+stateNow+`]`); !cmp.Equal(got, []any{true, "failed"}) {
				t.Errorf("%s: when it is back, %v", away.how, got)
			}
			if got := b.text(notice); (got == "") != (away.said == "") || !strings.HasPrefix(got, away.said) {
				t.Errorf("%s: when it is back, a screen reader hears %q", away.how, got)
			}
		}
	})

	t.Run("live", func(t *testing.T) {
		s := newSite(t, pgtest.Database(t))
		s.aRun(t, "leads", "ok", "1 minute", "caught_up", "true", "reason", "'complete'")
		s.aRun(t, "deals", "ok", "1 minute", "caught_up", "true", "reason", "'complete'")
		b := c.tab(t, s)
		b.logIn()
		b.until(`document.querySelector("#headline").textContent.startsWith("All mirrors are current")`)
		ask[bool](b, `window.here = true; document.querySelector("a[href='/dashboard?status=failed#runs']").focus(); scrollTo(0, 120); true`)
		before := ask[float64](b, "scrollY")
		s.aRun(t, "deals", "failed", "1 second", "error", "'gone wrong'", "cause", "'zoho'")
		b.until(`document.querySelector("#headline").dataset.state === "failed"`)
		after := ask[[]any](b, `[window.here, document.activeElement.getAttribute("href"), scrollY, document.querySelectorAll(".runs tbody tr").length]`)
		if diff := cmp.Diff([]any{true, "/dashboard?status=failed#runs", before, 3.0}, after); diff != "" {
			t.Errorf("after a refresh (-want +got):\n%s", diff)
		}
		if got := b.text(`document.querySelector("#notice").textContent`); !strings.HasPrefix(got, "Deals has failed once since") {
			t.Errorf("a screen reader hears %q", got)
		}
		// The database goes away and comes back: the page says so, and finds back by itself.
		b.expect("503")
		s.execute(t, "ALTER TABLE sync_runs RENAME TO sync_runs_away")
		b.until(`document.querySelector("#main").textContent.includes("zohomirror migrate")`)
		b.shot("schema-missing")
		s.execute(t, "ALTER TABLE sync_runs_away RENAME TO sync_runs")
		b.until(`document.querySelector("#headline")`)
		if !ask[bool](b, "window.here") {
			t.Error("the page was loaded anew")
		}
	})
}

const allowPodcast = `ALTER TABLE leads DROP CONSTRAINT leads_lead_status_check, ADD CONSTRAINT leads_lead_status_check CHECK (lead_status IN ('Contacted', 'Podcast'))`
