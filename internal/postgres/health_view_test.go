package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"zohomirror/internal/pgembed/pgtest"
)

// insertRun adds a finished run that began so long ago.
func insertRun(t testing.TB, s *Store, ago, lasted time.Duration, status, mode string, caughtUp bool) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), `
		INSERT INTO sync_runs (id, module, mode, status, started_at, ended_at, caught_up, credits)
		VALUES ($1, 'leads', $2, $3, now() - $4::interval, now() - $4::interval + $5::interval, $6, 3)`,
		uuid.New(), mode, status, ago.String(), lasted.String(), caughtUp)
	if err != nil {
		t.Fatal(err)
	}
}

// What the view says of a module that failed three times since it was last current, and of
// one that never was.
func TestSyncHealth(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	insertRun(t, s, 30*time.Hour, time.Second, "failed", ModeSync, false)
	insertRun(t, s, 5*time.Hour, 2*time.Second, "ok", ModeSync, true)
	insertRun(t, s, 4*time.Hour, 4*time.Second, "ok", ModeSync, false) // more: true
	insertRun(t, s, 3*time.Hour, 6*time.Second, "failed", ModeSync, false)
	insertRun(t, s, 2*time.Hour, 0, "skipped", ModeSync, false)
	insertRun(t, s, time.Hour, 8*time.Second, "failed", ModeSync, false)
	mustExec(t, s, "INSERT INTO sync_locks (module) VALUES ('leads'), ('deals')")
	mustExec(t, s, `INSERT INTO sync_quarantine (module, record_id, reason, payload, run_id) VALUES ('leads', '1', 'r', '{}', gen_random_uuid())`)
	mustExec(t, s, `INSERT INTO sync_verifications (id, module, mode, as_of, verdict) VALUES (gen_random_uuid(), 'leads', 'verify', '2026-01-01T06:00:00Z', 'equal')`)

	const sql = `SELECT module, last_status, round(extract(epoch FROM now() - last_run_at)) AS last_run_at, round(extract(epoch FROM now() - last_ok_at)) AS last_ok_at,
		round(extract(epoch FROM lag)) AS lag, failures_in_a_row, round(extract(epoch FROM now() - failing_since)) AS failing_since,
		runs_24h, failures_24h, skipped_24h, mean_ms_24h, p95_ms_24h, credits_24h, open_quarantine, last_verdict, last_verified_as_of, rows
		FROM sync_health ORDER BY module`
	same(t, "health", []object{
		{"module": "deals", "failures_in_a_row": 0.0, "runs_24h": 0.0, "failures_24h": 0.0, "skipped_24h": 0.0, "credits_24h": 0.0, "open_quarantine": 0.0, "rows": 0.0},
		{"module": "leads", "last_status": "failed", "last_run_at": 3600.0, "last_ok_at": 4 * 3600.0, "lag": 5 * 3600.0, "failures_in_a_row": 2.0, "failing_since": 3 * 3600.0,
			"runs_24h": 4.0, "failures_24h": 2.0, "skipped_24h": 1.0, "mean_ms_24h": 5000.0, "p95_ms_24h": 7700.0, "credits_24h": 15.0, "open_quarantine": 1.0,
			"last_verdict": "equal", "last_verified_as_of": "2026-01-01T06:00:00+00:00", "rows": 0.0},
	}, rows(t, s, sql))
}

// A replay or a re-read from an earlier point ends no silence and no streak of failures, nor
// is it part of one.
func TestOnlyRunsThatReadTheStreamsAreOK(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	mustExec(t, s, "INSERT INTO sync_locks (module) VALUES ('leads')")
	insertRun(t, s, 2*time.Hour, time.Second, "ok", ModeSince, false)
	insertRun(t, s, time.Hour, time.Second, "ok", ModeReplay, false)
	same(t, "last ok", []object{{}}, rows(t, s, "SELECT last_ok_at FROM sync_health"))

	insertRun(t, s, 55*time.Minute, time.Second, "failed", ModeSync, false)
	insertRun(t, s, 50*time.Minute, time.Second, "ok", ModeReplay, false)
	insertRun(t, s, 45*time.Minute, time.Second, "failed", ModeVerify, false)
	insertRun(t, s, 40*time.Minute, time.Second, "failed", ModeReplay, false)
	insertRun(t, s, 35*time.Minute, time.Second, "ok", ModeSince, false)
	same(t, "streak", []object{{"last_status": "failed", "minutes": 45.0, "failures_in_a_row": 2.0, "since": 55.0}}, rows(t, s, `
		SELECT last_status, round(extract(epoch FROM now() - last_run_at) / 60) AS minutes, failures_in_a_row,
			round(extract(epoch FROM now() - failing_since) / 60) AS since FROM sync_health`))
}

// months are the partitions there are, beside the default one.
func months(t testing.TB, s *Store) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, row := range rows(t, s, `SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'sync_runs'::regclass`) {
		all[row["name"].(string)] = true
	}
	delete(all, "sync_runs_default")
	return all
}

