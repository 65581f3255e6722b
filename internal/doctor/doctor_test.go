package doctor_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/crm"
	"zohomirror/internal/doctor"
	"zohomirror/internal/mirror"
	"zohomirror/internal/mirror/mirrortest"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zohosim"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	os.Exit(pgtest.Main(m, mirrortest.Migrate))
}

// an office is an installation to be examined.
type office struct {
	*zohosim.Zoho
	settings map[string]string
	doctor.Patient
}

// newOffice is well.
func newOffice(t *testing.T, sim zohosim.Config) *office {
	t.Helper()
	o := &office{Zoho: zohosim.New(sim)}
	server := httptest.NewServer(o.Zoho)
	t.Cleanup(server.Close)
	o.settings = map[string]string{
		"DATABASE_URL": pgtest.Database(t), "CRON_SECRET": "cron-secret-canary",
		"ZOHO_ACCOUNTS_URL": server.URL, "ZOHO_API_URL": server.URL, "ZOHO_CLIENT_ID": zohosim.DefaultClientID,
		"ZOHO_CLIENT_SECRET": zohosim.DefaultClientSecret, "ZOHO_REFRESH_TOKEN": zohosim.DefaultRefreshToken,
		"SLACK_WEBHOOK_URL": "https://hooks.example.com/slack-canary", "SENTRY_DSN": "https://sentry-canary@sentry.example.com/1",
	}
	o.Patient = doctor.Patient{
		Folder: filepath.Join(t.TempDir(), "none"), UserAgent: "zohomirror/test", Log: quiet,
		Open: func(ctx context.Context, c *config.Config) (*mirror.Mirror, error) {
			return mirror.Open(ctx, c.Mirror, c.Zoho, c.DatabaseURL, quiet)
		},
	}
	for _, name := range crm.Modules() {
		module, _ := crm.Find(name)
		o.Modules = append(o.Modules, module)
	}
	return o
}

func (o *office) execute(t *testing.T, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), o.settings["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// examine returns all checks, and by name.
func (o *office) examine(t *testing.T) ([]doctor.Check, map[string]doctor.Check) {
	t.Helper()
	o.Environment = envconfig.MapLookuper(o.settings)
	var told []doctor.Check
	checks := doctor.Examine(t.Context(), o.Patient, func(c doctor.Check) { told = append(told, c) })
	if diff := cmp.Diff(checks, told); diff != "" {
		t.Errorf("told otherwise:\n%s", diff)
	}
	named := map[string]doctor.Check{}
	for _, c := range checks {
		if _, twice := named[c.Name]; twice {
			t.Errorf("two checks are called %s", c.Name)
		}
		named[c.Name] = c
		if c.State == doctor.StateFailed && c.Advice == "" {
			t.Errorf("no advice: %+v", c)
		}
		if c.Detail == "" {
			t.Errorf("says nothing: %+v", c)
		}
		text := c.Detail + c.Advice
		for _, secret := range []string{"canary", zohosim.DefaultClientSecret, zohosim.DefaultRefreshToken, "password", "postgres://"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is told: %s", secret, text)
			}
		}
	}
	if refused := o.Refused(); refused != nil {
		t.Errorf("Zoho was asked for what is not documented: %v", refused)
	}
	return checks, named
}

// failed are the checks that found a problem.
func failed(checks []doctor.Check) []string {
	var names []string
	for _, c := range checks {
		if c.State == doctor.StateFailed {
			names = append(names, c.Name)
		}
	}
	return names
}

