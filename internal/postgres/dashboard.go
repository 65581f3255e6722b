package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// RunRow is a row of the run history.
type RunRow struct {
	Recorded
	Trigger string
	Ended   bool
}

// RunFilter picks runs of the history. What is empty picks all.
type RunFilter struct {
	Module string
	Status string
	Before RunPosition // only what began earlier
}

// RunPosition is a place in the run history, which is ordered by begin and id.
type RunPosition struct {
	At time.Time
	ID uuid.UUID
}

// Quarter is what happened to a module in a quarter of an hour.
type Quarter struct {
	Module              string
	Begin               time.Time
	OK, Failed, Skipped int
	Mean                time.Duration // of those that ended ok or failed; zero: none has
}

// Front is what the dashboard's first page shows, as of one instant.
type Front struct {
	Now      time.Time // by the database's clock
	Health   []Health
	Running  map[string]uuid.UUID // the run at work, by module
	Failed   map[string]RunRow    // the last failed run of a module that fails
	Quarters []Quarter            // of the last 24 hours, those with runs
	Runs     []RunRow
}

// ErrNoRun says that no run has an id.
var ErrNoRun = errors.New("there is no run with this id")

const (
	runColumns = `r.id, r.module, r.mode, r.status, r.trigger, r.started_at, r.ended_at IS NOT NULL, coalesce(r.duration_ms, 0),
       r.records_processed, r.inserted, r.updated, r.unchanged, r.quarantined, r.deleted, r.restored, r.pages,
       r.calls, r.credits, r.caught_up, r.watermark, r.more, coalesce(r.reason, ''),
       coalesce(r.error, ''), coalesce(r.hint, ''), coalesce(r.cause, '')`

	// runList reads each module by an index of its own, so that a status that is rare in one
	// costs no walk through the others' history.
	runList = `
SELECT ` + runColumns + `
FROM sync_locks l
CROSS JOIN LATERAL (
	SELECT * FROM sync_runs o
	WHERE o.module = l.module AND ($2 = '' OR o.status = $2)
	  AND ($3::timestamptz IS NULL OR o.started_at <= $3::timestamptz AND (o.started_at, o.id) < ($3::timestamptz, $4::uuid))
	ORDER BY o.started_at DESC, o.id DESC
	LIMIT $5
) r
WHERE $1 = '' OR l.module = $1
ORDER BY r.started_at DESC, r.id DESC
LIMIT $5`

	runsRunning = `SELECT module, id FROM sync_runs WHERE status = 'running'`

	// runsFailed is the last failed run of each module that counts as its failure.
	runsFailed = `
SELECT ` + runColumns + `
FROM sync_locks l
CROSS JOIN LATERAL (
	SELECT * FROM sync_runs o
	WHERE o.module = l.module AND o.status = 'failed' AND o.mode IN ` + modesOfStreams + `
	ORDER BY o.started_at DESC
	LIMIT 1
) r`

	runQuarters = `
SELECT module, to_timestamp(floor(extract(epoch FROM started_at) / 900) * 900),
       count(*) FILTER (WHERE status = 'ok'),
       count(*) FILTER (WHERE status = 'failed'),
       count(*) FILTER (WHERE status = 'skipped'),
       coalesce(round(avg(duration_ms) FILTER (WHERE status IN ('ok', 'failed'))), 0)::bigint
FROM sync_runs
WHERE started_at > now() - interval '24 hours'
GROUP BY 1, 2
ORDER BY 1, 2`
)

// Front reads the first page: at most n runs that the filter picks.
func (s *Store) Front(ctx context.Context, filter RunFilter, n int) (*Front, error) {
	front := &Front{Running: map[string]uuid.UUID{}, Failed: map[string]RunRow{}}
	batch := &pgx.Batch{}
	batch.Queue(healthList)
	batch.Queue(runsRunning)
	batch.Queue(runsFailed)
	batch.Queue(runQuarters)
	filter.queue(batch, n)
	err := s.look(ctx, batch, &front.Now, func(results pgx.BatchResults) (err error) {
		if front.Health, err = collect(results, healthOf); err != nil {
			return err
		}
		if err := front.readRunning(results); err != nil {
			return err
		}
		failed, err := collect(results, runRow)
		if err != nil {
			return err
		}
		for _, r := range failed {
			front.Failed[r.Module] = r
		}
		if front.Quarters, err = collect(results, quarterOf); err != nil {
			return err
		}
		front.Runs, err = collect(results, runRow)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the dashboard's first page: %w", err)
	}
	return front, nil
}

func (f *Front) readRunning(results pgx.BatchResults) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	var module string
	var id uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&module, &id}, func() error { f.Running[module] = id; return nil })
	return err
}

