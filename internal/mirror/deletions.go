package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"zohomirror/internal/crm"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// The second pass of a run carries deletions over, and restores. Zoho lists what was
// deleted; each listed id is stored, then looked at by id, and only what cannot be read is
// marked. Since a restore may move no timestamp, what was marked is looked at again each
// day for as long as it can come back.

const (
	// binMemory is how long Zoho lists what lies in the recycle bin (zoho-api, "Deleted
	// records"). A window that is older has a hole; a day is kept as a margin.
	binMemory = 59 * 24 * time.Hour

	// few deletions at once are never too many.
	few = 100
)

// listing is the state of a module's list of deleted records, beside its watermark.
type listing struct {
	Number int64 `json:"number"`         // of the listing under way, or of the last
	Page   int   `json:"page,omitempty"` // the next page; 0: none is under way
	reading
	First  *reading        `json:"first,omitempty"` // of the listings of several pages since the window moved
	Before *earlierListing `json:"before,omitempty"`
	Lists  int             `json:"lists,omitempty"` // of several pages, since the window moved
	Sweep  string          `json:"sweep,omitempty"` // why ids must be compared; empty: they need not
}

// reading is the time for which a list speaks.
type reading struct {
	AsOf   time.Time `json:"as_of,omitzero"`  // Zoho's time when its first page was asked for
	Clock  bool      `json:"clock,omitempty"` // AsOf is Zoho's
	Latest time.Time `json:"latest,omitzero"` // the latest deletion it had
}

// earlierListing is the last complete listing of several pages since the window moved.
type earlierListing struct {
	Digest string `json:"digest"`
	reading
}

// carryDeletions reads the list of deleted records and settles what is due. What a person
// must decide about first comes back as asked, and keeps only that from being settled.
func (r *run) carryDeletions(ctx context.Context) (asked *massDeletion, err error) {
	complete, err := r.listDeletions(ctx)
	if err != nil || !complete || !r.claimed.HasDueDeletions() {
		return nil, err
	}
	if asked, err = r.guardDeletions(ctx); err != nil || r.more {
		return nil, err
	}
	return asked, r.settleDeletions(ctx, asked == nil)
}

// firstDeletion is where the window of deletions begins: whatever was deleted before the
// module's first page ever was asked for is not in the mirror.
func firstDeletion(end pageEnd, overlap time.Duration) postgres.Checkpoint {
	begin := end.asOf
	if !end.zohoClock {
		begin = begin.Add(-settled * overlap) // our clock may be fast
	}
	return postgres.Checkpoint{Stream: crm.StreamDeleted, Watermark: begin.Truncate(time.Second)}
}

// listDeletions stores what Zoho lists as deleted since the watermark. It reports whether
// the list was read to its end.
func (r *run) listDeletions(ctx context.Context) (complete bool, err error) {
	checkpoint, list, err := r.lastListing()
	if err != nil {
		return false, err
	}
	for lists := 0; ; {
		page, err := r.fetchDeletions(ctx, checkpoint.Watermark, &list)
		if err != nil {
			return false, err
		}
		whole := list.Page == 1 && !page.More
		if list.Page++; whole {
			r.moveWindow(&checkpoint, &list, list.reading)
		}
		if err := r.storeListing(ctx, distinct(page.Entries), checkpoint, list); err != nil || whole {
			return err == nil, err
		}
		if !page.More {
			confirmed, err := r.compareListings(ctx, &checkpoint, &list)
			if lists++; err != nil || confirmed || lists == listsARun && !r.request.AcceptMassDelete {
				return err == nil && confirmed, err
			}
		}
		if !r.mayGoOn() {
			r.more = true
			return false, nil
		}
	}
}

func (r *run) lastListing() (postgres.Checkpoint, listing, error) {
	checkpoint := r.claimed.Checkpoints[crm.StreamDeleted]
	checkpoint.Stream = crm.StreamDeleted
	var list listing
	if checkpoint.State == nil {
		return checkpoint, list, nil
	}
	if err := json.Unmarshal(checkpoint.State, &list); err != nil {
		return checkpoint, list, fmt.Errorf("read the state of the deletions of %s: %w", r.claimed.Module.Name, err)
	}
	return checkpoint, list, nil
}