// expect holds the problems, and the status, against what they are to be.
func expect(t *testing.T, checks []doctor.Check, status int, problems ...string) {
	t.Helper()
	if diff := cmp.Diff(problems, failed(checks)); diff != "" || doctor.Status(checks) != status {
		t.Errorf("status %d, want %d; problems (-want +got):\n%s%+v", doctor.Status(checks), status, diff, checks)
	}
}

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{})
	checks, named := o.examine(t)
	expect(t, checks, 0)
	var order []string
	for _, c := range checks {
		order = append(order, c.Name)
		if c.State != doctor.StateOK {
			t.Errorf("%+v", c)
		}
	}
	want := []string{"settings", "database", "connection string", "rights", "migrations", "row level security", "zoho token",
		"scope ZohoCRM.modules.leads.READ", "scope ZohoCRM.modules.deals.READ", "scope ZohoCRM.coql.READ", "scope ZohoCRM.settings.fields.READ",
		"scope ZohoCRM.users.READ", "edition and credits", "fields of leads", "picklists of leads", "fields of deals", "picklists of deals",
		"slack", "sentry", "clock"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if got := named["edition and credits"].Detail; !strings.Contains(got, "enterprise") {
		t.Error(got)
	}
	if minted := o.Minted(); minted > 2 { // its own, and the mirror's
		t.Errorf("%d tokens", minted)
	}
	spent := 0
	for _, call := range o.Calls() {
		spent += call.Credit
		if call.Method != http.MethodGet && call.Path != "/crm/v8/coql" && call.Path != "/oauth/v2/token" {
			t.Errorf("not a reading call: %+v", call)
		}
	}
	if spent > 12 {
		t.Errorf("%d credits", spent)
	}
}

// Credits are seen once half of them are spent.
func TestFewCreditsAreTold(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{Credits: 8})
	_, named := o.examine(t)
	if got := named["edition and credits"].Detail; !strings.Contains(got, "API credits are left today") {
		t.Error(got)
	}
}

// Pain 12: valid credentials are declared invalid because the probe needs a scope that is
// not documented, or one that is missing is not named.
func TestPain12EachMissingScopeIsNamedByItself(t *testing.T) {
	t.Parallel()
	all := []string{"ZohoCRM.modules.leads.READ", "ZohoCRM.modules.deals.READ", "ZohoCRM.coql.READ", "ZohoCRM.settings.fields.READ", "ZohoCRM.users.READ"}
	without := func(missing ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(missing, s) })
	}
	for name, c := range map[string]struct {
		scopes  []string
		missing []string
		skips   []string // besides what needs them
	}{
		"the documented ones are enough": {scopes: all},
		"all modules at once":            {scopes: []string{"ZohoCRM.modules.READ", "ZohoCRM.coql.READ", "ZohoCRM.settings.fields.READ", "ZohoCRM.users.READ"}},
		"ALL in place of READ":           {scopes: []string{"ZohoCRM.modules.ALL", "ZohoCRM.coql.READ", "ZohoCRM.settings.fields.ALL", "ZohoCRM.users.ALL"}},
		"leads":                          {scopes: without(all[0]), missing: all[:1]},
		"deals":                          {scopes: without(all[1]), missing: all[1:2]},
		"coql":                           {scopes: without(all[2]), missing: all[2:3]},
		"fields":                         {scopes: without(all[3]), missing: all[3:4]},
		"users":                          {scopes: without(all[4]), missing: all[4:]},
		"two":                            {scopes: without(all[1], all[4]), missing: []string{all[1], all[4]}},
		"both modules":                   {scopes: without(all[0], all[1]), missing: all[:2], skips: all[2:3]}, // COQL cannot be told apart then
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, zohosim.Config{Scopes: c.scopes})
			checks, named := o.examine(t)
			var problems []string
			for _, scope := range c.missing {
				problems = append(problems, "scope "+scope)
				got := named["scope "+scope]
				for _, other := range all {
					if says := strings.Contains(got.Advice, other); says != (other == scope) {
						t.Errorf("%s: about %s: %s", scope, other, got.Advice)
					}
				}
			}
			status := 0
			if len(c.missing) > 0 {
				status = doctor.ClassZoho
			}
			expect(t, checks, status, problems...)
			for _, scope := range c.skips {
				if named["scope "+scope].State != doctor.StateSkipped {
					t.Errorf("%+v", named["scope "+scope])
				}
			}
			// ZohoCRM.org.READ is in none of these, and nobody calls that a fault.
			if got := named["edition and credits"]; got.State != doctor.StateSkipped || !strings.Contains(got.Detail, "ZohoCRM.org.READ") {
				t.Errorf("%+v", got)
			}
			if named["zoho token"].State != doctor.StateOK {
				t.Errorf("valid credentials are declared invalid: %+v", named["zoho token"])
			}
		})
	}
}

