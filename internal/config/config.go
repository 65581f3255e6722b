// Package config reads the settings from the environment. Whatever is missing or malformed
// is reported at once, by name and never with its value.
package config

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/mirror"
	"zohomirror/internal/notify"
	"zohomirror/internal/postgres"
	"zohomirror/internal/web"
	"zohomirror/internal/zoho"
)

// Config is what a process runs with.
type Config struct {
	DatabaseURL string // with the certificates of DATABASE_CA_CERT, for postgres.Open
	CronSecret  string // empty: no call is let in
	Zoho        zoho.Config
	Mirror      mirror.Config
	Notify      notify.Config
	Google      web.Google
	Preview     bool   // a deployment that must not sync
	Dashboard   string // its password; empty: there is none
	Port        int
	LogFormat   string // json, text, or empty: text on a terminal
	LogLevel    slog.Level

	CloudRun     bool   // the log has Google Cloud's names
	CloudProject string // for the traces in it
}

// environment is the settings as they stand. They are read as text, since envconfig stops
// at the first that it cannot parse.
type environment struct {
	DatabaseURL  string `env:"DATABASE_URL"`
	DatabaseCA   string `env:"DATABASE_CA_CERT"`
	CronSecret   string `env:"CRON_SECRET"`
	ClientID     string `env:"ZOHO_CLIENT_ID"`
	ClientSecret string `env:"ZOHO_CLIENT_SECRET"`
	RefreshToken string `env:"ZOHO_REFRESH_TOKEN"`
	DC           string `env:"ZOHO_DC"`
	AccountsURL  string `env:"ZOHO_ACCOUNTS_URL"`
	APIURL       string `env:"ZOHO_API_URL"`
	Deadline     string `env:"SYNC_DEADLINE, default=55s"`
	Overlap      string `env:"SYNC_OVERLAP, default=60s"`
	StaleAfter   string `env:"LOCK_STALE_AFTER, default=30m"`
	PageSize     string `env:"SYNC_PAGE_SIZE, default=2000"`
	MassDelete   string `env:"SYNC_MASS_DELETE_PERCENT, default=5"`
	Retention    string `env:"RUN_RETENTION, default=2160h"`
	SlackWebhook string `env:"SLACK_WEBHOOK_URL"`
	SentryDSN    string `env:"SENTRY_DSN"`
	Environment  string `env:"SENTRY_ENVIRONMENT"`
	PublicURL    string `env:"PUBLIC_URL"`
	Dashboard    string `env:"DASHBOARD_PASSWORD"`
	Schedule     string `env:"SYNC_SCHEDULE, default=*/15 * * * *"`
	AlertAfter   string `env:"STALE_AFTER, default=1h"`
	Audience     string `env:"OIDC_AUDIENCE"`
	Account      string `env:"OIDC_SERVICE_ACCOUNT"`
	TrustRun     string `env:"OIDC_TRUST_CLOUD_RUN, default=false"`
	SyncPreview  string `env:"SYNC_PREVIEW, default=false"`
	VercelEnv    string `env:"VERCEL_ENV"`
	VercelHost   string `env:"VERCEL_PROJECT_PRODUCTION_URL"`
	VercelCommit string `env:"VERCEL_GIT_COMMIT_SHA"`
	CloudRun     string `env:"K_SERVICE"`
	CloudProject string `env:"GOOGLE_CLOUD_PROJECT"`
	Port         string `env:"PORT, default=8080"`
	LogFormat    string `env:"LOG_FORMAT"`
	LogLevel     string `env:"LOG_LEVEL, default=info"`
}

// Error lists every problem of the settings.
type Error struct {
	Problems []string
}

func (e *Error) Error() string {
	return "the settings cannot be used:\n  " + strings.Join(e.Problems, "\n  ")
}

// Hint says where the settings are described.
func (e *Error) Hint() string { return "every setting is described in .env.example" }

// Load reads all settings. Its error is an *Error.
func Load(ctx context.Context, from envconfig.Lookuper) (*Config, error) {
	r, err := read(ctx, from)
	if err != nil {
		return nil, err
	}
	c := r.database()
	c.CronSecret = r.env.CronSecret
	c.Zoho = r.zoho()
	c.Mirror = r.mirror()
	c.Notify = r.notify()
	c.Mirror.Notify = c.Notify
	c.Google = r.google()
	c.Preview = r.preview()
	c.Dashboard = r.env.Dashboard
	if n := len(c.Dashboard); n > 0 && n < 12 {
		r.problem("DASHBOARD_PASSWORD", "must have at least 12 characters: whoever can reach the server can try to guess it")
	}
	c.Port = r.integer("PORT", r.env.Port, 1, 65535)
	return c, r.failure()
}

// LoadDatabase reads only what it takes to reach the database.
func LoadDatabase(ctx context.Context, from envconfig.Lookuper) (*Config, error) {
	r, err := read(ctx, from)
	if err != nil {
		return nil, err
	}
	c := r.database()
	c.Notify.StaleAfter = r.staleAfter() // what status and check judge by
	return c, r.failure()
}

