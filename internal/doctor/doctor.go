// Package doctor examines an installation from its settings to Zoho's clock, in the order in
// which one thing needs another, and says of each what is wrong and what to do. It only reads.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// Classes of a problem: the command's exit status.
const (
	ClassSettings = 2
	ClassDatabase = 3
	ClassZoho     = 4
	ClassSchema   = 5
	ClassNotify   = 6
)

// States of a check.
const (
	StateOK      = "ok"
	StateFailed  = "failed"
	StateSkipped = "skipped" // it could not be made, or it concerns what is not needed
)

// A Check is what came of one.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`           // what was found, or why it was skipped
	Advice string `json:"advice,omitempty"` // what to do
	Class  int    `json:"class"`            // of the problem that it looks for
}

// A Patient is what is examined.
type Patient struct {
	Environment envconfig.Lookuper
	Modules     []*crm.Module
	Folder      string // of the org's own migrations
	UserAgent   string
	Log         *slog.Logger

	// Open opens the mirror that the settings name.
	Open func(context.Context, *config.Config) (*mirror.Mirror, error)
	// Slack and Sentry send a test message and a test event; nil: only their settings are looked at.
	Slack, Sentry func(context.Context, *config.Config) error
}

// Examine makes all checks. Each is told of as soon as it is made.
func Examine(ctx context.Context, p Patient, tell func(Check)) []Check {
	e := &examination{Patient: p, tell: tell, state: map[string]string{}}
	defer e.close()
	e.examine(ctx)
	return e.checks
}

// Status is the class of the first problem, or 0.
func Status(checks []Check) int {
	for _, c := range checks {
		if c.State == StateFailed {
			return c.Class
		}
	}
	return 0
}

// checkLimit bounds one check.
const checkLimit = 30 * time.Second

// examination is one under way.
type examination struct {
	Patient
	tell   func(Check)
	checks []Check
	state  map[string]string // by name

	database *config.Config // what it takes to reach the database
	source   *config.Config // … and Zoho
	store    *postgres.Store
	zoho     *zoho.Client
	mirror   *mirror.Mirror
	diffs    map[string]*mirror.SchemaDiff

	answered   bool          // a module's records
	ahead      time.Duration // Zoho's clock, of ours, if it is known
	aheadKnown bool
}

func (e *examination) close() {
	if e.mirror != nil {
		e.mirror.Close()
	}
	if e.zoho != nil {
		e.zoho.Close()
	}
	if e.store != nil {
		e.store.Close()
	}
}

// A finding is what a check comes to. The zero finding is fine.
type finding struct {
	detail  string
	advice  string
	failed  bool
	skipped bool
}

func fine(format string, args ...any) finding { return finding{detail: fmt.Sprintf(format, args...)} }

func skipped(detail, advice string) finding {
	return finding{detail: detail, advice: advice, skipped: true}
}

func wrong(detail, advice string) finding {
	return finding{detail: detail, advice: advice, failed: true}
}

// failure is an error with its own advice.
func failure(err error) finding {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return wrong(err.Error(), hinted.Hint())
	}
	return wrong(err.Error(), postgres.Hint(err))
}

// check makes a check, unless one that it needs was not fine.
func (e *examination) check(ctx context.Context, class int, name string, needs []string, look func(context.Context) finding) {
	found := finding{}
	for _, need := range needs {
		if e.state[need] != StateOK && !found.skipped {
			found = skipped("needs: "+strings.TrimSuffix(need, readFor), "")
		}
	}
	if !found.skipped {
		limited, cancel := context.WithTimeout(ctx, checkLimit)
		found = look(limited)
		cancel()
	}
	check := Check{Name: name, State: StateOK, Detail: found.detail, Advice: found.advice, Class: class}
	switch {
	case found.failed:
		check.State = StateFailed
	case found.skipped:
		check.State = StateSkipped
	}
	e.state[name] = check.State
	e.checks = append(e.checks, check)
	e.tell(check)
}

// Names of checks that others need.
const (
	settings   = "settings"
	databaseIs = "database"
	rights     = "rights"
	migrations = "migrations"
	token      = "zoho token"
	fields     = "scope " + zoho.ScopeFields
)

func needs(names ...string) []string { return names }

// examine is the order of things.
func (e *examination) examine(ctx context.Context) {
	e.check(ctx, ClassSettings, settings, nil, e.settings)

	e.check(ctx, ClassDatabase, databaseIs, nil, e.reach)
	e.check(ctx, ClassDatabase, "connection string", nil, e.connection)
	e.check(ctx, ClassDatabase, rights, needs(databaseIs), e.rights) // without them the migrations seem not to be there
	e.check(ctx, ClassDatabase, migrations, needs(databaseIs, rights), e.migrations)
	e.check(ctx, ClassDatabase, "row level security", needs(databaseIs, migrations), e.security)

	e.check(ctx, ClassZoho, token, nil, e.token)
	readable := e.modules(ctx)
	e.coql(ctx, readable)
	e.check(ctx, ClassZoho, fields, needs(token), e.fieldsScope)
	e.check(ctx, ClassZoho, "scope "+zoho.ScopeUsers, needs(token), e.users)
	e.check(ctx, ClassZoho, "edition and credits", needs(token), e.org)

	for _, module := range e.Modules {
		e.check(ctx, ClassSchema, "fields of "+module.Name, needs(settings, migrations, fields, records(module)), func(ctx context.Context) finding { return e.fields(ctx, module) })
		e.check(ctx, ClassSchema, "picklists of "+module.Name, needs("fields of "+module.Name+readFor), func(context.Context) finding { return e.picklists(module) })
	}
	e.check(ctx, ClassNotify, "slack", needs(settings), e.slack)
	e.check(ctx, ClassNotify, "sentry", needs(settings), e.sentry)
	e.check(ctx, ClassZoho, "clock", needs(token), e.clock)
}