// Pain 12: who mirrors leads alone is not told to consent to more.
func TestPain12NoScopeIsAskedThatIsNotNeeded(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{Scopes: []string{"ZohoCRM.modules.leads.READ", "ZohoCRM.coql.READ", "ZohoCRM.settings.fields.READ", "ZohoCRM.users.READ"}})
	leads, _ := crm.Find("leads")
	o.Modules = []*crm.Module{leads}
	checks, _ := o.examine(t)
	expect(t, checks, 0)
}

func TestSettings(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{})
	well := maps.Clone(o.settings)

	o.settings = map[string]string{}
	checks, named := o.examine(t)
	expect(t, checks, doctor.ClassSettings, "settings")
	for _, c := range checks[1:] {
		if c.State != doctor.StateSkipped || !strings.HasPrefix(c.Detail, "needs: ") {
			t.Errorf("%+v", c)
		}
	}
	for _, name := range []string{"DATABASE_URL", "ZOHO_CLIENT_ID", "ZOHO_DC"} {
		if !strings.Contains(named["settings"].Detail, name+": is missing") {
			t.Errorf("%s: %+v", name, named["settings"])
		}
	}

	// What can be looked at in spite of a problem is looked at.
	o.settings = maps.Clone(well)
	delete(o.settings, "ZOHO_CLIENT_SECRET")
	checks, named = o.examine(t)
	expect(t, checks, doctor.ClassSettings, "settings")
	if named["row level security"].State != doctor.StateOK || named["zoho token"].State != doctor.StateSkipped {
		t.Errorf("%+v", checks)
	}
	o.settings = maps.Clone(well)
	delete(o.settings, "DATABASE_URL")
	checks, named = o.examine(t)
	expect(t, checks, doctor.ClassSettings, "settings")
	if named["scope ZohoCRM.coql.READ"].State != doctor.StateOK || named["database"].State != doctor.StateSkipped {
		t.Errorf("%+v", checks)
	}

	o.settings = maps.Clone(well)
	for _, name := range []string{"CRON_SECRET", "SLACK_WEBHOOK_URL", "SENTRY_DSN"} { // each a choice
		delete(o.settings, name)
	}
	checks, named = o.examine(t)
	expect(t, checks, 0)
	if !strings.Contains(named["settings"].Advice, "CRON_SECRET") || named["slack"].State != doctor.StateSkipped || named["sentry"].State != doctor.StateSkipped {
		t.Errorf("%+v", checks)
	}
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{})
	good := o.settings["DATABASE_URL"]
	says := func(checks []doctor.Check, name, detail, advice string) {
		t.Helper()
		for _, c := range checks {
			if c.Name == name && (!strings.Contains(c.Detail, detail) || !strings.Contains(c.Advice, advice)) {
				t.Errorf("%+v does not say %q and %q", c, detail, advice)
			}
		}
	}
	o.settings["DATABASE_URL"] = "postgres://user:canary@127.0.0.1:1/db"
	checks, named := o.examine(t)
	expect(t, checks, doctor.ClassDatabase, "database")
	says(checks, "database", "cannot be reached", "is it running")
	if named["rights"].Detail != "needs: database" || named["migrations"].Detail != "needs: database" || named["fields of leads"].Detail != "needs: migrations" || named["clock"].State != doctor.StateOK {
		t.Errorf("%+v", checks)
	}

	o.settings["DATABASE_URL"] = "postgres://postgres:canary@aws-0-eu-central-1.pooler.supabase.com.invalid:6543/postgres"
	checks, _ = o.examine(t)
	expect(t, checks, doctor.ClassDatabase, "database")

	o.settings["DATABASE_URL"] = pgtest.Empty(t)
	checks, _ = o.examine(t)
	expect(t, checks, doctor.ClassDatabase, "migrations")
	says(checks, "migrations", "not migrated", "zohomirror migrate")

	o.settings["DATABASE_URL"] = good + "&default_transaction_read_only=on"
	if !strings.Contains(good, "?") {
		o.settings["DATABASE_URL"] = good + "?default_transaction_read_only=on"
	}
	checks, _ = o.examine(t)
	says(checks, "database", "read-only", "primary")

	o.settings["DATABASE_URL"] = good
	if err := os.Mkdir(o.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Folder, "20990101000000_later.sql"), []byte("-- +goose Up\nSELECT 1;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	checks, _ = o.examine(t)
	expect(t, checks, doctor.ClassDatabase, "migrations")
	says(checks, "migrations", "20990101000000_later.sql", "zohomirror migrate")
}

