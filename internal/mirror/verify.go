package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"zohomirror/internal/crm"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// A verification proves that the mirror equals the CRM up to a point in time. It sweeps all
// ids in their order, in every state of conversion, and compares them with the rows; then it
// takes a second look at every suspect, since the CRM goes on being edited. It may go on
// over several runs, each of which first does what every run does.

// ReasonSettling: what Zoho has just stopped showing may be listed as deleted a little later.
const ReasonSettling = "settling"

// verifyModule begins the verification that was asked for, or goes on with the one that is
// under way.
func (r *run) verifyModule(ctx context.Context) error {
	for {
		v, err := r.nextVerification(ctx)
		if err != nil || v == nil {
			return err
		}
		if err := r.verify(ctx, v); err != nil {
			return r.withoutVerification(ctx, v, err)
		}
		if v.Verdict == postgres.VerdictRunning || v.Cause == "" {
			return nil
		}
	}
}

func (r *run) verifies() bool { return r.request.Mode == ModeVerify || r.request.Mode == ModeRepair }

// nextVerification is the one to go on with, or none. One that began by itself comes first:
// nobody would ask for it again.
func (r *run) nextVerification(ctx context.Context) (*postgres.Verification, error) {
	v, err := r.claimed.RunningVerification(ctx)
	if err != nil || v != nil && v.Cause != "" {
		return v, err
	}
	checkpoint, list, err := r.lastListing()
	if err != nil {
		return nil, err
	}
	if cause := list.Sweep; cause != "" {
		r.log.WarnContext(ctx, "all ids are compared, and rows of records that are gone are marked where Zoho lists them", "because", cause)
		list.Sweep = ""
		if checkpoint.State, err = json.Marshal(list); err != nil {
			return nil, err
		}
		v, err := r.claimed.BeginVerification(ctx, postgres.Verification{Mode: ModeRepair, Cause: cause, AsOf: r.completeUpTo()}, checkpoint)
		r.claimed.Checkpoints[crm.StreamDeleted] = checkpoint
		return v, err
	}
	asked := postgres.Verification{Mode: r.request.Mode, Deep: r.request.Deep, AcceptUnlisted: r.request.AcceptUnlisted, AsOf: r.completeUpTo()}
	if r.verifies() && (v == nil || v.Mode != asked.Mode || v.Deep != asked.Deep || v.AcceptUnlisted != asked.AcceptUnlisted) {
		return r.claimed.BeginVerification(ctx, asked)
	}
	return v, nil
}

// withoutVerification keeps a verification that somebody asked for once from failing the
// ordinary ticks that go on with it.
func (r *run) withoutVerification(ctx context.Context, v *postgres.Verification, err error) error {
	if r.verifies() || v.Cause != "" || ctx.Err() != nil || errors.Is(err, postgres.ErrLockLost) {
		return err
	}
	r.log.ErrorContext(ctx, "the verification is given up", "error", err, "hint", "ask for it anew, and see why it fails")
	return r.claimed.AbandonVerification(ctx)
}

// completeUpTo is the point in time up to which every stream has been read.
func (r *run) completeUpTo() time.Time {
	var at time.Time
	for _, stream := range r.claimed.Module.Streams {
		watermark := r.claimed.Checkpoints[stream.Name].Watermark
		if !watermark.IsZero() && (at.IsZero() || watermark.Before(at)) {
			at = watermark
		}
	}
	if at.IsZero() {
		return r.started // nothing was ever read: nothing can be of an earlier time
	}
	return at
}

