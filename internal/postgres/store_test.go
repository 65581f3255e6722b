package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zoho"
)

func TestMain(m *testing.M) {
	os.Exit(pgtest.Main(m, func(ctx context.Context, databaseURL string) error {
		store, err := Open(ctx, databaseURL, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer store.Close()
		if err := store.Migrate(ctx); err != nil {
			return err
		}
		_, err = store.MigrateOrg(ctx, "../../migrations/org") // promoted fields are in the catalogue
		return err
	}))
}

func open(t testing.TB, databaseURL string) *Store {
	t.Helper()
	store, err := Open(t.Context(), databaseURL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

func module(t testing.TB, name string) *crm.Module {
	t.Helper()
	m, ok := crm.Find(name)
	if !ok {
		t.Fatalf("no module %s", name)
	}
	return m
}

func claim(t testing.TB, s *Store, name string) *Run {
	t.Helper()
	run, err := s.Claim(t.Context(), Intent{Module: module(t, name), ID: uuid.New(), Mode: ModeSync}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// page maps records and writes them.
func page(t testing.TB, run *Run, meta crm.Metadata, records ...string) (Counts, error) {
	t.Helper()
	meta.Money = run.Money
	plan := run.Module.Plan(meta)
	return run.Writer(plan).Page(t.Context(), plan.Map(values(records)), Checkpoint{Stream: crm.StreamModified, Watermark: noon})
}

func values(records []string) []jsontext.Value {
	all := make([]jsontext.Value, len(records))
	for i, r := range records {
		all[i] = jsontext.Value(r)
	}
	return all
}

func mustPage(t testing.TB, run *Run, meta crm.Metadata, records ...string) Counts {
	t.Helper()
	counts, err := page(t, run, meta, records...)
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// lead is a record of a lead, with some members more.
func lead(id int, modified string, more string) string {
	return fmt.Sprintf(`{"id":"%d","Created_Time":"2026-01-01T00:00:00Z","Modified_Time":%q%s}`, id, modified, more)
}

// rows returns what a query gives, as JSON objects without their nulls.
func rows(t testing.TB, s *Store, query string, args ...any) []map[string]any {
	t.Helper()
	found, err := s.pool.Query(t.Context(), "SELECT jsonb_strip_nulls(to_jsonb(q)) FROM ("+query+") q", args...)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (map[string]any, error) {
		var body []byte
		if err := row.Scan(&body); err != nil {
			return nil, err
		}
		var value map[string]any
		return value, json.Unmarshal(body, &value)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

type object = map[string]any

// The catalogue is the single source of the mapping: the migrated tables have its columns,
// in its types, and nothing else but the bookkeeping.
func TestCatalogueIsTheSchema(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	for _, name := range crm.Modules() {
		want := []string{"created_time timestamptz not null", "modified_time timestamptz not null"}
		for _, c := range module(t, name).Columns() {
			if len(c.Name) > 63 {
				t.Errorf("%s.%s is longer than 63 bytes", name, c.Name)
			}
			if c.Name != "created_time" && c.Name != "modified_time" {
				want = append(want, c.Name+" "+c.SQLType())
			}
		}
		want = append(want, "id text not null", "custom_fields jsonb not null", "synced_at timestamptz not null",
			"run_id uuid", "deleted_at timestamptz")
		var got []string
		for _, row := range rows(t, s, `SELECT attname || ' ' || replace(format_type(atttypid, atttypmod), 'timestamp with time zone', 'timestamptz')
			|| CASE WHEN attnotnull THEN ' not null' ELSE '' END AS c
			FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`, name) {
			got = append(got, row["c"].(string))
		}
		same(t, name, set(want), set(got))

		var indexes []string
		for _, row := range rows(t, s, `SELECT regexp_replace(indexdef, '^.* USING ', '') AS d FROM pg_indexes WHERE tablename = $1`, name) {
			indexes = append(indexes, row["d"].(string))
		}
		status := map[string]string{"leads": "lead_status", "deals": "stage"}[name]
		same(t, name+"'s indexes", set([]string{"btree (id)", "btree (length(id), id)", "btree (modified_time)", "btree (" + status + ") WHERE (deleted_at IS NULL)",
			"btree (owner_id) WHERE (deleted_at IS NULL)", "gin (custom_fields jsonb_path_ops)"}), set(indexes))
	}
}

// set tells a list's members, and how often each occurs.
func set(list []string) map[string]int {
	counts := map[string]int{}
	for _, s := range list {
		counts[s]++
	}
	return counts
}

func TestMigrateSideBySideAndAgain(t *testing.T) {
	t.Parallel()
	address := pgtest.Empty(t)
	s := open(t, address)
	done := make(chan error)
	for range 3 {
		other := open(t, address)
		go func() { done <- other.Migrate(t.Context()) }()
	}
	if err := errors.Join(<-done, <-done, <-done, s.Migrate(t.Context())); err != nil {
		t.Fatal(err)
	}
	var versions []object
	for v := range SchemaVersion + 1 {
		versions = append(versions, object{"v": float64(v)})
	}
	same(t, "versions", versions, rows(t, s, "SELECT version_id AS v FROM sync_migrations ORDER BY 1"))

	if _, err := s.pool.Exec(t.Context(), "INSERT INTO sync_migrations (version_id, is_applied) VALUES (99, true)"); err != nil {
		t.Fatal(err)
	}
	_, claimed := s.Claim(t.Context(), Intent{Module: module(t, "leads"), ID: uuid.New(), Mode: ModeSync}, time.Hour)
	for _, err := range []error{s.Migrate(t.Context()), claimed} {
		var schema *SchemaError
		if !errors.As(err, &schema) || schema.Found != 99 || !strings.Contains(schema.Hint(), "newer") {
			t.Errorf("a database of a newer version: %v", err)
		}
	}
	if n := rows(t, s, "SELECT count(*) AS n FROM sync_locks WHERE claimed_by IS NOT NULL"); n[0]["n"] != 0.0 {
		t.Error("the refused claim keeps the lock")
	}
}

func TestNotMigrated(t *testing.T) {
	t.Parallel()
	_, err := open(t, pgtest.Empty(t)).Claim(t.Context(), Intent{Module: module(t, "leads"), ID: uuid.New(), Mode: ModeSync}, time.Hour)
	var schema *SchemaError
	if !errors.As(err, &schema) || schema.Hint() != "run: zohomirror migrate" {
		t.Errorf("error %v", err)
	}
}

// Whatever privileges Supabase gives its roles by default, they can read nothing; our own
// roles can do what they are for.
func TestRowLevelSecurity(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Empty(t))
	setup := `
		DO $$ BEGIN CREATE ROLE anon NOLOGIN; CREATE ROLE authenticated NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
		GRANT USAGE ON SCHEMA public TO anon, authenticated;
		ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated;
		ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO public`
	if _, err := s.pool.Exec(t.Context(), setup, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := claim(t, s, "leads")
	mustPage(t, run, crm.Metadata{}, lead(1, "2026-01-01T00:00:00Z", ""))

	const tables = `SELECT c.relname AS name FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace`
	if open := rows(t, s, tables+" AND NOT c.relrowsecurity"); len(open) > 0 {
		t.Errorf("tables without row level security: %v", open)
	}
	readable := map[string]bool{"leads": true, "deals": true} // by zohomirror_reader
	for _, behind := range behindViews {
		readable[behind] = true
	}
	for _, row := range rows(t, s, tables) {
		name := row["name"].(string)
		partition := strings.HasPrefix(name, "sync_runs_2")
		for role, want := range map[string]string{
			"anon": "", "authenticated": "", "zohomirror_reader": map[bool]string{true: "r", false: ""}[readable[name]],
			"zohomirror_service": "rw",
		} {
			switch {
			case role == "zohomirror_service" && partition:
				want = ""
			case role == "zohomirror_service" && strings.HasPrefix(name, migrationsTable):
				want = "r"
			}
			if got := s.rights(t, role, name); got != want {
				t.Errorf("%s may %q on %s, want %q", role, got, name, want)
			}
		}
	}
}

// rights tries as a role: r where it sees the table's rows, w where it may delete them.
func (s *Store) rights(t *testing.T, role, table string) (got string) {
	t.Helper()
	for _, try := range []struct{ right, sql string }{{"r", "SELECT count(*) FROM %s"}, {"w", "DELETE FROM %s WHERE false"}} {
		err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "SET LOCAL ROLE "+role); err != nil {
				t.Fatal(err)
			}
			_, err := tx.Exec(t.Context(), fmt.Sprintf(try.sql, table))
			return err
		})
		if err == nil {
			got += try.right
		} else if sqlState(err) != "42501" {
			t.Fatal(err)
		}
	}
	return got
}

// One refresh serves all: the others wait for its row and then find its token.
func TestUpdateTokenOneAtATime(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	expires := time.Now().Add(time.Hour).Truncate(time.Microsecond).UTC()
	done := make(chan error)
	made := 0 // guarded by the row's lock
	for range 8 {
		s := open(t, address)
		go func() {
			done <- s.UpdateToken(t.Context(), "f", func(_ context.Context, stored zoho.StoredToken) (zoho.StoredToken, error) {
				if stored.Sealed != nil {
					return stored, nil
				}
				time.Sleep(20 * time.Millisecond)
				made++
				return zoho.StoredToken{Sealed: []byte("sealed"), ExpiresAt: expires}, nil
			})
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	s := open(t, address)
	got, err := s.Token(t.Context(), "f")
	got.ExpiresAt = got.ExpiresAt.UTC()
	same(t, "token", zoho.StoredToken{Sealed: []byte("sealed"), ExpiresAt: expires}, got)
	if made != 1 || err != nil {
		t.Errorf("%d refreshes, %v", made, err)
	}

	refused := errors.New("refused")
	err = s.UpdateToken(t.Context(), "f", func(_ context.Context, stored zoho.StoredToken) (zoho.StoredToken, error) {
		stored.NotBefore = expires
		return stored, refused
	})
	got, _ = s.Token(t.Context(), "f")
	if !errors.Is(err, refused) || !got.NotBefore.Equal(expires) {
		t.Errorf("a refusal must be kept: %v, %+v", err, got)
	}
	if absent, err := s.Token(t.Context(), "g"); err != nil || absent.Sealed != nil {
		t.Errorf("another client's token: %+v, %v", absent, err)
	}
}
