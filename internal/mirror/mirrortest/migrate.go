package mirrortest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"zohomirror/internal/postgres"
)

// Migrate brings a database up to this version, as a user would: the org's own migrations are
// applied too, since promoted fields are in the catalogue.
func Migrate(ctx context.Context, databaseURL string) error {
	store, err := postgres.Open(ctx, databaseURL, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	root := "."
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root = filepath.Join("..", root); len(root) > 60 {
			return errors.New("the project's root is not above this folder")
		}
	}
	_, err = store.MigrateOrg(ctx, filepath.Join(root, "migrations", "org"))
	return err
}
