package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
)

// Checkpoint is how far a stream has been read. Between two windows only Watermark
// is set; while a window is open the cursor says after which record the next page begins.
type Checkpoint struct {
	Stream     string    `json:"stream"`
	Watermark  time.Time `json:"watermark"`
	CursorTime time.Time `json:"cursor_time"`
	CursorID   string    `json:"cursor_id"`
	WindowAsOf time.Time `json:"window_as_of"` // Zoho's time up to which the open window is complete
	ZohoClock  bool      `json:"window_zoho_clock"`
	Young      bool      `json:"window_young"` // a young page has fixed WindowAsOf

	State     json.RawMessage `json:"state,omitempty"` // what a cursor cannot say
	UpdatedAt time.Time       `json:"updated_at"`      // when it was last committed
}

// Metadata is one entry of what Zoho said about itself.
type Metadata struct {
	Body json.RawMessage
	Age  time.Duration
}

// Intent says which run a module is claimed for.
type Intent struct {
	Module  *crm.Module
	ID      uuid.UUID
	Mode    string // what the run is for
	Trigger string // who called; empty: other

	Alerting Alerting
}

// Run is a claimed module: the right to write its rows until the lock is lost.
type Run struct {
	Intent
	StartedAt   time.Time
	Checkpoints map[string]Checkpoint // by stream
	Money       map[string]crm.Width  // numeric columns with bounds, by name
	Metadata    map[string]Metadata   // by key
	Retrying    bool                  // pages try what is in the quarantine: each attempt counts
	Pending     bool                  // alerts wait to be sent, as Claim or Close has found

	store     *Store
	claimed   time.Time // by the process's clock, at StartedAt or a little later
	once      bool      // the id is the caller's, who may repeat it
	table     *table
	buffer    []byte // of what is sent, used again from page to page
	open      openEntries
	unsettled bool // the module has open quarantine entries that a good version may settle
	confirmed bool // the module has confirmed deletions
	due       bool // some of its deletions are to be looked at
	verifying bool // a verification of the module is under way
	untidy    bool // the run history was not tidied for a day
}

// Held says that another run holds the module's lock.
type Held struct {
	Since time.Time
}

func (h *Held) Error() string {
	return "another run holds the module's lock since " + h.Since.UTC().Format(time.RFC3339)
}

// A locked row answers within this time or counts as held: whoever holds it is at work.
const claimWait = time.Second

// Claim opens a run: it takes the module's lock, or one that has not been renewed for
// staleAfter, closes what a killed run left open, and reads all a run needs to begin.
// It returns *Held when another run is at work; that too
// leaves its row in sync_runs.
func (s *Store) Claim(ctx context.Context, intent Intent, staleAfter time.Duration) (*Run, error) {
	return s.open(ctx, &Run{Intent: intent, store: s}, staleAfter)
}

func (s *Store) open(ctx context.Context, run *Run, staleAfter time.Duration) (*Run, error) {
	if run.Trigger == "" {
		run.Trigger = TriggerOther
	}
	module := run.Module
	status, since, err := s.claim(ctx, run, staleAfter)
	switch {
	case errors.Is(err, errRecorded):
		return nil, err
	case sqlState(err) == codeLockNotAvailable:
		return nil, s.recordSkipped(ctx, run.Intent)
	case sqlState(err) == codeUndefinedTable, sqlState(err) == codeDivisionByZero:
		return nil, fmt.Errorf("claim %s: %w", module.Name, s.schemaError(ctx, err))
	case err != nil:
		err = fmt.Errorf("claim %s: %w", module.Name, err)
		if lost(err) {
			s.giveBack(ctx, module, run.ID, err)
		}
		return nil, err
	case status == "skipped":
		return nil, &Held{Since: since}
	}
	run.claimed = time.Now()
	return run, nil
}