// Runs reads at most n runs of the history that the filter picks, the newest first, and the
// database's time.
func (s *Store) Runs(ctx context.Context, filter RunFilter, n int) (runs []RunRow, now time.Time, err error) {
	batch := &pgx.Batch{}
	filter.queue(batch, n)
	err = s.look(ctx, batch, &now, func(results pgx.BatchResults) (err error) {
		runs, err = collect(results, runRow)
		return err
	})
	if err != nil {
		return nil, now, fmt.Errorf("read the run history: %w", err)
	}
	return runs, now, nil
}

func (f RunFilter) queue(batch *pgx.Batch, n int) {
	batch.Queue(runList, f.Module, f.Status, nullTime(f.Before.At), f.Before.ID.String(), n)
}

// RunDetail is all that is known of a run.
type RunDetail struct {
	RunRow
	Now         time.Time
	Before      uuid.UUID // the same module's run before and after; zero: there is none
	After       uuid.UUID
	Checkpoints []Checkpoint // of the module's streams, as they stand now
	Drift       []Drift      // first noticed by the run
	Quarantined []Entry      // first or last met by the run, payloads aside
	More        bool         // there are more of these
}

const (
	// A skipped call may share its id with the run that did the work later.
	runByID = `
SELECT ` + runColumns + `
FROM sync_runs r
WHERE r.id = $1::uuid
ORDER BY r.status = 'skipped', r.started_at DESC
LIMIT 1`

	runNeighbours = `
WITH this AS (
	SELECT module, started_at FROM sync_runs
	WHERE id = $1::uuid
	ORDER BY status = 'skipped', started_at DESC
	LIMIT 1
)
SELECT (SELECT r.id FROM sync_runs r WHERE r.module = this.module AND r.started_at < this.started_at ORDER BY r.started_at DESC LIMIT 1),
       (SELECT r.id FROM sync_runs r WHERE r.module = this.module AND r.started_at > this.started_at ORDER BY r.started_at LIMIT 1)
FROM this`

	runStreams = `
SELECT w.stream, w.watermark, w.cursor_time, w.updated_at
FROM sync_watermarks w
WHERE w.module = (SELECT module FROM sync_runs WHERE id = $1::uuid LIMIT 1)
ORDER BY w.stream`

	runDrift = `
SELECT field, kind, was, is_now, first_seen_at, last_seen_at
FROM sync_drift
WHERE run_id = $1::uuid
ORDER BY first_seen_at, field, kind, was, is_now`

	// run_id is that of the last run that met an entry. Since a module's runs do not overlap,
	// the first is the one whose time first_seen_at lies in; both are the database's clock.
	runQuarantined = `
WITH this AS (
	SELECT module, started_at, coalesce(ended_at, 'infinity') AS ended_at FROM sync_runs
	WHERE id = $1::uuid AND status <> 'skipped' -- which is beside another
	LIMIT 1
)
` + entryColumns + `, NULL
FROM sync_quarantine
WHERE run_id = $1::uuid
   OR module = (SELECT module FROM this)
      AND first_seen_at BETWEEN (SELECT started_at FROM this) AND (SELECT ended_at FROM this)
ORDER BY settled_at IS NOT NULL, record_id
LIMIT $2`
)

// Run reads all that is known of a run, and at most n of its quarantined records. It
// returns ErrNoRun where no run has the id.
func (s *Store) Run(ctx context.Context, id uuid.UUID, n int) (*RunDetail, error) {
	detail := &RunDetail{}
	batch := &pgx.Batch{}
	for _, sql := range []string{runByID, runNeighbours, runStreams, runDrift} {
		batch.Queue(sql, id.String())
	}
	batch.Queue(runQuarantined, id.String(), n+1)
	err := s.look(ctx, batch, &detail.Now, detail.read)
	if err != nil {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	if detail.ID == uuid.Nil {
		return nil, ErrNoRun
	}
	if detail.More = len(detail.Quarantined) > n; detail.More {
		detail.Quarantined = detail.Quarantined[:n]
	}
	return detail, nil
}

func (d *RunDetail) read(results pgx.BatchResults) error {
	found, err := collect(results, runRow)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		d.RunRow = found[0]
	}
	if err := d.readNeighbours(results); err != nil {
		return err
	}
	if d.Checkpoints, err = collect(results, streamOf); err != nil {
		return err
	}
	if d.Drift, err = collect(results, driftOf); err != nil {
		return err
	}
	d.Quarantined, err = collect(results, entryOf)
	return err
}