func TestRowLevelSecurity(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{})
	o.execute(t, `DO $$ BEGIN CREATE ROLE anon NOLOGIN NOINHERIT; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`)
	checks, _ := o.examine(t)
	expect(t, checks, 0)
	o.execute(t, "GRANT SELECT (company) ON leads TO anon; GRANT INSERT ON sync_tokens TO public; ALTER TABLE deals DISABLE ROW LEVEL SECURITY")
	checks, named := o.examine(t)
	expect(t, checks, doctor.ClassDatabase, "row level security")
	for _, words := range []string{"leads: anon may SELECT", "sync_tokens: public may INSERT", "deals: has no row level security"} {
		if !strings.Contains(named["row level security"].Detail, words) {
			t.Errorf("not told: %s: %+v", words, named["row level security"])
		}
	}
	_, advice, _ := strings.Cut(named["row level security"].Advice, ": ")
	o.execute(t, advice) // and it can be taken at its word
	checks, _ = o.examine(t)
	expect(t, checks, 0)
}

// A user that may read and not write is found before its first run fails.
func TestRights(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{})
	u, err := url.Parse(o.settings["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/") + "_analyst"
	o.execute(t, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'password'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO %[1]s", name))
	owner := o.settings["DATABASE_URL"]
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		conn, err := pgx.Connect(ctx, owner)
		if err == nil {
			_, err = conn.Exec(ctx, fmt.Sprintf("DROP OWNED BY %[1]s CASCADE; DROP ROLE %[1]s", name), pgx.QueryExecModeSimpleProtocol)
			_ = conn.Close(ctx)
		}
		if err != nil {
			t.Error(err)
		}
	})
	u.User = url.UserPassword(name, "password")
	o.settings["DATABASE_URL"] = u.String()
	if err := os.Mkdir(o.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Folder, "20261124153000_own.sql"), []byte("-- +goose Up\nSELECT 1;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := postgres.Open(t.Context(), owner, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.MigrateOrg(t.Context(), o.Folder); err != nil {
		t.Fatal(err)
	}
	checks, named := o.examine(t)
	expect(t, checks, doctor.ClassDatabase, "rights")
	if !strings.Contains(named["rights"].Detail, "leads") || !strings.Contains(named["rights"].Advice, "zohomirror_service") {
		t.Errorf("%+v", named["rights"])
	}
	o.settings["DATABASE_URL"] = owner
	o.execute(t, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "+name+"; GRANT zohomirror_service TO "+name)
	o.settings["DATABASE_URL"] = u.String()
	checks, _ = o.examine(t)
	expect(t, checks, 0)
}

func TestToken(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{})
	o.settings["ZOHO_REFRESH_TOKEN"] = "1000.canary.other"
	checks, named := o.examine(t)
	expect(t, checks, doctor.ClassZoho, "zoho token")
	if !strings.Contains(named["zoho token"].Advice, "data centre") || named["fields of leads"].State != doctor.StateSkipped {
		t.Errorf("%+v", checks)
	}
}

