package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"zohomirror/internal/crm"
)

// Writer writes the pages of one run, read by one plan.
type Writer struct {
	run    *Run
	upsert *upsert
	arrays arrays
	fresh  bool // the last page's rows were all new, so the next one's are likely new too
}

// Writer returns a writer for pages that were mapped by plan. A run whose plan changes
// takes a new one.
func (r *Run) Writer(plan *crm.Plan) *Writer {
	return &Writer{run: r, upsert: newUpsert(r, plan)}
}

// Page writes a page: rows, quarantine and checkpoints commit together or not at all, in
// one round trip. It returns what it did with the page's rows, or ErrLockLost.
func (w *Writer) Page(ctx context.Context, batch crm.Batch, checkpoints ...Checkpoint) (Counts, error) {
	counts, err := w.write(ctx, batch, checkpoints, w.fresh)
	if rowFault(err) && w.fresh {
		counts, err = w.write(ctx, batch, checkpoints, false)
	}
	if rowFault(err) {
		// Some row is at fault: find out which, in a transaction that can go back a step.
		counts, err = w.sift(ctx, batch, checkpoints)
	}
	if err != nil {
		return Counts{}, fmt.Errorf("write a page of %s: %w", w.run.Module.Name, err)
	}
	w.fresh = counts.Inserted > 1 && counts.Inserted == counts.Processed
	w.run.unsettled = w.run.unsettled || counts.Quarantined > 0
	return counts, nil
}

// write sends the whole page as one pipeline.
func (w *Writer) write(ctx context.Context, batch crm.Batch, checkpoints []Checkpoint, fresh bool) (Counts, error) {
	counts := pageCounts(batch)
	var steps []statement
	if len(batch.Rows) > 0 {
		steps = append(steps, w.rowsStatements(batch.Rows, &counts, fresh)...)
	}
	steps = append(steps, w.quarantine(batch)...)
	steps = append(steps, w.run.reopen(batch)...)
	steps = append(steps, w.run.bookkeeping(checkpoints, counts.Processed)...)
	return counts, w.run.fenced(ctx, steps)
}

// fenced executes the steps in a transaction that has its limits and proves first that the
// run still holds its lock.
func (r *Run) fenced(ctx context.Context, steps []statement) error {
	guards := []statement{
		{sql: setLimits, values: text(limit.String())},
		{sql: fence, values: text(r.Module.Name, r.ID.String())},
	}
	done, err := r.store.execute(ctx, &r.buffer, append(guards, steps...))
	if err != nil && done < len(guards) && sqlState(err) == codeDivisionByZero {
		return ErrLockLost
	}
	return err
}

// part is how many rows a statement writes: of a full page, two halves. The server reads
// the first while the second is encoded; more parts cost more than they hide.
const part = 1000

// rowsStatements writes rows, a part of the page each.
func (w *Writer) rowsStatements(rows []crm.Row, counts *Counts, fresh bool) []statement {
	var steps []statement
	task := taskUpsert
	if fresh {
		task = taskInsert
	}
	for rows := range slices.Chunk(rows, part) {
		count := func(inserted, updated int64) {
			counts.Inserted += inserted
			counts.Updated += updated
			counts.Unchanged += int64(len(rows)) - inserted - updated
		}
		s := statement{late: func(s *statement) { w.upsert.bind(s, &w.arrays, rows, w.stamp(), task) }}
		if fresh {
			s.done = func(inserted int64) { count(inserted, 0) }
		} else {
			s.row = func(row [][]byte) { count(number(row[0]), number(row[1])) }
		}
		steps = append(steps, s)
	}
	return steps
}

// stamp marks rows that are written now.
func (w *Writer) stamp() stamp {
	return stamp{run: w.run.ID, at: w.run.StartedAt.Add(time.Since(w.run.claimed)).UnixMicro()}
}

const checkpointPut = `
INSERT INTO sync_watermarks AS w (module, stream, watermark, cursor_time, cursor_id, window_as_of, window_zoho_clock, window_young, state)
VALUES ($1, $2, $3::timestamptz, $4::timestamptz, $5, $6::timestamptz, $7::boolean, $8::boolean, $9::jsonb)
ON CONFLICT (module, stream) DO UPDATE
SET watermark = excluded.watermark, cursor_time = excluded.cursor_time, cursor_id = excluded.cursor_id,
    window_as_of = excluded.window_as_of, window_zoho_clock = excluded.window_zoho_clock,
    window_young = excluded.window_young, state = excluded.state, updated_at = clock_timestamp()`

const runProgress = `
UPDATE sync_runs
SET records_processed = records_processed + $3::bigint, pages = pages + 1
WHERE id = $2::uuid AND started_at = $1::timestamptz`

// bookkeeping moves the checkpoints and shows the progress of a run that is at work.
func (r *Run) bookkeeping(checkpoints []Checkpoint, processed int64) []statement {
	var steps []statement
	for _, c := range checkpoints {
		steps = append(steps, statement{sql: checkpointPut, values: [][]byte{
			[]byte(r.Module.Name), []byte(c.Stream), instant(c.Watermark), instant(c.CursorTime), optional(c.CursorID),
			instant(c.WindowAsOf), strconv.AppendBool(nil, c.ZohoClock), strconv.AppendBool(nil, c.Young), c.State,
		}})
	}
	if processed > 0 {
		steps = append(steps, statement{sql: runProgress, values: [][]byte{
			instant(r.StartedAt), []byte(r.ID.String()), strconv.AppendInt(nil, processed, 10),
		}})
	}
	return steps
}

func pageCounts(batch crm.Batch) Counts {
	return Counts{
		Processed:   int64(len(batch.Rows) + len(batch.Problems)),
		Quarantined: int64(len(batch.Problems)),
		Pages:       1,
	}
}

// Plus adds up what two pages did.
func (c Counts) Plus(d Counts) Counts {
	return Counts{
		Processed: c.Processed + d.Processed, Inserted: c.Inserted + d.Inserted, Updated: c.Updated + d.Updated,
		Unchanged: c.Unchanged + d.Unchanged, Quarantined: c.Quarantined + d.Quarantined, Deleted: c.Deleted + d.Deleted, Restored: c.Restored + d.Restored,
		Pages: c.Pages + d.Pages,
	}
}

// The encodings of single parameters, in text; nil is null.

func text(values ...string) [][]byte {
	encoded := make([][]byte, len(values))
	for i, v := range values {
		encoded[i] = []byte(v)
	}
	return encoded
}

func optional(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func instant(t time.Time) []byte {
	if t.IsZero() {
		return nil
	}
	return t.UTC().AppendFormat(nil, time.RFC3339Nano)
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func number(text []byte) int64 {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		panic(fmt.Sprintf("a count arrived as %q", text)) // the statement is ours: it cannot
	}
	return n
}
