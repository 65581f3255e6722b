package postgres

import (
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