func (r *run) storeListing(ctx context.Context, page []postgres.Deletion, checkpoint postgres.Checkpoint, list listing) (err error) {
	if checkpoint.State, err = json.Marshal(list); err != nil {
		return err
	}
	if err := r.claimed.ListDeletions(ctx, list.Number, page, checkpoint); err != nil {
		return err
	}
	r.claimed.Checkpoints[crm.StreamDeleted] = checkpoint
	return nil
}

// moveWindow ends a listing of which everything up to a reading is known: the window moves there.
func (r *run) moveWindow(checkpoint *postgres.Checkpoint, list *listing, to reading) {
	if r.listedAt = to.AsOf; to.Clock {
		r.zohoNow = to.AsOf
	} else { // our own clock may be ahead of Zoho's
		to.AsOf = later(to.Latest, to.AsOf.Add(-settled*r.config.Overlap))
	}
	checkpoint.Watermark = later(checkpoint.Watermark, to.AsOf.Truncate(time.Second))
	list.Page, list.First, list.Before, list.Lists = 0, nil, nil, 0
}

// A list that is never twice the same is read so often in one run, and in all. Then it is
// taken as it is, and ids are compared instead. A run with a person's word reads on until then:
// nobody gives it a second time.
const (
	listsARun  = 3
	listsAtAll = 9
)

// compareListings ends a listing of several pages. They may have shifted while they were
// read, so only a second listing with the same ids is known to be complete.
func (r *run) compareListings(ctx context.Context, checkpoint *postgres.Checkpoint, list *listing) (same bool, err error) {
	digest, err := r.claimed.ListingDigest(ctx, list.Number)
	if err != nil {
		return false, err
	}
	if list.Lists++; list.Lists == listsAtAll {
		list.Sweep = "Zoho's list of deleted records was never twice the same"
	}
	if list.First == nil {
		first := list.reading
		list.First = &first
	}
	switch before := list.Before; {
	case before != nil && before.Digest == digest:
		r.moveWindow(checkpoint, list, before.reading)
		same = true
	case list.Lists >= listsAtAll:
		// Any of them may lack what was deleted after the first began, the last one too.
		r.moveWindow(checkpoint, list, *list.First)
		same = true
	default:
		list.Page, list.Before = 0, &earlierListing{Digest: digest, reading: list.reading}
	}
	return same, r.storeListing(ctx, nil, *checkpoint, *list)
}

// fetchDeletions reads the listing's next page. The window starts an overlap below the
// watermark, since a deletion may be listed late.
func (r *run) fetchDeletions(ctx context.Context, watermark time.Time, list *listing) (*zoho.DeletedPage, error) {
	since := watermark
	if !since.IsZero() {
		since = since.Add(-r.config.Overlap)
	}
	began := time.Now()
	page, err := r.zoho.Deleted(ctx, r.claimed.Module.API, since, max(list.Page, 1))
	if zoho.ListEndsEarly(err) {
		// What lies beyond cannot be listed: ids are compared instead.
		list.Sweep = "Zoho lists only so many deleted records at once"
		page, err = &zoho.DeletedPage{AsOf: list.AsOf, ZohoClock: list.Clock}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the deleted records of %s: %w", r.claimed.Module.Name, err)
	}
	r.slowest = max(r.slowest, time.Since(began))
	if list.Page == 0 {
		list.Number++
		list.Page, list.reading = 1, reading{AsOf: page.AsOf, Clock: page.ZohoClock}
		if page.AsOf.Sub(watermark) > binMemory {
			list.Sweep = "the last list of deleted records is older than what Zoho remembers"
		}
	}
	for _, d := range page.Entries {
		list.Latest = later(list.Latest, d.At)
	}
	return page, nil
}

// distinct keeps an id's latest deletion: pages that shift may repeat one.
func distinct(entries []zoho.Deleted) []postgres.Deletion {
	at := make(map[string]int, len(entries))
	var all []postgres.Deletion
	for _, d := range entries {
		deletion := postgres.Deletion{ID: d.ID, Kind: d.Kind, At: d.At}
		i, twice := at[d.ID]
		switch {
		case !twice:
			at[d.ID] = len(all)
			all = append(all, deletion)
		case d.At.After(all[i].At):
			all[i] = deletion
		}
	}
	return all
}

