package zoho

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"zohomirror/internal/panics"
)

// A module too wide for one SELECT is read in slices of its columns, all with the same
// criteria. The first slice is the page; the others are laid beside it, record by record. A
// record may change in between: it is torn where its Modified_Time is not the same in all
// slices, or where one lacks it, and then read again. Two edits within one second cannot be
// told apart, but such a record is young, and the next window reads it again.

const (
	modifiedTime = "Modified_Time"

	abreast   = 3 // slices read at a time: Zoho takes ten heavy calls of the whole org
	pageTries = 3 // a page that was torn in many places is read so often
	tornTries = 3 // and then its torn records by their ids
)

// comparable reports whether torn records can be told from whole ones.
func (q Query) comparable() bool {
	held := func(columns []string) bool { return slices.Contains(columns, modifiedTime) }
	return len(q.Further) == 0 || held(q.Columns) && !slices.ContainsFunc(q.Further, func(c []string) bool { return !held(c) })
}

// querySlices reads one page in slices. Records that were torn in every attempt, or for
// which the run has no time, are left out of it, not out of its Places: they have been
// edited just now, and lie ahead.
func (c *Client) querySlices(ctx context.Context, q Query) (*Page, error) {
	s, err := c.querySheet(ctx, q)
	for try := 1; err == nil && try < pageTries && s.cheaperAnew(q) && s.timely(ctx); try++ {
		s, err = c.querySheet(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	s.cutTorn(q)
	for try := 0; try < tornTries && len(s.torn()) > 0; try++ {
		for ids := range slices.Chunk(s.torn(), MaxIDs) {
			if !s.timely(ctx) {
				break
			}
			again, err := c.querySheet(ctx, Query{Module: q.Module, Columns: q.Columns, Further: q.Further, Filter: q.Filter, IDs: ids, Limit: MaxIDs})
			if err != nil {
				return nil, err
			}
			s.mend(again, ids)
		}
	}
	if left := s.torn(); len(left) > 0 {
		c.log.WarnContext(ctx, "records changed whenever they were read: they are left for later", "records", len(left), "id", left[0])
	}
	return s.joined(), nil
}

// querySheet reads all slices of a page once.
func (c *Client) querySheet(ctx context.Context, q Query) (*sheet, error) {
	began := time.Now()
	first, err := c.querySlice(ctx, q, q.Columns)
	if err != nil {
		return nil, err
	}
	s := newSheet(first)
	if len(first.Records) == 0 {
		return s, nil
	}
	further, failures := make([]*Page, len(q.Further)), make([]error, len(q.Further))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(abreast)
	for i, columns := range q.Further {
		group.Go(func() error {
			failures[i] = panics.Catch(func() (err error) {
				further[i], err = c.querySlice(ctx, q, columns)
				return err
			})
			return failures[i]
		})
	}
	err = group.Wait()
	panics.Rethrow(failures...) // also one that came after another slice's error
	if err != nil {
		return nil, err
	}
	for _, page := range further {
		s.add(page, q)
	}
	s.took = time.Since(began)
	if s.size > maxBody {
		return nil, fmt.Errorf("%s: %w", q.call(), ErrPageTooLarge)
	}
	return s, nil
}