func (s *Store) claim(ctx context.Context, run *Run, staleAfter time.Duration) (status string, since time.Time, err error) {
	module, id := run.Module.Name, run.ID.String()
	batch := &pgx.Batch{}
	batch.Queue(setLimits, claimWait.String())
	batch.Queue(schemaCheck, SchemaVersion)
	if run.once {
		batch.Queue(onceLock, id)
		batch.Queue(onceCheck, id)
	}
	batch.Queue(lockClaim, module, id, fmt.Sprintf("%d microseconds", staleAfter.Microseconds()))
	batch.Queue(runsCloseOrphans, module, id)
	batch.Queue(runOpen, module, id, run.Mode, run.Trigger)
	batch.Queue(alertsOfOrphans, module, run.Alerting.state(), run.Alerting.staleAfter())
	batch.Queue(claimState, module)
	batch.Queue(tableColumns, module)

	err = s.send(ctx, batch, func(results pgx.BatchResults) error {
		if err := prelude(results, run.once); err != nil {
			return err
		}
		if err := results.QueryRow().Scan(&run.StartedAt, &status); err != nil {
			return err
		}
		if err := results.QueryRow().Scan(&run.Pending); err != nil {
			return err
		}
		var state claimed
		if err := results.QueryRow().Scan(&since, &state.checkpoints, &state.metadata, &run.open.first, &run.open.last, &run.open.checks,
			&run.confirmed, &run.due, &run.verifying, &run.untidy); err != nil {
			return err
		}
		run.unsettled = run.open.checks != ""
		if err := state.into(run); err != nil {
			return err
		}
		return readTable(results, run)
	})
	return status, since, err
}

