package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"zohomirror/internal/mirror/mirrortest"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

const (
	pageSize   = 50
	cronSecret = "e2e-cron-secret-0123456789"
)

// A world is a simulated org, a database, the binary's settings, and what stands between.
type world struct {
	*zohosim.Zoho
	wire *wire
	link *link
	way  string        // where the link leads to: the database, or a pooler
	role string        // as whom
	db   *pgxpool.Pool // the test's own way to the database, past the link

	tick     func(*testing.T) outcome // what a scheduler does
	settings map[string]string
	secrets  []string
	leads    []string // ids that are not converted
	edits    int      // rounds of work done
	tidied   bool     // the run history has been looked after: no run does so

	desk *desk // Slack's and Sentry's

	mu     sync.Mutex
	now    time.Time
	logged strings.Builder // all that the binary logged
	said   strings.Builder // and all that it printed or answered besides
	clean  cost
}

// cost is what a run passes through when nothing goes wrong.
type cost struct {
	calls, requests, answers int
	rows                     int // that Zoho delivered
}

// newWorld has 200 leads, mirrored.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldIn(t, pgtest.Database(t), zohosim.Config{})
}

// service has the binary mirror as a login role in zohomirror_service.
const service = "service"

func newWorldIn(t *testing.T, database string, config zohosim.Config, as ...string) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	if config.Now == nil {
		config.Now = w.clock
	}
	w.Zoho = zohosim.New(config)
	w.wire = &wire{zoho: w.Zoho, tokens: map[string]bool{}}
	server := httptest.NewServer(w.wire)
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)

	poolConfig, err := pgxpool.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	poolConfig.ConnConfig.RuntimeParams["default_transaction_read_only"] = "off" // whatever becomes of the database
	pool, err := pgxpool.NewWithConfig(t.Context(), poolConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w.db = pool
	w.secrets = []string{zohosim.DefaultClientSecret, zohosim.DefaultRefreshToken, cronSecret}
	w.settings = map[string]string{
		"ZOHO_ACCOUNTS_URL": server.URL, "ZOHO_API_URL": server.URL, "CRON_SECRET": cronSecret,
		"ZOHO_CLIENT_ID": zohosim.DefaultClientID, "ZOHO_CLIENT_SECRET": zohosim.DefaultClientSecret,
		"ZOHO_REFRESH_TOKEN": zohosim.DefaultRefreshToken, "SYNC_PAGE_SIZE": fmt.Sprint(pageSize), "LOG_LEVEL": "debug",
		"DASHBOARD_PASSWORD": dashboardPassword,
	}
	w.desk = newDesk(t)
	maps.Copy(w.settings, w.desk.settings())
	w.enter(t, database, as...)
	w.tick = func(t *testing.T) outcome { t.Helper(); return w.sync(t) }
	t.Cleanup(func() { w.toldNothing(t) })

	w.AddField("Leads", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	for i := range 200 {
		w.leads = append(w.leads, w.Insert("Leads", lead(i)))
		w.advance(20 * time.Second)
	}
	return w
}

// enter puts a link on the binary's way to the database, and where that is asked for, a pooler
// and a role of least privilege.
func (w *world) enter(t *testing.T, database string, as ...string) {
	t.Helper()
	if (pgtest.AsService() || slices.Contains(as, service)) && value[bool](t, w, "SELECT to_regclass('sync_runs') IS NOT NULL") {
		database = pgtest.Service(t, database)
	}
	if pgtest.Pooled() {
		database = pgtest.Pooler(t, database)
	}
	w.enterBy(t, database)
}

func (w *world) enterBy(t *testing.T, address string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	w.secrets = append(w.secrets, password)
	l := newLink(t, address)
	t.Cleanup(func() { l.keptNothing(t) })
	w.role, w.way, w.link = u.User.Username(), address, l
	w.settings["DATABASE_URL"] = l.url
}

// newConnections ends what the binary, or a pooler for it, keeps of connections: what is set
// for a role or a database holds for new ones.
func (w *world) newConnections(t *testing.T) {
	t.Helper()
	const kept = "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'zohomirror'"
	killBackends(t, w)()
	for value[int](t, w, kept) > 0 { // they end in their own time
		time.Sleep(10 * time.Millisecond)
	}
}

// reachable waits until a pooler has noticed that the database lets it in again.
func (w *world) reachable(t *testing.T) {
	t.Helper()
	for pgtest.Pooled() {
		conn, err := pgx.Connect(t.Context(), w.way)
		if err == nil {
			err = errors.Join(conn.Ping(t.Context()), conn.Close(t.Context()))
		}
		if err == nil || t.Context().Err() != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func lead(i int) zohosim.Record {
	return zohosim.Record{
		"Last_Name": fmt.Sprintf("Lead %d", i), "Company": "Zylker", "Lead_Status": "Contacted", "Shoe_Size": 36 + i%12,
		"Owner": zohosim.Ref{ID: "5725767000000411002"}, "Annual_Revenue": json.Number(fmt.Sprintf("%d.25", 1000+i)),
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// spacing keeps a minute's overlap down to a few rows.
const spacing = 20 * time.Second

// work is an hour of the CRM's users: 180 edits, 8 new leads, 2 conversions and a deletion.
func (w *world) work() {
	w.edits++
	for i, id := range w.leads[:180] {
		w.advance(spacing)
		w.Update("Leads", id, zohosim.Record{"Company": fmt.Sprintf("Zylker %d", w.edits), "No_of_Employees": i})
	}
	for i := range 8 {
		w.advance(spacing)
		w.leads = append(w.leads, w.Insert("Leads", lead(1000*w.edits+i)))
	}
	for i := range 2 {
		w.advance(spacing)
		w.Convert(w.leads[i], i == 0)
	}
	w.Delete("Leads", w.leads[2])
	w.leads = w.leads[3:]
	w.advance(2 * time.Minute)
	w.ResetCalls()
}

// forget empties the caches, so that the next run passes through every call there is; and
// that the history was tidied, unless the test says otherwise.
func (w *world) forget(t *testing.T) {
	t.Helper()
	w.exec(t, "DELETE FROM sync_metadata WHERE NOT (key = 'tidied' AND $1)", w.tidied)
	w.exec(t, "DELETE FROM sync_tokens")
}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := w.db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// execAll executes a script.
func (w *world) execAll(t *testing.T, script string) {
	t.Helper()
	if _, err := w.db.Exec(t.Context(), script, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

func value[T any](t *testing.T, w *world, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := w.db.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// age lets the lock grow as old as if its holder had been silent for LOCK_STALE_AFTER.
func (w *world) age(t *testing.T) {
	t.Helper()
	w.exec(t, "UPDATE sync_locks SET claimed_at = claimed_at - interval '31 minutes'")
}

// begin brings the mirror up to date and then measures what a run of one round of work
// passes through.
func (w *world) begin(t *testing.T) {
	t.Helper()
	w.recover(t, lockFree)
	w.work()
	w.forget(t)
	w.wire.strike(0, 0, nil)
	w.link.strike(moment{}, nil)
	if out := w.tick(t); out.Status != "ok" || out.More {
		t.Fatalf("a run with nothing in its way: %s", out)
	}
	w.clean.calls, _ = w.wire.calm()
	w.clean.requests, w.clean.answers, _ = w.link.calm()
	w.clean.rows, _ = w.read()
	w.equal(t)
}

// read is how many rows Zoho delivered of the leads, and how many of these the first time
// that their page was asked for.
func (w *world) read() (rows, once int) {
	asked := map[string]bool{}
	for _, c := range w.Calls() {
		if c.Path != "/crm/v8/coql" || c.Status != 200 {
			continue
		}
		rows += c.Rows
		if !asked[c.Query] {
			once += c.Rows
		}
		asked[c.Query] = true
	}
	return rows, once
}

// What a fault may have left of the lock.
const (
	lockFree = iota // the failed run has given it back
	lockHeld        // or it could not
)

// recover ticks as a scheduler would until nothing is left to do. Where the lock may still
// be held, the ticks that come too soon are turned away, and it grows old.
func (w *world) recover(t *testing.T, lock int) (ticks int) {
	t.Helper()
	for ticks = 1; ticks <= 20; ticks++ {
		out := w.tick(t)
		switch {
		case out.Status == "ok" && !out.More:
			return ticks
		case out.Status == "ok":
		case out.Status == "skipped" && lock == lockHeld:
			w.age(t)
			lock = lockFree
		default:
			t.Fatalf("the tick after the fault: %s", out)
		}
	}
	t.Fatal("twenty ticks were not enough")
	return ticks
}

// equal holds the whole mirror against the whole CRM, and Zoho's log against its documentation.
func (w *world) equal(t *testing.T) {
	t.Helper()
	diff, err := mirrortest.Diff(t.Context(), w.db, w.Zoho, "leads")
	if err != nil {
		t.Fatal(err)
	}
	if diff != "" {
		t.Errorf("leads (-CRM +mirror):\n%.4000s", diff)
	}
	if refused := w.Refused(); refused != nil {
		t.Errorf("the binary asked Zoho for what is not documented: %v", refused)
	}
}

func (w *world) heard(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said.WriteString(text)
}

// readLog keeps what a program logged.
func (w *world) readLog(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logged.WriteString(text)
}