func (d *RunDetail) readNeighbours(results pgx.BatchResults) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	var before, after *uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&before, &after}, func() error {
		d.Before, d.After = deref(before), deref(after)
		return nil
	})
	return err
}

// EntryPosition is a place in the list of open entries, which is ordered by module and record.
type EntryPosition struct {
	Module, ID string
}

// OpenList is a part of the list of open entries.
type OpenList struct {
	Now     time.Time
	Open    map[string]int64 // how many there are, by module
	Entries []Entry          // payloads aside
}

const (
	// Both read the index of open entries, in its order.
	quarantineList = entryColumns + `, NULL
FROM sync_quarantine
WHERE settled_at IS NULL AND ($1 = '' OR module = $1) AND (module, record_id) > ($2, $3)
ORDER BY module, record_id
LIMIT $4`
	quarantineCount = `SELECT module, count(*) FROM sync_quarantine WHERE settled_at IS NULL GROUP BY 1`
)

// OpenAfter reads at most n open entries, of a module or of all, that come after a place.
func (s *Store) OpenAfter(ctx context.Context, module string, after EntryPosition, n int) (*OpenList, error) {
	list := &OpenList{Open: map[string]int64{}}
	batch := &pgx.Batch{}
	batch.Queue(quarantineList, module, after.Module, after.ID, n)
	batch.Queue(quarantineCount)
	err := s.look(ctx, batch, &list.Now, func(results pgx.BatchResults) (err error) {
		if list.Entries, err = collect(results, entryOf); err != nil {
			return err
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		var name string
		var count int64
		_, err = pgx.ForEachRow(rows, []any{&name, &count}, func() error { list.Open[name] = count; return nil })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the quarantine: %w", err)
	}
	return list, nil
}

// look sends statements that only read, in one round trip. It returns *SchemaError where
// the schema is not this binary's.
func (s *Store) look(ctx context.Context, reads *pgx.Batch, now *time.Time, read func(pgx.BatchResults) error) error {
	batch := &pgx.Batch{}
	batch.Queue(setLimits, limit.String())
	batch.Queue(schemaCheck, SchemaVersion)
	batch.Queue(`SELECT now()`)
	batch.QueuedQueries = append(batch.QueuedQueries, reads.QueuedQueries...)
	err := s.send(ctx, batch, func(results pgx.BatchResults) error {
		for range 2 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		if err := results.QueryRow().Scan(now); err != nil {
			return err
		}
		return read(results)
	})
	if sqlState(err) == codeDivisionByZero {
		return s.schemaError(ctx, err)
	}
	return s.unmigrated(err)
}

// unmigrated says of a missing table what that means.
func (s *Store) unmigrated(err error) error {
	if sqlState(err) == codeUndefinedTable {
		return fmt.Errorf("%w: %w", &SchemaError{Want: SchemaVersion}, err)
	}
	return err
}

func collect[T any](results pgx.BatchResults, scan pgx.RowToFunc[T]) ([]T, error) {
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

func runRow(row pgx.CollectableRow) (r RunRow, err error) {
	var watermark *time.Time
	var milliseconds int64
	c, o := &r.Counts, &r.Outcome
	err = row.Scan(&r.ID, &r.Module, &r.Mode, &r.Status, &r.Trigger, &r.StartedAt, &r.Ended, &milliseconds,
		&c.Processed, &c.Inserted, &c.Updated, &c.Unchanged, &c.Quarantined, &c.Deleted, &c.Restored, &c.Pages,
		&o.Calls, &o.Credits, &o.CaughtUp, &watermark, &o.More, &o.Reason, &o.Err, &o.Hint, &o.Cause)
	o.Watermark, r.Duration = deref(watermark), time.Duration(milliseconds)*time.Millisecond
	return r, err
}

func quarterOf(row pgx.CollectableRow) (q Quarter, err error) {
	var milliseconds int64
	err = row.Scan(&q.Module, &q.Begin, &q.OK, &q.Failed, &q.Skipped, &milliseconds)
	q.Mean = time.Duration(milliseconds) * time.Millisecond
	return q, err
}

func streamOf(row pgx.CollectableRow) (c Checkpoint, err error) {
	var watermark, cursor *time.Time
	err = row.Scan(&c.Stream, &watermark, &cursor, &c.UpdatedAt)
	c.Watermark, c.CursorTime = deref(watermark), deref(cursor)
	return c, err
}