// The token's own answer says where the org lives.
func TestWrongDataCentre(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{})
	accounts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"access_token":"1000.a.b","api_domain":"https://www.zohoapis.eu","expires_in":3600}`)
	}))
	t.Cleanup(accounts.Close)
	o.settings["ZOHO_ACCOUNTS_URL"], o.settings["ZOHO_DC"] = accounts.URL, "us"
	delete(o.settings, "ZOHO_API_URL")
	checks, named := o.examine(t)
	expect(t, checks, doctor.ClassZoho, "zoho token")
	if got := named["zoho token"]; !strings.Contains(got.Detail, "zohoapis.eu") || got.Advice != "set ZOHO_DC=eu" {
		t.Errorf("%+v", got)
	}
}

func TestModuleThatTheOrgLacks(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{})
	o.Forbid("Deals", true)
	checks, named := o.examine(t)
	expect(t, checks, doctor.ClassZoho, "scope ZohoCRM.modules.deals.READ")
	if got := named["scope ZohoCRM.modules.deals.READ"]; !strings.Contains(got.Detail, "NO_PERMISSION") || !strings.Contains(got.Advice, "administrator") {
		t.Errorf("%+v", got)
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{})
	o.execute(t, "ALTER TABLE deals DROP CONSTRAINT deals_stage_check, ADD CONSTRAINT deals_stage_check CHECK (stage IN ('Qualification'))")
	checks, named := o.examine(t)
	expect(t, checks, doctor.ClassSchema, "picklists of deals")
	if got := named["picklists of deals"]; !strings.Contains(got.Detail, "Stage has ") || !strings.Contains(got.Advice, "zohomirror schema migration deals --apply") || strings.Contains(got.Detail, "Negotiation") {
		t.Errorf("%+v", got)
	}

	o = newOffice(t, zohosim.Config{})
	o.execute(t, "DROP VIEW leads_live; ALTER TABLE leads ALTER COLUMN annual_revenue TYPE numeric(14,0)")
	checks, named = o.examine(t)
	expect(t, checks, doctor.ClassSchema, "fields of leads")
	if named["picklists of leads"].State != doctor.StateOK { // compared all the same
		t.Errorf("%+v", checks)
	}
}

// A problem of an earlier class gives the status, whatever comes later.
func TestTheFirstProblemGivesTheStatus(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{Scopes: []string{"ZohoCRM.modules.READ", "ZohoCRM.coql.READ", "ZohoCRM.settings.fields.READ"}})
	o.execute(t, "ALTER TABLE deals DROP CONSTRAINT deals_stage_check, ADD CONSTRAINT deals_stage_check CHECK (stage IN ('Qualification'))")
	checks, _ := o.examine(t)
	expect(t, checks, doctor.ClassZoho, "scope ZohoCRM.users.READ", "picklists of deals")
}

func TestNotify(t *testing.T) {
	t.Parallel()
	o := newOffice(t, zohosim.Config{})
	sent := 0
	o.Slack = func(context.Context, *config.Config) error { sent++; return nil }
	o.Sentry = func(context.Context, *config.Config) error { return fmt.Errorf("HTTP 403") }
	checks, named := o.examine(t)
	expect(t, checks, doctor.ClassNotify, "sentry")
	if sent != 1 || !strings.Contains(named["slack"].Detail, "a test was sent") || !strings.Contains(named["sentry"].Advice, "SENTRY_DSN") {
		t.Errorf("%d, %+v", sent, checks)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	for off, words := range map[time.Duration]string{10 * time.Minute: "10m0s behind", -10 * time.Minute: "10m0s ahead of", 0: "", 20 * time.Second: ""} {
		o := newOffice(t, zohosim.Config{Now: func() time.Time { return time.Now().Add(off) }})
		checks, named := o.examine(t)
		if words == "" {
			expect(t, checks, 0)
			continue
		}
		expect(t, checks, doctor.ClassZoho, "clock")
		// The call itself takes its time, a second or two on a busy machine.
		if got := named["clock"]; !strings.Contains(got.Detail, words[strings.Index(words, " "):]) {
			t.Errorf("%s: %+v", off, got)
		}
	}
	o := newOffice(t, zohosim.Config{NoDate: true})
	checks, named := o.examine(t)
	expect(t, checks, 0)
	if named["clock"].State != doctor.StateSkipped {
		t.Errorf("%+v", named["clock"])
	}
}
