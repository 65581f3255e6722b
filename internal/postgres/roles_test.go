package postgres

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
)

// runRolesFile runs docs/roles.sql as an owner would, twice, for it may be run again.
func runRolesFile(t testing.TB, owner *Store) {
	t.Helper()
	text, err := os.ReadFile("../../docs/roles.sql")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mustExec(t, owner, string(text))
	}
}

// ours are the names of all relations of some kinds.
func ours(t testing.TB, s *Store, kinds string) []string {
	t.Helper()
	var names []string
	for _, row := range rows(t, s, `SELECT relname AS name FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind::text = ANY (string_to_array($1, ' ')) ORDER BY 1`, kinds) {
		names = append(names, row["name"].(string))
	}
	return names
}

// Supabase's service_role, whatever it gets on new tables by default, and the owner read and
// write all that is ours.
func TestServiceRoleAndOwnerMayAll(t *testing.T) {
	t.Parallel()
	onSupabase(t, func(t *testing.T, s, admin *Store) {
		rights := may(t, s, "service_role", s.pool.Config().ConnConfig.User)
		for role := range maps.Keys(map[string]bool{"service_role": true, s.pool.Config().ConnConfig.User: true}) {
			for _, table := range ours(t, s, "r p v") {
				want := []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
				if strings.HasSuffix(table, "_live") || table == "sync_health" || table == "sync_recent" || strings.Contains(table, "migrations") {
					want = want[:1]
				}
				for _, privilege := range want {
					if !slices.Contains(strings.Fields(rights[role+" on "+table]), privilege) {
						t.Errorf("%s may not %s %s: %q", role, privilege, table, rights[role+" on "+table])
					}
				}
			}
		}
		for _, sql := range []string{
			"SELECT FROM leads", "SELECT FROM leads_live", "SELECT FROM sync_health", "SELECT FROM sync_recent", "UPDATE leads SET company = 'x'",
			"DELETE FROM sync_tokens", "INSERT INTO deals (id, created_time, modified_time) VALUES ('1', now(), now())",
			"INSERT INTO sync_runs (id, module, status) VALUES (gen_random_uuid(), 'leads', 'ok')",
			"INSERT INTO sync_alerts (module, kind) VALUES ('leads', 'stale')", "SELECT FROM sync_org_migrations",
			"SELECT FROM " + ours(t, s, "r")[slices.IndexFunc(ours(t, s, "r"), func(n string) bool { return strings.HasPrefix(n, "sync_runs_2") })],
		} {
			if code := admin.tryAs(t, "service_role", sql); code != "" {
				t.Errorf("%s: %s", sql, code)
			}
		}
	})
}

