package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zohomirror/internal/logs/logstest"
)

// What is used nowhere else, so that it can be looked for.
const (
	dashboardPassword = "e2e-dashboard-password-0123456789"
	slackPath         = "/services/T0E2E/B0E2E/e2e-webhook-0123456789"
	sentryKey         = "e2esentrykey0123456789"
	publicURL         = "https://mirror.example"
)

// A desk is where Slack and Sentry would be: it takes whatever is sent.
type desk struct {
	*httptest.Server
	mu        sync.Mutex
	alerts    []string // bodies, as they came
	envelopes []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{}
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender is gone
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.URL.Path {
	case slackPath:
		d.alerts = append(d.alerts, string(body))
		fmt.Fprint(w, "ok")
	case "/api/1/envelope/":
		d.envelopes = append(d.envelopes, string(body))
		fmt.Fprint(w, "{}")
	default:
		http.NotFound(w, r)
	}
}

// settings lead Slack's messages and Sentry's events to the desk.
func (d *desk) settings() map[string]string {
	return map[string]string{
		"SLACK_WEBHOOK_URL": d.URL + slackPath, "SENTRY_DSN": strings.Replace(d.URL, "://", "://"+sentryKey+"@", 1) + "/1", "PUBLIC_URL": publicURL,
	}
}

// A telling is all that people and programs outside can read of a world: what was printed and
// answered, alerts, events, and the run history.
type telling struct {
	log     string // JSON lines among other text
	answers string
	history string
	alerts  []string
	events  []string // Sentry's envelopes
	secrets []string
	private []string // what records hold
	catalog logstest.Documented
}

// Forms of secrets, whatever their value: an Authorization header's, a token that is a JWT, a
// connection string's or DSN's user with a password or a key.
var secretForms = regexp.MustCompile(`(?i)\b(bearer|zoho-oauthtoken)[ :=]+[a-z._~+/-]*[0-9][a-z0-9._~+/-]{7,}|\beyJ[a-z0-9_-]{8,}\.|\b[a-z]+://[^\s"/@]+@`)

// faults are what the telling should not hold, or lacks.
func (o *telling) faults() (faults []string) {
	add := func(where, what, text string) {
		faults = append(faults, fmt.Sprintf("%s: %s: %.600s", where, what, text))
	}
	texts := map[string][]string{"the log": {o.log}, "an answer": {o.answers}, "the run history": {o.history}, "an alert": o.alerts, "an event": o.events}
	for where, all := range texts {
		for _, text := range all {
			for _, secret := range o.secrets {
				if i := strings.Index(text, secret); secret != "" && i >= 0 {
					add(where, fmt.Sprintf("the secret %q was shown", secret), text[max(0, i-300):])
				}
			}
			if at := secretForms.FindStringIndex(text); at != nil {
				add(where, "what looks like a secret was shown", text[max(0, at[0]-100):])
			}
			for _, value := range o.private {
				if i := strings.Index(text, value); i >= 0 {
					add(where, fmt.Sprintf("%q of a record was shown", value), text[max(0, i-300):])
				}
			}
		}
	}
	for _, alert := range o.alerts {
		if what := alertFault(alert); what != "" {
			add("an alert", what, alert)
		}
	}
	for _, envelope := range o.events {
		if what := eventFault(envelope); what != "" {
			add("an event", what, envelope)
		}
	}
	for line := range strings.Lines(o.log) {
		if strings.HasPrefix(line, "{") {
			for _, what := range o.catalog.Faults(line) {
				add("the log", what, line)
			}
		}
	}
	return faults
}

var (
	runID  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
	module = regexp.MustCompile(`\b(leads|deals)\b`)
)

// alertFault says what an alert lacks: each names its module, its run, and where to look.
func alertFault(alert string) string {
	switch {
	case !json.Valid([]byte(alert)):
		return "no JSON"
	case !module.MatchString(alert):
		return "no module"
	case !runID.MatchString(alert) && !strings.Contains(alert, "no successful run"):
		return "no run"
	case !strings.Contains(alert, publicURL+"/dashboard"):
		return "no link to the dashboard"
	}
	return ""
}

// eventFault says what an envelope of Sentry's lacks: an event has its module, run, release
// and environment, a check-in its monitor.
func eventFault(envelope string) string {
	lines := strings.SplitN(envelope, "\n", 3)
	var head struct{ Type string }
	var item struct {
		Tags                 map[string]string
		Release, Environment string
		MonitorSlug          string `json:"monitor_slug"`
		Fingerprint          []string
	}
	if len(lines) < 3 || json.Unmarshal([]byte(lines[1]), &head) != nil || json.Unmarshal([]byte(lines[2]), &item) != nil {
		return "no envelope"
	}
	switch {
	case item.Release == "" || item.Environment == "":
		return "no release or environment"
	case head.Type == "check_in" && strings.HasPrefix(item.MonitorSlug, "zohomirror-"):
		return ""
	case head.Type != "event":
		return "a " + head.Type
	case item.Tags["module"] == "" || !runID.MatchString(item.Tags["run_id"]):
		return "no module or run_id"
	case len(item.Fingerprint) == 0 || runID.MatchString(strings.Join(item.Fingerprint, " ")):
		return "not grouped by cause"
	}
	return ""
}

// heardOf counts what was looked at, so that the suite cannot pass by hearing nothing.
var heardOf struct{ lines, alerts, events, checkIns atomic.Int64 }

// deaf says what the whole suite should have heard and has not.
func deaf() (of []string) {
	for name, count := range map[string]*atomic.Int64{"log lines": &heardOf.lines, "alerts": &heardOf.alerts, "events": &heardOf.events, "check-ins": &heardOf.checkIns} {
		if count.Load() == 0 {
			of = append(of, name)
		}
	}
	return of
}

