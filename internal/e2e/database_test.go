package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// migrated has the binary itself migrate an empty database.
func migrated(t *testing.T, database string) *world {
	t.Helper()
	w := newWorldIn(t, database, zohosim.Config{})
	if output, err := w.command(t.Context(), t, "migrate", nil).CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v: %s", err, output)
	}
	if pgtest.AsService() {
		w.enter(t, database)
	}
	return w
}

// A database that restarts while a run is at work, and one that stays away for a while.
func TestDatabaseRestarts(t *testing.T) {
	t.Parallel()
	server, err := pgembed.Start(t.Context(), pgembed.Options{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	w := migrated(t, server.URL("postgres"))
	w.begin(t)
	w.tick = w.deployed(t).tick // its pool outlives the restarts
	for _, away := range []bool{false, true} {
		before := w.ready(t)
		w.link.strike(moment{w.clean.requests / 2, false}, func() verdict {
			if err := server.Halt(); err != nil {
				t.Error(err)
			}
			if away {
				return lost
			}
			if err := server.Resume(); err != nil {
				t.Error(err)
			}
			return arrives
		})
		if out := w.tick(t); !pgtest.Pooled() || away || out.Status != "ok" { // a pooler hides a short absence
			w.failed(t, out)
		}
		if _, _, struck := w.link.calm(); struck != 1 {
			t.Error("the database did not restart")
		}
		lock := lockFree
		if away {
			lock = lockHeld
			out := w.tick(t)
			if w.failed(t, out); !strings.Contains(out.Hint, "is it running") {
				t.Errorf("%s", out)
			}
			if err := server.Resume(); err != nil {
				t.Fatal(err)
			}
			w.reachable(t)
		}
		w.db.Reset()
		w.goesOn(t, before, lock, 2)
	}
}

var roles atomic.Int64

// A database that has no connection left for us, or only one.
func TestDatabaseOutOfConnections(t *testing.T) {
	t.Parallel()
	address := pgtest.Empty(t)
	admin, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	owner := fmt.Sprintf("e2e_owner_%d", roles.Add(1))
	u.User = url.UserPassword(owner, "e2e-owner-password")
	alter := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	alter("CREATE ROLE " + owner + " LOGIN CREATEROLE PASSWORD 'e2e-owner-password'")
	alter("ALTER DATABASE " + u.Path[1:] + " OWNER TO " + owner)
	alter("GRANT pg_signal_backend TO " + owner)
	w := migrated(t, u.String())
	role := w.role
	w.begin(t)

	before := w.ready(t) // the test has its own connection by now
	alter("ALTER ROLE " + role + " CONNECTION LIMIT 2")
	if out := w.tick(t); out.Status != "ok" || out.More {
		t.Errorf("with one connection: %s", out)
	}
	w.goesOn(t, before, lockFree, 0)

	before = w.ready(t)
	alter("ALTER ROLE " + role + " CONNECTION LIMIT 0")
	w.newConnections(t)
	out := w.sync(t, noTime) // a pooler lets the run wait
	if w.failed(t, out); !strings.Contains(out.Hint, "connection left") {
		t.Errorf("%s", out)
	}
	alter("ALTER ROLE " + role + " CONNECTION LIMIT -1")
	w.reachable(t)
	lock := lockFree
	if pgtest.Pooled() { // it passes on, at last, the claim of the run that has gone
		lock = lockHeld
	}
	w.goesOn(t, before, lock, 0)

	before = w.ready(t) // and one that takes its connections away from a run at work
	killed := killBackends(t, w)
	w.link.strike(moment{w.clean.requests / 2, false}, func() verdict {
		alter("ALTER ROLE " + role + " CONNECTION LIMIT 0")
		return killed()
	})
	w.failed(t, w.sync(t, noTime))
	w.link.calm()
	alter("ALTER ROLE " + role + " CONNECTION LIMIT -1")
	w.reachable(t)
	w.goesOn(t, before, lockHeld, 2)
}

// A login role of zohomirror_service mirrors, and looks after the run history: months that are
// to come are made, also when this one is missing, old ones dropped, and all belong to the
// service, whoever made them.
func TestServiceLooksAfterItsHistory(t *testing.T) {
	t.Parallel()
	w := newWorldIn(t, pgtest.Database(t), zohosim.Config{}, service)
	const months = "SELECT coalesce(string_agg(relname || ' of ' || relowner::regrole, ', ' ORDER BY relname), '') FROM pg_class WHERE relkind = 'r' AND relname ~ '^sync_runs_2'"
	before := value[string](t, w, months)
	for _, month := range strings.Split(before, ", ") {
		w.exec(t, "DROP TABLE "+strings.Fields(month)[0])
	}
	w.exec(t, "CREATE TABLE sync_runs_2020_01 PARTITION OF sync_runs FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')")
	w.exec(t, "ALTER TABLE sync_runs_2020_01 OWNER TO zohomirror_service")
	w.exec(t, "DELETE FROM sync_metadata WHERE key = 'tidied'")
	w.begin(t)
	_, want, _ := strings.Cut(before, ", ") // the first run of this month is in the default partition
	if after := value[string](t, w, months); after != want || strings.Count(after, "of zohomirror_service") != 2 {
		t.Errorf("%s, want %s", after, want)
	}
	round := w.ready(t)
	if out := w.tick(t); out.Status != "ok" || out.More {
		t.Errorf("%s", out)
	}
	w.goesOn(t, round, lockFree, 0)
}

// Rows, or the whole table, that another session keeps locked for longer than a run will wait. One after another and beside no other test: a second must do to close a run whose
// time is over.
func TestLockedByAnother(t *testing.T) {
	const rows, table = "UPDATE leads SET company = company", "LOCK TABLE leads IN ACCESS EXCLUSIVE MODE"
	for _, c := range []struct {
		name     string
		sql      string
		settings []string
		slow     bool
	}{
		{"rows, longer than the run has", rows, []string{"SYNC_DEADLINE=2s"}, false},
		{"the table, longer than the run has", table, []string{"SYNC_DEADLINE=2s"}, false},
		{"rows, longer than a statement may take", rows, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.slow {
				onlySlow(t)
			}
			w := newWorld(t)
			w.begin(t)
			before := w.ready(t)
			tx, err := w.db.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), c.sql); err != nil {
				t.Fatal(err)
			}
			out := w.sync(t, c.settings...)
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.failed(t, out)
			w.goesOn(t, before, lockFree, 2)
		})
	}
}