func (r *run) verify(ctx context.Context, v *postgres.Verification) error {
	began, usage := time.Now(), r.zoho.Usage()
	calls, credits, reason := usage.Calls(), usage.Credits(), r.reason
	err := r.sweepIDs(ctx, v)
	if err == nil && v.Swept {
		err = r.lookAgain(ctx, v)
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	closing, cancel := r.closingContext(ctx)
	defer cancel()
	if err := r.claimed.CloseVerification(closing, v, usage.Calls()-calls, usage.Credits()-credits, time.Since(began)); err != nil {
		return err
	}
	r.verification = v
	switch {
	case v.Verdict != postgres.VerdictRunning:
		r.reason = reason // it came to its end, however short the time had become
	case r.reason == ReasonSettling && !r.verifies():
		r.reason = reason // there is no hurry: any later tick goes on with it
	default:
		r.more = true
		if r.reason == reasonComplete {
			r.reason = reasonTimeBudget
		}
	}
	return nil
}

// sweepIDs compares id by id, a part at a time.
func (r *run) sweepIDs(ctx context.Context, v *postgres.Verification) error {
	var lists []*idList
	for _, filter := range r.filters() {
		lists = append(lists, &idList{filter: filter, last: v.Cursor, more: true})
	}
	for !v.Swept {
		if !r.mayGoOn() {
			return nil
		}
		part := postgres.Swept{From: v.Cursor}
		var batches []crm.Batch
		for _, list := range lists {
			batch, err := r.refill(ctx, list, v.Deep)
			if err != nil {
				return err
			}
			batches = append(batches, batch)
			if part.At.IsZero() || list.asOf.Before(part.At) {
				part.At = list.asOf
			}
		}
		if v.Deep {
			for _, batch := range batches {
				found, err := r.writer.Compare(ctx, batch)
				if err != nil {
					return err
				}
				for id, finding := range found {
					if finding == postgres.FoundDifferent {
						part.Different = append(part.Different, id)
					}
				}
				for _, problem := range batch.Problems {
					part.Different = append(part.Different, problem.ID)
				}
			}
		}
		part.To = reach(lists)
		for _, list := range lists {
			list.take(&part)
		}
		if err := r.claimed.Sweep(ctx, v, part); err != nil {
			return err
		}
		r.tell(Progress{Compared: v.Checked})
	}
	return nil
}

// idList is one of the lists, by state of conversion, whose merge is all ids of the module.
type idList struct {
	filter   string
	last     string // the last id that was read
	more     bool
	ids      []string
	modified []time.Time
	asOf     time.Time
}

// refill reads the list's next page once the last one is used up. With all columns it also
// returns the page's rows.
func (r *run) refill(ctx context.Context, list *idList, deep bool) (batch crm.Batch, err error) {
	if len(list.ids) > 0 || !list.more {
		return batch, nil
	}
	q := zoho.Query{Filter: list.filter, After: zoho.Cursor{ID: list.last}, Limit: r.config.PageSize}
	times, page := crm.TimePlan(), (*zoho.Page)(nil)
	if deep {
		page, err = r.query(ctx, q)
	} else {
		q.Module, q.Columns = r.claimed.Module.API, times.Select
		began := time.Now()
		page, err = r.zoho.Query(ctx, q)
		r.slowest = max(r.slowest, time.Since(began))
	}
	if err != nil {
		return batch, fmt.Errorf("sweep %s: %w", r.claimed.Module.Name, err)
	}
	list.more, list.asOf = page.More, page.AsOf
	places := times.Map(page.Places)
	for i := range places.Rows {
		list.ids, list.modified = append(list.ids, places.Rows[i].ID), append(list.modified, places.Rows[i].Modified)
	}
	list.sort()
	if n := len(list.ids); n > 0 {
		list.last = list.ids[n-1]
	} else if list.more {
		return batch, fmt.Errorf("sweep %s: a page without any id has more behind it: there is no place to go on from", r.claimed.Module.Name)
	}
	if deep {
		batch = r.plan.Map(page.Records)
	}
	return batch, nil
}

// byID orders ids as Zoho does: they are numbers.
func byID(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// reach is the last id up to which every list is known; empty when all are at their end.
func reach(lists []*idList) string {
	to := ""
	for _, list := range lists {
		if list.more && (to == "" || byID(list.last, to) < 0) {
			to = list.last
		}
	}
	return to
}

// take moves what lies within the part from the list to the part.
func (l *idList) take(part *postgres.Swept) {
	n := len(l.ids)
	if part.To != "" {
		n = 0
		for n < len(l.ids) && byID(l.ids[n], part.To) <= 0 {
			n++
		}
	}
	part.IDs, part.Modified = append(part.IDs, l.ids[:n]...), append(part.Modified, l.modified[:n]...)
	l.ids, l.modified = l.ids[n:], l.modified[n:]
}

func (l *idList) sort() {
	if slices.IsSortedFunc(l.ids, byID) {
		return
	}
	at := make(map[string]time.Time, len(l.ids))
	for i, id := range l.ids {
		at[id] = l.modified[i]
	}
	slices.SortFunc(l.ids, byID)
	for i, id := range l.ids {
		l.modified[i] = at[id]
	}
}
