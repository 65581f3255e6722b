package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"zohomirror/internal/crm"
)

// Deletion is a record that Zoho lists as deleted.
type Deletion struct {
	ID   string
	Kind string // recycle or permanent
	At   time.Time
}

// recheck is when a confirmed deletion is looked at again: a restore may move no timestamp.
// It leaves some hours of the 24 to a scheduler that pauses.
const recheck = 20 * time.Hour

// A purged record keeps the time of its deletion, whatever Zoho says of it later; one that
// was restored and deleted again is a new deletion.
const deletionsPut = `
INSERT INTO sync_deletions AS d (module, record_id, kind, deleted_at, listing, due_at)
SELECT $1, u.record_id, u.kind, u.deleted_at, $2::bigint, clock_timestamp()
FROM unnest($3, $4, $5) AS u (record_id, kind, deleted_at)
ON CONFLICT (module, record_id) DO UPDATE
SET (kind, deleted_at, state, due_at, listing, listed_at) = (
	SELECT excluded.kind,
	       CASE WHEN purged THEN d.deleted_at ELSE excluded.deleted_at END,
	       CASE WHEN same OR purged THEN 'confirmed' ELSE 'listed' END,
	       CASE WHEN NOT (same OR purged) THEN clock_timestamp() WHEN excluded.kind = 'recycle' THEN d.due_at END,
	       excluded.listing,
	       clock_timestamp()
	FROM (SELECT d.state = 'confirmed' AND d.deleted_at = excluded.deleted_at AS same,
	             d.state = 'confirmed' AND d.kind = 'recycle' AND excluded.kind = 'permanent' AS purged) AS known)
WHERE d.listing <> excluded.listing OR d.deleted_at < excluded.deleted_at`

// ListDeletions stores a page of the list with the checkpoint it brings. An id may stand on
// one page only once.
func (r *Run) ListDeletions(ctx context.Context, listing int64, page []Deletion, checkpoint Checkpoint) error {
	var steps []statement
	if n := len(page); n > 0 {
		ids, kinds, times := make([]string, n), make([]string, n), make([]int64, n)
		for i, d := range page {
			ids[i], kinds[i], times[i] = d.ID, d.Kind, micros(d.At)
		}
		steps = append(steps, statement{
			sql:     deletionsPut,
			values:  [][]byte{[]byte(r.Module.Name), strconv.AppendInt(nil, listing, 10), textArray(ids), textArray(kinds), timeArray(times)},
			oids:    []uint32{pgtype.TextOID, 0, pgtype.TextArrayOID, pgtype.TextArrayOID, pgtype.TimestamptzArrayOID},
			formats: []int16{0, 0, 1, 1, 1},
		})
		r.due = true
	}
	if err := r.fenced(ctx, append(steps, r.bookkeeping([]Checkpoint{checkpoint}, 0)...)); err != nil {
		return fmt.Errorf("store the deleted records of %s: %w", r.Module.Name, err)
	}
	return nil
}

const deletionsDigest = `
SELECT count(*), coalesce(bit_xor(hashtextextended(record_id, 0)), 0)
FROM sync_deletions WHERE module = $1 AND listing = $2`

// ListingDigest tells listings apart by the ids they had.
func (r *Run) ListingDigest(ctx context.Context, listing int64) (string, error) {
	var n, digest int64
	if err := r.store.pool.QueryRow(ctx, deletionsDigest, r.Module.Name, listing).Scan(&n, &digest); err != nil {
		return "", fmt.Errorf("compare the lists of deleted records of %s: %w", r.Module.Name, conceal(err))
	}
	return fmt.Sprintf("%d:%x", n, uint64(digest)), nil
}

// Pending is what would be marked: rows that are listed as deleted, those of them that were
// looked at lately and could not be read, and all that are live. Live is counted only where
// Listed is more than few.
type Pending struct{ Listed, Gone, Live int64 }

// lookedAt is how long a look at a record that may not be marked yet is good for.
const lookedAt = `d.checked_at > clock_timestamp() - interval '4 hours'`

const deletionsPending = `
WITH listed AS (
	SELECT count(*) AS n, count(*) FILTER (WHERE ` + lookedAt + `) AS gone
	FROM sync_deletions d
	JOIN %[1]s t ON t.id = d.record_id AND t.deleted_at IS NULL
	WHERE d.module = $1 AND d.state = 'listed'
)
SELECT n, gone, CASE WHEN n > $2 THEN (SELECT count(*) FROM %[1]s WHERE deleted_at IS NULL) ELSE 0 END FROM listed`

