package postgres

import (
	"strings"
	"testing"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
)

// Only the owner and members of zohomirror_service can mirror; a right on each table is not
// enough behind row level security.
func TestLacking(t *testing.T) {
	t.Parallel()
	admin := open(t, pgtest.Database(t))
	user := asRole(t, admin, "_user", "")
	name := user.pool.Config().ConnConfig.User
	expect := func(when string, s *Store, want int) {
		t.Helper()
		if got, err := s.Lacking(t.Context()); err != nil || len(got) != want {
			t.Errorf("%s: %v, %v; want %d", when, got, err, want)
		}
	}
	all := len(crm.Modules()) + 6
	expect("the owner", admin, 0)
	expect("anybody", user, all)
	mustExec(t, admin, "GRANT ALL ON ALL TABLES IN SCHEMA public TO "+name)
	expect("with all rights, and no policy", user, all)
	mustExec(t, admin, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "+name)
	mustExec(t, admin, "GRANT zohomirror_service TO "+name)
	expect("of the service", user, 0)
	mustExec(t, admin, "REVOKE UPDATE ON leads FROM zohomirror_service")
	expect("without one right", user, 1)
}

func TestKind(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgresql://postgres:pw@db.abcdefgh.supabase.co:5432/postgres":                            KindSupabaseDirect,
		"postgresql://postgres:pw@db.abcdefgh.supabase.co/postgres":                                 KindSupabaseDirect,
		"postgres://postgres:pw@db.abcdefgh.supabase.co:6543/postgres":                              KindSupabaseDedicated,
		"postgres://postgres.abcdefgh:pw@aws-0-eu-central-1.pooler.supabase.com:5432/postgres":      KindSupabaseSession,
		"postgres://postgres.abcdefgh:pw@aws-1-us-east-1.pooler.supabase.com:6543/postgres?x=y":     KindSupabaseTransaction,
		"host=aws-1-us-east-1.pooler.supabase.com port=6543 user=mirror.abcdefgh dbname=postgres":   KindSupabaseTransaction,
		"postgres://u:pw@localhost:6543/db":                                                         KindPlain,
		"postgres://u:pw@db.example.com/db":                                                         KindPlain,
		"postgres://u:pw@pooler.supabase.com.example.com:6543/db":                                   KindPlain,
		"postgres://u:pw@ep-cool-name-123456-pooler.eu-central-1.aws.neon.tech/db?sslmode=require":  KindPlain,
		"postgres://u:pw@db.abcdefgh.supabase.co.example.com:5432/db?application_name=zohomirror-x": KindPlain,
	} {
		if got, err := Kind(url); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", url, got, err, want)
		}
	}
	if _, err := Kind("postgres://postgres:canary@aws-0-eu-central-1.pooler.supabase.com:6543/postgres"); err == nil || !strings.Contains(err.Error(), "postgres.<project>") {
		t.Errorf("a user without the project: %v", err)
	}
	if _, err := Kind("postgres://u:canary@h:port/db"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("no address: %v", err)
	}
}
