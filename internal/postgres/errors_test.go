package postgres

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed/pgtest"
)

// Every way in which a database is unusable says what to do, and none shows the password.
func TestUnusableDatabases(t *testing.T) {
	t.Parallel()
	good := pgtest.Database(t)
	change := func(edit func(*url.URL)) string {
		u, err := url.Parse(good)
		if err != nil {
			t.Fatal(err)
		}
		edit(u)
		return u.String()
	}
	readOnly, locked := pgtest.Database(t), pgtest.Database(t)
	run(t, readOnly, "ALTER DATABASE "+nameOf(t, readOnly)+" SET default_transaction_read_only = on")
	run(t, locked, `DO $$ BEGIN CREATE ROLE pauper LOGIN PASSWORD 'pauper'; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)

	for what, c := range map[string]struct{ address, hint string }{
		"wrong password": {change(func(u *url.URL) { u.User = url.UserPassword("postgres", "wrong-secret") }), "refuses this password"},
		"no database":    {change(func(u *url.URL) { u.Path = "/nowhere" }), "no such database"},
		"down":           {change(func(u *url.URL) { u.Host = "127.0.0.1:1" }), "does not answer"},
		"unknown host":   {change(func(u *url.URL) { u.Host = "db.invalid" }), "host name"},
		"read-only":      {readOnly, "read-only"},
		"not migrated":   {pgtest.Empty(t), "zohomirror migrate"},
		"no rights": {strings.Replace(change(func(u *url.URL) { u.User = url.UserPassword("pauper", "pauper") }), nameOf(t, good), nameOf(t, locked), 1),
			"lacks a right"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, err := open(t, c.address).Claim(t.Context(), Intent{Module: module(t, "leads"), ID: uuid.New(), Mode: ModeSync}, time.Hour)
			if err == nil {
				t.Fatal("claimed")
			}
			if hint := Hint(err); !strings.Contains(hint, c.hint) {
				t.Errorf("error %q, hint %q", err, hint)
			}
			u, _ := url.Parse(c.address)
			password, _ := u.User.Password()
			for _, part := range []string{password, u.Host, u.Hostname(), "db.invalid"} {
				if part != "pauper" && strings.Contains(err.Error(), part) {
					t.Errorf("error %q shows %q of the address", err, part)
				}
			}
		})
	}
}

func run(t *testing.T, address, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

func nameOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Path[1:]
}

func TestOpenNamesTheSettingNotItsValue(t *testing.T) {
	t.Parallel()
	_, err := Open(context.Background(), "postgres://u:top-secret@host:port/x", nil)
	if err == nil || strings.Contains(err.Error(), "top-secret") || !strings.Contains(err.Error(), "DATABASE_URL") {
		t.Errorf("error %v", err)
	}
}