// Partitions are made ahead, and dropped when their last run is older than the retention,
// once a day, by one of two processes.
func TestTidy(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	s, other := open(t, address), open(t, address)
	now := time.Now().UTC()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	name := func(ago int) string { return "sync_runs_" + month.AddDate(0, -ago, 0).Format("2006_01") }
	for _, ago := range []int{2, 3, 14} {
		from := month.AddDate(0, -ago, 0)
		mustExec(t, s, fmt.Sprintf("CREATE TABLE %s PARTITION OF sync_runs FOR VALUES FROM ('%s') TO ('%s')", name(ago), from.Format(time.RFC3339), from.AddDate(0, 1, 0).Format(time.RFC3339)))
	}
	mustExec(t, s, "DROP TABLE "+name(-2))
	insertRun(t, s, 400*24*time.Hour, time.Second, "ok", ModeSync, true)  // its month has no partition
	insertRun(t, s, 1200*24*time.Hour, time.Second, "ok", ModeSync, true) // nor has this one
	mustExec(t, s, `INSERT INTO sync_alerts (module, kind, raised_at) VALUES ('leads', 'failing', now() - interval '200 days'), ('leads', 'drift', now())`)
	mustExec(t, s, `INSERT INTO sync_quarantine (module, record_id, reason, payload, run_id, first_seen_at, settled_at) VALUES
		('leads', '1', 'r', '{}', gen_random_uuid(), now() - interval '200 days', NULL),
		('leads', '2', 'r', '{}', gen_random_uuid(), now() - interval '200 days', now() - interval '199 days'),
		('leads', '3', 'r', '{}', gen_random_uuid(), now() - interval '200 days', now())`)
	mustExec(t, s, `INSERT INTO sync_logins (source, failures, window_started_at) VALUES ('old', 1, now() - interval '2 days'), ('new', 1, now())`)

	untidy(t, s)
	retention := now.Sub(month.AddDate(0, -2, 0)) - time.Hour // the third month back ended an hour before
	done := make(chan error)
	for _, store := range []*Store{s, other} {
		go func() { done <- store.Tidy(t.Context(), retention) }()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	same(t, "months", map[string]bool{name(2): true, name(0): true, name(-1): true, name(-2): true}, months(t, s))
	same(t, "runs", []object{{"n": 0.0}}, rows(t, s, "SELECT count(*) AS n FROM sync_runs"))
	same(t, "alerts", []object{{"kind": "drift"}}, rows(t, s, "SELECT kind FROM sync_alerts"))
	same(t, "quarantine", []object{{"record_id": "1"}, {"record_id": "3"}}, rows(t, s, "SELECT record_id FROM sync_quarantine ORDER BY 1"))
	same(t, "log-ins", []object{{"source": "new"}}, rows(t, s, "SELECT source FROM sync_logins"))

	mustExec(t, s, "DROP TABLE "+name(-2))
	if err := s.Tidy(t.Context(), retention); err != nil {
		t.Fatal(err)
	}
	if months(t, s)[name(-2)] {
		t.Error("tidied twice in a day")
	}
}

// untidy makes the day pass for which nobody tidies again.
func untidy(t testing.TB, s *Store) {
	t.Helper()
	mustExec(t, s, "UPDATE sync_metadata SET fetched_at = now() - interval '25 hours' WHERE key = 'tidied'")
}

// readForLong has somebody else read a table in a transaction that does not end.
func readForLong(t *testing.T, s *Store, table string) {
	t.Helper()
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // before the pool is closed
	if _, err := tx.Exec(t.Context(), "SELECT FROM "+table); err != nil {
		t.Fatal(err)
	}
}

// A partition that somebody reads is left for another day, and nobody waits for it for long.
func TestTidyWaitsForNobody(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	untidy(t, s)
	mustExec(t, s, "CREATE TABLE sync_runs_2020_01 PARTITION OF sync_runs FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z')")
	readForLong(t, s, "sync_runs_2020_01")
	if err := s.Tidy(t.Context(), 90*24*time.Hour); sqlState(err) != codeLockNotAvailable {
		t.Errorf("tidied: %v", err)
	}
	if !months(t, s)["sync_runs_2020_01"] {
		t.Error("the partition is gone")
	}
}

// A month that is due is made another day where somebody reads the run history for long: all
// runs would wait behind it.
func TestTidyMakesNobodyWait(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	untidy(t, s)
	last := "sync_runs_" + time.Now().UTC().AddDate(0, 0, 1-time.Now().UTC().Day()).AddDate(0, 2, 0).Format("2006_01")
	mustExec(t, s, "DROP TABLE "+last)
	readForLong(t, s, "sync_runs")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Tidy(ctx, 90*24*time.Hour); sqlState(err) != codeLockNotAvailable || months(t, s)[last] {
		t.Errorf("tidied: %v", err)
	}
}