// LoadZoho reads only what it takes to reach Zoho.
func LoadZoho(ctx context.Context, from envconfig.Lookuper) (*Config, error) {
	r, err := read(ctx, from)
	if err != nil {
		return nil, err
	}
	c := r.log(&Config{})
	c.Zoho = r.zoho()
	return c, r.failure()
}

// LoadClient reads only what it takes to exchange a grant code: the client and its data centre.
func LoadClient(ctx context.Context, from envconfig.Lookuper) (c *Config, dc string, err error) {
	r, err := read(ctx, from)
	if err != nil {
		return nil, "", err
	}
	c = r.log(&Config{})
	c.Zoho = r.client()
	return c, strings.ToLower(r.env.DC), r.failure()
}

// A reader turns the environment into a Config and gathers what is wrong with it.
type reader struct {
	env      environment
	problems []string
}

func read(ctx context.Context, from envconfig.Lookuper) (*reader, error) {
	r := &reader{}
	trimmed := envconfig.LookuperFunc(func(name string) (string, bool) {
		value, ok := from.Lookup(name)
		value = strings.TrimSpace(value)
		if n := len(value); n > 1 && value[0] == value[n-1] && strings.ContainsAny(value[:1], `"'`) {
			r.problem(name, "stands in quotes: remove them")
		}
		return value, ok && value != "" // an empty setting counts as missing
	})
	if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: &r.env, Lookuper: trimmed}); err != nil {
		return nil, fmt.Errorf("read the environment: %w", err)
	}
	return r, nil
}

func (r *reader) problem(name, what string) { r.problems = append(r.problems, name+": "+what) }

func (r *reader) failure() error {
	if len(r.problems) == 0 {
		return nil
	}
	return &Error{Problems: r.problems}
}

func (r *reader) required(name, value string) string {
	if value == "" {
		r.problem(name, "is missing")
	}
	return value
}

func (r *reader) database() *Config {
	c := &Config{DatabaseURL: r.required("DATABASE_URL", r.env.DatabaseURL)}
	if r.env.DatabaseCA != "" {
		c.DatabaseURL = r.trusted(c.DatabaseURL)
	}
	if what := notPostgres(r.env.DatabaseURL); what != "" {
		r.problem("DATABASE_URL", what)
	}
	return r.log(c)
}

// trusted is a database URL whose server must show a certificate of DATABASE_CA_CERT's.
func (r *reader) trusted(address string) string {
	certificates, err := postgres.ReadCA(r.env.DatabaseCA)
	if err != nil {
		r.problem("DATABASE_CA_CERT", err.Error())
		return address
	}
	if notPostgres(address) != "" {
		return address // which is said of it alone
	}
	trusted, err := postgres.WithCA(address, certificates)
	if err != nil {
		r.problem("DATABASE_URL", err.Error())
		return address
	}
	return trusted
}

func (r *reader) log(c *Config) *Config {
	c.LogFormat = r.env.LogFormat
	c.CloudRun, c.CloudProject = r.env.CloudRun != "", r.env.CloudProject
	if c.LogFormat != "" && c.LogFormat != "json" && c.LogFormat != "text" {
		r.problem("LOG_FORMAT", "must be json or text")
	}
	if err := c.LogLevel.UnmarshalText([]byte(r.env.LogLevel)); err != nil {
		r.problem("LOG_LEVEL", "must be debug, info, warn or error")
	}
	return c
}

// notPostgres says what is wrong with a database URL without quoting it.
func notPostgres(address string) string {
	scheme, _, hasScheme := strings.Cut(address, "://")
	switch {
	case address == "", scheme == "postgres", scheme == "postgresql":
	case scheme == "http", scheme == "https":
		return "is a web address: take the connection string (postgres://…) that your provider shows for the database"
	case strings.HasPrefix(address, "jdbc:"):
		return "is a JDBC address: write it as postgres://user:password@host:port/database"
	case hasScheme:
		return "is not a PostgreSQL address: it must begin with postgres:// or postgresql://"
	}
	if address == "" {
		return ""
	}
	// A password's bare @ ends up in the host.
	if parsed, err := pgxpool.ParseConfig(address); err != nil || strings.Contains(parsed.ConnConfig.Host, "@") {
		return "is not a PostgreSQL connection string such as postgres://user:password@host:port/database (special characters of the password must be percent-encoded)"
	}
	return ""
}

