package mirror_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zohosim"
)

// newTenant is an org that has a schema and a role of its own in somebody's database; the
// role's search path may name more.
func newTenant(t *testing.T, host *org, schema, more string) *org {
	t.Helper()
	u, err := url.Parse(host.database)
	if err != nil {
		t.Fatal(err)
	}
	role := strings.TrimPrefix(u.Path, "/") + "_" + schema
	for _, sql := range []string{
		"CREATE ROLE %[1]s LOGIN PASSWORD 'password'", "CREATE SCHEMA %[2]s AUTHORIZATION %[1]s", "ALTER ROLE %[1]s SET search_path = %[2]s%[3]s",
	} {
		execute(t, host, fmt.Sprintf(sql, role, schema, more))
	}
	t.Cleanup(func() { // the test's own context and pool have ended
		conn, err := pgx.Connect(context.Background(), host.database)
		if err == nil {
			_, err = conn.Exec(context.Background(), fmt.Sprintf("DROP OWNED BY %[1]s CASCADE; DROP ROLE %[1]s", role), pgx.QueryExecModeSimpleProtocol)
			_ = conn.Close(context.Background())
		}
		if err != nil {
			t.Error(err)
		}
	})
	u.User = url.UserPassword(role, "password")
	o := &org{clock: &clock{now: noon}, config: defaultConfig, database: u.String(), log: &lockedBuffer{}}
	if pgtest.Pooled() {
		o.database = pgtest.Pooler(t, o.database)
	}
	o.serve(t, zohosim.Config{Now: o.Now})
	o.connect(t)
	return o
}

// migrate makes all there is in the tenant's schema, and one table more by a migration of its own.
func (o *org) migrate(t *testing.T, table string) {
	t.Helper()
	store, err := postgres.Open(t.Context(), o.database, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "20261124153000_own.sql") // each org's first has the same version
	if err := os.WriteFile(file, []byte("-- +goose Up\nCREATE TABLE "+table+" ();\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if err := store.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if applied, err := store.MigrateOrg(t.Context(), folder); err != nil || len(applied) != want {
			t.Fatalf("%v, %v", applied, err)
		}
	}
}

// Several orgs in one database, each with a schema and a role of its own: none sees another,
// and nothing of one lands at another's, not even where a search path leads on to a schema
// that holds a mirror too.
func TestSeveralOrgs(t *testing.T) {
	t.Parallel()
	host := newOrg(t, zohosim.Config{}, defaultConfig) // in public
	host.migrate(t, "in_public")
	orgs := map[string]*org{"north": newTenant(t, host, "north", ""), "south": newTenant(t, host, "south", ", public")}
	relations := func(schema string) []string {
		return value[[]string](t, host, "SELECT array_agg(relname::text ORDER BY relname) FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p', 'v') AND relname !~ '^in_'", schema)
	}
	size := map[string]int{"north": 30, "south": 70}
	for name, o := range orgs {
		o.migrate(t, "in_"+name)
		if diff := cmp.Diff(relations("public"), relations(name)); diff != "" {
			t.Errorf("%s (-public +%s):\n%s", name, name, diff)
		}
		for i := range size[name] {
			o.Insert("Deals", zohosim.Record{"Deal_Name": fmt.Sprint(name, " ", i), "Stage": "Qualification"})
			o.Insert("Leads", zohosim.Record{"Last_Name": fmt.Sprint(name, " ", i), "Company": name})
		}
		o.mirror = o.process(t, o.database)
	}
	for range 2 {
		for name, o := range orgs {
			for _, module := range []string{"leads", "deals"} {
				o.run(t, module)
				o.equal(t, module)
				found, _ := crm.Find(module)
				result := o.verify(t, mirror.Request{Module: found, Mode: mirror.ModeVerify, Deep: true})
				if result.Verdict != "equal" || result.Checked != int64(size[name]) {
					t.Errorf("%s, %s: %+v", name, module, result)
				}
			}
			o.Advance(time.Hour)
			o.MassUpdate("Deals", nil, zohosim.Record{"Next_Step": "Call " + name})
		}
	}
	for name, o := range orgs {
		if got := value[int](t, o, "SELECT count(*) FROM sync_health"); got != 2 {
			t.Errorf("%s: %d modules", name, got)
		}
		if own := value[[]string](t, o, "SELECT array_agg(table_schema || '.' || table_name) FROM information_schema.tables WHERE table_name ~ '^in_'"); len(own) != 1 || own[0] != name+".in_"+name {
			t.Errorf("%s sees %v", name, own)
		}
		for _, other := range []string{"north", "south", "public"} {
			for _, table := range []string{"leads", "sync_runs", "sync_tokens", "leads_live", "sync_org_migrations"} {
				_, err := o.db.Exec(t.Context(), "SELECT FROM "+other+"."+table)
				if (err == nil) != (other == name) {
					t.Errorf("%s, %s.%s: %v", name, other, table, err)
				}
			}
		}
	}
	if n := value[int](t, host, "SELECT (SELECT count(*) FROM public.leads) + (SELECT count(*) FROM public.sync_runs) + (SELECT count(*) FROM public.sync_tokens)"); n != 0 {
		t.Errorf("%d rows are in public", n)
	}
}
