package main

import (
	"context"
	"os"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/postgres"
)

type migrateCmd struct{}

func (migrateCmd) Run(ctx context.Context) error {
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
	log.InfoContext(ctx, "the database is migrated", "schema", postgres.SchemaVersion)
	return nil
}
