package config

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/mirror"
	"zohomirror/internal/notify"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zoho"
)

// least are the settings that have no default.
var least = map[string]string{
	"DATABASE_URL": "postgres://u:p@localhost/db", "ZOHO_CLIENT_ID": "id", "ZOHO_CLIENT_SECRET": "secret", "ZOHO_REFRESH_TOKEN": "token", "ZOHO_DC": "us",
}

func load(t *testing.T, more map[string]string) (*Config, error) {
	t.Helper()
	all := maps.Clone(least)
	maps.Copy(all, more)
	return Load(t.Context(), envconfig.MapLookuper(all))
}

func defaults() Config {
	return Config{
		DatabaseURL: "postgres://u:p@localhost/db",
		Zoho: zoho.Config{ClientID: "id", ClientSecret: "secret", RefreshToken: "token",
			AccountsURL: "https://accounts.zoho.com", APIURL: "https://www.zohoapis.com"},
		Mirror: mirror.Config{Deadline: 55 * time.Second, Overlap: time.Minute, StaleAfter: 30 * time.Minute, PageSize: 2000, MassDelete: 5, Retention: 90 * 24 * time.Hour},
		Notify: notify.Config{Environment: "production", Schedule: "*/15 * * * *", StaleAfter: time.Hour},
		Port:   8080, LogLevel: slog.LevelInfo,
	}
}