// toldNothing holds everything that the world's programs have said against what may be said.
func (w *world) toldNothing(t *testing.T) {
	t.Helper()
	for _, fault := range w.told(t).faults() {
		t.Error(fault)
	}
}

func (w *world) told(t *testing.T) *telling {
	t.Helper()
	o := &telling{secrets: []string{dashboardPassword, slackPath, sentryKey}, catalog: logstest.Read(t)}
	o.catalog.WithinRuns = true
	// The test's context has ended by now; and a test may have closed the database.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	for _, table := range []string{"sync_runs", "sync_alerts", "sync_verifications"} {
		var rows string
		if err := w.db.QueryRow(ctx, "SELECT coalesce(string_agg(to_jsonb(r)::text, E'\n'), '') FROM "+table+" r").Scan(&rows); err != nil {
			t.Errorf("%s: %v", table, err)
		}
		o.history += rows
	}
	o.private = w.private()
	w.mu.Lock()
	defer w.mu.Unlock()
	o.log, o.answers = w.logged.String(), w.said.String()
	o.secrets = append(o.secrets, w.secrets...)
	w.wire.mu.Lock()
	defer w.wire.mu.Unlock()
	for token := range w.wire.tokens {
		o.secrets = append(o.secrets, token)
	}
	w.desk.mu.Lock()
	defer w.desk.mu.Unlock()
	o.alerts, o.events = w.desk.alerts, w.desk.envelopes
	heardOf.lines.Add(int64(strings.Count(o.log, "\n{")))
	heardOf.alerts.Add(int64(len(o.alerts)))
	checkIns := int64(strings.Count(strings.Join(o.events, "\n"), `"type":"check_in"`))
	heardOf.checkIns.Add(checkIns)
	heardOf.events.Add(int64(len(o.events)) - checkIns)
	return o
}

// private are texts that stand in records. Ids are shown, values of picklists are the org's
// settings, and what is short may stand anywhere.
func (w *world) private() []string {
	texts := map[string]bool{"Zylker": true} // of every lead, before each of its edits
	for _, module := range []string{"Leads", "Deals"} {
		for _, record := range w.Truth(module) {
			for field, value := range record {
				if text, _ := value.(string); len(text) >= 6 && field != "id" && field != "Lead_Status" && field != "Stage" {
					texts[text] = true
				}
			}
		}
	}
	return slices.Collect(maps.Keys(texts))
}

// What may not be told is found wherever it stands, and what an alert, an event or a line
// lacks is missed.
func TestWhatIsToldIsWatched(t *testing.T) {
	t.Parallel()
	const run = "019ac4d2-3f58-7d0e-9f5e-6a4f8f0f1c77"
	line := `{"time":"2026-11-27T08:15:02Z","level":"warn","msg":"a call to Zoho is sent again","run_id":"` + run + `","module":"leads","call":"coql","attempt":2,"error":"EOF"}`
	alert := `{"text":"leads fails: 2 runs in a row, module leads, run ` + run + `, ` + publicURL + `/dashboard/runs/` + run + `"}`
	event := `{}` + "\n" + `{"type":"event"}` + "\n" + `{"tags":{"module":"leads","run_id":"` + run + `"},"release":"r","environment":"e","fingerprint":["leads","zoho"]}`
	good := func() *telling {
		catalog := logstest.Read(t)
		catalog.WithinRuns = true
		return &telling{log: line + "\n", answers: "{}", history: "{}", alerts: []string{alert}, events: []string{event},
			secrets: []string{"s3cret"}, private: []string{"Zylker"}, catalog: catalog}
	}
	if faults := good().faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
	for _, told := range []string{
		"s3cret", "Zylker 7", "Authorization: Bearer 0123456789", "Zoho-oauthtoken 1000.abcdef.0123", "eyJhbGciOiJSUzI1NiJ9.e30.x",
		"postgres://u:p@127.0.0.1/db", "https://key@o1.ingest.sentry.io/1",
	} {
		for _, where := range []func(*telling){
			func(o *telling) { o.log += told }, func(o *telling) { o.answers += told }, func(o *telling) { o.history += told },
			func(o *telling) { o.alerts[0] = strings.Replace(alert, "fails", told, 1) },
			func(o *telling) { o.events[0] = strings.Replace(event, `"r"`, `"`+told+`"`, 1) },
		} {
			o := good()
			if where(o); len(o.faults()) == 0 {
				t.Errorf("%q was not found in %+v", told, o)
			}
		}
	}
	for _, lacking := range []func(*telling){
		func(o *telling) { o.alerts[0] = strings.ReplaceAll(alert, run, "") },
		func(o *telling) { o.alerts[0] = strings.ReplaceAll(alert, "leads", "") },
		func(o *telling) { o.alerts[0] = strings.ReplaceAll(alert, publicURL, "") },
		func(o *telling) { o.events[0] = strings.Replace(event, `"module"`, `"x"`, 1) },
		func(o *telling) { o.events[0] = strings.Replace(event, `"run_id"`, `"x"`, 1) },
		func(o *telling) { o.events[0] = strings.Replace(event, `"zoho"`, `"`+run+`"`, 1) },
		func(o *telling) { o.log = strings.Replace(line, `"run_id":"`+run+`",`, "", 1) },
		func(o *telling) { o.log = strings.Replace(line, `"module":"leads",`, "", 1) },
		func(o *telling) { o.log = strings.Replace(line, "is sent again", "is made again", 1) },
	} {
		o := good()
		if lacking(o); len(o.faults()) == 0 {
			t.Errorf("nothing is missed in %+v", o)
		}
	}
}