// A statement that the database does not get done within 10 s.
func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	onlySlow(t)
	w := newWorld(t)
	w.begin(t)
	before := w.ready(t)
	w.exec(t, `CREATE FUNCTION drag() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(15); RETURN NULL; END$$`)
	w.exec(t, "CREATE TRIGGER drag BEFORE INSERT OR UPDATE ON leads FOR EACH STATEMENT EXECUTE FUNCTION drag()")
	out := w.tick(t)
	if w.failed(t, out); !strings.Contains(out.Hint, "more than 10 s") {
		t.Errorf("%s", out)
	}
	w.exec(t, "DROP TRIGGER drag ON leads")
	w.goesOn(t, before, lockFree, 2)
}

// A disk that is full, for one table or another: PostgreSQL says 53100 there.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t)
	w.exec(t, `CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END$$`)
	for _, c := range []struct {
		on   string
		lock int
	}{
		{"INSERT OR UPDATE ON leads", lockFree},
		{"INSERT OR UPDATE ON sync_watermarks", lockFree},
		{"INSERT OR UPDATE ON sync_metadata", lockFree},
		{"INSERT OR UPDATE ON sync_tokens", lockFree},
		{"INSERT OR UPDATE ON sync_locks", lockFree},
		{"INSERT ON sync_runs", lockFree},
		{"UPDATE ON sync_runs", lockHeld},
	} {
		before := w.ready(t)
		w.exec(t, "CREATE TRIGGER full_disk BEFORE "+c.on+" FOR EACH STATEMENT EXECUTE FUNCTION disk_full()")
		out := w.tick(t)
		if w.failed(t, out); !strings.Contains(out.Hint, "disk is full") {
			t.Errorf("%s", out)
		}
		w.exec(t, "DROP TRIGGER full_disk ON "+c.on[strings.LastIndex(c.on, " ")+1:])
		w.goesOn(t, before, c.lock, 2)
		if t.Failed() {
			t.Fatal(c.on)
		}
	}
}

// A database that the provider has made read-only.
func TestDatabaseReadOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t)
	before := w.ready(t)
	w.exec(t, `DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END$$`)
	w.newConnections(t)
	out := w.tick(t)
	if w.failed(t, out); !strings.Contains(out.Hint, "read-only") {
		t.Errorf("%s", out)
	}
	w.exec(t, `DO $$BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END$$`)
	w.newConnections(t)
	w.goesOn(t, before, lockFree, 0)
}
