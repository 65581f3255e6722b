package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
)

// AsService reports whether tests are to mirror as a login role in zohomirror_service.
func AsService() bool { return os.Getenv("ZOHOMIRROR_ROLE") == "service" }

// Service runs docs/roles.sql in a migrated database, as the user of its URL, and returns the
// URL of a login role in zohomirror_service. That role owns nothing when the test ends.
func Service(t testing.TB, database string) string {
	t.Helper()
	file, err := os.ReadFile("../../docs/roles.sql") // from each package of internal
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	admin := database
	name := strings.TrimPrefix(u.Path, "/") + "_service"
	for _, sql := range []string{string(file), fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'service-password' IN ROLE zohomirror_service", name)} {
		if err := execute(t.Context(), admin, sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		// A test may have made the database read-only.
		if err := execute(context.Background(), admin, "BEGIN READ WRITE; DROP ROLE "+name+"; COMMIT"); err != nil {
			t.Error(err)
		}
	})
	u.User = url.UserPassword(name, "service-password")
	return u.String()
}
