package docs

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/mirror/mirrortest"
	"zohomirror/internal/pgembed/pgtest"
)

var update = flag.Bool("update", false, "write the generated pages anew")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(pgtest.Main(m, mirrortest.Migrate))
}

func connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func page(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
