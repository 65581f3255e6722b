// Package pgtest gives each test a PostgreSQL database of its own: one cluster a test
// binary, one migrated template in it, a copy of that a test.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed"
)

const template = "zohomirror_template"

var (
	cluster = sync.OnceValues(startCluster)
	server  *pgembed.Server
	migrate func(ctx context.Context, databaseURL string) error
	count   atomic.Int64
)

// Main runs the tests of a package whose TestMain calls it, and returns the exit status.
// The cluster is started by the first test that asks for a database.
func Main(m *testing.M, migration func(ctx context.Context, databaseURL string) error) int {
	pgembed.Main()
	migrate = migration
	status := m.Run()
	if server != nil {
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return status
}

// startCluster returns the URL of the maintenance database of a cluster with a template.
func startCluster() (string, error) {
	ctx := context.Background()
	// Hundreds of tests may run side by side.
	started, err := pgembed.Start(ctx, pgembed.Options{Fast: true, Settings: map[string]string{"max_connections": "300"}})
	if err != nil {
		return "", err
	}
	server = started
	admin := server.URL("postgres")
	if err := execute(ctx, admin, "CREATE DATABASE "+template); err != nil {
		return "", err
	}
	if err := migrate(ctx, server.URL(template)); err != nil {
		return "", fmt.Errorf("migrate the template: %w", err)
	}
	return admin, nil
}

// Database returns the URL of a migrated database that the test has for itself.
func Database(t testing.TB) string { return create(t, " TEMPLATE "+template) }

// Empty returns the URL of an empty database that the test has for itself.
func Empty(t testing.TB) string { return create(t, "") }

func create(t testing.TB, from string) string {
	t.Helper()
	admin, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("zohomirror_test_%d", count.Add(1))
	if err := execute(t.Context(), admin, "CREATE DATABASE "+name+from); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := execute(context.Background(), admin, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return server.URL(name)
}

func execute(ctx context.Context, address, sql string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}