// PendingDeletions counts before anything is marked.
func (r *Run) PendingDeletions(ctx context.Context, few int64) (Pending, error) {
	var p Pending
	err := r.store.pool.QueryRow(ctx, fmt.Sprintf(deletionsPending, quote(r.Module.Name)), r.Module.Name, few).Scan(&p.Listed, &p.Gone, &p.Live)
	if err != nil {
		return p, fmt.Errorf("count the deleted records of %s: %w", r.Module.Name, conceal(err))
	}
	return p, nil
}

const deletionsUnseen = `
SELECT d.record_id
FROM sync_deletions d
JOIN %s t ON t.id = d.record_id AND t.deleted_at IS NULL
WHERE d.module = $1 AND d.state = 'listed' AND (` + lookedAt + `) IS NOT TRUE
ORDER BY d.record_id
LIMIT $2`

// UnseenDeletions returns up to n live rows that are listed as deleted and were not looked
// at lately.
func (r *Run) UnseenDeletions(ctx context.Context, n int) ([]string, error) {
	return r.deletions(ctx, fmt.Sprintf(deletionsUnseen, quote(r.Module.Name)), r.Module.Name, n)
}

const deletionsNote = `UPDATE sync_deletions SET checked_at = clock_timestamp() WHERE module = $1 AND record_id = ANY ($2)`

// NoteGone records a look at records that could not be read, and marks nothing.
func (r *Run) NoteGone(ctx context.Context, ids []string) error {
	return r.fenced(ctx, []statement{{
		sql: deletionsNote, values: [][]byte{[]byte(r.Module.Name), textArray(ids)},
		oids: []uint32{pgtype.TextOID, pgtype.TextArrayOID}, formats: []int16{0, 1},
	}})
}

const deletionsHasten = `UPDATE sync_deletions SET due_at = clock_timestamp() WHERE module = $1 AND record_id = ANY ($2) AND due_at IS NOT NULL`

// HastenDeletions has deletions looked at by the next run, not within the day.
func (r *Run) HastenDeletions(ctx context.Context, ids []string) error {
	return r.fenced(ctx, []statement{{
		sql: deletionsHasten, values: [][]byte{[]byte(r.Module.Name), textArray(ids)},
		oids: []uint32{pgtype.TextOID, pgtype.TextArrayOID}, formats: []int16{0, 1},
	}})
}

const deletionsDue = `
SELECT record_id FROM sync_deletions
WHERE module = $1 AND due_at <= clock_timestamp() AND (checked_at IS NULL OR checked_at < $2) AND (state <> 'listed' OR $3)
ORDER BY due_at, record_id
LIMIT $4`

// HasDueDeletions reports whether some deletion is to be looked at.
func (r *Run) HasDueDeletions() bool { return r.due }

// DueDeletions returns up to n ids that are to be looked at and have not been in this run;
// without listed, only such as were looked at before.
func (r *Run) DueDeletions(ctx context.Context, listed bool, n int) ([]string, error) {
	return r.deletions(ctx, deletionsDue, r.Module.Name, r.StartedAt, listed, n)
}

func (r *Run) deletions(ctx context.Context, sql string, args ...any) ([]string, error) {
	rows, err := r.store.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read the deleted records of %s: %w", r.Module.Name, conceal(err))
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read the deleted records of %s: %w", r.Module.Name, conceal(err))
	}
	return ids, nil
}

// deletionsConfirm marks the rows of records that are gone. A row that is marked already
// takes the time of a new deletion. A record that had come back is not deleted again before
// it is listed again: that it cannot be read may be a lost right.
const deletionsConfirm = `
WITH gone AS (
	UPDATE sync_deletions
	SET state = 'confirmed', checked_at = clock_timestamp(),
	    due_at = CASE WHEN kind = 'recycle' THEN clock_timestamp() + $4::interval END
	WHERE module = $1 AND record_id = ANY ($3) AND state <> 'readable'
	RETURNING record_id, deleted_at
), unlisted AS (
	UPDATE sync_deletions
	SET checked_at = clock_timestamp(), due_at = clock_timestamp() + $4::interval
	WHERE module = $1 AND record_id = ANY ($3) AND state = 'readable'
), settled AS (
	UPDATE sync_quarantine q
	SET settled_at = clock_timestamp(), settled_by = $2::uuid
	FROM gone
	WHERE q.module = $1 AND q.record_id = gone.record_id AND q.settled_at IS NULL
), live AS (
	SELECT t.id FROM %[1]s t JOIN gone ON t.id = gone.record_id WHERE t.deleted_at IS NULL
), marked AS (
	UPDATE %[1]s t
	SET deleted_at = gone.deleted_at, synced_at = clock_timestamp(), run_id = $2::uuid
	FROM gone
	WHERE t.id = gone.record_id AND t.deleted_at IS DISTINCT FROM gone.deleted_at
)
SELECT count(*) FROM live`

