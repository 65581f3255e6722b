package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"zohomirror/internal/zoho"
)

// query reads a page of the run's columns for which no reader fetches ahead. Like a reader
// it leaves out a column that Zoho does not know, reads in narrower slices where they are
// too many, halves a page that is too large, and asks again.
func (r *run) query(ctx context.Context, q zoho.Query) (*zoho.Page, error) {
	q.Module = r.claimed.Module.API
	for {
		q.Columns, q.Further = r.plan.Slices[0], r.plan.Slices[1:]
		began := time.Now()
		page, err := r.zoho.Query(ctx, q)
		r.slowest = max(r.slowest, time.Since(began))
		column, unknown := zoho.UnknownColumn(err)
		switch {
		case err == nil:
			return page, r.keepColumns(ctx)
		case unknown:
			if refused := r.refuse(ctx, column); refused != nil {
				return nil, errors.Join(refused, err)
			}
		case zoho.LimitExceeded(err):
			if refused := r.narrow(ctx); refused != nil {
				return nil, errors.Join(refused, err)
			}
		case errors.Is(err, zoho.ErrPageTooLarge) && q.IDs == nil && q.Limit > 1:
			q.Limit /= 2
		default:
			return nil, fmt.Errorf("read %s: %w", r.claimed.Module.Name, err)
		}
	}
}

// filters are the conditions that, taken together, show every record of the module once,
// whatever its state of conversion.
func (r *run) filters() []string {
	var filters []string
	for _, stream := range r.claimed.Module.Streams {
		if !slices.Contains(filters, stream.Filter) {
			filters = append(filters, stream.Filter)
		}
	}
	return filters
}

// reread reads records in full by their ids and writes what it finds, whose ids it returns.
// It moves no checkpoint.
func (r *run) reread(ctx context.Context, ids []string) (found []string, err error) {
	for ids := range slices.Chunk(ids, zoho.MaxIDs) {
		for _, filter := range r.filters() {
			page, err := r.query(ctx, zoho.Query{Filter: filter, IDs: ids, Limit: zoho.MaxIDs})
			if err != nil {
				return nil, err
			}
			batch := r.plan.Map(page.Records)
			counts, err := r.writer.Page(ctx, batch)
			if err != nil {
				return nil, err
			}
			r.counts = r.counts.Plus(counts)
			found = append(found, batch.IDs()...)
		}
	}
	return found, nil
}
