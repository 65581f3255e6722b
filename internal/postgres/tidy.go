package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Untidy reports whether the run history was not tidied for a day.
func (r *Run) Untidy() bool { return r.untidy }

const (
	// tidyClaim lets one process a day tidy.
	tidyClaim = `
INSERT INTO sync_metadata AS m (key, body, fetched_at) VALUES ('tidied', '{}', clock_timestamp())
ON CONFLICT (key) DO UPDATE SET fetched_at = excluded.fetched_at
WHERE m.fetched_at < clock_timestamp() - interval '1 day'`

	tidyPartitions = `
SELECT c.relname::text
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass('sync_runs') AND c.relname ~ '^sync_runs_\d{4}_\d{2}$'
ORDER BY 1`
)

// tidyRows are what no partition takes with it. $1 is the retention.
var tidyRows = []string{
	`DELETE FROM sync_runs_default WHERE started_at < clock_timestamp() - $1::interval`,
	`DELETE FROM sync_quarantine WHERE settled_at < clock_timestamp() - $1::interval`, // with the payload
	`DELETE FROM sync_alerts WHERE raised_at < clock_timestamp() - $1::interval`,
	`DELETE FROM sync_logins WHERE window_started_at < clock_timestamp() - least($1::interval, interval '1 day')`,
}

// Tidy makes the partitions of the run history that are to come and drops those whose every
// run is older than retention. One process a day does so, however many ask; nothing waits
// for a lock for more than a second.
func (s *Store) Tidy(ctx context.Context, retention time.Duration) error {
	claimed, err := s.pool.Exec(ctx, tidyClaim)
	if err != nil {
		return fmt.Errorf("tidy the run history: %w", conceal(err))
	}
	if claimed.RowsAffected() == 0 {
		return nil
	}
	err = errors.Join(s.makePartitions(ctx, time.Second), s.dropPartitions(ctx, time.Now().Add(-retention)))
	for _, sql := range tidyRows {
		_, failure := s.pool.Exec(ctx, sql, fmt.Sprintf("%d seconds", int64(retention.Seconds())))
		err = errors.Join(err, conceal(failure))
	}
	if err != nil {
		return fmt.Errorf("tidy the run history: %w", err)
	}
	return nil
}

// dropPartitions drops the months that ended before.
func (s *Store) dropPartitions(ctx context.Context, before time.Time) error {
	rows, err := s.pool.Query(ctx, tidyPartitions)
	if err != nil {
		return conceal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return conceal(err)
	}
	var failures error
	for _, name := range names {
		month, err := time.Parse("2006_01", strings.TrimPrefix(name, "sync_runs_"))
		if err != nil || month.AddDate(0, 1, 0).After(before) {
			continue
		}
		failures = errors.Join(failures, s.dropPartition(ctx, name))
	}
	return failures
}

// dropPartition gives up rather than keep runs waiting behind it.
func (s *Store) dropPartition(ctx context.Context, name string) error {
	if err := s.within(ctx, time.Second, "DROP TABLE IF EXISTS "+name); err != nil {
		return fmt.Errorf("drop %s: %w", name, conceal(err))
	}
	return nil
}

// within executes a statement that waits for a lock no longer than that.
func (s *Store) within(ctx context.Context, wait time.Duration, sql string) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, setLimits, wait.String()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sql)
		return err
	})
}
