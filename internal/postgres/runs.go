package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Counts is what a run has done so far.
type Counts struct {
	Processed   int64 // rows and problems read
	Inserted    int64
	Updated     int64
	Unchanged   int64 // equal to what is stored, or older
	Quarantined int64
	Deleted     int64 // rows marked
	Restored    int64 // marks taken back
	Pages       int
}

// Outcome is how a run ended.
type Outcome struct {
	Watermark time.Time // of the stream modified; zero when there is none yet
	CaughtUp  bool      // every stream was read to its end
	Calls     int64     // to Zoho
	Credits   int64     // that they cost
	More      bool
	Reason    string
	Err       string // empty: the run is ok
	Hint      string
	Cause     string // class of Err
}

// fence is the first thing each writing transaction does after its limits: it locks the
// lock row, renews the claim, and fails, with all that follows it, when the run no longer
// holds it.
const fence = `
WITH held AS (
	UPDATE sync_locks SET claimed_at = clock_timestamp()
	WHERE module = $1 AND claimed_by = $2::uuid
	RETURNING 1
)
SELECT 1 / count(*) FROM held`

const runClose = `
UPDATE sync_runs
SET status = $3, ended_at = clock_timestamp(), records_processed = $4, inserted = $5, updated = $6,
    unchanged = $7, quarantined = $8, pages = $9, watermark = $10, more = $11, reason = $12,
    error = $13, hint = $14, deleted = $15, restored = $16, calls = $17, credits = $18, caught_up = $19, cause = $20
WHERE id = $2::uuid AND started_at = $1`

const lockFree = `UPDATE sync_locks SET claimed_by = NULL, claimed_at = clock_timestamp() WHERE module = $1`

// Close ends the run: its row is closed, its lock freed, and alerts raised together; Pending
// then says whether any wait to be sent. It returns ErrLockLost where the run was taken over,
// and has then changed nothing.
func (r *Run) Close(ctx context.Context, counts Counts, outcome Outcome) error {
	status := "ok"
	if outcome.Err != "" {
		status = "failed"
	}
	batch := &pgx.Batch{}
	batch.Queue(setLimits, limit.String())
	batch.Queue(fence, r.Module.Name, r.ID.String())
	batch.Queue(runClose, r.StartedAt, r.ID.String(), status, counts.Processed, counts.Inserted, counts.Updated,
		counts.Unchanged, counts.Quarantined, counts.Pages, nullTime(outcome.Watermark), outcome.More,
		nullText(outcome.Reason), nullText(outcome.Err), nullText(outcome.Hint), counts.Deleted, counts.Restored,
		outcome.Calls, outcome.Credits, outcome.CaughtUp, nullText(outcome.Cause))
	batch.Queue(lockFree, r.Module.Name)
	batch.Queue(alertsOfRun, r.Module.Name, r.Alerting.state(), r.Alerting.staleAfter(), r.ID.String(), r.StartedAt)

	repeated := false
	err := persist(ctx, func() error {
		err := r.store.send(ctx, batch, func(results pgx.BatchResults) error {
			for range batch.Len() - 1 {
				if _, err := results.Exec(); err != nil {
					return err
				}
			}
			return results.QueryRow().Scan(&r.Pending)
		})
		if sqlState(err) == codeDivisionByZero {
			err = ErrLockLost
			if repeated { // because nobody knew whether it was done
				err = r.closed(ctx, status, outcome)
				r.Pending = err == nil && r.Alerting.On
			}
		}
		repeated = true
		return err
	})
	if errors.Is(err, ErrLockLost) {
		return err
	}
	if err != nil {
		return fmt.Errorf("close the run: %w", err)
	}
	return nil
}

const runClosed = `
SELECT status = $3 AND error IS NOT DISTINCT FROM $4 FROM sync_runs WHERE id = $2::uuid AND started_at = $1`

// closed returns nil where the run's row says what it was to be closed with, else ErrLockLost.
func (r *Run) closed(ctx context.Context, status string, outcome Outcome) error {
	var same bool
	err := r.store.pool.QueryRow(ctx, runClosed, r.StartedAt, r.ID.String(), status, nullText(outcome.Err)).Scan(&same)
	if err == nil && !same {
		err = ErrLockLost
	}
	return conceal(err)
}

// Modes of a run.
const (
	ModeSync   = "sync"
	ModeSince  = "since"  // reads again from an earlier point
	ModeVerify = "verify" // compares, and writes no row
	ModeRepair = "repair" // compares, and mends
	ModeReplay = "replay" // tries what is in the quarantine
)

// Triggers of a run: who called.
const (
	TriggerCLI       = "cli"
	TriggerDashboard = "dashboard"
	TriggerVercel    = "vercel-cron"
	TriggerGoogle    = "cloud-scheduler"
	TriggerPgNet     = "pg_net"
	TriggerCurl      = "curl"
	TriggerTicker    = "ticker"
	TriggerOther     = "other"
)

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func nullText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
