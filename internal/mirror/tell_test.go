package mirror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/notify"
	"zohomirror/internal/zohosim"
)

// people are Slack and Sentry at the other end of the wire.
type people struct {
	url    string
	mu     sync.Mutex
	slack  []string         // the messages' texts
	bodies []string         // of all that arrived
	sentry []map[string]any // the items' payloads
	answer http.HandlerFunc // of Slack; nil: ok
	heard  chan struct{}    // closed with the first message
	first  sync.Once
}

const (
	webhookSecret = "T000/B000/secret-of-the-webhook"
	dsnSecret     = "secretofthedsn"
)

func newPeople(t testing.TB) *people {
	t.Helper()
	p := &people{heard: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // whoever sent it had no more time
		}
		r.Body = io.NopCloser(bytes.NewReader(body)) // an answer may go by it
		p.take(r.URL.Path, string(body), w, r)
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func (p *people) take(path, body string, w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.bodies = append(p.bodies, body)
	answer := p.answer
	var payload map[string]any
	lines := strings.Split(strings.TrimSpace(body), "\n")
	_ = json.Unmarshal([]byte(lines[len(lines)-1]), &payload) // else it is empty, which no test expects
	switch {
	case strings.HasPrefix(path, "/api/"):
		p.sentry, answer = append(p.sentry, payload), nil
	default:
		text, _ := payload["text"].(string)
		p.slack = append(p.slack, text)
		p.first.Do(func() { close(p.heard) })
	}
	p.mu.Unlock()
	if answer != nil {
		answer(w, r)
	}
}

func (p *people) answers(answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// told are the messages since it was last asked, without their times.
func (p *people) told() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var short []string
	for _, text := range p.slack {
		before, after, found := strings.Cut(text, " since 2")
		if _, rest, ok := strings.Cut(after, "UTC"); found && ok {
			text = before + rest
		}
		short = append(short, text)
	}
	p.slack = nil
	return short
}

func (p *people) wantTold(t *testing.T, when string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, p.told()); diff != "" {
		t.Errorf("%s (-want +told):\n%s", when, diff)
	}
}

// items are what Sentry got since it was last asked.
func (p *people) items() []map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	items := p.sentry
	p.sentry = nil
	return items
}

// telling makes the org's mirror tell people.
func (o *org) telling(t testing.TB) *people {
	t.Helper()
	p := newPeople(t)
	o.config.Notify = notify.Config{
		SlackWebhook: p.url + "/services/" + webhookSecret, SentryDSN: strings.Replace(p.url, "://", "://"+dsnSecret+"@", 1) + "/1",
		PublicURL: "https://mirror.example.com", Environment: "test", Release: "v1", Schedule: "*/15 * * * *",
	}
	o.mirror = o.process(t, o.database)
	return p
}

// fails is one tick that must fail.
func (o *org) fails(t testing.TB, module string) mirror.Result {
	t.Helper()
	found, _ := crm.Find(module)
	result, err := o.mirror.Run(t.Context(), mirror.Request{Module: found, Trigger: mirror.TriggerVercel})
	if err == nil || result.Status != mirror.StatusFailed {
		t.Fatalf("run of %s: %v, %+v", module, err, result)
	}
	return result
}

// age lets time pass for the run history and the alerts.
func (o *org) age(t testing.TB, d time.Duration) {
	t.Helper()
	for column, table := range map[string]string{"started_at": "sync_runs", "raised_at": "sync_alerts", "claimed_at": "sync_alerts", "not_before": "sync_alerts"} {
		execute(t, o, fmt.Sprintf("UPDATE %s SET %s = %[2]s - make_interval(secs => $1)", table, column), d.Seconds())
	}
}

func (o *org) alertStates(t testing.TB) []string {
	t.Helper()
	return value[[]string](t, o, "SELECT coalesce(array_agg(module || ' ' || kind || ' ' || state ORDER BY id), '{}') FROM sync_alerts")
}

// breakZoho makes every query fail until it is mended.
func (o *org) breakZoho() {
	o.Plan(1_000_000, func(c zohosim.Call) bool { return c.Path == "/crm/v8/coql" },
		zohosim.Fault{Status: http.StatusBadRequest, Body: `{"code":"SYNTAX_ERROR","details":{},"message":"planned","status":"error"}`})
}