func TestEachSetting(t *testing.T) {
	for name, c := range map[string]struct {
		set    map[string]string
		change func(*Config)
	}{
		"defaults":      {nil, func(*Config) {}},
		"database":      {map[string]string{"DATABASE_URL": "host=/tmp dbname=x"}, func(c *Config) { c.DatabaseURL = "host=/tmp dbname=x" }},
		"secret":        {map[string]string{"CRON_SECRET": " s "}, func(c *Config) { c.CronSecret = "s" }},
		"client":        {map[string]string{"ZOHO_CLIENT_ID": "i"}, func(c *Config) { c.Zoho.ClientID = "i" }},
		"client secret": {map[string]string{"ZOHO_CLIENT_SECRET": "x"}, func(c *Config) { c.Zoho.ClientSecret = "x" }},
		"refresh token": {map[string]string{"ZOHO_REFRESH_TOKEN": "r"}, func(c *Config) { c.Zoho.RefreshToken = "r" }},
		"centre": {map[string]string{"ZOHO_DC": "CA"}, func(c *Config) {
			c.Zoho.AccountsURL, c.Zoho.APIURL = "https://accounts.zohocloud.ca", "https://www.zohoapis.ca"
		}},
		"addresses": {map[string]string{"ZOHO_DC": "", "ZOHO_ACCOUNTS_URL": "accounts.zoho.eu", "ZOHO_API_URL": "http://127.0.0.1:9000/"}, func(c *Config) {
			c.Zoho.AccountsURL, c.Zoho.APIURL = "https://accounts.zoho.eu", "http://127.0.0.1:9000"
		}},
		"address wins": {map[string]string{"ZOHO_API_URL": "https://sandbox.zohoapis.com"}, func(c *Config) { c.Zoho.APIURL = "https://sandbox.zohoapis.com" }},
		"deadline":     {map[string]string{"SYNC_DEADLINE": "20s"}, func(c *Config) { c.Mirror.Deadline = 20 * time.Second }},
		"overlap":      {map[string]string{"SYNC_OVERLAP": "2s"}, func(c *Config) { c.Mirror.Overlap = 2 * time.Second }},
		"stale":        {map[string]string{"LOCK_STALE_AFTER": "1h"}, func(c *Config) { c.Mirror.StaleAfter = time.Hour }},
		"mass delete":  {map[string]string{"SYNC_MASS_DELETE_PERCENT": "20"}, func(c *Config) { c.Mirror.MassDelete = 20 }},
		"page":         {map[string]string{"SYNC_PAGE_SIZE": "1"}, func(c *Config) { c.Mirror.PageSize = 1 }},
		"port":         {map[string]string{"PORT": "1"}, func(c *Config) { c.Port = 1 }},
		"format":       {map[string]string{"LOG_FORMAT": "text"}, func(c *Config) { c.LogFormat = "text" }},
		"cloud run":    {map[string]string{"K_SERVICE": "mirror", "GOOGLE_CLOUD_PROJECT": "p"}, func(c *Config) { c.CloudRun, c.CloudProject = true, "p" }},
		"level":        {map[string]string{"LOG_LEVEL": "warn"}, func(c *Config) { c.LogLevel = slog.LevelWarn }},
		"retention":    {map[string]string{"RUN_RETENTION": "48h"}, func(c *Config) { c.Mirror.Retention = 48 * time.Hour }},
		"slack":        {map[string]string{"SLACK_WEBHOOK_URL": "https://h/T"}, func(c *Config) { c.Notify.SlackWebhook = "https://h/T" }},
		"sentry":       {map[string]string{"SENTRY_DSN": "https://k@h/1"}, func(c *Config) { c.Notify.SentryDSN = "https://k@h/1" }},
		"environment":  {map[string]string{"SENTRY_ENVIRONMENT": "test", "VERCEL_ENV": "production"}, func(c *Config) { c.Notify.Environment = "test" }},
		"on Vercel": {map[string]string{"VERCEL_ENV": "preview", "VERCEL_PROJECT_PRODUCTION_URL": "x.vercel.app", "DASHBOARD_PASSWORD": "long enough, this"}, func(c *Config) {
			c.Preview, c.Notify.Environment, c.Notify.PublicURL, c.Dashboard = true, "preview", "https://x.vercel.app", "long enough, this"
		}},
		"release":          {map[string]string{"VERCEL_GIT_COMMIT_SHA": "0a1b2c"}, func(c *Config) { c.Notify.Release = "0a1b2c" }},
		"no dashboard":     {map[string]string{"VERCEL_PROJECT_PRODUCTION_URL": "x.vercel.app"}, func(*Config) {}},
		"public address":   {map[string]string{"PUBLIC_URL": "https://m.example.com/", "VERCEL_PROJECT_PRODUCTION_URL": "x"}, func(c *Config) { c.Notify.PublicURL = "https://m.example.com" }},
		"dashboard":        {map[string]string{"DASHBOARD_PASSWORD": "open sesame 7"}, func(c *Config) { c.Dashboard = "open sesame 7" }},
		"schedule":         {map[string]string{"SYNC_SCHEDULE": "0 * * * *"}, func(c *Config) { c.Notify.Schedule = "0 * * * *" }},
		"alert":            {map[string]string{"STALE_AFTER": "3h"}, func(c *Config) { c.Notify.StaleAfter = 3 * time.Hour }},
		"empty is not set": {map[string]string{"SYNC_DEADLINE": "", "PORT": " "}, func(*Config) {}},
	} {
		t.Run(name, func(t *testing.T) {
			want := defaults()
			c.change(&want)
			want.Mirror.Notify = want.Notify // whom runs tell
			got, err := load(t, c.set)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, *got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The hosts are written down here a second time (zoho-api, "Data centres").
func TestDataCentres(t *testing.T) {
	want := map[string]string{
		"us": "accounts.zoho.com www.zohoapis.com", "eu": "accounts.zoho.eu www.zohoapis.eu", "in": "accounts.zoho.in www.zohoapis.in",
		"au": "accounts.zoho.com.au www.zohoapis.com.au", "jp": "accounts.zoho.jp www.zohoapis.jp", "ca": "accounts.zohocloud.ca www.zohoapis.ca",
		"sa": "accounts.zoho.sa www.zohoapis.sa", "cn": "accounts.zoho.com.cn www.zohoapis.com.cn", "uk": "accounts.zoho.uk www.zohoapis.uk",
		"ae": "accounts.zoho.ae www.zohoapis.ae",
	}
	got := map[string]string{}
	for dc := range want {
		c, err := load(t, map[string]string{"ZOHO_DC": dc})
		if err != nil {
			t.Fatal(err)
		}
		got[dc] = strings.ReplaceAll(c.Zoho.AccountsURL+" "+c.Zoho.APIURL, "https://", "")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(centres) != len(want) {
		t.Errorf("%d data centres, want %d", len(centres), len(want))
	}
}

// Everything that is wrong is said at once, by name, and no value is shown.
func TestEveryProblemAtOnce(t *testing.T) {
	const canary = "canary7"
	_, err := Load(t.Context(), envconfig.MapLookuper(map[string]string{
		"DATABASE_URL": "mysql://u:" + canary + "@h/db", "DATABASE_CA_CERT": canary, "ZOHO_CLIENT_SECRET": `"` + canary + `"`, "ZOHO_DC": canary, "ZOHO_API_URL": "http://" + canary + ".com",
		"ZOHO_ACCOUNTS_URL": "https://" + canary + "/path", "SYNC_DEADLINE": canary, "SYNC_OVERLAP": "1s", "LOCK_STALE_AFTER": "-1s",
		"SYNC_PAGE_SIZE": "2001", "SYNC_MASS_DELETE_PERCENT": "101", "PORT": "70000", "RUN_RETENTION": "47h", "SLACK_WEBHOOK_URL": canary, "SENTRY_DSN": "http://" + canary + ".com/1",
		"PUBLIC_URL": "ftp://" + canary, "DASHBOARD_PASSWORD": canary, "SYNC_SCHEDULE": canary, "STALE_AFTER": canary, "LOG_FORMAT": canary, "LOG_LEVEL": canary,
		"OIDC_AUDIENCE": canary, "OIDC_TRUST_CLOUD_RUN": canary, "SYNC_PREVIEW": canary,
	}))
	var problem *Error
	if !errors.As(err, &problem) {
		t.Fatalf("error %v", err)
	}
	names := map[string]bool{}
	for _, p := range problem.Problems {
		name, _, _ := strings.Cut(p, ":")
		names[name] = true
	}
	want := map[string]bool{}
	for _, name := range strings.Fields(`DATABASE_URL DATABASE_CA_CERT ZOHO_CLIENT_ID ZOHO_CLIENT_SECRET ZOHO_REFRESH_TOKEN ZOHO_DC ZOHO_API_URL ZOHO_ACCOUNTS_URL
		SYNC_DEADLINE SYNC_OVERLAP LOCK_STALE_AFTER SYNC_PAGE_SIZE SYNC_MASS_DELETE_PERCENT PORT LOG_FORMAT LOG_LEVEL
		RUN_RETENTION SLACK_WEBHOOK_URL SENTRY_DSN PUBLIC_URL DASHBOARD_PASSWORD SYNC_SCHEDULE STALE_AFTER
		OIDC_SERVICE_ACCOUNT OIDC_TRUST_CLOUD_RUN SYNC_PREVIEW`) {
		want[name] = true
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("a value is shown: %s", err)
	}
}

func TestBadSettings(t *testing.T) {
	for _, c := range []struct{ name, value, says string }{
		{"DATABASE_URL", "", "is missing"},
		{"DATABASE_URL", "https://abc.supabase.co", "is a web address"},
		{"DATABASE_URL", "jdbc:postgresql://h/db", "is a JDBC address"},
		{"DATABASE_URL", "sqlite://x", "must begin with postgres://"},
		{"DATABASE_URL", "postgres://u:p/w@h:5432/db", "percent-encoded"},
		{"DATABASE_URL", "postgres://u:p@w@h:5432/db", "percent-encoded"},
		{"DATABASE_URL", "hello", "is not a PostgreSQL connection string"},
		{"DATABASE_CA_CERT", "hello", "DATABASE_CA_CERT: is neither the text of a certificate"},
		{"DATABASE_CA_CERT", "/no/such/file.crt", "nor a file that can be read"},
		{"DATABASE_CA_CERT", "-----BEGIN CERTIFICATE-----", "no certificate in PEM form"},
		{"ZOHO_DC", "com", "must be one of us, eu"},
		{"ZOHO_DC", "", "is missing: one of us, eu"},
		{"ZOHO_API_URL", "http://10.0.0.1", "plain http is for this machine only"},
		{"ZOHO_API_URL", "ftp://x", "must use https"},
		{"ZOHO_API_URL", "https://x/crm/v8", "without a path"},
		{"ZOHO_API_URL", "https://u:p@x", "without a path"},
		{"SYNC_OVERLAP", "1999ms", "at least 2s"},
		{"SYNC_DEADLINE", "60", "a duration such as"},
		{"SYNC_DEADLINE", "30m", "LOCK_STALE_AFTER: must be longer"},
		{"SYNC_PAGE_SIZE", "0", "from 1 to 2000"},
		{"PORT", "http", "from 1 to 65535"},
		{"CRON_SECRET", "'quoted'", "stands in quotes"},
		{"OIDC_SERVICE_ACCOUNT", "s@p", "OIDC_AUDIENCE: is missing"},
		{"OIDC_AUDIENCE", "https://m", "OIDC_SERVICE_ACCOUNT: is missing"},
		{"OIDC_TRUST_CLOUD_RUN", "true", "for Cloud Run alone"},
		{"SYNC_PREVIEW", "yes", "true or false"},
		{"SENTRY_DSN", "https://sentry.example.com/1", "Client Keys"},
	} {
		if _, err := load(t, map[string]string{c.name: c.value}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s=%s: %v, want %q", c.name, c.value, err, c.says)
		}
	}
}

// Migrating takes the database alone.
func TestLoadDatabase(t *testing.T) {
	c, err := LoadDatabase(t.Context(), envconfig.MapLookuper(map[string]string{"DATABASE_URL": least["DATABASE_URL"]}))
	if err != nil || c.DatabaseURL != least["DATABASE_URL"] {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := LoadDatabase(t.Context(), envconfig.MapLookuper(nil)); err == nil || err.Error() != "the settings cannot be used:\n  DATABASE_URL: is missing" {
		t.Errorf("error %v", err)
	}
}

// .env.example names every setting, and what it suggests can be used.
func TestLoadZoho(t *testing.T) {
	all := maps.Clone(least)
	delete(all, "DATABASE_URL") // not needed
	all["LOG_LEVEL"] = "debug"
	c, err := LoadZoho(t.Context(), envconfig.MapLookuper(all))
	want := &Config{Zoho: defaults().Zoho, LogLevel: slog.LevelDebug}
	if diff := cmp.Diff(want, c); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	_, err = LoadZoho(t.Context(), envconfig.MapLookuper(map[string]string{"LOG_FORMAT": "xml"}))
	var wrong *Error
	if !errors.As(err, &wrong) || len(wrong.Problems) != 5 {
		t.Errorf("%v", err)
	}
}

func TestEnvExample(t *testing.T) {
	text, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	example := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			example[name] = value
		}
	}
	asked := map[string]bool{}
	_, err = Load(t.Context(), envconfig.LookuperFunc(func(name string) (string, bool) {
		asked[name] = true
		if strings.HasPrefix(name, "VERCEL_") || name == "K_SERVICE" || name == "GOOGLE_CLOUD_PROJECT" { // the platform sets these
			return "", false
		}
		value, ok := example[name]
		if !ok {
			t.Errorf("%s is not in .env.example", name)
		}
		return value, ok
	}))
	want := "the settings cannot be used:\n  ZOHO_CLIENT_ID: is missing\n  ZOHO_CLIENT_SECRET: is missing\n  ZOHO_REFRESH_TOKEN: is missing"
	if err == nil || err.Error() != want {
		t.Errorf("the example as it stands: %v", err)
	}
	for name := range example {
		if !asked[name] {
			t.Errorf("%s of .env.example is no setting", name)
		}
	}
}

func TestLogger(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{LogFormat: "json"}, `"msg":"seen"`},
		{Config{LogFormat: "text"}, "INF seen"},
		{Config{}, `"msg":"seen"`}, // no terminal
		{Config{LogFormat: "json", LogLevel: slog.LevelWarn}, ""},
		{Config{CloudRun: true}, `"severity":"INFO","message":"seen"`},
	} {
		file, err := os.CreateTemp(t.TempDir(), "log")
		if err != nil {
			t.Fatal(err)
		}
		c.config.Logger(file).Info("seen")
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), c.want) || c.want == "" && len(bytes.TrimSpace(text)) > 0 {
			t.Errorf("%+v wrote %q, want %q", c.config, text, c.want)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Pain 24: each setting there is changes what is loaded.
func TestPain24EverySettingIsRead(t *testing.T) {
	ca := pgtest.NewAuthority(t).PEM
	values := map[string]string{
		"DATABASE_URL": "postgres://x@localhost/y", "DATABASE_CA_CERT": ca, "CRON_SECRET": "s", "ZOHO_CLIENT_ID": "i", "ZOHO_CLIENT_SECRET": "x", "ZOHO_REFRESH_TOKEN": "r",
		"ZOHO_DC": "eu", "ZOHO_ACCOUNTS_URL": "a.example", "ZOHO_API_URL": "b.example", "SYNC_DEADLINE": "20s", "SYNC_OVERLAP": "2s", "LOCK_STALE_AFTER": "1h",
		"SYNC_PAGE_SIZE": "1", "SYNC_MASS_DELETE_PERCENT": "20", "RUN_RETENTION": "48h", "SLACK_WEBHOOK_URL": "https://h/T", "SENTRY_DSN": "https://k@h/1",
		"SENTRY_ENVIRONMENT": "test", "PUBLIC_URL": "https://m.example", "DASHBOARD_PASSWORD": "open sesame 7", "SYNC_SCHEDULE": "0 * * * *", "STALE_AFTER": "3h",
		"OIDC_AUDIENCE": "zohomirror", "OIDC_SERVICE_ACCOUNT": "tick@p.iam.gserviceaccount.com", "OIDC_TRUST_CLOUD_RUN": "true", "SYNC_PREVIEW": "true",
		"K_SERVICE": "mirror", "GOOGLE_CLOUD_PROJECT": "p", "VERCEL_GIT_COMMIT_SHA": "abc", "VERCEL_ENV": "preview", "VERCEL_PROJECT_PRODUCTION_URL": "x.vercel.app", "PORT": "1", "LOG_FORMAT": "text", "LOG_LEVEL": "warn",
	}
	// What takes effect only beside another setting.
	beside := map[string]map[string]string{
		"OIDC_AUDIENCE": {"OIDC_SERVICE_ACCOUNT": "a@p.iam.gserviceaccount.com"}, "OIDC_SERVICE_ACCOUNT": {"OIDC_AUDIENCE": "a"},
		"VERCEL_PROJECT_PRODUCTION_URL": {"DASHBOARD_PASSWORD": "a-password-of-many-letters"},
		"OIDC_TRUST_CLOUD_RUN":          {"OIDC_SERVICE_ACCOUNT": "a@p.iam.gserviceaccount.com", "OIDC_AUDIENCE": "a", "K_SERVICE": "mirror"},
		"SYNC_PREVIEW":                  {"VERCEL_ENV": "preview"},
	}
	settings := reflect.TypeFor[environment]()
	for i := range settings.NumField() {
		name, _, _ := strings.Cut(settings.Field(i).Tag.Get("env"), ",")
		value, ok := values[name]
		if !ok {
			t.Errorf("%s has no other value here", name)
			continue
		}
		without, errWithout := load(t, beside[name])
		with := map[string]string{name: value}
		maps.Copy(with, beside[name])
		got, err := load(t, with)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if errWithout == nil && cmp.Equal(without, got) {
			t.Errorf("%s has no effect", name)
		}
	}
}
