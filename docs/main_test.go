package docs

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/postgres"
)

var update = flag.Bool("update", false, "write the generated pages anew")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(pgtest.Main(m, func(ctx context.Context, databaseURL string) error {
		store, err := postgres.Open(ctx, databaseURL, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer store.Close()
		if err := store.Migrate(ctx); err != nil {
			return err
		}
		_, err = store.MigrateOrg(ctx, "../migrations/org") // promoted fields are in the catalogue
		return err
	}))
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