// prelude reads what comes before the run's row.
func prelude(results pgx.BatchResults, once bool) error {
	steps, check := 4, -1
	if once {
		steps, check = 6, 3
	}
	for i := range steps {
		_, err := results.Exec()
		if i == check && sqlState(err) == codeDivisionByZero {
			return errRecorded
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// schemaError says how the schema differs from the one this binary was built for.
func (s *Store) schemaError(ctx context.Context, cause error) error {
	schema := &SchemaError{Want: SchemaVersion}
	if sqlState(cause) == codeDivisionByZero {
		if err := s.pool.QueryRow(ctx, schemaVersion).Scan(&schema.Found); err != nil {
			return err
		}
		return schema
	}
	return fmt.Errorf("%w: %w", schema, cause)
}

// claimed is what the claim reads, in the form it arrives in.
type claimed struct {
	checkpoints, metadata []byte
}

func (c claimed) into(run *Run) error {
	var checkpoints []Checkpoint
	var metadata map[string]struct {
		Body    json.RawMessage `json:"body"`
		Seconds int64           `json:"age"`
	}
	if err := errors.Join(json.Unmarshal(c.checkpoints, &checkpoints), json.Unmarshal(c.metadata, &metadata)); err != nil {
		return err
	}
	run.Checkpoints = make(map[string]Checkpoint, len(checkpoints))
	for _, c := range checkpoints {
		run.Checkpoints[c.Stream] = c
	}
	run.Metadata = make(map[string]Metadata, len(metadata))
	for key, m := range metadata {
		run.Metadata[key] = Metadata{Body: m.Body, Age: time.Duration(m.Seconds) * time.Second}
	}
	return nil
}

func readTable(results pgx.BatchResults, run *Run) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	run.table, err = readColumns(rows)
	run.Money = run.table.widths()
	return err
}

func readColumns(rows pgx.Rows) (*table, error) {
	t := &table{}
	var c tableColumn
	_, err := pgx.ForEachRow(rows, []any{&t.row, &t.array, &c.name, &c.oid, &c.modifier}, func() error {
		t.columns = append(t.columns, c)
		return nil
	})
	return t, err
}

// recordSkipped leaves a run row for a call that met a locked lock row.
func (s *Store) recordSkipped(ctx context.Context, intent Intent) error {
	var since time.Time
	if err := s.pool.QueryRow(ctx, runSkipped, intent.Module.Name, intent.ID.String(), intent.Mode, intent.Trigger).Scan(&since); err != nil {
		return fmt.Errorf("record the skipped run of %s: %w", intent.Module.Name, conceal(err))
	}
	return &Held{Since: since}
}

const (
	schemaVersion = `SELECT coalesce(max(version_id), 0) FROM sync_migrations WHERE is_applied`

	// schemaCheck fails, with all that follows it, in a schema of another version.
	schemaCheck = `SELECT 1 / ((` + schemaVersion + `) = $1)::int`

	// The database's clock alone decides what is stale.
	lockClaim = `
INSERT INTO sync_locks AS l (module, claimed_by, claimed_at)
VALUES ($1, $2::uuid, clock_timestamp())
ON CONFLICT (module) DO UPDATE
SET claimed_by = excluded.claimed_by, claimed_at = excluded.claimed_at
WHERE l.claimed_by IS NULL OR l.claimed_at < clock_timestamp() - $3::interval`

	runsCloseOrphans = `
UPDATE sync_runs
SET status = 'failed', ended_at = clock_timestamp(), cause = 'killed',
    error = 'the process ended without closing this run; run ' || $2 || ' took the lock over',
    hint = 'nothing is lost: that run went on from the last checkpoint. If it happens often, look for what kills the process'
WHERE module = $1 AND status = 'running'
  AND EXISTS (SELECT FROM sync_locks WHERE module = $1 AND claimed_by = $2::uuid)`

	runOpen = `
INSERT INTO sync_runs (id, module, mode, trigger, status, ended_at, reason)
SELECT $2::uuid, $1, $3, $4,
       CASE WHEN claimed_by = $2::uuid THEN 'running' ELSE 'skipped' END,
       CASE WHEN claimed_by = $2::uuid THEN NULL ELSE clock_timestamp() END,
       CASE WHEN claimed_by = $2::uuid THEN NULL ELSE 'lock-held' END
FROM sync_locks
WHERE module = $1
RETURNING started_at, status`

	claimState = `
SELECT l.claimed_at,
       (SELECT coalesce(jsonb_agg(jsonb_strip_nulls(to_jsonb(w))), '[]') FROM sync_watermarks w WHERE w.module = $1),
       (SELECT coalesce(jsonb_object_agg(m.key, jsonb_build_object('body', m.body,
               'age', extract(epoch FROM clock_timestamp() - m.fetched_at)::bigint)), '{}')
          FROM sync_metadata m WHERE m.key = 'users' OR m.key LIKE '%:' || $1),
       coalesce(q.first, ''), coalesce(q.last, ''), CASE WHEN q.last IS NULL THEN '' ELSE ` + checksPrint + ` END,
       EXISTS (SELECT FROM sync_deletions d WHERE d.module = $1 AND d.state = 'confirmed'),
       EXISTS (SELECT FROM sync_deletions d WHERE d.module = $1 AND d.due_at <= clock_timestamp()),
       EXISTS (SELECT FROM sync_verifications v WHERE v.module = $1 AND v.verdict = 'running'),
       NOT EXISTS (SELECT FROM sync_metadata m WHERE m.key = 'tidied' AND m.fetched_at > clock_timestamp() - interval '1 day')
FROM sync_locks l, (
	SELECT min(plan) AS first, max(plan) AS last FROM sync_quarantine
	WHERE module = $1 AND settled_at IS NULL AND record_id NOT LIKE 'sha256:%') q
WHERE l.module = $1`

	tableColumns = `
SELECT t.oid, t.typarray, a.attname::text, a.atttypid, a.atttypmod
FROM pg_type t
JOIN pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
WHERE t.typrelid = to_regclass($1)
ORDER BY a.attnum`

	// A module's first lock is not to be seen before its claim is committed.
	runSkipped = `
WITH skipped AS (
	INSERT INTO sync_runs (id, module, mode, trigger, status, ended_at, reason)
	VALUES ($2::uuid, $1, $3, $4, 'skipped', clock_timestamp(), 'lock-held')
)
SELECT coalesce((SELECT claimed_at FROM sync_locks WHERE module = $1), clock_timestamp())`
)
