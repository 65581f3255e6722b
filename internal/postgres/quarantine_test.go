package postgres

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
)

// A CHECK on several columns blames none; a value is told in its own type; what the
// columns' types refuse has its SQLSTATE for a rule.
func TestFaultsOfTheDatabase(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	for _, sql := range []string{
		"ALTER TABLE leads ADD CONSTRAINT pair CHECK (company <> last_name)",
		"ALTER TABLE leads ADD CONSTRAINT few CHECK (no_of_employees < 10)",
		"ALTER TABLE leads ADD CONSTRAINT calm CHECK (NOT email_opt_out)",
		"ALTER TABLE leads ADD CONSTRAINT \"late, it's\" CHECK (created_time < '2026-06-01')",
		"DROP VIEW leads_live",
		"ALTER TABLE leads ALTER COLUMN city TYPE varchar(3)",
		"ALTER TABLE leads ALTER COLUMN state SET NOT NULL",
	} {
		if _, err := s.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	run, at := claim(t, s, "leads"), "2026-01-01T10:00:00Z"
	got := mustPage(t, run, crm.Metadata{},
		lead(1, at, `,"State":"A"`), lead(2, at, `,"State":"A","Company":"X","Last_Name":"X"`), lead(3, at, `,"State":"A","No_of_Employees":12`),
		lead(4, at, `,"State":"A","Email_Opt_Out":true`), lead(5, at, `,"State":"A","Created_Time":"2026-07-01T02:00:00+02:00"`),
		lead(6, at, `,"State":"A","City":"Helsinki"`), lead(7, at, ""))
	same(t, "counts", Counts{Processed: 7, Inserted: 1, Quarantined: 6, Pages: 1}, got)
	same(t, "quarantine", []object{
		{"record_id": "2", "rule": "pair"},
		{"record_id": "3", "rule": "few", "field": "No_of_Employees", "value": "12"},
		{"record_id": "4", "rule": "calm", "field": "Email_Opt_Out", "value": "true"},
		{"record_id": "5", "rule": "late, it's", "field": "Created_Time", "value": "2026-07-01T00:00:00Z"},
		{"record_id": "6", "rule": "22001"},
		{"record_id": "7", "rule": "23502", "field": "State"},
	}, rows(t, s, "SELECT record_id, field, value, rule FROM sync_quarantine ORDER BY record_id"))
}

// A page that brings the same bad record twice has one entry for it, the newest.
func TestQuarantineTwiceInAPage(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	run := claim(t, s, "leads")
	got := mustPage(t, run, crm.Metadata{}, `{"Last_Name":"no id"}`, `{"Last_Name":"no id"}`,
		lead(1, "2026-01-01T10:00:02Z", `,"No_of_Employees":"b"`), lead(1, "2026-01-01T10:00:01Z", `,"No_of_Employees":"a"`))
	same(t, "counts", Counts{Processed: 4, Quarantined: 4, Pages: 1}, got)
	same(t, "quarantine", []object{{"value": "b", "attempts": 1.0}, {"attempts": 1.0}},
		rows(t, s, "SELECT value, attempts FROM sync_quarantine ORDER BY record_id"))
}

// What decides whether a record fits is told apart, and nothing else: the same plan and
// table have the same fingerprint in every run and in every statement.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	bad := lead(1, "2026-01-01T10:00:00Z", `,"No_of_Employees":"many"`)
	mustPage(t, claim(t, s, "leads"), crm.Metadata{}, bad)
	var prints []string
	present := func() (mayFit bool) {
		run, err := s.Claim(t.Context(), Intent{Module: module(t, "leads"), ID: uuid.New(), Mode: ModeSync}, 0) // stale at once
		if err != nil {
			t.Fatal(err)
		}
		w := run.Writer(run.Module.Plan(crm.Metadata{Money: run.Money}))
		mayFit = w.MayFit()
		ids, err := w.ToTry(t.Context(), 10)
		if err != nil || (len(ids) == 1) != mayFit {
			t.Errorf("%v, %v, may fit: %v", ids, err, mayFit)
		}
		mustPage(t, run, crm.Metadata{}, bad)
		prints = append(prints, rows(t, s, "SELECT plan FROM sync_quarantine")[0]["plan"].(string))
		return mayFit
	}
	for range 2 {
		if present() {
			t.Error("nothing has changed")
		}
	}
	for _, sql := range []string{
		"ALTER TABLE leads ADD CONSTRAINT few CHECK (no_of_employees < 10)",
		"ALTER TABLE leads DROP CONSTRAINT few, ADD CONSTRAINT few CHECK (no_of_employees < 11)",
		"ALTER TABLE leads ADD COLUMN mood text",
		"ALTER TABLE leads ALTER COLUMN mood TYPE varchar(3)",
		"ALTER TABLE leads ALTER COLUMN mood TYPE varchar(4)",
		"ALTER TABLE leads ALTER COLUMN mood SET NOT NULL",
	} {
		if _, err := s.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		if first, second := present(), present(); !first || second {
			t.Errorf("%s: noticed at once %v, and again %v", sql, first, second)
		}
	}
	seen := map[string]bool{}
	for _, p := range prints {
		seen[p] = true
	}
	if len(seen) != 7 {
		t.Errorf("fingerprints %q", prints)
	}
	if got := rows(t, s, "SELECT attempts FROM sync_quarantine")[0]["attempts"]; got != 7.0 {
		t.Errorf("%v attempts", got)
	}
	// ANALYZE and new rows change nothing; settled entries and those without an id do not count.
	for _, sql := range []string{"ANALYZE leads", "UPDATE sync_quarantine SET settled_at = now(), plan = ''",
		"UPDATE sync_quarantine SET settled_at = NULL, record_id = 'sha256:0'"} {
		if _, err := s.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		run, err := s.Claim(t.Context(), Intent{Module: module(t, "leads"), ID: uuid.New(), Mode: ModeSync}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if run.Writer(run.Module.Plan(crm.Metadata{Money: run.Money})).MayFit() {
			t.Errorf("after %s", sql)
		}
	}
}

// An id is given to one run: the claim looks it up before it makes the run's row.
func TestClaimOnce(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	id := uuid.New()
	run, err := s.ClaimOnce(t.Context(), Intent{Module: module(t, "leads"), ID: id, Mode: ModeSync}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	before := rows(t, s, "SELECT xmin::text, * FROM sync_locks")
	var recorded *Recorded
	for _, name := range []string{"leads", "deals"} {
		_, err = s.ClaimOnce(t.Context(), Intent{Module: module(t, name), ID: id, Mode: ModeSync}, time.Hour)
		if !errors.As(err, &recorded) || recorded.Status != "running" || recorded.Module != "leads" {
			t.Fatalf("%s: %v, %+v", name, err, recorded)
		}
	}
	same(t, "locks", before, rows(t, s, "SELECT xmin::text, * FROM sync_locks"))

	// A page of the run at work that keeps the lock row does not matter; nor does one that
	// another call with this id has begun to claim.
	for what, sql := range map[string]string{"the lock row": "UPDATE sync_locks SET claimed_at = clock_timestamp()", "the id": "SELECT pg_advisory_xact_lock(hashtextextended('" + id.String() + "', 0))"} {
		err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), sql); err != nil {
				return err
			}
			if _, err := s.ClaimOnce(t.Context(), Intent{Module: run.Module, ID: id, Mode: ModeSync}, time.Hour); !errors.As(err, &recorded) {
				t.Errorf("%s: %v", what, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	counts := Counts{Processed: 28, Inserted: 1, Updated: 2, Unchanged: 3, Quarantined: 4, Deleted: 5, Restored: 6, Pages: 7}
	outcome := Outcome{Watermark: noon, More: true, Reason: "time-budget"}
	if err := run.Close(t.Context(), counts, outcome); err != nil {
		t.Fatal(err)
	}
	if _, err = s.ClaimOnce(t.Context(), Intent{Module: run.Module, ID: id, Mode: ModeSync}, time.Hour); !errors.As(err, &recorded) {
		t.Fatal(err)
	}
	recorded.Outcome.Watermark = recorded.Outcome.Watermark.UTC()
	same(t, "recorded", Recorded{ID: id, Module: "leads", Mode: "sync", Status: "ok", StartedAt: recorded.StartedAt, Duration: recorded.Duration,
		Counts: counts, Outcome: outcome}, *recorded)
	same(t, "runs", []object{{"status": "ok"}}, rows(t, s, "SELECT status FROM sync_runs WHERE status <> 'skipped'"))
}

// A call that meets a module's very first claim, not yet committed, is skipped as any other.
func TestClaimMeetsTheFirst(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	id := uuid.New()
	err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "INSERT INTO sync_locks (module, claimed_by, claimed_at) VALUES ('leads', $1, clock_timestamp())", uuid.NewString()); err != nil {
			return err
		}
		var held *Held
		if _, err := s.Claim(t.Context(), Intent{Module: module(t, "leads"), ID: id, Mode: ModeSync}, time.Hour); !errors.As(err, &held) {
			t.Errorf("%v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "runs", []object{{"id": id.String(), "module": "leads", "status": "skipped", "reason": "lock-held"}},
		rows(t, s, "SELECT id::text, module, status, reason FROM sync_runs"))
}