// deletionsReadable keeps watching records that can be read: what has been read in full is
// looked at again like a deletion, what COQL did not show yet is so soon.
const deletionsReadable = `
WITH was AS (
	SELECT record_id, state FROM sync_deletions WHERE module = $1 AND record_id = ANY ($2)
), now AS (
	UPDATE sync_deletions
	SET state = CASE WHEN record_id = ANY ($3) THEN 'readable' ELSE state END, checked_at = clock_timestamp(),
	    due_at = clock_timestamp() + CASE WHEN record_id = ANY ($3) THEN $4::interval ELSE '1 minute' END
	WHERE module = $1 AND record_id = ANY ($2)
)
SELECT count(*) FROM was WHERE state IN ('confirmed', 'reopened') AND record_id = ANY ($3)`

// deletionsUnmark takes the mark from the rows of records that can be read but do not fit: those
// that fit have lost it when they were written.
const deletionsUnmark = `
UPDATE %s SET deleted_at = NULL, synced_at = clock_timestamp(), run_id = $1::uuid
WHERE id = ANY ($2) AND deleted_at IS NOT NULL`

// Zoho remembers a binned record for 60 days, and it cannot come back after that.
const deletionsForget = `
DELETE FROM sync_deletions
WHERE module = $1 AND deleted_at < coalesce($2::timestamptz, clock_timestamp()) - interval '65 days' AND state <> 'listed'`

// ForgetDeletions drops entries that can no longer change. They are dated by Zoho's clock, so
// now is Zoho's time; where that is not known, the zero time, the database's must do.
func (r *Run) ForgetDeletions(ctx context.Context, now time.Time) error {
	return r.fenced(ctx, []statement{{sql: deletionsForget, values: [][]byte{[]byte(r.Module.Name), instant(now)}}})
}

// SettleDeletions records what was found of ids that are listed as deleted: gone for those
// that cannot be read, readable for those that can, of which found were read in full.
func (r *Run) SettleDeletions(ctx context.Context, gone, readable, found []string) (Counts, error) {
	var counts Counts
	module, again := []byte(r.Module.Name), []byte(recheck.String())
	var steps []statement
	if len(gone) > 0 {
		steps = append(steps, statement{
			sql:    fmt.Sprintf(deletionsConfirm, quote(r.Module.Name)),
			values: [][]byte{module, []byte(r.ID.String()), textArray(gone), again},
			oids:   []uint32{pgtype.TextOID, 0, pgtype.TextArrayOID, 0}, formats: []int16{0, 0, 1, 0},
			row: func(row [][]byte) { counts.Deleted = number(row[0]) },
		})
	}
	if len(readable) > 0 {
		steps = append(steps, statement{
			sql:    deletionsReadable,
			values: [][]byte{module, textArray(readable), textArray(found), again},
			oids:   []uint32{pgtype.TextOID, pgtype.TextArrayOID, pgtype.TextArrayOID, 0}, formats: []int16{0, 1, 1, 0},
			row: func(row [][]byte) { counts.Restored = number(row[0]) },
		})
	}
	if len(found) > 0 {
		steps = append(steps, statement{
			sql:    fmt.Sprintf(deletionsUnmark, quote(r.Module.Name)),
			values: [][]byte{[]byte(r.ID.String()), textArray(found)},
			oids:   []uint32{0, pgtype.TextArrayOID}, formats: []int16{0, 1},
		})
	}
	if err := r.fenced(ctx, steps); err != nil {
		return Counts{}, fmt.Errorf("mark the deleted records of %s: %w", r.Module.Name, err)
	}
	r.confirmed = r.confirmed || len(gone) > 0
	return counts, nil
}

const deletionsReopen = `
UPDATE sync_deletions d
SET state = 'reopened', due_at = clock_timestamp(), checked_at = NULL
FROM unnest($2) AS u (record_id)
WHERE d.module = $1 AND d.record_id = u.record_id AND d.state = 'confirmed'`

// reopen has every confirmed deletion looked at once more whose record a page shows, fitting or
// not: it was restored, or the page is late. The run that wrote the page settles which, after its pages.
func (r *Run) reopen(page crm.Batch) []statement {
	ids := page.IDs()
	if !r.confirmed || len(ids) == 0 {
		return nil
	}
	return []statement{{
		sql: deletionsReopen, values: [][]byte{[]byte(r.Module.Name), textArray(ids)},
		oids: []uint32{pgtype.TextOID, pgtype.TextArrayOID}, formats: []int16{0, 1},
		done: func(n int64) { r.due = r.due || n > 0 },
	}}
}
