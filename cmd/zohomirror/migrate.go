package main

import (
	"context"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/postgres"
)

type migrateCmd struct {
	Folder string `default:"migrations/org" help:"Where the org's own migrations stand; they come last. It need not be there."`
	JSON   bool   `name:"json" help:"Print JSON: schema, the version that is in force now, and applied, the org's own migrations that were not there before."`
}

func (migrateCmd) Help() string {
	return "It may run twice, and in two processes at once. It needs DATABASE_URL alone, and the owner of the tables."
}

func (c migrateCmd) Run(ctx context.Context) error {
	settings, err := config.LoadDatabase(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	log := settings.LoggerTo(stderr, stderr.terminal)
	store, err := postgres.Open(ctx, settings.DatabaseURL, log)
	if err != nil {
		return err
	}
	defer store.Close()
	applied := []string{} // no list is null in JSON
	err = stderr.during("migrating the database", func(come func(string)) error {
		if err := store.Migrate(ctx); err != nil {
			return err
		}
		come("the org's own migrations")
		own, err := store.MigrateOrg(ctx, c.Folder)
		applied = append(applied, own...)
		return err
	})
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "the database is migrated", "schema", postgres.SchemaVersion, "org_migrations", len(applied))
	if c.JSON {
		return printJSON(struct {
			Schema  int      `json:"schema"`
			Applied []string `json:"applied"`
		}{postgres.SchemaVersion, applied})
	}
	return nil
}
