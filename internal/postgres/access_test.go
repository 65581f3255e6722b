package postgres

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
)

// supabaseRoles are what the Data API acts as; service_role passes row level security.
const supabaseRoles = `
DO $$ BEGIN CREATE ROLE anon NOLOGIN NOINHERIT; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE authenticated NOLOGIN NOINHERIT; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;`

// The rights that Supabase gives on whatever the owner makes in public: until 2026, and now.
const (
	oldDefaults = `
		GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
		ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
		ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
		ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;`
	newDefaults = oldDefaults + `
		ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT, INSERT, UPDATE, DELETE ON TABLES FROM anon, authenticated, service_role;
		ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE USAGE, SELECT ON SEQUENCES FROM anon, authenticated, service_role;
		ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE EXECUTE ON FUNCTIONS FROM anon, authenticated, service_role;
		ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE EXECUTE ON FUNCTIONS FROM public;`
)

// onSupabase runs a test on databases with either set of default privileges.
func onSupabase(t *testing.T, test func(t *testing.T, owner, admin *Store)) {
	t.Helper()
	for name, defaults := range map[string]string{"old defaults": oldDefaults, "new defaults": newDefaults} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			owner, admin := supabase(t, defaults)
			test(t, owner, admin)
		})
	}
}

// asRole opens the admin's database as a login role that the test makes.
func asRole(t testing.TB, admin *Store, suffix, attributes string) *Store {
	t.Helper()
	address := admin.pool.Config().ConnString()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/") + suffix
	u.User = url.UserPassword(name, "password")
	mustExec(t, admin, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'password' %s", name, attributes))
	t.Cleanup(func() { // the test's own context and pool have ended
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			_, err = conn.Exec(ctx, fmt.Sprintf("DROP OWNED BY %[1]s CASCADE; DROP ROLE %[1]s", name), pgx.QueryExecModeSimpleProtocol)
			_ = conn.Close(ctx)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return open(t, u.String())
}

func mustExec(t testing.TB, s *Store, sql string) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// supabase is a database as Supabase would have it, migrated by an owner who is no superuser:
// with partitions that were made later, an org's own migration, and a row.
func supabase(t *testing.T, defaults string) (owner, admin *Store) {
	t.Helper()
	admin = open(t, pgtest.Empty(t))
	mustExec(t, admin, supabaseRoles)
	owner = asRole(t, admin, "_owner", "CREATEROLE CREATEDB BYPASSRLS")
	mustExec(t, admin, "ALTER SCHEMA public OWNER TO "+owner.pool.Config().ConnConfig.User)
	mustExec(t, owner, defaults)
	if err := owner.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	const own = `-- +goose Up
ALTER TABLE leads ADD COLUMN shoe_size bigint;
CREATE OR REPLACE VIEW leads_live WITH (security_invoker = true) AS SELECT * FROM leads WHERE deleted_at IS NULL;
`
	if err := os.WriteFile(filepath.Join(folder, "20261124153000_shoes.sql"), []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	if applied, err := owner.MigrateOrg(t.Context(), folder); err != nil || len(applied) != 1 {
		t.Fatal(applied, err)
	}
	for _, row := range rows(t, owner, "SELECT relname AS name FROM pg_class WHERE relname ~ '^sync_runs_2' AND relkind = 'r'") {
		mustExec(t, owner, "DROP TABLE "+row["name"].(string))
	}
	if err := owner.makePartitions(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	mustPage(t, claim(t, owner, "leads"), crm.Metadata{}, lead(1, "2026-01-01T00:00:00Z", ""), lead(2, "2026-01-01T00:00:00Z", ""))
	mustExec(t, owner, "UPDATE leads SET deleted_at = now() WHERE id = '2'")
	return owner, admin
}

// relations are all that is ours and holds or gives rows, and what each role may do with it.
const relations = `
SELECT c.relname AS name, c.relkind::text AS kind, r.role, string_agg(p.privilege, ' ' ORDER BY p.privilege) AS may
FROM pg_class c
CROSS JOIN unnest($1::text[]) AS r (role)
CROSS JOIN LATERAL (
	SELECT privilege FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
		|| CASE WHEN current_setting('server_version_num')::int >= 170000 THEN ARRAY['MAINTAIN'] END) AS t (privilege)
	WHERE c.relkind <> 'S' AND (has_table_privilege(r.role, c.oid, privilege)
		OR privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(r.role, c.oid, privilege))
	UNION ALL
	SELECT privilege FROM unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS s (privilege)
	WHERE c.relkind = 'S' AND has_sequence_privilege(r.role, c.oid, privilege)
) AS p
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
GROUP BY 1, 2, 3`

// may tells what roles may do, as "role: rights on name".
func may(t testing.TB, s *Store, roles ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, row := range rows(t, s, relations, roles) {
		all[row["role"].(string)+" on "+row["name"].(string)] = row["may"].(string)
	}
	return all
}

// Whatever Supabase gives its roles by default, they may do nothing with anything of ours:
// not with views, nor with sequences, nor with what is made later.
func TestSupabaseRolesMayDoNothing(t *testing.T) {
	t.Parallel()
	onSupabase(t, func(t *testing.T, s, admin *Store) {
		rights := may(t, s, "anon", "authenticated", "public")
		same(t, "rights", map[string]string{}, rights)
		functions := rows(t, s, `SELECT p.proname, r.role FROM pg_proc p CROSS JOIN unnest(ARRAY['anon', 'authenticated', 'public']) AS r (role)
			WHERE p.pronamespace = 'public'::regnamespace AND has_function_privilege(r.role, p.oid, 'EXECUTE')`)
		same(t, "functions", []object{}, functions)
		for _, role := range []string{"anon", "authenticated"} {
			for _, relation := range []string{"leads", "leads_live", "deals_live", "sync_runs", "sync_tokens", "sync_org_migrations"} {
				for _, try := range []string{"SELECT * FROM %s", "TRUNCATE %s"} {
					if code := admin.tryAs(t, role, fmt.Sprintf(try, relation)); code != "42501" && code != "42809" { // a view is no table
						t.Errorf("%s: %s: %q", role, fmt.Sprintf(try, relation), code)
					}
				}
			}
		}
	})
}

// tryAs returns the SQLSTATE of what a role tries, empty where it is let.
func (s *Store) tryAs(t testing.TB, role, sql string) (code string) {
	t.Helper()
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) // whatever it did
	if _, err := tx.Exec(t.Context(), "SET LOCAL ROLE "+role); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), sql); err != nil {
		return sqlState(err)
	}
	return ""
}

// behindViews are the state that sync_health and sync_recent are made of.
var behindViews = []string{"sync_runs", "sync_locks", "sync_verifications", "sync_quarantine"}

// A login role that is only a member of zohomirror_reader sees the mirror, marked rows and
// living ones, what the views of health are made of, and no payload of a record.
func TestReaderSeesTheMirrorAlone(t *testing.T) {
	t.Parallel()
	onSupabase(t, func(t *testing.T, s, admin *Store) {
		if strings.HasSuffix(t.Name(), "/new_defaults") {
			runRolesFile(t, s) // which gives a reader no more and no less
		}
		want := map[string]string{}
		for _, relation := range append([]string{"leads", "deals", "leads_live", "deals_live", "sync_health", "sync_recent"}, behindViews...) {
			want["zohomirror_reader on "+relation] = "SELECT"
		}
		same(t, "rights", want, may(t, s, "zohomirror_reader"))

		reader := asRole(t, admin, "_reader", "IN ROLE zohomirror_reader")
		for relation, n := range map[string]float64{"leads": 2, "leads_live": 1, "deals": 0, "deals_live": 0} {
			same(t, relation, []object{{"n": n}}, rows(t, reader, "SELECT count(*) AS n FROM "+relation))
		}
		for _, state := range rows(t, s, "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname LIKE 'sync%'") {
			name := state["name"].(string)
			if _, err := reader.pool.Exec(t.Context(), "SELECT FROM "+name); sqlState(err) != "42501" && !slices.Contains(behindViews, name) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, column := range []string{"payload", "value", "reason", "record_id"} {
			if _, err := reader.pool.Exec(t.Context(), "SELECT "+column+" FROM sync_quarantine"); sqlState(err) != "42501" {
				t.Errorf("sync_quarantine.%s: %v", column, err)
			}
		}
		same(t, "health", []object{{"module": "leads", "open": 0.0}}, rows(t, reader, "SELECT module, open_quarantine AS open FROM sync_health"))
		same(t, "recent", []object{{"module": "leads", "status": "running"}}, rows(t, reader, "SELECT module, status FROM sync_recent"))
	})
}

// The views have no rights of their own: whoever may not read a table does not read it
// through its view, whether the tables' policies or their grants stand in the way.
func TestLiveViewsAskForTheirReader(t *testing.T) {
	t.Parallel()
	s, admin := supabase(t, oldDefaults)
	same(t, "views that act for their owner", []object{}, rows(t, s, `SELECT relname FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind = 'v' AND NOT coalesce(reloptions @> ARRAY['security_invoker=true'], false)`))
	same(t, "views", []object{{"n": "deals_live"}, {"n": "leads_live"}, {"n": "sync_health"}, {"n": "sync_recent"}}, rows(t, s,
		"SELECT relname AS n FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v' ORDER BY 1"))

	stranger := asRole(t, admin, "_stranger", "")
	name := stranger.pool.Config().ConnConfig.User
	mustExec(t, s, "GRANT SELECT ON leads_live TO "+name)
	if _, err := stranger.pool.Exec(t.Context(), "SELECT FROM leads_live"); sqlState(err) != "42501" {
		t.Errorf("a role that may read the view alone: %v", err)
	}
	mustExec(t, s, "GRANT SELECT ON leads TO "+name)
	same(t, "a role without a policy", []object{{"n": 0.0}}, rows(t, stranger, "SELECT count(*) AS n FROM leads_live"))
}
