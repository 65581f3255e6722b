package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// LoginLimits bound the failed log-ins of a window of time.
type LoginLimits struct {
	PerSource int
	Overall   int // from all sources
	Window    time.Duration
}

// Attempt is a log-in that was asked for.
type Attempt struct {
	Allowed bool          // it has been counted as failed until LoginSucceeded says otherwise
	Left    int           // how many more may fail
	Wait    time.Duration // until the next is allowed, where none is left
}

// A failure is counted before the password is looked at: of any number of attempts at once,
// in any number of processes, no more than the limit learn anything. What a source is no
// longer allowed does not count against all others.
const loginAttempt = `
WITH own AS (
	INSERT INTO sync_logins AS l (source, failures) VALUES ($1, 1)
	ON CONFLICT (source) DO UPDATE
	SET failures = CASE WHEN l.window_started_at < clock_timestamp() - $4::interval THEN 1 ELSE l.failures + 1 END,
	    window_started_at = CASE WHEN l.window_started_at < clock_timestamp() - $4::interval THEN clock_timestamp() ELSE l.window_started_at END
	WHERE l.failures < $2::int OR l.window_started_at < clock_timestamp() - $4::interval
	RETURNING failures
), overall AS (
	INSERT INTO sync_logins AS l (source, failures) SELECT '*', 1 FROM own
	ON CONFLICT (source) DO UPDATE
	SET failures = CASE WHEN l.window_started_at < clock_timestamp() - $4::interval THEN 1 ELSE l.failures + 1 END,
	    window_started_at = CASE WHEN l.window_started_at < clock_timestamp() - $4::interval THEN clock_timestamp() ELSE l.window_started_at END
	WHERE l.failures < $3::int OR l.window_started_at < clock_timestamp() - $4::interval
	RETURNING failures
)
SELECT least($2::int - own.failures, $3::int - overall.failures) FROM own, overall`

const loginWait = `
SELECT coalesce(ceil(extract(epoch FROM max(window_started_at) + $4::interval - clock_timestamp())), 0)::int
FROM sync_logins
WHERE source = $1 AND failures >= $2::int OR source = '*' AND failures >= $3::int`

// LoginAttempt asks whether source may try a password now.
func (s *Store) LoginAttempt(ctx context.Context, source string, limits LoginLimits) (attempt Attempt, err error) {
	args := []any{source, limits.PerSource, limits.Overall, fmt.Sprintf("%d seconds", int64(limits.Window.Seconds()))}
	batch := &pgx.Batch{}
	batch.Queue(setLimits, limit.String())
	batch.Queue(loginAttempt, args...)
	batch.Queue(loginWait, args...)
	err = s.send(ctx, batch, func(results pgx.BatchResults) error {
		if _, err := results.Exec(); err != nil {
			return err
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		left, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err != nil {
			return err
		}
		if attempt.Allowed = len(left) > 0; attempt.Allowed {
			attempt.Left = left[0]
		}
		var seconds int
		err = results.QueryRow().Scan(&seconds)
		attempt.Wait = time.Duration(max(seconds, 0)) * time.Second
		return err
	})
	if err != nil {
		return Attempt{}, fmt.Errorf("count the log-in: %w", s.unmigrated(err))
	}
	return attempt, nil
}

const (
	loginForget = `DELETE FROM sync_logins WHERE source = $1`
	loginGive   = `UPDATE sync_logins SET failures = greatest(failures - 1, 0) WHERE source = '*'`
)

// LoginSucceeded takes back what the attempt was counted as.
func (s *Store) LoginSucceeded(ctx context.Context, source string) error {
	batch := &pgx.Batch{}
	batch.Queue(setLimits, limit.String())
	batch.Queue(loginForget, source)
	batch.Queue(loginGive)
	err := s.send(ctx, batch, func(results pgx.BatchResults) error {
		for range batch.Len() {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget failed log-ins: %w", err)
	}
	return nil
}
