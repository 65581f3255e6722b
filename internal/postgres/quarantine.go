package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"zohomirror/internal/crm"
)

// openEntries is what a claim learns of the quarantine. It is zero where nothing is open
// that could be tried again.
type openEntries struct {
	first, last string // of the plans that entries were last tried with, in their order
	checks      string // checksPrint
}

// checksPrint is a fingerprint of what the table $1 refuses, beyond its columns' types.
const checksPrint = `(SELECT left(md5(coalesce(string_agg(d.line, E'\n' ORDER BY d.line COLLATE "C"), '')), 12) FROM (
	SELECT c.conname || ' ' || pg_get_constraintdef(c.oid) AS line FROM pg_constraint c WHERE c.conrelid = to_regclass($1)
	UNION ALL
	SELECT a.attname FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND a.attnotnull) d)`

// fits is a fingerprint of what the run can read and the table's columns can hold. With
// checksPrint it decides whether a record fits.
func (w *Writer) fits() string {
	digest := sha256.New()
	for _, c := range w.run.table.columns {
		fmt.Fprintln(digest, c.name, c.oid, c.modifier)
	}
	return w.upsert.plan.Fingerprint() + "-" + hex.EncodeToString(digest.Sum(nil)[:6]) + "-"
}

// present is the plan of an entry that is tried now.
func (w *Writer) present() string { return w.fits() + w.run.open.checks }

// MayFit reports whether open entries were last tried with another plan or another table,
// as the claim found them.
func (w *Writer) MayFit() bool {
	open, present := w.run.open, w.present()
	return open.checks != "" && (open.first != present || open.last != present)
}

// An entry that is seen again as it was is not written, unless it is being tried.
const quarantinePut = `
INSERT INTO sync_quarantine AS q (module, record_id, modified_time, reason, payload, run_id, field, value, rule, plan)
SELECT DISTINCT ON (u.record_id) $1, u.record_id, u.modified_time, u.reason, u.payload::json, $2::uuid,
       nullif(u.field, ''), nullif(u.value, ''), nullif(u.rule, ''), $3 || ` + checksPrint + `
FROM unnest($5, $6, $7, $8, $9, $10, $11) WITH ORDINALITY AS u (record_id, modified_time, reason, payload, field, value, rule, ord)
ORDER BY u.record_id, u.modified_time DESC NULLS LAST, u.ord DESC
ON CONFLICT (module, record_id) WHERE settled_at IS NULL DO UPDATE
SET modified_time = excluded.modified_time, reason = excluded.reason, payload = excluded.payload,
    field = excluded.field, value = excluded.value, rule = excluded.rule, plan = excluded.plan,
    attempts = q.attempts + 1, run_id = excluded.run_id, last_seen_at = clock_timestamp()
WHERE $4::boolean
   OR (q.modified_time, q.reason, q.plan, q.payload::text)
      IS DISTINCT FROM (excluded.modified_time, excluded.reason, excluded.plan, excluded.payload::text)`

// A good version settles an entry unless it is older than what was quarantined.
const quarantineSettle = `
UPDATE sync_quarantine q
SET settled_at = clock_timestamp(), settled_by = $2::uuid
FROM unnest($3, $4) AS u (record_id, modified_time)
WHERE q.module = $1 AND q.record_id = u.record_id AND q.settled_at IS NULL
  AND (q.modified_time IS NULL OR q.modified_time <= u.modified_time)`

func (w *Writer) quarantine(batch crm.Batch) []statement {
	var steps []statement
	if len(batch.Problems) > 0 {
		steps = append(steps, w.put(batch.Problems))
	}
	if n := len(batch.Rows); n > 0 && w.run.unsettled {
		ids, times := make([]string, n), make([]int64, n)
		for i, row := range batch.Rows {
			ids[i], times[i] = row.ID, micros(row.Modified)
		}
		steps = append(steps, statement{
			sql:     quarantineSettle,
			values:  append(text(w.run.Module.Name, w.run.ID.String()), textArray(ids), timeArray(times)),
			oids:    []uint32{pgtype.TextOID, 0, pgtype.TextArrayOID, pgtype.TimestamptzArrayOID},
			formats: []int16{0, 0, 1, 1},
		})
	}
	return steps
}

func (w *Writer) put(problems []crm.Problem) statement {
	times := make([]int64, len(problems))
	columns := make([][]string, 6)
	for i, p := range problems {
		times[i] = micros(p.Modified)
		for c, v := range []string{p.ID, p.Reason, p.Record, p.Field, p.Value, p.Rule} {
			columns[c] = append(columns[c], v)
		}
	}
	s := statement{
		sql:     quarantinePut,
		values:  append(text(w.run.Module.Name, w.run.ID.String(), w.fits(), strconv.FormatBool(w.run.Retrying)), textArray(columns[0]), timeArray(times)),
		oids:    []uint32{pgtype.TextOID, 0, pgtype.TextOID, 0, pgtype.TextArrayOID, pgtype.TimestamptzArrayOID},
		formats: []int16{0, 0, 0, 0, 1, 1},
	}
	for _, c := range columns[1:] {
		s.values, s.oids, s.formats = append(s.values, textArray(c)), append(s.oids, pgtype.TextArrayOID), append(s.formats, 1)
	}
	return s
}

const quarantineToTry = `
SELECT record_id FROM sync_quarantine
WHERE module = $1 AND settled_at IS NULL AND record_id NOT LIKE 'sha256:%' AND plan <> $2
ORDER BY last_seen_at, record_id
LIMIT $3`

