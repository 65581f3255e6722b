package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
)

// orgTable holds the versions of the org's own migrations. They are no part of this
// version's schema: a database ahead in them is not newer.
const orgTable = "sync_org_migrations"

// MigrateOrg applies the org's own migrations, files in a folder, and returns the names of
// those that were not applied before. A folder that is not there holds none.
func (s *Store) MigrateOrg(ctx context.Context, folder string) (applied []string, err error) {
	pending, err := s.PendingOrg(ctx, folder)
	if err != nil || len(pending) == 0 {
		return nil, err
	}
	err = again(func() error {
		return s.withProvider(ctx, os.DirFS(folder), orgTable, func(provider *goose.Provider) error {
			_, err := provider.Up(ctx)
			return err
		}, goose.WithAllowOutofOrder(true)) // two people may have written theirs side by side
	})
	if err != nil {
		return nil, fmt.Errorf("apply the org's migrations of %s: %w", folder, conceal(err))
	}
	if _, err := s.pool.Exec(ctx, fmt.Sprintf(closeTable, orgTable)); err != nil {
		return nil, fmt.Errorf("close %s to others: %w", orgTable, conceal(err))
	}
	return pending, nil
}

// PendingOrg returns the names of the org's migrations that the database does not have.
func (s *Store) PendingOrg(ctx context.Context, folder string) ([]string, error) {
	files, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var there bool
	var applied []int64
	// In our own schema: a search path may lead on to another org's.
	const isThere = "SELECT to_regclass(quote_ident(current_schema()) || '.' || $1) IS NOT NULL"
	if err := s.pool.QueryRow(ctx, isThere, orgTable).Scan(&there); err != nil {
		return nil, conceal(err)
	}
	if there {
		rows, err := s.pool.Query(ctx, "SELECT version_id FROM "+orgTable+" WHERE is_applied")
		if err == nil {
			applied, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		}
		if err != nil {
			return nil, conceal(err)
		}
	}
	var pending []string
	for _, file := range files {
		name := file.Name()
		if filepath.Ext(name) != ".sql" {
			continue
		}
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, fmt.Errorf("%s: its name must begin with a time, as in 20261124153000_name.sql", filepath.Join(folder, name))
		}
		if !slices.Contains(applied, version) {
			pending = append(pending, name)
		}
	}
	return pending, nil
}

// closeTable keeps Supabase's roles out of a table of goose's, and of the sequence of its
// ids, whatever they get on new ones by default. Who may see the mirror may read it.
const closeTable = `
DO $$
DECLARE
	sequence text := pg_get_serial_sequence('%[1]s', 'id');
	grantee text;
BEGIN
	ALTER TABLE %[1]s ENABLE ROW LEVEL SECURITY;
	FOREACH grantee IN ARRAY ARRAY['public', 'anon', 'authenticated'] LOOP
		CONTINUE WHEN grantee <> 'public' AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = grantee);
		EXECUTE format('REVOKE ALL ON %[1]s FROM %%s', grantee);
		IF sequence IS NOT NULL THEN
			EXECUTE format('REVOKE ALL ON SEQUENCE %%s FROM %%s', sequence, grantee);
		END IF;
	END LOOP;
	FOREACH grantee IN ARRAY ARRAY['service_role', 'zohomirror_service'] LOOP
		IF EXISTS (SELECT FROM pg_roles WHERE rolname = grantee) THEN
			EXECUTE format('GRANT SELECT ON %[1]s TO %%s', grantee);
		END IF;
	END LOOP;
	IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'zohomirror_service')
		AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = '%[1]s'::regclass) THEN
		CREATE POLICY service_all ON %[1]s TO zohomirror_service USING (true) WITH CHECK (true);
	END IF;
END
$$`
