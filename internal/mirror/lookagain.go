package mirror

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"zohomirror/internal/crm"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// lookAgain takes a second look at every suspect of a sweep. Whoever was edited, deleted or
// brought back meanwhile is cleared; in a repair the others are mended.
func (r *run) lookAgain(ctx context.Context, v *postgres.Verification) error {
	if wait, err := r.guardUnlisted(ctx, v); err != nil || wait {
		return err
	}
	after := ""
	for {
		suspects, err := r.claimed.Suspects(ctx, v, after, zoho.MaxIDs)
		if err != nil || len(suspects) == 0 {
			return err
		}
		after = suspects[len(suspects)-1].ID
		if err := r.judge(ctx, v, suspects); err != nil {
			return err
		}
		if len(suspects) == zoho.MaxIDs && !r.mayGoOn() {
			return nil
		}
	}
}

// guardUnlisted stops a repair before it marks an unlikely share of the module on a
// person's word: fewer rights of the user who consented look just like that. So many must wait
// until the list of deletions is known, and speaks for the time at which they were missed.
func (r *run) guardUnlisted(ctx context.Context, v *postgres.Verification) (wait bool, err error) {
	if v.AcceptUnlisted && r.request.AcceptMassDelete {
		return false, nil
	}
	extras, err := r.claimed.Extras(ctx, v)
	if err != nil || !r.tooMany(extras.Rows, extras.Live) {
		return false, err
	}
	if r.mayStillBeListed(extras.Unlisted) {
		r.reason = ReasonSettling
		return true, nil
	}
	asked := &massDeletion{module: r.claimed.Module.Name, rows: extras.Rows, live: extras.Live, percent: r.config.MassDelete, unlisted: true}
	if v.AcceptUnlisted {
		return false, asked
	}
	// To look at each of so many would burn the org's credits to say the same.
	r.log.WarnContext(ctx, "Zoho does not show so many rows that none is looked at a second time", "rows", extras.Rows, "hint", asked.Hint())
	return false, r.claimed.ConfirmExtras(ctx, v)
}

// mayStillBeListed: the list of deletions still shifts, and nothing of it was settled, or it may
// have what was missed at a time a little later.
func (r *run) mayStillBeListed(missed time.Time) bool {
	return r.listedAt.IsZero() || r.listedAt.Before(missed.Add(r.config.Overlap))
}

// judge settles up to zoho.MaxIDs suspects.
func (r *run) judge(ctx context.Context, v *postgres.Verification, suspects []postgres.Suspect) error {
	j := judgement{run: r, verification: v}
	var ids []string
	for _, s := range suspects {
		if zoho.IsID(s.ID) {
			ids = append(ids, s.ID)
		} else {
			j.confirm(s, postgres.FoundUnlisted) // somebody's own row
		}
	}
	suspects = slices.DeleteFunc(suspects, func(s postgres.Suspect) bool { return !zoho.IsID(s.ID) })
	shown, err := r.show(ctx, ids)
	if err != nil {
		return err
	}
	if j.found, err = r.writer.Compare(ctx, shown); err != nil {
		return err
	}
	j.modified = modifiedByID(shown)
	for _, p := range shown.Problems {
		j.found[p.ID] = postgres.FoundQuarantined
	}
	var hidden []postgres.Suspect
	for _, s := range suspects {
		switch _, visible := j.modified[s.ID]; {
		case visible:
			j.visible(s)
		case !s.Live:
			j.clear(s)
		default:
			hidden = append(hidden, s)
		}
	}
	if err := j.hidden(ctx, hidden); err != nil {
		return err
	}
	if v.Mode == ModeRepair {
		if err := j.mend(ctx, shown); err != nil {
			return err
		}
	}
	if len(j.hasten) > 0 {
		if err := r.claimed.HastenDeletions(ctx, j.hasten); err != nil {
			return err
		}
	}
	return r.claimed.SettleFindings(ctx, v, j.findings)
}

// show reads records in full, in every state of conversion.
func (r *run) show(ctx context.Context, ids []string) (crm.Batch, error) {
	var records []jsontext.Value
	for _, filter := range r.filters() {
		if len(ids) == 0 {
			break
		}
		page, err := r.query(ctx, zoho.Query{Filter: filter, IDs: ids, Limit: zoho.MaxIDs})
		if err != nil {
			return crm.Batch{}, err
		}
		records = append(records, page.Records...)
	}
	return r.plan.Map(records), nil // once: a lead that was converted in between came twice
}

