package mirror_test

import (
	gocmp "cmp"
	"flag"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/mirror/mirrortest"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	// The same schedules each time, so that a red test is the change's fault; -rapid.seed
	// with another number goes exploring.
	if err := flag.Set("rapid.seed", "20261123"); err != nil {
		panic(err) // rapid has the flag
	}
	if os.Getenv("ZOHOMIRROR_SLOW") == "" {
		if err := flag.Set("rapid.checks", "25"); err != nil {
			panic(err) // rapid has the flag
		}
	}
	if encoded, ok := os.LookupEnv(victimVariable); ok {
		runVictim(encoded)
	}
	os.Exit(pgtest.Main(m, mirrortest.Migrate))
}

// clock is the time of a simulated org.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// org is a simulated Zoho with a mirror of it, over real HTTP and a real database.
type org struct {
	*zohosim.Zoho
	*clock
	url      string // of the simulated Zoho
	database string
	service  string // the same, as a login role in zohomirror_service, where tests mirror as one
	config   mirror.Config
	db       *pgxpool.Pool
	log      *lockedBuffer
	mirror   *mirror.Mirror

	logChecked bool
}

var defaultConfig = mirror.Config{Deadline: 55 * time.Second, Overlap: time.Minute, StaleAfter: 30 * time.Minute, PageSize: 2000, MassDelete: 5, Retention: 90 * 24 * time.Hour}

// noon is far from any change of the clocks.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newOrg(t testing.TB, sim zohosim.Config, config mirror.Config) *org {
	t.Helper()
	o := &org{clock: &clock{now: noon}, config: config, database: pgtest.Database(t), log: &lockedBuffer{}}
	if sim.Now == nil {
		sim.Now = o.Now
	}
	if pgtest.AsService() {
		o.service = pgtest.Service(t, o.database)
	}
	o.serve(t, sim)
	o.connect(t)
	o.mirror = o.process(t, o.database)
	return o
}

// serve starts the simulated Zoho.
func (o *org) serve(t testing.TB, sim zohosim.Config) {
	t.Helper()
	o.Zoho = zohosim.New(sim)
	server := httptest.NewServer(o.Zoho)
	t.Cleanup(server.Close)
	o.url = server.URL
}

// connect opens the test's own view of the database, which works through a pooler too.
func (o *org) connect(t testing.TB) {
	t.Helper()
	config, err := pgxpool.ParseConfig(o.database)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	o.db = pool
}

// process is a mirror as a new process would make it: it remembers nothing.
func (o *org) process(t testing.TB, database string) *mirror.Mirror {
	t.Helper()
	return o.processWith(t, database, o.logger(t))
}

func (o *org) processWith(t testing.TB, database string, log *slog.Logger) *mirror.Mirror {
	t.Helper()
	if database == o.database {
		database = o.address()
	}
	m, err := mirror.Open(t.Context(), o.config, o.source(), database, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// address is how a process comes to the org's database.
func (o *org) address() string { return gocmp.Or(o.service, o.database) }

func (o *org) source() zoho.Config {
	return zoho.Config{
		AccountsURL: o.url, APIURL: o.url, ClientID: zohosim.DefaultClientID,
		ClientSecret: zohosim.DefaultClientSecret, RefreshToken: zohosim.DefaultRefreshToken, UserAgent: "zohomirror/test",
	}
}

type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// run is one tick that must be ok.
func (o *org) run(t testing.TB, module string) mirror.Result {
	t.Helper()
	found, _ := crm.Find(module)
	result, err := o.mirror.Run(t.Context(), mirror.Request{Module: found})
	if err != nil || result.Status != mirror.StatusOK {
		t.Fatalf("run of %s: %v, %+v", module, err, result)
	}
	return result
}

// runAll ticks until nothing is left.
func (o *org) runAll(t testing.TB, module string) mirror.Result {
	t.Helper()
	for range 1000 {
		if result := o.run(t, module); !result.More {
			return result
		}
	}
	t.Fatal("a thousand runs were not enough")
	return mirror.Result{}
}

// rows returns a mirror table, or a view of it, as JSON objects by id, bookkeeping left out.
func (o *org) rows(t testing.TB, relation string) map[string]map[string]any {
	t.Helper()
	rows, err := mirrortest.Rows(t.Context(), o.db, relation)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// equal holds all live rows of the mirror against the whole CRM, row by row and column by
// column. Records named by except do not fit.
func (o *org) equal(t testing.TB, table string, except ...string) {
	t.Helper()
	want, err := mirrortest.Expected(t.Context(), o.db, o.Zoho, table)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range except {
		delete(want, id)
	}
	if diff := cmp.Diff(want, o.rows(t, table+"_live"), sameNumber); diff != "" {
		t.Errorf("%s (-CRM +mirror):\n%.4000s", table, diff)
	}
	if refused := o.Refused(); refused != nil {
		t.Errorf("the client asked Zoho for what is not documented: %v", refused)
	}
}

// sameNumber compares exact values.
var sameNumber = mirrortest.SameNumber

// expected is a record, as it is or once was, as its row.
func (o *org) expected(t testing.TB, table string, record zohosim.Record) map[string]any {
	t.Helper()
	row, err := mirrortest.ExpectedRow(t.Context(), o.db, o.Zoho, table, record)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// value reads one value from the mirror's database.
func value[T any](t testing.TB, o *org, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := o.db.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func execute(t testing.TB, o *org, sql string, args ...any) {
	t.Helper()
	if _, err := o.db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