const refusal = "deals fails: 2 runs in a row: Zoho refuses what was asked for"

// Pain 8: a run that had nothing to do is a success, and nobody hears of it; a module that
// fails is told, once, and so is its recovery.
func TestPain08NobodyIsToldOfNothing(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	p := o.telling(t)
	for range 3 {
		if got := o.run(t, "deals"); got.Status != mirror.StatusOK || got.Counts.Processed != 0 {
			t.Errorf("%+v", got)
		}
	}
	p.wantTold(t, "nothing to do")
	o.breakZoho()
	o.fails(t, "deals")
	p.wantTold(t, "after one failure")
	o.fails(t, "deals")
	p.wantTold(t, "after two failures", refusal)
	o.fails(t, "deals")
	p.wantTold(t, "after three failures")
	o.age(t, 61*time.Minute)
	o.fails(t, "deals")
	p.wantTold(t, "after an hour", strings.Replace(refusal, "2 runs", "4 runs", 1))
	o.ClearPlans()
	o.run(t, "deals")
	o.run(t, "deals")
	p.wantTold(t, "when it works again", "deals has recovered: a run succeeded, after failures")
	p.keptSecrets(t)
}

// keptSecrets holds that nothing that was told is for nobody's eyes.
func (p *people) keptSecrets(t *testing.T, more ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, secret := range append(more, webhookSecret, dsnSecret, zohosim.DefaultClientSecret, zohosim.DefaultRefreshToken, "postgres://", "Zoho-oauthtoken") {
		for _, body := range p.bodies {
			if strings.Contains(body, secret) {
				t.Errorf("%q was told: %.600s", secret, body)
			}
		}
	}
}

// Pain 19: a tick that never came is noticed by the module that still runs, and by Sentry,
// which knows the schedule.
func TestPain19TickThatNeverCame(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	p := o.telling(t)
	o.run(t, "leads")
	o.run(t, "deals")
	o.age(t, 2*time.Hour)
	o.run(t, "deals")
	if told := p.told(); len(told) != 1 || told[0] != "leads is silent: no successful run" {
		t.Errorf("told %q", told)
	}
	o.run(t, "deals")
	p.wantTold(t, "the same day")
	o.age(t, 24*time.Hour)
	o.run(t, "deals")
	p.wantTold(t, "the next day", "leads is silent: no successful run")
	o.run(t, "leads")
	o.run(t, "deals")
	p.wantTold(t, "when it is back")

	monitors := map[string]any{}
	for _, item := range p.items() {
		monitors[item["monitor_slug"].(string)] = item["monitor_config"].(map[string]any)["schedule"]
	}
	schedule := map[string]any{"type": "crontab", "value": "*/15 * * * *"}
	if diff := cmp.Diff(map[string]any{"zohomirror-leads": schedule, "zohomirror-deals": schedule}, monitors); diff != "" {
		t.Errorf("monitors (-want +got):\n%s", diff)
	}
}

