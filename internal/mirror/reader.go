package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zohomirror/internal/crm"
	"zohomirror/internal/panics"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// ramp is what a stream's pages ask for, each step after a full page: an idle tick costs
// one credit, and a big delta a tenth of the calls (zoho-api, "Paging, limits, cost").
var ramp = []int{200, 1000, 2000}

// A reader reads one stream's window, a page ahead of the writer.
type reader struct {
	run    *run
	stream crm.Stream
	first  bool // the stream has never been read

	checkpoint postgres.Checkpoint
	after      zoho.Cursor
	step       int // in ramp
	limit      int // set where a page came out too large, else 0
}

func (r *run) newReader(stream crm.Stream) *reader {
	c, known := r.claimed.Checkpoints[stream.Name]
	c.Stream = stream.Name
	reader := &reader{run: r, stream: stream, first: !known, checkpoint: c, after: windowStart(c, r.config.Overlap)}
	if !c.CursorTime.IsZero() {
		reader.step = len(ramp) - 1 // an open window is a big one
	}
	return reader
}

func (r *reader) size() int {
	size := min(ramp[r.step], r.run.config.PageSize)
	if r.limit > 0 {
		size = min(size, r.limit)
	}
	return size
}

// fetched is a page on its way.
type fetched struct {
	page *zoho.Page
	err  error
	took time.Duration
}

// fetch asks for the window's next page in the background.
func (r *reader) fetch(ctx context.Context) <-chan fetched {
	query := zoho.Query{
		Module:  r.run.claimed.Module.API,
		Columns: r.run.plan.Slices[0],
		Further: r.run.plan.Slices[1:],
		Filter:  r.stream.Filter,
		OrderBy: r.stream.OrderBy,
		After:   r.after,
		Limit:   r.size(),
	}
	result := make(chan fetched, 1)
	go func() {
		began, got := time.Now(), fetched{}
		got.err = panics.Catch(func() (err error) {
			got.page, err = r.run.zoho.Query(ctx, query)
			return err
		})
		got.took = time.Since(began)
		result <- got
	}()
	return result
}

// drain ends a fetch whose page nobody will write, and waits until it has ended.
func drain(cancel context.CancelFunc, next <-chan fetched, pending bool) {
	cancel()
	if pending {
		panics.Rethrow((<-next).err)
	}
}

// await returns the page that is on its way. It mends what can be mended by asking again:
// a column that Zoho does not know is left out, too many columns are read in narrower
// slices, a page that is too large is halved. It returns no page and no error where the
// run's time ended while it waited, but not before the run had committed something.
func (r *run) await(ctx context.Context, reader *reader, next <-chan fetched) (*zoho.Page, error) {
	for {
		got := <-next
		panics.Rethrow(got.err)
		r.slowest = max(r.slowest, got.took)
		column, unknown := zoho.UnknownColumn(got.err)
		switch {
		case got.err == nil:
			return got.page, r.keepColumns(ctx)
		case unknown:
			if err := r.refuse(ctx, column); err != nil {
				return nil, errors.Join(err, got.err)
			}
		case zoho.LimitExceeded(got.err):
			if err := r.narrow(ctx); err != nil {
				return nil, errors.Join(err, got.err)
			}
		case errors.Is(got.err, zoho.ErrPageTooLarge) && reader.size() > 1:
			reader.limit = reader.size() / 2
		default:
			err := fmt.Errorf("read %s, stream %s: %w", r.claimed.Module.Name, reader.stream.Name, got.err)
			return nil, r.cutShort(ctx, err)
		}
		next = reader.fetch(ctx)
	}
}

// endOf places the page in the window.
func (r *reader) endOf(page *zoho.Page) (pageEnd, error) {
	end := pageEnd{more: page.More, asOf: page.AsOf, zohoClock: page.ZohoClock}
	if len(page.Places) == 0 {
		return end, nil
	}
	id, at, ok := crm.Last(page.Places, r.stream.OrderBy)
	if ok {
		end.last = zoho.Cursor{Time: at, ID: id}
	}
	if end.more && (!ok || end.last == r.after) {
		return pageEnd{}, fmt.Errorf("read %s, stream %s: a page of %d records has none with an id and a %s after %s: there is no place to go on from",
			r.run.claimed.Module.Name, r.stream.Name, len(page.Places), r.stream.OrderBy, r.after.Time)
	}
	return end, nil
}

// advance moves the reader behind the page. Only a full page lets the next one ask for more.
func (r *reader) advance(page *zoho.Page, end pageEnd) {
	if len(page.Places) >= r.size() && r.step < len(ramp)-1 {
		r.step++
	}
	r.after = end.last
}

// checkpoints returns what commits with the page: the stream's own checkpoint and, with a
// stream's first page ever, the start of what is read by another clock: whoever was
// converted, or deleted, before that page was asked for is in this stream, or not in the mirror.
func (r *reader) checkpoints(known map[string]postgres.Checkpoint, end pageEnd) []postgres.Checkpoint {
	r.checkpoint = windowAfter(r.checkpoint, end, r.run.config.Overlap)
	all := []postgres.Checkpoint{r.checkpoint}
	begin := func(c postgres.Checkpoint) {
		if _, begun := known[c.Stream]; !begun {
			all = append(all, c)
		}
	}
	switch {
	case r.first && r.stream.Name == crm.StreamModified:
		begin(firstDeletion(end, r.run.config.Overlap))
	case r.first && r.stream.Name == crm.StreamConverted && end.zohoClock:
		begin(postgres.Checkpoint{Stream: crm.StreamNewlyConverted, Watermark: end.asOf.Truncate(time.Second)})
	}
	r.first = false
	return all
}