func (r *reader) mirror() mirror.Config {
	c := mirror.Config{
		Deadline:   r.duration("SYNC_DEADLINE", r.env.Deadline, time.Second),
		Overlap:    r.duration("SYNC_OVERLAP", r.env.Overlap, 2*time.Second),
		StaleAfter: r.duration("LOCK_STALE_AFTER", r.env.StaleAfter, time.Second),
		PageSize:   r.integer("SYNC_PAGE_SIZE", r.env.PageSize, 1, 2000),
		MassDelete: r.integer("SYNC_MASS_DELETE_PERCENT", r.env.MassDelete, 0, 100),
		Retention:  r.duration("RUN_RETENTION", r.env.Retention, 48*time.Hour),
	}
	if c.StaleAfter > 0 && c.Deadline >= c.StaleAfter {
		r.problem("LOCK_STALE_AFTER", "must be longer than SYNC_DEADLINE, or a run that is at work would lose its lock")
	}
	return c
}

func (r *reader) notify() notify.Config {
	c := notify.Config{
		SlackWebhook: r.link("SLACK_WEBHOOK_URL", r.env.SlackWebhook),
		SentryDSN:    r.link("SENTRY_DSN", r.env.SentryDSN),
		PublicURL:    strings.TrimSuffix(r.link("PUBLIC_URL", r.env.PublicURL), "/"),
		Environment:  cmp.Or(r.env.Environment, r.env.VercelEnv, "production"),
		Release:      r.env.VercelCommit,
		Schedule:     r.env.Schedule,
		StaleAfter:   r.staleAfter(),
	}
	if c.PublicURL == "" && r.env.VercelHost != "" && r.env.Dashboard != "" { // else a link leads nowhere
		c.PublicURL = "https://" + r.env.VercelHost
	}
	if c.SentryDSN != "" && !notify.ValidDSN(c.SentryDSN) {
		r.problem("SENTRY_DSN", "is not an address of Sentry's: copy it from the project's settings, Client Keys")
	}
	if len(strings.Fields(c.Schedule)) != 5 {
		r.problem("SYNC_SCHEDULE", "must have crontab's five fields, such as */15 * * * *")
	}
	return c
}

func (r *reader) staleAfter() time.Duration {
	return r.duration("STALE_AFTER", r.env.AlertAfter, time.Minute)
}

// link accepts a web address. Secrets go over plain http to this machine only.
func (r *reader) link(name, value string) string {
	if value == "" {
		return ""
	}
	u, err := url.Parse(value)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http":
		r.problem(name, "must be an address that begins with https://")
		return ""
	case u.Scheme == "http" && !loopback(u.Hostname()):
		r.problem(name, "must use https: plain http is for this machine only")
		return ""
	}
	return value
}

func (r *reader) duration(name, value string, least time.Duration) time.Duration {
	d, err := time.ParseDuration(value)
	switch {
	case err != nil:
		r.problem(name, "must be a duration such as 90s or 5m")
		return 0
	case d < least:
		r.problem(name, "must be at least "+least.String())
		return 0
	}
	return d
}

func (r *reader) integer(name, value string, least, most int) int {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		r.problem(name, fmt.Sprintf("must be a whole number from %d to %d", least, most))
	}
	return n
}

func (r *reader) zoho() zoho.Config {
	c := r.client()
	c.RefreshToken = r.required("ZOHO_REFRESH_TOKEN", r.env.RefreshToken)
	return c
}

// client is all of a Zoho client but its consent.
func (r *reader) client() zoho.Config {
	c := zoho.Config{
		ClientID:     r.required("ZOHO_CLIENT_ID", r.env.ClientID),
		ClientSecret: r.required("ZOHO_CLIENT_SECRET", r.env.ClientSecret),
	}
	hosts, known := centres[strings.ToLower(r.env.DC)]
	switch {
	case r.env.DC == "" && (r.env.AccountsURL == "" || r.env.APIURL == ""):
		r.problem("ZOHO_DC", "is missing: one of "+centreNames+", whichever the address of your CRM ends in (com is us)")
	case r.env.DC != "" && !known:
		r.problem("ZOHO_DC", "must be one of "+centreNames)
	}
	c.AccountsURL, c.APIURL = hosts.accounts, hosts.api
	if r.env.AccountsURL != "" {
		c.AccountsURL = r.address("ZOHO_ACCOUNTS_URL", r.env.AccountsURL)
	}
	if r.env.APIURL != "" {
		c.APIURL = r.address("ZOHO_API_URL", r.env.APIURL)
	}
	return c
}

// address accepts a bare host or a base URL. Secrets go over plain http to this machine only.
func (r *reader) address(name, value string) string {
	if !strings.Contains(value, "://") {
		value = "https://" + value
	}
	u, err := url.Parse(strings.TrimSuffix(value, "/"))
	switch {
	case err != nil, u.Host == "", u.Hostname() == "", u.Path != "", u.RawQuery != "", u.Fragment != "", u.User != nil:
		r.problem(name, "must be a host such as accounts.zoho.eu, or a base URL without a path")
		return ""
	case u.Scheme == "http" && !loopback(u.Hostname()):
		r.problem(name, "must use https: plain http is for this machine only")
		return ""
	case u.Scheme != "https" && u.Scheme != "http":
		r.problem(name, "must use https")
		return ""
	}
	return u.String()
}