// ToTry returns open entries that were last tried with another plan, at most n.
func (w *Writer) ToTry(ctx context.Context, n int) ([]string, error) {
	rows, err := w.run.store.pool.Query(ctx, quarantineToTry, w.run.Module.Name, w.present(), n)
	if err != nil {
		return nil, conceal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, conceal(err)
}

// What a run has tried bears its id.
const quarantineUnseen = `
SELECT record_id FROM sync_quarantine
WHERE module = $1 AND record_id = ANY ($2::text[]) AND settled_at IS NULL AND run_id <> $3::uuid`

// Unseen returns those of the entries that are open and that the run has not met.
func (w *Writer) Unseen(ctx context.Context, ids []string) ([]string, error) {
	rows, err := w.run.store.pool.Query(ctx, quarantineUnseen, w.run.Module.Name, ids, w.run.ID.String())
	if err != nil {
		return nil, conceal(err)
	}
	unseen, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return unseen, conceal(err)
}

const quarantineGone = `
UPDATE sync_quarantine
SET settled_at = clock_timestamp(), settled_by = $2::uuid
WHERE module = $1 AND record_id = ANY ($3) AND settled_at IS NULL`

const quarantineTried = `
UPDATE sync_quarantine
SET attempts = attempts + 1, plan = $4 || ` + checksPrint + `, run_id = $2::uuid
WHERE module = $1 AND record_id = ANY ($3) AND settled_at IS NULL`

// Unmet settles entries whose records are gone, for there is nothing left to mirror, and
// counts a try of those that exist and did not come.
func (w *Writer) Unmet(ctx context.Context, gone, hidden []string) error {
	run := text(w.run.Module.Name, w.run.ID.String())
	return w.run.fenced(ctx, []statement{
		{sql: quarantineGone, values: append(run[:2:2], textArray(gone)),
			oids: []uint32{pgtype.TextOID, 0, pgtype.TextArrayOID}, formats: []int16{0, 0, 1}},
		{sql: quarantineTried, values: append(run[:2:2], textArray(hidden), []byte(w.fits())),
			oids: []uint32{pgtype.TextOID, 0, pgtype.TextArrayOID, pgtype.TextOID}, formats: []int16{0, 0, 1, 0}},
	})
}

// Entry is a record in the quarantine. Its JSON form is what zohomirror quarantine prints.
type Entry struct {
	Module     string          `json:"module"`
	ID         string          `json:"record_id"` // Zoho's, or sha256: and a digest of the payload
	Field      string          `json:"field"`
	Value      string          `json:"value"`
	Rule       string          `json:"rule"`
	Reason     string          `json:"reason"`
	Attempts   int             `json:"attempts"`
	ModifiedAt *time.Time      `json:"modified_time"`
	FirstSeen  time.Time       `json:"first_seen_at"`
	LastSeen   time.Time       `json:"last_seen_at"`
	RunID      uuid.UUID       `json:"run_id"`
	SettledAt  *time.Time      `json:"settled_at"`
	SettledBy  *uuid.UUID      `json:"settled_by"`
	Payload    json.RawMessage `json:"payload,omitempty"` // as Zoho sent it; in Entry alone
}

// NoID reports whether the record came without an id, so that it cannot be read again.
func (e Entry) NoID() bool { return strings.HasPrefix(e.ID, "sha256:") }

const entryColumns = `SELECT module, record_id, coalesce(field, ''), coalesce(value, ''), coalesce(rule, ''), reason, attempts,
       modified_time, first_seen_at, last_seen_at, run_id, settled_at, settled_by`

const quarantineOpen = entryColumns + `, NULL
FROM sync_quarantine
WHERE settled_at IS NULL AND ($1 = '' OR module = $1) AND (cardinality($2::text[]) = 0 OR record_id = ANY ($2::text[]))
ORDER BY module, first_seen_at, length(record_id), record_id COLLATE "C"`

// The open entry of a record comes before those that are settled, the newest of these first.
const quarantineEntries = entryColumns + `, payload::text
FROM sync_quarantine
WHERE record_id = $2 AND ($1 = '' OR module = $1)
ORDER BY settled_at IS NOT NULL, settled_at DESC, module`

// OpenEntries returns the open entries, payloads aside, of a module or of all, and of some
// records or of all.
func (s *Store) OpenEntries(ctx context.Context, module string, ids []string) ([]Entry, error) {
	return s.entries(ctx, quarantineOpen, module, append([]string{}, ids...))
}

// Entries returns all that the quarantine knows of a record, its open entry first.
func (s *Store) Entries(ctx context.Context, module, id string) ([]Entry, error) {
	return s.entries(ctx, quarantineEntries, module, id)
}

func (s *Store) entries(ctx context.Context, sql, module string, id any) ([]Entry, error) {
	rows, err := s.pool.Query(ctx, sql, module, id)
	if err != nil {
		return nil, fmt.Errorf("read the quarantine: %w", conceal(err))
	}
	entries, err := pgx.CollectRows(rows, entryOf)
	if err != nil {
		return nil, fmt.Errorf("read the quarantine: %w", conceal(err))
	}
	return entries, nil
}

func entryOf(row pgx.CollectableRow) (e Entry, err error) {
	var payload *string
	err = row.Scan(&e.Module, &e.ID, &e.Field, &e.Value, &e.Rule, &e.Reason, &e.Attempts,
		&e.ModifiedAt, &e.FirstSeen, &e.LastSeen, &e.RunID, &e.SettledAt, &e.SettledBy, &payload)
	if payload != nil {
		e.Payload = json.RawMessage(*payload)
	}
	return e, err
}
