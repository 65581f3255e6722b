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
	log := settings.Logger(os.Stderr)
	store, err := postgres.Open(ctx, settings.DatabaseURL, log)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	applied, err := store.MigrateOrg(ctx, c.Folder)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "the database is migrated", "schema", postgres.SchemaVersion, "org_migrations", len(applied))
	return nil
}
