package mirror

import (
	"context"
	"fmt"
	"slices"

	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// retryMost bounds what an ordinary run tries again of the quarantine: four calls, or
// eight for leads.
const retryMost = 4 * zoho.MaxIDs

// Replay is what became of the records that a run of mode replay was asked for.
type Replay struct {
	Settled  []string         `json:"settled"`   // written
	Gone     []string         `json:"gone"`      // no longer in Zoho, so settled too
	StillBad []postgres.Entry `json:"still_bad"` // tried in vain
	Untried  []string         `json:"untried"`   // the time was spent before
	NoID     []string         `json:"no_id"`     // came without an id: they cannot be read again
}

// Quarantine returns open entries of a module, all of them or of some records.
func (m *Mirror) Quarantine(ctx context.Context, module string, ids []string) ([]postgres.Entry, error) {
	return m.db.OpenEntries(ctx, module, ids)
}

// replay tries open entries again: all, or those asked for.
func (r *run) replay(ctx context.Context) error {
	module := r.claimed.Module.Name
	entries, err := r.db.OpenEntries(ctx, module, r.request.IDs)
	if err != nil {
		return err
	}
	result := &Replay{Settled: []string{}, Gone: []string{}, StillBad: []postgres.Entry{}, Untried: []string{}, NoID: []string{}}
	var ids []string
	for _, e := range entries {
		if e.NoID() {
			result.NoID = append(result.NoID, e.ID)
		} else {
			ids = append(ids, e.ID)
		}
	}
	tried, gone, err := r.try(ctx, ids)
	if err != nil {
		return err
	}
	if r.more = tried < len(ids); r.more {
		result.Untried = ids[tried:]
	}
	ids = ids[:tried]
	if len(ids) > 0 {
		if result.StillBad, err = r.db.OpenEntries(ctx, module, ids); err != nil {
			return err
		}
	}
	result.Gone = append(result.Gone, gone...)
	for _, id := range ids {
		bad := slices.ContainsFunc(result.StillBad, func(e postgres.Entry) bool { return e.ID == id })
		if !bad && !slices.Contains(gone, id) {
			result.Settled = append(result.Settled, id)
		}
	}
	r.replays = result
	return nil
}

// retry tries entries again that may fit now, since the catalogue or the table has changed
// since they were last tried. What is left for want of time is the next run's.
func (r *run) retry(ctx context.Context) error {
	reason := r.reason
	if !r.writer.MayFit() || !r.mayGoOn() {
		r.reason = reason
		return nil
	}
	ids, err := r.writer.ToTry(ctx, retryMost)
	if err != nil {
		return fmt.Errorf("read the quarantine of %s: %w", r.claimed.Module.Name, err)
	}
	tried, gone, err := r.try(ctx, ids)
	r.reason = reason
	if err != nil {
		return fmt.Errorf("try the quarantine again: %w", err)
	}
	r.log.InfoContext(ctx, "the catalogue or the table has changed: records of the quarantine were tried again",
		"tried", tried, "gone", len(gone))
	return nil
}

// try reads records again and writes those that fit; the others' entries count the attempt.
// It returns how many it came to before the time was spent, and which are gone from Zoho.
func (r *run) try(ctx context.Context, ids []string) (tried int, gone []string, err error) {
	r.claimed.Retrying = true
	defer func() { r.claimed.Retrying = false }()
	for chunk := range slices.Chunk(ids, zoho.MaxIDs) {
		if tried > 0 && !r.mayGoOn() {
			break
		}
		if _, err := r.reread(ctx, chunk); err != nil {
			return tried, gone, err
		}
		lost, err := r.unmet(ctx, chunk)
		if err != nil {
			return tried, gone, err
		}
		tried, gone = tried+len(chunk), append(gone, lost...)
	}
	return tried, gone, nil
}

// unmet looks at the records that did not come when they were read again. Not shown by a
// query is not gone: only the record's own address tells.
func (r *run) unmet(ctx context.Context, ids []string) (gone []string, err error) {
	ids, err = r.writer.Unseen(ctx, ids)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	readable, err := r.zoho.Readable(ctx, r.claimed.Module.API, ids)
	if err != nil {
		return nil, err
	}
	var hidden []string
	for _, id := range ids {
		if readable[id] {
			hidden = append(hidden, id)
		} else {
			gone = append(gone, id)
		}
	}
	return gone, r.writer.Unmet(ctx, gone, hidden)
}