// Pain 25: every run leaves a row with cause and remedy, also one that was refused; what the
// database cannot record is told at once.
func TestPain25NoFailureWithoutATrace(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	p := o.telling(t)
	o.SetScopes("ZohoCRM.modules.READ")
	failed := o.fails(t, "leads")
	execute(t, o, "UPDATE sync_locks SET claimed_by = $1, claimed_at = clock_timestamp()", uuid.NewString())
	leads, _ := crm.Find("leads")
	skipped, err := o.mirror.Run(t.Context(), mirror.Request{Module: leads, Trigger: mirror.TriggerVercel})
	if err != nil {
		t.Fatal(err)
	}
	row := func(id uuid.UUID) map[string]any {
		return value[map[string]any](t, o, `SELECT jsonb_build_object('status', status, 'trigger', trigger, 'cause', cause, 'reason', reason, 'error', error, 'hint', hint) FROM sync_runs WHERE id = $1`, id.String())
	}
	want := map[string]any{"status": "failed", "trigger": "vercel-cron", "cause": "zoho-scope", "reason": nil, "error": failed.Err, "hint": failed.Hint}
	if diff := cmp.Diff(want, row(failed.RunID)); diff != "" || !strings.Contains(failed.Hint, "ZohoCRM.coql.READ") {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
	want = map[string]any{"status": "skipped", "trigger": "vercel-cron", "cause": nil, "reason": "lock-held", "error": nil, "hint": nil}
	if diff := cmp.Diff(want, row(skipped.RunID)); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	execute(t, o, "UPDATE sync_locks SET claimed_by = NULL")
	p.wantTold(t, "one failure that is recorded")

	const untold = "leads: a run failed, and the database could not record it: "
	execute(t, o, fmt.Sprintf("ALTER DATABASE %s SET default_transaction_read_only = on", pgx.Identifier{value[string](t, o, "SELECT current_database()")}.Sanitize()))
	o.mirror = o.process(t, o.database)
	if got := o.fails(t, "leads"); !strings.Contains(got.Hint, "read-only") {
		t.Errorf("%+v", got)
	}
	p.wantTold(t, "read-only", untold+"the database is in trouble or cannot be reached")
	o.mirror = o.process(t, "postgres://user:pass-of-the-database@127.0.0.1:1/db")
	o.fails(t, "leads")
	o.fails(t, "leads")
	p.wantTold(t, "away, twice", untold+"the database is in trouble or cannot be reached", untold+"the database is in trouble or cannot be reached")
	p.keptSecrets(t, "pass-of-the-database", "127.0.0.1:1")

	var causes []any
	for _, item := range p.items() {
		if tags, ok := item["tags"].(map[string]any); ok {
			causes = append(causes, tags["cause"])
		}
	}
	if diff := cmp.Diff([]any{"zoho-scope", "database", "database", "database"}, causes); diff != "" {
		t.Errorf("Sentry (-want +got):\n%s", diff)
	}
}

// A database that goes away in the middle of a run is told of as well: nobody else could.
func TestFailureToCloseIsTold(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.Deadline = 10 * time.Second
	o := newOrg(t, zohosim.Config{}, config)
	p := o.telling(t)
	o.InsertMany("Deals", 3, deal)
	wire := newWire(t, o.database)
	o.mirror = o.process(t, wire.address)
	o.Plan(1, func(c zohosim.Call) bool {
		if c.Path == "/crm/v8/coql" {
			wire.cut()
		}
		return false
	}, zohosim.Fault{})
	o.fails(t, "deals")
	p.wantTold(t, "cut", "deals: a run failed, and the database could not record it: the database is in trouble or cannot be reached")
}

// Two processes in a row that ended without a word are told of at the next claim, before the
// run that makes it has ended: it might end like them.
func TestOrphansAreToldAtOnce(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.StaleAfter = time.Nanosecond
	o := newOrg(t, zohosim.Config{}, config)
	p := o.telling(t)
	o.run(t, "deals")
	execute(t, o, `INSERT INTO sync_runs (id, module, status, cause, ended_at) VALUES (gen_random_uuid(), 'deals', 'failed', 'killed', clock_timestamp())`)
	execute(t, o, `INSERT INTO sync_runs (id, module, status) VALUES (gen_random_uuid(), 'deals', 'running')`)
	var once sync.Once
	o.OnCall(func(zohosim.Call) {
		once.Do(func() {
			select {
			case <-p.heard:
			case <-time.After(time.Minute):
				t.Error("nothing was told while the run was at work")
			}
		})
	})
	o.run(t, "deals")
	p.wantTold(t, "orphans", "deals fails: 2 runs in a row: the process was killed", "deals has recovered: a run succeeded, after failures")
}

// New drift and newly quarantined rows are told once, by names, and no value is.
func TestDriftAndQuarantineAreTold(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	p := o.telling(t)
	o.InsertMany("Leads", 3, lead)
	o.Insert("Leads", zohosim.Record{"Last_Name": "Payloadname", "Lead_Status": "Payloadstatus"})
	o.run(t, "leads")
	o.run(t, "leads")
	told := p.told()
	slices.Sort(told)
	if diff := cmp.Diff([]string{"leads: 1 record was newly quarantined", "leads: the org's schema differs in 1 new place"}, told); diff != "" {
		t.Errorf("(-want +told):\n%s", diff)
	}
	p.keptSecrets(t, "Payloadname", "Payloadstatus")
	all := strings.Join(p.bodies, "")
	for _, name := range []string{"Lead_Status leads_lead_status_check (1)", "Lead_Status picklist value (1)"} {
		if !strings.Contains(all, name) {
			t.Errorf("%q is not told: %s", name, all)
		}
	}
}

// A Slack that is in trouble fails no run. What it did not take is sent by the next one,
// which need not be of the same process; what it refuses is sent again after an hour, when
// the webhook may have been replaced.
func TestSlackInTrouble(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		state  string // of what was not sent
		log    string // holds
	}{
		"trouble":  {says(http.StatusServiceUnavailable, "rollup_error"), "pending", "the next run sends"},
		"elsewhen": {says(http.StatusTooManyRequests, ""), "pending", "a later run sends"},
		"gone":     {says(http.StatusNotFound, "no_service"), "refused", "make a new one and set it"},
		"slow": {func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done(): // its caller has given up
			case <-time.After(3 * notify.Limit): // a slow machine is forgiven
				t.Error("a run waits for Slack")
			}
		}, "pending", "the next run sends"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrg(t, zohosim.Config{}, defaultConfig)
			p := o.telling(t)
			o.breakZoho()
			o.fails(t, "deals")
			p.answers(c.answer)
			o.fails(t, "deals")
			if diff := cmp.Diff([]string{"deals failing " + c.state}, o.alertStates(t)); diff != "" {
				t.Error(diff)
			}
			if log := o.log.String(); !strings.Contains(log, "people could not be told") || !strings.Contains(log, c.log) || strings.Contains(log, webhookSecret) {
				t.Errorf("the log: %s", log)
			}
			p.told()
			p.answers(nil)
			o.ClearPlans()
			o.age(t, 5*time.Minute)
			o.mirror = o.process(t, o.database)
			o.run(t, "leads")
			if c.state == "refused" {
				p.wantTold(t, "later")
				o.age(t, time.Hour)
				o.run(t, "leads")
			}
			p.wantTold(t, "later", refusal)
			if diff := cmp.Diff([]string{"deals failing sent"}, o.alertStates(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An alert that Slack never takes is overtaken by the others.
func TestSlackNeverTakesOneAlert(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	p := o.telling(t)
	execute(t, o, "INSERT INTO sync_alerts (module, kind, count) SELECT 'leads', 'drift', i FROM generate_series(2, 4) AS i")
	p.answers(says(http.StatusServiceUnavailable, "rollup_error"))
	o.run(t, "leads")
	p.answers(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "differs in 2 new places") {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	o.run(t, "leads")
	if diff := cmp.Diff([]string{"leads drift pending", "leads drift sent", "leads drift sent"}, o.alertStates(t)); diff != "" {
		t.Error(diff)
	}
}

// Two processes never send an alert twice.
func TestAlertsAreSentOnce(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	p := o.telling(t)
	execute(t, o, "INSERT INTO sync_alerts (module, kind, count) SELECT 'leads', 'drift', i FROM generate_series(2, 9) AS i")
	var both sync.WaitGroup
	for _, module := range []string{"leads", "deals"} {
		both.Go(func() { o.run(t, module) })
	}
	both.Wait()
	told := p.told()
	slices.Sort(told)
	if unique := slices.Compact(slices.Clone(told)); len(told) != 8 || len(unique) != 8 {
		t.Errorf("told %q", told)
	}
}

// Telling people costs an idle tick no round trip to the database.
func TestTellingCostsAnIdleTickNothing(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.run(t, "deals")
	o.Advance(time.Minute)
	idle := func() int64 {
		trips, address := countTrips(t, o.database)
		o.mirror = o.process(t, address)
		o.run(t, "deals")
		return trips.Load()
	}
	silent := idle()
	o.telling(t)
	if telling := idle(); telling != silent {
		t.Errorf("%d round trips, %d without", telling, silent)
	}
}

// fuse is a log handler that panics once at a message, which is where the program was then.
type fuse struct {
	slog.Handler
	at   string
	burn func(context.Context) // before that; nil: at once
	once *sync.Once
}

func (f fuse) Enabled(context.Context, slog.Level) bool { return true }

func (f fuse) WithAttrs([]slog.Attr) slog.Handler { return f }

func (f fuse) Handle(ctx context.Context, line slog.Record) error {
	if line.Message == f.at {
		f.once.Do(func() {
			if f.burn != nil {
				f.burn(ctx)
			}
			panic("the fuse has blown")
		})
	}
	return f.Handler.Handle(ctx, line)
}

// A panic in a run closes it as failed and frees its lock; the next run goes on. Sentry
// learns where it was, also when it was beside the run's own path: in a page that is fetched
// ahead, or in one of its slices.
func TestPanicInARun(t *testing.T) {
	t.Parallel()
	const again = "a call to Zoho is sent again"
	for name, c := range map[string]struct{ at, query, where string }{
		"on its own path": {"page written", "Deals", "mirror.(*run).write"},
		"in a page":       {again, "Deals", "zoho.(*Client).do"},
		"in a slice":      {again, "Custom_619", "zoho.(*Client).do"},
	} {
		at, where := c.at, c.where
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrg(t, zohosim.Config{}, defaultConfig)
			p := o.telling(t)
			wide(o, "Deals", 620, 0)
			o.InsertMany("Deals", 3, deal)
			o.run(t, "leads") // it has made the token
			o.Plan(1, func(call zohosim.Call) bool {
				return call.Path == "/crm/v8/coql" && strings.Contains(call.Query, c.query)
			}, zohosim.Fault{Status: 500})
			healthy := o.mirror
			o.mirror = o.processWith(t, o.database, slog.New(fuse{slog.DiscardHandler, at, nil, &sync.Once{}}))
			got := o.fails(t, "deals")
			if !strings.Contains(got.Err, "panic: the fuse has blown") || !strings.Contains(got.Hint, "report it") {
				t.Errorf("%+v", got)
			}
			row := value[map[string]any](t, o, `SELECT jsonb_build_object('status', status, 'cause', cause, 'held', claimed_by) FROM sync_runs r JOIN sync_locks USING (module) WHERE module = 'deals'`)
			if diff := cmp.Diff(map[string]any{"status": "failed", "cause": "panic", "held": nil}, row); diff != "" {
				t.Error(diff)
			}
			o.mirror = healthy
			o.run(t, "deals")
			o.equal(t, "deals")

			found := false
			for _, item := range p.items() {
				if item["exception"] == nil {
					continue
				}
				found = true
				text, err := json.Marshal(item)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(text), "querySheet.func") != (name == "in a slice") {
					t.Errorf("the panic is not %s: %s", name, text)
				}
				if item["level"] != "fatal" || !strings.Contains(string(text), `"`+strings.SplitN(where, ".", 2)[1]+`"`) || item["fingerprint"].([]any)[1] != "panic" {
					t.Errorf("the event does not lead to %s: %s", where, text)
				}
			}
			if !found {
				t.Error("Sentry was not told")
			}
		})
	}
}

// A panic beside the run is not lost in what ends the run meanwhile: its time, which alone is
// no failure, or an error of the page that is written.
func TestPanicBesideAnEnd(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"time", "error"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := defaultConfig
			config.Deadline = 8 * time.Second
			o := newOrg(t, zohosim.Config{}, config)
			o.InsertMany("Deals", 300, deal)
			o.run(t, "leads")
			o.Plan(1, func(c zohosim.Call) bool { return strings.Contains(c.Query, "Deals where (Modified_Time >") }, zohosim.Fault{Status: 500})
			burn := func(ctx context.Context) { <-ctx.Done() }
			if name == "error" {
				tx, err := o.db.Begin(t.Context())
				if err == nil {
					_, err = tx.Exec(t.Context(), "LOCK TABLE deals IN SHARE MODE")
				}
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = tx.Rollback(t.Context()) }()
				burn = func(ctx context.Context) {
					for stopped := 0; stopped == 0 && ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
						_ = o.db.QueryRow(ctx, "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&stopped)
					}
					<-ctx.Done()
				}
			}
			o.mirror = o.processWith(t, o.database, slog.New(fuse{slog.DiscardHandler, "a call to Zoho is sent again", burn, &sync.Once{}}))
			if got := o.fails(t, "deals"); !strings.Contains(got.Err, "panic: the fuse has blown") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A panic while people are told is another that fails no run.
func TestPanicWhilePeopleAreTold(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	p := o.telling(t)
	o.breakZoho()
	p.answers(says(http.StatusServiceUnavailable, "rollup_error"))
	o.fails(t, "deals")
	o.fails(t, "deals")
	o.ClearPlans()
	o.age(t, 5*time.Minute)
	p.items()
	var log bytes.Buffer
	o.mirror = o.processWith(t, o.database, slog.New(fuse{slog.NewTextHandler(&log, nil), "people could not be told", nil, &sync.Once{}}))
	o.run(t, "deals")
	if !strings.Contains(log.String(), "telling people ended in a panic") || !strings.Contains(log.String(), "sendAlerts") {
		t.Errorf("the log: %s", log.String())
	}
	var events []any
	for _, item := range p.items() {
		if item["exception"] != nil {
			events = append(events, item["level"], item["tags"].(map[string]any)["where"])
		}
	}
	if diff := cmp.Diff([]any{"fatal", "alerts"}, events); diff != "" {
		t.Errorf("Sentry was told (-want +got):\n%s", diff)
	}
}

// Sentry learns of each failure what it takes to find the cause, and of each tick that the
// scheduler made that it came, and how it ended.
func TestSentryIsTold(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	p := o.telling(t)
	o.InsertMany("Deals", 3, deal)
	deals, _ := crm.Find("deals")
	run := func(request mirror.Request) mirror.Result {
		t.Helper()
		request.Module = deals
		result, _ := o.mirror.Run(t.Context(), request) // judged by what is told
		return result
	}
	checkIns := func(when string, want ...string) (events []map[string]any) {
		t.Helper()
		var got []string
		for _, item := range p.items() {
			if item["monitor_slug"] == nil {
				events = append(events, item)
				continue
			}
			got = append(got, item["status"].(string))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		return events
	}
	id := uuid.New()
	run(mirror.Request{Trigger: mirror.TriggerVercel, RunID: id})
	checkIns("ok", "in_progress", "ok")
	run(mirror.Request{Trigger: mirror.TriggerVercel, RunID: id})
	checkIns("repeated")
	run(mirror.Request{Trigger: mirror.TriggerCLI})
	run(mirror.Request{Trigger: mirror.TriggerDashboard})
	run(mirror.Request{Trigger: mirror.TriggerVercel, Mode: mirror.ModeVerify})
	checkIns("by people")
	execute(t, o, "UPDATE sync_locks SET claimed_by = $1, claimed_at = clock_timestamp()", uuid.NewString())
	run(mirror.Request{Trigger: mirror.TriggerVercel})
	checkIns("skipped", "ok")
	execute(t, o, "UPDATE sync_locks SET claimed_by = NULL")

	o.Update("Deals", slices.Sorted(maps.Keys(o.Truth("Deals")))[0], zohosim.Record{"Deal_Name": "Payloadname"})
	o.Advance(time.Minute)
	o.Plan(1, func(c zohosim.Call) bool { return c.Path == "/crm/v8/coql" }, zohosim.Fault{Status: 500})
	o.Plan(1_000, func(c zohosim.Call) bool { return strings.Contains(c.Path, "deleted") },
		zohosim.Fault{Status: http.StatusBadRequest, Body: `{"code":"NOT_SUPPORTED","details":{},"message":"planned","status":"error"}`})
	failed := run(mirror.Request{Trigger: mirror.TriggerVercel})
	events := checkIns("failed", "in_progress", "error")
	if len(events) != 1 {
		t.Fatalf("%d events of %+v", len(events), failed)
	}
	event := events[0]
	tags := map[string]any{"module": "deals", "run_id": failed.RunID.String(), "mode": "sync", "trigger": "vercel-cron", "cause": "module-unavailable"}
	if diff := cmp.Diff(tags, event["tags"]); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"deals", "module-unavailable"}, event["fingerprint"]); diff != "" {
		t.Errorf("fingerprint (-want +got):\n%s", diff)
	}
	crumbs := map[any]bool{}
	for _, crumb := range event["breadcrumbs"].([]any) {
		crumbs[crumb.(map[string]any)["message"]] = true
	}
	if !crumbs["a call to Zoho is sent again"] || !crumbs["page written"] || event["release"] != "v1" || event["environment"] != "test" || event["server_name"] != nil {
		t.Errorf("%v, %v", crumbs, event)
	}
	p.keptSecrets(t, "Payloadname")
}