// guardDeletions asks a person before an unlikely share of the module is marked: that is
// more often a mistake in the CRM, or a lost right to see it, than what anybody wants
// copied. It looks at the records first, since most may be restored already; what it found
// gone is not looked at again for hours.
func (r *run) guardDeletions(ctx context.Context) (*massDeletion, error) {
	if r.request.AcceptMassDelete {
		return nil, nil
	}
	for {
		pending, err := r.claimed.PendingDeletions(ctx, few)
		if err != nil || !r.tooMany(pending.Listed, pending.Live) {
			return nil, err
		}
		if r.tooMany(pending.Gone, pending.Live) {
			return &massDeletion{module: r.claimed.Module.Name, rows: pending.Gone, live: pending.Live, percent: r.config.MassDelete}, nil
		}
		ids, err := r.claimed.UnseenDeletions(ctx, guardLook)
		if err != nil || len(ids) == 0 {
			return nil, err
		}
		for ids := range slices.Chunk(ids, zoho.MaxIDs) {
			if err := r.lookAtPending(ctx, ids); err != nil {
				return nil, err
			}
		}
		if !r.mayGoOn() {
			r.more = true
			return nil, nil
		}
	}
}

// guardLook is how many records the guard looks at before it counts again.
const guardLook = 4 * zoho.MaxIDs

// lookAtPending settles what can be read, and marks nothing.
func (r *run) lookAtPending(ctx context.Context, ids []string) error {
	gone, readable, err := r.look(ctx, ids)
	if err != nil {
		return err
	}
	if err := r.claimed.NoteGone(ctx, gone); err != nil || len(readable) == 0 {
		return err
	}
	return r.settle(ctx, nil, readable)
}

func (r *run) tooMany(rows, live int64) bool {
	return rows > few && rows*100 > live*int64(r.config.MassDelete)
}

// massDeletion is what a person must decide about.
type massDeletion struct {
	module     string
	rows, live int64
	percent    int
	unlisted   bool // they are not even listed
}

func (e *massDeletion) Error() string {
	least, what := "at least ", "are listed as deleted at once" // not all of them were looked at
	if e.unlisted {
		least, what = "", "are neither shown nor listed as deleted by Zoho"
	}
	return fmt.Sprintf("%s%d of %d live rows of %s %s, more than %d %%: none of them was marked", least, e.rows, e.live, e.module, what, e.percent)
}

// Hint says what the person should look at.
func (e *massDeletion) Hint() string {
	if e.unlisted {
		return "most often the user who consented has lost the right to see them: let an administrator consent. If they are gone indeed, run: " +
			"zohomirror repair " + e.module + " --accept-unlisted --accept-mass-delete"
	}
	return "look into Zoho's recycle bin; if that is what was wanted, run: zohomirror sync " + e.module +
		" --accept-mass-delete. Otherwise restore them there, and runs are ok again within hours. Edits are mirrored all the while"
}

// settleDeletions looks at every deletion that is due: what cannot be read is marked, what
// can be is read in full. Without listed, only what was looked at before is looked at again.
// What is left when the time is spent is due in the next run.
func (r *run) settleDeletions(ctx context.Context, listed bool) error {
	for {
		ids, err := r.claimed.DueDeletions(ctx, listed, zoho.MaxIDs)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return r.claimed.ForgetDeletions(ctx, r.zohoNow)
		}
		gone, readable, err := r.look(ctx, ids)
		if err != nil {
			return err
		}
		if err := r.settle(ctx, gone, readable); err != nil {
			return err
		}
		if len(ids) == zoho.MaxIDs && !r.mayGoOn() {
			r.more = true
			return nil
		}
	}
}

// look tells which records can be read now.
func (r *run) look(ctx context.Context, ids []string) (gone, readable []string, err error) {
	there, err := r.zoho.Readable(ctx, r.claimed.Module.API, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("look at the deleted records of %s: %w", r.claimed.Module.Name, err)
	}
	for _, id := range ids {
		if there[id] {
			readable = append(readable, id)
		} else {
			gone = append(gone, id)
		}
	}
	return gone, readable, nil
}

// settle reads in full what can be read, and records what was found.
func (r *run) settle(ctx context.Context, gone, readable []string) error {
	found, err := r.reread(ctx, readable)
	if err != nil {
		return err
	}
	counts, err := r.claimed.SettleDeletions(ctx, gone, readable, found)
	r.counts = r.counts.Plus(counts)
	return err
}
