package docs

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/mirror/mirrortest"
	"zohomirror/internal/pgembed"
	"zohomirror/internal/pgembed/pgtest"
)

var update = flag.Bool("update", false, "write the generated pages anew")

func TestMain(m *testing.M) {
	pgembed.Main() // a database's keeper is this program too, and goes no further
	flag.Parse()
	folder, err := os.MkdirTemp("", "zohomirror-docs-")
	if err != nil {
		panic(err)
	}
	program = sync.OnceValues(func() (string, error) { return buildProgram(folder) })
	status := pgtest.Main(m, mirrortest.Migrate)
	if err := os.RemoveAll(folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
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