// settings looks at all; what reaches the database, and what reaches Zoho, may be there
// without the rest.
func (e *examination) settings(ctx context.Context) finding {
	if database, err := config.LoadDatabase(ctx, e.Environment); err == nil { // their problems are among all
		e.database = database
	}
	if source, err := config.LoadZoho(ctx, e.Environment); err == nil {
		source.Zoho.UserAgent = e.UserAgent
		e.source = source
	}
	all, err := config.Load(ctx, e.Environment)
	if err != nil {
		var problems *config.Error
		if errors.As(err, &problems) {
			return wrong(strings.Join(problems.Problems, "; "), problems.Hint())
		}
		return failure(err)
	}
	if e.UserAgent != "" {
		all.Zoho.UserAgent = e.UserAgent
	}
	e.database, e.source = all, all
	if all.CronSecret == "" {
		found := fine("can be used; CRON_SECRET is not set, so no call over HTTP is let in")
		found.advice = "set CRON_SECRET where a scheduler calls over HTTP: openssl rand -hex 32 makes one"
		return found
	}
	return fine("can be used")
}

func (e *examination) reach(ctx context.Context) finding {
	if e.database == nil {
		return skipped("needs: settings", "")
	}
	store, err := postgres.Open(ctx, e.database.DatabaseURL, e.Log)
	if err != nil {
		return failure(err)
	}
	e.store = store
	server, err := store.Server(ctx)
	switch {
	case err != nil:
		return failure(err)
	case server.Major < postgres.LeastVersion:
		return wrong("PostgreSQL "+server.Version, fmt.Sprintf("upgrade it: the views need PostgreSQL %d or later", postgres.LeastVersion))
	case server.ReadOnly:
		return wrong("PostgreSQL "+server.Version+", read-only", "point DATABASE_URL at the primary, and see whether the provider froze the database for its disk or its bill")
	case server.Schema == "":
		return wrong("PostgreSQL "+server.Version+", and this user's search_path names no schema that is there", "ALTER ROLE … SET search_path = …, or create the schema")
	}
	return fine("PostgreSQL %s", server.Version)
}

func (e *examination) connection(context.Context) finding {
	if e.database == nil {
		return skipped("needs: settings", "")
	}
	advice, err := postgres.Advise(e.database.DatabaseURL, postgres.PlatformOf(e.Environment.Lookup))
	switch {
	case err != nil:
		return failure(err)
	case !advice.OK:
		return wrong(advice.Meaning, advice.Hint)
	}
	found := fine("%s", advice.Meaning)
	found.advice = advice.Hint
	return found
}

func (e *examination) migrations(ctx context.Context) finding {
	if err := e.store.CheckSchema(ctx); err != nil {
		return failure(err)
	}
	pending, err := e.store.PendingOrg(ctx, e.Folder)
	switch {
	case postgres.Denied(err):
		return fine("schema %d; only the owner of the tables can see whether %s is applied", postgres.SchemaVersion, e.Folder)
	case err != nil:
		return failure(err)
	case len(pending) > 0:
		return wrong(fmt.Sprintf("%s holds migrations that are not applied: %s", e.Folder, strings.Join(pending, ", ")), "run: zohomirror migrate")
	}
	return fine("schema %d", postgres.SchemaVersion)
}

func (e *examination) rights(ctx context.Context) finding {
	lacking, err := e.store.Lacking(ctx)
	switch {
	case err != nil:
		return failure(err)
	case len(lacking) > 0:
		return wrong("this user may not write to "+strings.Join(lacking, ", "), "as the owner of the tables: GRANT zohomirror_service TO this user")
	}
	return fine("no table that a run writes to is closed to this user")
}

func (e *examination) security(ctx context.Context) finding {
	exposed, err := e.store.Exposed(ctx)
	if err != nil {
		return failure(err)
	}
	var what, remedies []string
	for _, x := range exposed {
		what, remedies = append(what, x.Name+": "+x.What), append(remedies, x.Remedy)
	}
	if len(what) > 0 {
		return wrong(strings.Join(what, "; "), "as the owner of the tables: "+strings.Join(remedies, " "))
	}
	return fine("on for every table; neither everybody nor anon nor authenticated may do anything")
}

func (e *examination) slack(ctx context.Context) finding {
	return e.notifier(ctx, "SLACK_WEBHOOK_URL", e.database.Notify.SlackWebhook, e.Slack)
}

func (e *examination) sentry(ctx context.Context) finding {
	return e.notifier(ctx, "SENTRY_DSN", e.database.Notify.SentryDSN, e.Sentry)
}

// notifier looks at one way of telling people. None is a choice, not a fault.
func (e *examination) notifier(ctx context.Context, name, value string, test func(context.Context, *config.Config) error) finding {
	switch {
	case value == "":
		return skipped(name+" is not set: nobody is told this way", "")
	case test == nil:
		return fine("%s is set; nothing was sent", name)
	}
	if err := test(ctx, e.database); err != nil {
		found := failure(err)
		found.advice = cmp.Or(found.advice, "check "+name)
		return found
	}
	return fine("%s is set, and a test was sent", name)
}
