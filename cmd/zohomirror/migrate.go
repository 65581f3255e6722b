package main

import (
	"context"
	"os"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/postgres"
)

type migrateCmd struct {
	Folder string `default:"migrations/org" help:"Where the org's own migrations stand; they come last. It need not be there."`
}

func (c migrateCmd) Run(ctx context.Context) error {
	settings, err := config.LoadDatabase(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	applied, err := migrate(ctx, settings, c.Folder)
	if err == nil {
		settings.Logger(os.Stderr).InfoContext(ctx, "the database is migrated", "schema", postgres.SchemaVersion, "org_migrations", len(applied))
	}
	return err
}

// migrate applies this version's migrations and then the org's own, whose names it returns.
func migrate(ctx context.Context, settings *config.Config, folder string) (applied []string, err error) {
	store, err := postgres.Open(ctx, settings.DatabaseURL, settings.Logger(os.Stderr))
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if err := store.Migrate(ctx); err != nil {
		return nil, err
	}
	return store.MigrateOrg(ctx, folder)
}
