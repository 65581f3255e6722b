package mirror

import (
	"context"
	"slices"
	"time"

	"zohomirror/internal/crm"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// Drift is noticed where it shows: when the fields metadata is renewed, when Zoho refuses a
// column, when the table's CHECK refuses a value. An idle tick looks for none.

// noticeFields compares the module's metadata, just read, with the copy kept so far, with
// the catalogue and with the table.
func (r *run) noticeFields(ctx context.Context, fields []zoho.Field) (fieldsEntry, error) {
	before, module := r.meta.fields, r.claimed.Module
	notice := postgres.Notice{Fields: fields, Standing: module.Unsuited(fields, r.claimed.Money)}
	if before.Fields != nil {
		notice.Changes = crm.Changes(before.Fields, fields)
	}
	outside, err := r.outside(ctx, module.PicklistValues(fields))
	if err != nil {
		return fieldsEntry{}, err
	}
	notice.Standing = append(notice.Standing, outside...)
	if before.Unavailable || crm.NeedsFill(notice.Changes, fields) {
		notice.Checkpoints = r.newFill()
	}
	entry := fieldsEntry{Fields: fields, Gone: crm.Gone(before.Gone, before.Fields, fields)}
	return entry, r.notice(ctx, notice)
}

// noticeCatalogue asks for a fill when the catalogue is not the one that the rows were
// written with: another version is at work, or a field was promoted.
func (r *run) noticeCatalogue(ctx context.Context) error {
	module := r.claimed.Module
	key, digest := "catalogue:"+module.Name, module.Digest()
	stored, known := r.claimed.Metadata[key]
	if known && string(stored.Body) == `"`+digest+`"` {
		return nil
	}
	notice := postgres.Notice{Metadata: map[string]any{key: digest}}
	if known {
		notice.Checkpoints = r.newFill()
	}
	return r.notice(ctx, notice)
}

// noticeRefusal keeps, for a day and for every process, that Zoho refused a column.
func (r *run) noticeRefusal(ctx context.Context, column string) error {
	gone := crm.Drift{Field: column, Kind: crm.FieldGone}
	for _, f := range r.meta.fields.Fields {
		if f.APIName == column {
			gone.Was = crm.TypeOf(f)
		}
	}
	return r.notice(ctx, postgres.Notice{
		Changes:  []crm.Drift{gone},
		Metadata: map[string]any{r.refusedKey(): r.meta.refused},
	})
}

// noticeReadmitted asks for a fill when columns that Zoho refused were read in this run:
// what was edited meanwhile came without them.
func (r *run) noticeReadmitted(ctx context.Context) error {
	if !slices.ContainsFunc(r.meta.retried, func(column string) bool { return slices.Contains(r.plan.Select, column) }) {
		return nil
	}
	r.meta.retried = nil
	return r.notice(ctx, postgres.Notice{
		Checkpoints: r.newFill(),
		Metadata:    map[string]any{r.refusedKey(): r.meta.refused},
	})
}

// noticeRefusedRows looks, where the database refused some rows of a page, whether a
// picklist's CHECK is the cause.
func (r *run) noticeRefusedRows(ctx context.Context, batch crm.Batch, counts postgres.Counts) error {
	if counts.Quarantined == int64(len(batch.Problems)) {
		return nil
	}
	outside, err := r.outside(ctx, r.plan.PicklistValues(batch.Rows))
	if err != nil {
		return err
	}
	outside = slices.DeleteFunc(outside, func(d crm.Drift) bool { return r.noticed[d] })
	if len(outside) == 0 {
		return nil
	}
	return r.notice(ctx, postgres.Notice{Changes: outside})
}

// outside tells which values of picklists, given by column, the table does not allow.
func (r *run) outside(ctx context.Context, values map[string][]string) ([]crm.Drift, error) {
	refused, err := r.db.Outside(ctx, r.claimed.Module, values)
	if err != nil {
		return nil, err
	}
	var drift []crm.Drift
	for column, api := range r.claimed.Module.Picklists() {
		for _, value := range refused[column] {
			drift = append(drift, crm.Drift{Field: api, Kind: crm.PicklistValue, IsNow: value})
		}
	}
	return drift, nil
}

var driftHints = map[string]string{
	crm.FieldAdded:    "it is mirrored in custom_fields, and older rows are filled in; zohomirror schema promote makes a column of it",
	crm.FieldGone:     "it is no longer read, and stored values stay; nothing is to be done unless it was renamed",
	crm.TypeChanged:   "rows that no longer fit are quarantined: see zohomirror schema diff",
	crm.PicklistValue: "rows with these values are quarantined until zohomirror schema migration --apply allows them",
}

// notice stores drift once, and says it once.
func (r *run) notice(ctx context.Context, n postgres.Notice) error {
	fresh, err := r.claimed.Notice(ctx, n)
	if err != nil {
		return err
	}
	for _, c := range n.Checkpoints {
		r.claimed.Checkpoints[c.Stream] = c
	}
	if r.noticed == nil {
		r.noticed = map[crm.Drift]bool{}
	}
	for _, d := range n.Changes {
		r.noticed[d] = true
	}
	values := map[string]int{} // counted: they may stand in records alone, which no log shows
	for _, d := range fresh {
		if d.Kind == crm.PicklistValue {
			values[d.Field]++
			continue
		}
		r.log.WarnContext(ctx, "schema drift", "kind", d.Kind, "field", d.Field, "was", d.Was, "is_now", d.IsNow, "hint", driftHints[d.Kind])
	}
	for field, values := range values {
		r.log.WarnContext(ctx, "schema drift", "kind", crm.PicklistValue, "field", field, "values", values, "hint", driftHints[crm.PicklistValue])
	}
	return nil
}

// newFill is the beginning of a fill; one that is under way begins anew.
func (r *run) newFill() []postgres.Checkpoint {
	var all []postgres.Checkpoint
	for _, filter := range r.filters() {
		all = append(all, postgres.Checkpoint{Stream: fillStream(filter), WindowAsOf: time.Now()})
	}
	return all
}
