package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Recorded is what sync_runs says of a run that was asked for again by its id.
type Recorded struct {
	ID        uuid.UUID
	Module    string
	Mode      string
	Status    string // running, ok or failed
	StartedAt time.Time
	Duration  time.Duration // zero while it runs
	Counts    Counts
	Outcome   Outcome
}

func (r *Recorded) Error() string {
	return fmt.Sprintf("run %s of %s is recorded: %s", r.ID, r.Module, r.Status)
}

// ClaimOnce is Claim for an id that the caller has chosen and may repeat. It returns
// *Recorded, and does nothing, when a run has that id, whatever its module. A run that was
// skipped did nothing under its id, so it does not count.
func (s *Store) ClaimOnce(ctx context.Context, intent Intent, staleAfter time.Duration) (*Run, error) {
	run, err := s.open(ctx, &Run{Intent: intent, store: s, once: true}, staleAfter)
	var held *Held
	if !errors.Is(err, errRecorded) && !errors.As(err, &held) {
		return run, err
	}
	// Whoever held the claim up may have been the same call.
	recorded, unread := s.recorded(ctx, intent, staleAfter)
	switch {
	case unread != nil:
		return nil, fmt.Errorf("read the run %s: %w", intent.ID, unread)
	case recorded != nil:
		return nil, recorded
	}
	return nil, err
}

// errRecorded says that a claim's id belongs to a run.
var errRecorded = errors.New("a run of this id is recorded")

// recorded reads a run's row; nil where there is none. A run that was killed is first closed,
// once its lock is stale, so that its caller does not wait for another run to do so.
func (s *Store) recorded(ctx context.Context, intent Intent, staleAfter time.Duration) (recorded *Recorded, err error) {
	id, batch := intent.ID, &pgx.Batch{}
	batch.Queue(setLimits, limit.String())
	batch.Queue(runCloseStale, id.String(), fmt.Sprintf("%d microseconds", staleAfter.Microseconds()))
	batch.Queue(alertsOfOrphans, intent.Module.Name, intent.Alerting.state(), intent.Alerting.staleAfter())
	batch.Queue(runRecorded, id.String())
	err = s.send(ctx, batch, func(results pgx.BatchResults) error {
		for range 3 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		r := &Recorded{ID: id}
		var watermark *time.Time
		var milliseconds int64
		err := results.QueryRow().Scan(&r.Module, &r.Mode, &r.Status, &r.StartedAt, &milliseconds,
			&r.Counts.Processed, &r.Counts.Inserted, &r.Counts.Updated, &r.Counts.Unchanged, &r.Counts.Quarantined,
			&r.Counts.Deleted, &r.Counts.Restored, &r.Counts.Pages,
			&watermark, &r.Outcome.More, &r.Outcome.Reason, &r.Outcome.Err, &r.Outcome.Hint)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if watermark != nil {
			r.Outcome.Watermark = *watermark
		}
		r.Duration = time.Duration(milliseconds) * time.Millisecond
		recorded = r
		return err
	})
	return recorded, err
}

const (
	// onceLock keeps calls with one id apart, of whatever module, until the claim is decided.
	onceLock = `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`

	// onceCheck fails, with all that follows it, for an id that is recorded.
	onceCheck = `SELECT 1 / (NOT EXISTS (SELECT FROM sync_runs WHERE id = $1::uuid AND status <> 'skipped'))::int`

	runCloseStale = `
WITH abandoned AS (
	UPDATE sync_locks SET claimed_by = NULL, claimed_at = clock_timestamp()
	WHERE claimed_by = $1::uuid AND claimed_at < clock_timestamp() - $2::interval
	RETURNING 1
)
UPDATE sync_runs
SET status = 'failed', ended_at = clock_timestamp(), cause = 'killed',
    error = 'the process ended without closing this run, and its lock has become stale',
    hint = 'nothing is lost: the next run goes on from the last checkpoint. If it happens often, look for what kills the process'
WHERE id = $1::uuid AND status = 'running' AND EXISTS (SELECT FROM abandoned)`

	runRecorded = `
SELECT module, mode, status, started_at, coalesce(duration_ms, 0),
       records_processed, inserted, updated, unchanged, quarantined, deleted, restored, pages,
       watermark, more, coalesce(reason, ''), coalesce(error, ''), coalesce(hint, '')
FROM sync_runs
WHERE id = $1::uuid AND status <> 'skipped'`
)