func modifiedByID(batch crm.Batch) map[string]time.Time {
	modified := map[string]time.Time{}
	for i := range batch.Rows {
		modified[batch.Rows[i].ID] = batch.Rows[i].Modified
	}
	for i := range batch.Problems {
		modified[batch.Problems[i].ID] = batch.Problems[i].Modified
	}
	return modified
}

// A judgement is under way over some suspects.
type judgement struct {
	*run
	verification *postgres.Verification
	found        map[string]string    // in what rows differ from what Zoho shows
	modified     map[string]time.Time // of what Zoho shows
	findings     []postgres.Finding
	hasten       []string // deletions to be looked at by the next run
}

func (j *judgement) clear(s postgres.Suspect) {
	j.findings = append(j.findings, postgres.Finding{ID: s.ID, Finding: s.Finding, State: postgres.FindingCleared})
}

func (j *judgement) confirm(s postgres.Suspect, finding string) {
	j.findings = append(j.findings, postgres.Finding{ID: s.ID, Finding: finding, State: postgres.FindingConfirmed})
}

// visible judges a suspect that Zoho shows.
func (j *judgement) visible(s postgres.Suspect) {
	finding := j.found[s.ID]
	newer := j.modified[s.ID].After(j.verification.AsOf)
	switch {
	case finding == postgres.FoundQuarantined, s.Quarantined && s.Finding != postgres.FoundExtra:
		j.confirm(s, postgres.FoundQuarantined)
	case finding == postgres.FoundWronglyDeleted && s.Watched && j.verification.Mode == ModeVerify:
		j.hasten = append(j.hasten, s.ID) // restored: each deletion is looked at daily, this one now
		j.clear(s)
	case finding == "",
		finding == postgres.FoundDifferent && !j.verification.Deep,
		newer && finding != postgres.FoundWronglyDeleted && finding != postgres.FoundDifferent:
		j.clear(s) // equal by now, or newer and so the next run's
	default:
		j.confirm(s, finding)
	}
}

// hidden judges live rows that Zoho does not show.
func (j *judgement) hidden(ctx context.Context, suspects []postgres.Suspect) error {
	if len(suspects) == 0 {
		return nil
	}
	ids := make([]string, len(suspects))
	for i, s := range suspects {
		ids[i] = s.ID
	}
	there, err := j.zoho.Readable(ctx, j.claimed.Module.API, ids)
	if err != nil {
		return fmt.Errorf("look at suspects of %s: %w", j.claimed.Module.Name, err)
	}
	for _, s := range suspects {
		switch {
		case there[s.ID]:
			j.clear(s) // hidden from queries, but there
		case j.listedAt.IsZero(), !s.Listed && j.mayStillBeListed(s.SeenAt):
			j.reason = ReasonSettling // the next run looks again
		case s.Listed:
			j.confirm(s, postgres.FoundWronglyLive)
		default:
			j.confirm(s, postgres.FoundUnlisted)
		}
	}
	return nil
}

// mend repairs what was confirmed, as far as a repair may, and looks once more.
func (j *judgement) mend(ctx context.Context, shown crm.Batch) error {
	var live, unlisted []string
	for _, f := range j.findings {
		switch {
		case f.State != postgres.FindingConfirmed:
		case f.Finding == postgres.FoundWronglyLive:
			live = append(live, f.ID)
		case f.Finding == postgres.FoundUnlisted && j.verification.AcceptUnlisted:
			unlisted = append(unlisted, f.ID)
		}
	}
	written, err := j.writer.Page(ctx, shown)
	if err != nil {
		return err
	}
	left, err := j.writer.Compare(ctx, shown)
	if err != nil {
		return err
	}
	var deleted, marked postgres.Counts
	if len(live) > 0 {
		if deleted, err = j.claimed.SettleDeletions(ctx, live, nil, nil); err != nil {
			return err
		}
	}
	if len(unlisted) > 0 {
		if marked, err = j.claimed.MarkUnlisted(ctx, unlisted, j.listedAt); err != nil {
			return err
		}
	}
	j.counts = j.counts.Plus(written).Plus(deleted).Plus(marked)
	for i := range j.findings {
		f := &j.findings[i]
		_, visible := j.modified[f.ID]
		mended := visible && left[f.ID] == "" || slices.Contains(live, f.ID) || slices.Contains(unlisted, f.ID)
		if f.State == postgres.FindingConfirmed && f.Finding != postgres.FoundQuarantined && mended {
			f.State = postgres.FindingRepaired
		}
	}
	return nil
}
