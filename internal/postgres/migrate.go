package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"zohomirror/migrations"
)

const (
	migrationsTable = "sync_migrations"
	migrationsLock  = "sync_migrations_lock"
)

// SchemaVersion is the schema this binary was built for: the number of its newest migration.
const SchemaVersion = 6

// Migrate brings the schema to SchemaVersion. It may run twice and in two processes at
// once: a lease row, not a session lock, keeps them apart, so a transaction pooler will do.
func (s *Store) Migrate(ctx context.Context) error {
	if err := again(func() error { return s.applyMigrations(ctx) }); err != nil {
		return fmt.Errorf("migrate the database: %w", conceal(err))
	}
	if _, err := s.pool.Exec(ctx, fmt.Sprintf(closeTable, migrationsTable)); err != nil {
		return fmt.Errorf("close %s to others: %w", migrationsTable, conceal(err))
	}
	if err := s.makePartitions(ctx, 10*time.Second); err != nil {
		return fmt.Errorf("make the partitions of sync_runs: %w", err)
	}
	if _, err := s.pool.Exec(ctx, tidyClaim); err != nil { // there is nothing else to tidy
		return fmt.Errorf("note that the run history is tidy: %w", conceal(err))
	}
	return nil
}

// mayMigrate refuses at once whom goose would let wait for two minutes, since it takes a right
// that is missing for a lock that is held.
const mayMigrate = `
DO $$
DECLARE
	home text := quote_ident(current_schema());
	held regclass := to_regclass(home || '.` + migrationsLock + `');
BEGIN
	IF home IS NULL THEN
		RAISE invalid_schema_name USING MESSAGE = 'no schema of the search path exists, or may be used: ' || current_setting('search_path');
	ELSIF held IS NULL AND NOT has_schema_privilege(home, 'CREATE') THEN
		RAISE insufficient_privilege USING MESSAGE = 'permission denied to create tables in schema ' || home;
	ELSIF held IS NOT NULL AND NOT has_table_privilege(held, 'UPDATE') THEN
		RAISE insufficient_privilege USING MESSAGE = 'permission denied to migrate schema ' || home;
	END IF;
END
$$`

// again does up to twice more what failed because two processes made the same bookkeeping
// table at the same instant: they collide in the catalogue, and the second attempt finds
// the table there.
func again(migrate func() error) error {
	err := migrate()
	for range 2 {
		if code := sqlState(err); code != "23505" && code != "42P07" {
			break
		}
		err = migrate()
	}
	return err
}

func (s *Store) applyMigrations(ctx context.Context) error {
	return s.withProvider(ctx, migrations.Files, migrationsTable, func(provider *goose.Provider) error {
		found, err := provider.GetDBVersion(ctx)
		if err != nil {
			return err
		}
		if found > SchemaVersion {
			return &SchemaError{Found: found, Want: SchemaVersion}
		}
		_, err = provider.Up(ctx)
		return err
	})
}

// withProvider works on one series of migrations, each with a table of its own.
func (s *Store) withProvider(ctx context.Context, files fs.FS, table string, work func(*goose.Provider) error, options ...goose.ProviderOption) (err error) {
	if _, err := s.pool.Exec(ctx, mayMigrate); err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(s.pool)
	defer func() { err = errors.Join(err, db.Close()) }()

	locker, err := lock.NewPostgresTableLocker(
		lock.WithTableName(migrationsLock),
		lock.WithTableLockTimeout(time.Second, 120),
	)
	if err != nil {
		return err
	}
	options = append(options, goose.WithTableName(table), goose.WithLocker(locker))
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, options...)
	if err != nil {
		return err
	}
	return work(provider)
}

// makePartitions makes the partitions of this month and the next two, each closed to
// Supabase's roles like its parent. It is safe to repeat. A month that has rows in the default
// partition already stays there whole. To make one keeps every run waiting, so it gives up
// where it has to wait for a lock itself.
func (s *Store) makePartitions(ctx context.Context, wait time.Duration) error {
	month := time.Now().UTC()
	month = time.Date(month.Year(), month.Month(), 1, 0, 0, 0, 0, time.UTC)
	for range 3 {
		next := month.AddDate(0, 1, 0)
		name := "sync_runs_" + month.Format("2006_01")
		err := s.within(ctx, wait, fmt.Sprintf(makePartition, name, month.Format(time.DateOnly), next.Format(time.DateOnly)))
		if code := sqlState(err); err != nil && code != "42P07" && code != "23514" {
			return err
		}
		month = next
	}
	return nil
}

// makePartition's names and dates are made here, from the clock alone. Whoever owns the run
// history owns each month, so that every member of that role can drop it.
const makePartition = `
DO $$
DECLARE
	parent regclass := 'sync_runs';
	home text := (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = parent);
	month text := home || '.%[1]s';
	owner oid := (SELECT relowner FROM pg_class WHERE oid = parent);
	grantee text;
BEGIN
	IF to_regclass(month) IS NOT NULL THEN
		RETURN;
	END IF;
	EXECUTE format('CREATE TABLE %%s PARTITION OF %%s FOR VALUES FROM (''%[2]s 00:00+00'') TO (''%[3]s 00:00+00'')', month, parent);
	EXECUTE format('ALTER TABLE %%s ENABLE ROW LEVEL SECURITY', month);
	FOREACH grantee IN ARRAY ARRAY['public', 'anon', 'authenticated'] LOOP
		IF grantee = 'public' OR EXISTS (SELECT FROM pg_roles WHERE rolname = grantee) THEN
			EXECUTE format('REVOKE ALL ON %%s FROM %%s', month, grantee);
		END IF;
	END LOOP;
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
		EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %%s TO service_role', month);
	END IF;
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'zohomirror_service') THEN
		EXECUTE format('CREATE POLICY service_all ON %%s TO zohomirror_service USING (true) WITH CHECK (true)', month);
	END IF;
	IF (SELECT relowner FROM pg_class WHERE oid = month::regclass) <> owner THEN
		EXECUTE format('ALTER TABLE %%s OWNER TO %%s', month, owner::regrole);
	END IF;
END
$$`
