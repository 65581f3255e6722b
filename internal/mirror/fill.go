package mirror

import (
	"context"
	"fmt"

	"zohomirror/internal/crm"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// A fill reads a module once more by id, so that rows which were written before a field
// appeared have it too. It is done bit by bit, in runs whose streams are complete, and
// moves no stream's watermark: its place is in checkpoints of its own, one a state of
// conversion, which are open while window_as_of is set. An equal row is not written.

// fillPages is how many pages a run reads for a fill: a million rows take a hundred runs,
// and no run grows by more than half a minute of Zoho's time.
const fillPages = 5

func fillStream(filter string) string {
	if filter == "" {
		return "fill"
	}
	return "fill:" + filter
}

// fill goes on with what is to be filled, as far as the run's time allows.
func (r *run) fill(ctx context.Context) error {
	if err := r.noticeReadmitted(ctx); err != nil {
		return err
	}
	reason := r.reason
	defer func() { r.reason = reason }() // the streams are complete, however far the fill comes
	pages := 0
	for _, filter := range r.filters() {
		for pages < fillPages {
			c := r.claimed.Checkpoints[fillStream(filter)]
			if c.WindowAsOf.IsZero() || !r.mayGoOn() {
				break
			}
			pages++
			if err := r.fillPage(ctx, filter, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillPage reads and writes one page behind the checkpoint, and commits the place it
// comes to with it.
func (r *run) fillPage(ctx context.Context, filter string, c postgres.Checkpoint) error {
	page, err := r.query(ctx, zoho.Query{Filter: filter, After: zoho.Cursor{ID: c.CursorID}, Limit: r.config.PageSize})
	if err != nil {
		return err
	}
	next := postgres.Checkpoint{Stream: fillStream(filter), Watermark: c.WindowAsOf}
	if page.More {
		id, _, ok := crm.Last(page.Places, r.claimed.Module.Streams[0].OrderBy)
		if !ok || id == c.CursorID {
			return fmt.Errorf("fill %s: a page of %d records after id %q has no place to go on from", r.claimed.Module.Name, len(page.Places), c.CursorID)
		}
		next = c
		next.Stream, next.CursorID = fillStream(filter), id
	}
	batch := r.plan.Map(page.Records)
	counts, err := r.writer.Page(ctx, batch, next)
	if err != nil {
		return err
	}
	r.claimed.Checkpoints[next.Stream] = next
	r.counts = r.counts.Plus(counts)
	r.log.DebugContext(ctx, "page filled", "filter", filter, "rows", counts.Processed, "updated", counts.Updated, "more", page.More)
	return r.noticeRefusedRows(ctx, batch, counts)
}