// What docs/roles.sql says of zohomirror_service holds: it reads and writes rows, and owns
// nothing but the run history, whose months any login of it makes and drops; it changes no
// table and does not migrate; and the owner goes on migrating.
func TestRolesFileService(t *testing.T) {
	t.Parallel()
	onSupabase(t, func(t *testing.T, s, admin *Store) {
		runRolesFile(t, s)
		var owned []string
		for _, row := range rows(t, s, "SELECT relname AS name FROM pg_class WHERE relowner = 'zohomirror_service'::regrole AND relkind IN ('r', 'p', 'v', 'S') ORDER BY 1") {
			owned = append(owned, row["name"].(string))
		}
		same(t, "owned", slices.DeleteFunc(ours(t, s, "r p"), func(n string) bool { return !strings.HasPrefix(n, "sync_runs") }), owned)

		rights := may(t, s, "zohomirror_service")
		for _, relation := range ours(t, s, "r p v S") {
			want := "DELETE INSERT SELECT UPDATE"
			switch {
			case slices.Contains(owned, relation):
				continue
			case strings.HasSuffix(relation, "_seq"):
				want = ""
			case strings.HasSuffix(relation, "_live"), relation == "sync_health", relation == "sync_recent", strings.Contains(relation, "migrations"):
				want = "SELECT"
			}
			if got := rights["zohomirror_service on "+relation]; got != want {
				t.Errorf("%s: %q, want %q", relation, got, want)
			}
		}

		first, second := asRole(t, admin, "_first", "IN ROLE zohomirror_service"), asRole(t, admin, "_second", "IN ROLE zohomirror_service")
		mustPage(t, claim(t, first, "deals"), crm.Metadata{}, lead(1, "2026-01-01T00:00:00Z", ""))
		for _, sql := range []string{"ALTER TABLE leads ADD COLUMN x int", "DROP TABLE deals", "TRUNCATE leads", "DROP VIEW leads_live",
			"CREATE POLICY p ON leads USING (true)", "UPDATE sync_migrations SET is_applied = false", "DELETE FROM sync_migrations_lock", "CREATE ROLE x", "CREATE SCHEMA x"} {
			if _, err := first.pool.Exec(t.Context(), sql); sqlState(err) != "42501" {
				t.Errorf("%s: %v", sql, err)
			}
		}
		if err := first.Migrate(t.Context()); sqlState(err) != "42501" || !strings.Contains(Hint(err), "as the owner") {
			t.Errorf("migrate: %v", err)
		}

		mustExec(t, admin, fmt.Sprintf("ALTER ROLE %s SET search_path = nowhere", second.pool.Config().ConnConfig.User))
		second.pool.Reset()
		if err := second.Migrate(t.Context()); sqlState(err) != "3F000" || Hint(err) == "" {
			t.Errorf("migrate without a schema: %v", err)
		}
		mustExec(t, admin, fmt.Sprintf("ALTER ROLE %s RESET search_path", second.pool.Config().ConnConfig.User))
		second.pool.Reset()

		for _, month := range owned[2:] { // after sync_runs and the default
			mustExec(t, s, "DROP TABLE "+month)
		}
		if err := first.makePartitions(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		if err := second.dropPartitions(t.Context(), time.Now().AddDate(1, 0, 0)); err != nil {
			t.Error(err)
		}
		if left := ours(t, s, "r"); slices.ContainsFunc(left, func(n string) bool { return strings.HasPrefix(n, "sync_runs_2") }) {
			t.Errorf("not dropped: %v", left)
		}
		if err := first.Tidy(t.Context(), 90*24*time.Hour); err != nil {
			t.Error(err)
		}
		same(t, "rights", map[string]string{}, may(t, s, "anon", "authenticated", "public"))

		mustExec(t, s, "ALTER TABLE sync_runs ADD COLUMN later int")
		if err := s.Migrate(t.Context()); err != nil {
			t.Errorf("the owner migrates: %v", err)
		}
	})
}

// lints are Supabase's own checks of a database, as far as they can concern us, in words of
// ours. Left out: those of Supabase's own schemas, of extensions, queues, buckets and
// replication, and those of bloat and of indexes that were never used, which a test cannot
// bring about. The policies that let our roles in are always true, and meant to be: that
// lint is about the Data API's roles.
var lints = map[string]string{
	"0001 foreign key without an index": `SELECT conname AS what FROM pg_constraint f WHERE contype = 'f' AND NOT EXISTS (
		SELECT FROM pg_index i WHERE i.indrelid = f.conrelid AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey)`,
	"0003 policy that calls a function for each row": `SELECT polname AS what FROM pg_policy WHERE
		pg_get_expr(polqual, polrelid) ~ 'current_setting|auth\\.' OR pg_get_expr(polwithcheck, polrelid) ~ 'current_setting|auth\\.'`,
	"0004 no primary key": `SELECT c.relname AS what FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
		AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)`,
	"0006 several permissive policies for a role": `SELECT c.relname AS what FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
		CROSS JOIN unnest(p.polroles) AS r (role)
		CROSS JOIN unnest(CASE polcmd WHEN '*' THEN '{r,a,w,d}'::"char"[] ELSE ARRAY[polcmd] END) AS d (does)
		WHERE p.polpermissive GROUP BY c.relname, r.role, d.does HAVING count(*) > 1`,
	"0007 policy without row level security": `SELECT DISTINCT c.relname AS what FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE NOT c.relrowsecurity`,
	"0008 row level security without a policy": `SELECT c.relname AS what FROM pg_class c WHERE c.relrowsecurity
		AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)`,
	"0009 the same index twice": `SELECT min(indexname) AS what FROM pg_indexes WHERE schemaname = 'public'
		GROUP BY tablename, replace(indexdef, indexname, '') HAVING count(*) > 1`,
	"0010 view with its owner's rights": `SELECT relname AS what FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace
		AND NOT coalesce(reloptions::text[] && ARRAY['security_invoker=true', 'security_invoker=on'], false)`,
	"0011 function whose search path anybody sets": `SELECT proname AS what FROM pg_proc WHERE pronamespace = 'public'::regnamespace
		AND NOT EXISTS (SELECT FROM unnest(proconfig) AS s WHERE s LIKE 'search_path=%')`,
	"0013 no row level security":                            `SELECT relname AS what FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND NOT relrowsecurity`,
	"0014 extension in public":                              `SELECT extname AS what FROM pg_extension WHERE extnamespace = 'public'::regnamespace`,
	"0016, 0017 what has no row level security, in the API": `SELECT relname AS what FROM pg_class WHERE relkind IN ('m', 'f') AND relnamespace = 'public'::regnamespace`,
	"0018 column of a type that an upgrade refuses": `SELECT attname AS what FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE c.relnamespace = 'public'::regnamespace AND atttypid::regtype::text IN ('regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regoperator', 'regproc', 'regprocedure')`,
	"0023, 0026, 0027 what the Data API shows": `SELECT relname AS what FROM pg_class c CROSS JOIN unnest(ARRAY['anon', 'authenticated']) AS r (role)
		WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relnamespace = 'public'::regnamespace AND has_any_column_privilege(role, c.oid, 'SELECT')`,
	"0024 policy of the Data API's roles that is always true": `SELECT polname AS what FROM pg_policy WHERE polroles && ARRAY[0, 'anon'::regrole::oid, 'authenticated'::regrole::oid]`,
	"0028, 0029 function with its owner's rights":             `SELECT proname AS what FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace`,
	"0030 index that is not valid":                            `SELECT indexrelid::regclass::text AS what FROM pg_index WHERE NOT indisvalid`,
}

// Supabase's linter finds nothing in a database of ours, with docs/roles.sql or without.
func TestSupabaseLints(t *testing.T) {
	t.Parallel()
	onSupabase(t, func(t *testing.T, s, _ *Store) {
		for _, file := range []bool{false, true} {
			if file {
				runRolesFile(t, s)
			}
			for lint, sql := range lints {
				if found := rows(t, s, sql); len(found) > 0 {
					t.Errorf("lint %s, roles.sql %v: %v", lint, file, found)
				}
			}
		}
	})
}

// Each lint finds what it is about.
func TestSupabaseLintsFind(t *testing.T) {
	t.Parallel()
	s, _ := supabase(t, oldDefaults)
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) // it was only looked at
	_, err = tx.Exec(t.Context(), `
		CREATE TABLE parent (id int PRIMARY KEY, kind regproc);
		CREATE TABLE bad (parent int REFERENCES parent);
		CREATE INDEX bad_a ON bad (parent);
		CREATE INDEX bad_b ON bad (parent);
		DROP INDEX bad_a, bad_b;
		CREATE INDEX twice_a ON parent (kind);
		CREATE INDEX twice_b ON parent (kind);
		CREATE POLICY everybody ON bad USING (true);
		CREATE POLICY slow ON parent TO anon USING (current_setting('x') = 'y');
		CREATE POLICY more ON parent FOR SELECT TO anon USING (id > 1);
		ALTER TABLE deals DISABLE ROW LEVEL SECURITY;
		CREATE TABLE closed (id int);
		ALTER TABLE closed ENABLE ROW LEVEL SECURITY;
		CREATE VIEW open AS SELECT * FROM leads;
		CREATE MATERIALIZED VIEW stored AS SELECT 1 AS one;
		CREATE FUNCTION loose() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	for lint, sql := range lints {
		var found int
		if err := tx.QueryRow(t.Context(), fmt.Sprintf("SELECT count(*) FROM (%s) q", sql)).Scan(&found); err != nil {
			t.Fatalf("%s: %v", lint, err)
		}
		if found == 0 && !strings.HasPrefix(lint, "0014") && !strings.HasPrefix(lint, "0030") { // what only an administrator, or a failure, makes
			t.Errorf("lint %s finds nothing", lint)
		}
	}
}
