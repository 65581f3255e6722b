package mirror

import (
	"context"
	"fmt"
	"slices"

	"zohomirror/internal/crm"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// SchemaDiff is how the org differs from the catalogue and a module's table, and what runs
// have noticed so far.
type SchemaDiff struct {
	Module    string           `json:"module"`
	Noticed   []postgres.Drift `json:"noticed"`
	Custom    []SchemaField    `json:"custom"`    // of the org alone: in custom_fields
	Unread    []SchemaField    `json:"unread"`    // of the org alone, and no query can read them
	Absent    []string         `json:"absent"`    // of the catalogue alone: their columns stay null
	Unsuited  []crm.Drift      `json:"unsuited"`  // of another type than their column's
	Picklists []PicklistGap    `json:"picklists"` // that do not allow all values
	Money     []crm.MoneyGap   `json:"money"`     // that hold too few decimals
	Foreign   []string         `json:"foreign"`   // CHECKs on picklists that a person wrote in another form

	fields []zoho.Field
	shape  *postgres.Shape
}

// SchemaField is a field of the org.
type SchemaField struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// PicklistGap is a picklist whose CHECK does not allow all that the org has.
type PicklistGap struct {
	Field   string   `json:"field"`
	Column  string   `json:"column"`
	Missing []string `json:"missing"`

	check postgres.Check
}

// SchemaDiff compares the org, as Zoho describes it now, with the catalogue and the table.
// It writes nothing.
func (m *Mirror) SchemaDiff(ctx context.Context, module *crm.Module) (*SchemaDiff, error) {
	d := &SchemaDiff{ // no list is null in JSON
		Module: module.Name, Custom: []SchemaField{}, Unread: []SchemaField{}, Absent: []string{}, Unsuited: []crm.Drift{},
		Picklists: []PicklistGap{}, Money: []crm.MoneyGap{}, Foreign: []string{},
	}
	var err error
	if d.shape, err = m.db.Shape(ctx, module); err != nil {
		return nil, err
	}
	if d.Noticed, err = m.db.Drift(ctx, module); err != nil {
		return nil, fmt.Errorf("read what was noticed of %s: %w", module.Name, err)
	}
	if d.fields, err = m.zoho.Fields(ctx, module.API); err != nil {
		return nil, fmt.Errorf("read the fields of %s: %w", module.Name, err)
	}
	if len(d.fields) == 0 {
		return nil, fmt.Errorf("no field of %s is listed by Zoho: the user who consented may not see the module", module.Name)
	}
	d.compareFields(module)
	d.comparePicklists(module)
	return d, nil
}

func (d *SchemaDiff) compareFields(module *crm.Module) {
	mapped := map[string]bool{"id": true}
	for _, f := range module.Fields {
		mapped[f.API] = true
		if !slices.ContainsFunc(d.fields, func(z zoho.Field) bool { return z.APIName == f.API }) {
			d.Absent = append(d.Absent, f.API)
		}
	}
	for _, f := range d.fields {
		field := SchemaField{Name: f.APIName, Type: crm.TypeOf(f)}
		switch {
		case mapped[f.APIName]:
		case crm.Readable(f):
			d.Custom = append(d.Custom, field)
		default:
			d.Unread = append(d.Unread, field)
		}
	}
	d.Money = append(d.Money, module.MoneyGaps(d.fields, d.shape.Money)...)
	for _, u := range module.Unsuited(d.fields, d.shape.Money) {
		if !slices.ContainsFunc(d.Money, func(gap crm.MoneyGap) bool { return gap.Field == u.Field }) {
			d.Unsuited = append(d.Unsuited, u)
		}
	}
}

func (d *SchemaDiff) comparePicklists(module *crm.Module) {
	columns := module.Picklists()
	org := module.PicklistValues(d.fields)
	for _, check := range d.shape.Checks {
		api, ours := columns[check.Column]
		if !ours {
			continue
		}
		wanted := slices.Clone(org[check.Column])
		for _, n := range d.Noticed { // records have values that their picklist does not list
			if n.Kind == crm.PicklistValue && n.Field == api {
				wanted = append(wanted, n.IsNow)
			}
		}
		if missing := without(wanted, check.Values); len(missing) > 0 {
			d.Picklists = append(d.Picklists, PicklistGap{Field: api, Column: check.Column, Missing: missing, check: check})
		}
	}
	for column, name := range d.shape.Foreign {
		if _, ours := columns[column]; ours {
			d.Foreign = append(d.Foreign, name)
		}
	}
	slices.Sort(d.Foreign)
}

// without returns the values that are not among known, each once.
func without(values, known []string) []string {
	var rest []string
	for _, v := range values {
		if !slices.Contains(known, v) && !slices.Contains(rest, v) {
			rest = append(rest, v)
		}
	}
	return rest
}

// SchemaChange is what brings a table in line with the org. A CHECK only grows, and a
// column is only widened.
func (m *Mirror) SchemaChange(ctx context.Context, module *crm.Module) (change postgres.Change, needed bool, err error) {
	d, err := m.SchemaDiff(ctx, module)
	if err != nil {
		return change, false, err
	}
	change = postgres.Change{Module: module.Name, Widths: map[string]crm.Width{}}
	for _, gap := range d.Picklists {
		stored, err := m.db.Stored(ctx, module, gap.Column)
		if err != nil {
			return change, false, err
		}
		check := gap.check
		check.Values = slices.Concat(check.Values, without(slices.Concat(gap.Missing, stored), check.Values))
		change.Checks = append(change.Checks, check)
	}
	for _, gap := range d.Money {
		change.Widths[gap.Column] = gap.Required
	}
	return change, len(change.Checks)+len(change.Widths) > 0, nil
}

// PendingOrg names the org's migrations in a folder that the database does not have yet.
func (m *Mirror) PendingOrg(ctx context.Context, folder string) ([]string, error) {
	return m.db.PendingOrg(ctx, folder)
}

// MigrateOrg applies the org's migrations of a folder.
func (m *Mirror) MigrateOrg(ctx context.Context, folder string) ([]string, error) {
	return m.db.MigrateOrg(ctx, folder)
}

// Promote turns a custom field into a column: it adds the field to the promoted ones and
// returns what the table needs for it.
func (m *Mirror) Promote(ctx context.Context, module *crm.Module, name string, promoted crm.Promoted) (postgres.Change, error) {
	d, err := m.SchemaDiff(ctx, module)
	if err != nil {
		return postgres.Change{}, err
	}
	i := slices.IndexFunc(d.fields, func(f zoho.Field) bool { return f.APIName == name })
	if i < 0 {
		return postgres.Change{}, &unknownField{module: module.Name, name: name}
	}
	field, err := promoted.Promote(module, d.fields[i], d.shape.Columns)
	if err != nil {
		return postgres.Change{}, err
	}
	return postgres.Change{Module: module.Name, Promoted: []postgres.Promotion{{Field: field}}}, nil
}

type unknownField struct{ module, name string }

func (e *unknownField) Error() string { return fmt.Sprintf("%s has no field %.60q", e.module, e.name) }

func (e *unknownField) Hint() string {
	return "give the field's API name, upper and lower case as Zoho has it: zohomirror schema diff " + e.module + " lists them"
}
