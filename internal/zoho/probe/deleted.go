package probe

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"zohomirror/internal/zoho"
)

// A listing is one page of the deleted list.
type listing struct {
	reply   *zoho.Reply
	entries []zoho.Deleted
	more    bool
}

func (p *prober) deleted(ctx context.Context, page int, since time.Time) (*listing, error) {
	reply, err := p.ask(ctx, zoho.Question{Path: "/crm/v8/" + p.module + "/deleted", Since: since,
		Params: url.Values{"type": {"all"}, "page": {strconv.Itoa(page)}, "per_page": {"200"}}})
	if err != nil {
		return nil, err
	}
	l := &listing{reply: reply}
	if reply.Body == nil {
		return l, nil
	}
	var answer struct {
		Data []zoho.Deleted `json:"data"`
		Info struct {
			More bool `json:"more_records"`
		} `json:"info"`
	}
	if err := json.Unmarshal(reply.Body, &answer); err != nil {
		return nil, fmt.Errorf("the deleted list of %s: an answer of an unexpected form", p.module)
	}
	l.entries, l.more = answer.Data, answer.Info.More
	return l, nil
}

// deletedList: the order of the deleted list, whether it keeps it, how it filters, what it
// says of nothing and whether it has a wall.
func (p *prober) deletedList(ctx context.Context) error {
	first, err := p.deleted(ctx, 1, time.Time{})
	if err != nil {
		return err
	}
	if first.reply.Code != "" {
		p.found(Finding{Question: "What does the deleted list say?", Answer: said(first.reply), Means: "deletions cannot be mirrored before this is allowed (promise 7)"})
		return nil
	}
	if len(first.entries) == 0 {
		p.found(Finding{Question: "What does the deleted list say when it is empty?", Answer: said(first.reply), Settled: true,
			Means: "200, 204 and 304 are one to the mirror; delete a test record and ask again for the rest"})
		return nil
	}
	again, err := p.deleted(ctx, 1, time.Time{})
	if err != nil {
		return err
	}
	p.found(order(first, again))
	if err := p.since(ctx, first); err != nil {
		return err
	}
	return p.wall(ctx)
}

// order compares the list's order with the sample's, and with itself.
func order(first, again *listing) Finding {
	bin := 0
	for _, d := range first.entries {
		if d.Kind == zoho.KindRecycle {
			bin++
		}
	}
	f := Finding{Question: "In which order does the deleted list come, and does it keep it?", Settled: len(first.entries) > 2,
		Answer: fmt.Sprintf("%d entries on the first page, %d of them in the bin; ", len(first.entries), bin)}
	like := slices.IsSortedFunc(first.entries, func(a, b zoho.Deleted) int {
		return cmp.Or(-cmp.Compare(a.Kind, b.Kind), b.At.Compare(a.At)) // recycle before permanent, newest first
	})
	switch {
	case !slices.EqualFunc(first.entries, again.entries, func(a, b zoho.Deleted) bool { return a.ID == b.ID }):
		f.Answer += "asked twice, the page differed"
		f.Means = "pages shift: only a list of one page, or two full listings with the same ids, let the window of deletions move on (promise 7)"
	case like:
		f.Answer += "the bin first, then what is gone for good, newest first in each, and the same when asked twice"
		f.Means = "as in Zoho's sample; the mirror reads all pages and does not depend on it"
	default:
		f.Answer += "in another order than Zoho's sample, and the same when asked twice"
		f.Means = "the mirror reads all pages and does not depend on it"
	}
	return f
}

// since asks with the second of an entry, and with the one after it.
func (p *prober) since(ctx context.Context, first *listing) error {
	newest := slices.MaxFunc(first.entries, func(a, b zoho.Deleted) int { return a.At.Compare(b.At) })
	at, err := p.deleted(ctx, 1, newest.At)
	if err != nil {
		return err
	}
	listed := func(l *listing) bool {
		return slices.ContainsFunc(l.entries, func(d zoho.Deleted) bool { return d.ID == newest.ID })
	}
	f := Finding{Question: "Is If-Modified-Since of the deleted list inclusive?", Settled: !at.more}
	switch {
	case listed(at):
		f.Answer, f.Means = "yes: an entry of that very second ("+seconds(newest.At)+") is listed", "the window's overlap is not needed for it, and does no harm"
	case at.more:
		f.Answer, f.Means = "the list since "+seconds(newest.At)+" has more than one page", "ask again when fewer records were deleted lately"
	default:
		f.Answer, f.Means = "no: an entry of that very second ("+seconds(newest.At)+") is left out", "the window must overlap, and does (promise 7)"
	}
	p.found(f)

	after := &listing{}
	for range 3 { // what was deleted meanwhile moves it on
		if after, err = p.deleted(ctx, 1, newest.At.Add(time.Second)); err != nil {
			return err
		}
		if len(after.entries) == 0 {
			break
		}
		newest = slices.MaxFunc(after.entries, func(a, b zoho.Deleted) int { return a.At.Compare(b.At) })
	}
	f = Finding{Question: "What does the deleted list answer when nothing is newer than If-Modified-Since?", Settled: len(after.entries) == 0,
		Answer: said(after.reply), Means: "200, 204 and 304 are one to the mirror"}
	if !f.Settled {
		f.Answer, f.Means = "something was newer each time", "records are being deleted, or the header is ignored: ask again"
	}
	p.found(f)
	return nil
}

// wall asks for what lies behind the 2000th entry.
func (p *prober) wall(ctx context.Context) error {
	behind, err := p.deleted(ctx, 11, time.Time{})
	if err != nil {
		return err
	}
	f := Finding{Question: "Does the deleted list end at 2000 entries, as Get Records does without a token?", Settled: behind.reply.Code != "" || len(behind.entries) > 0}
	switch {
	case behind.reply.Code != "":
		f.Answer = "yes: page 11 is " + said(behind.reply)
		f.Means = "after a deletion of more than 2000 records the mirror must narrow its window, or compare all ids (verify)"
	case len(behind.entries) > 0:
		f.Answer, f.Means = "no: page 11 has entries", "lists of any length are read to their end"
	case behind.reply.Status == http.StatusNoContent, behind.reply.Status == http.StatusOK, behind.reply.Status == http.StatusNotModified:
		f.Answer, f.Means = "page 11 is empty ("+said(behind.reply)+") and not refused", "probably not: the list is shorter than that, ask again after a large deletion"
	}
	p.found(f)
	return nil
}
