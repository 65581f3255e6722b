package crm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"zohomirror/internal/zoho"
)

// Kinds of drift.
const (
	FieldAdded    = "field_added"    // IsNow: its type
	FieldGone     = "field_gone"     // Was: its type
	TypeChanged   = "type_changed"   // from Was, of the field or of its column, to IsNow
	PicklistValue = "picklist_value" // IsNow: a value that the table's CHECK does not allow
)

// Drift is one way in which the org's schema has moved, or differs from the catalogue.
type Drift struct {
	Field string `json:"field"` // API name
	Kind  string `json:"kind"`
	Was   string `json:"was,omitempty"`
	IsNow string `json:"is_now,omitempty"`
}

// TypeOf names a field's type, for a formula with what it returns.
func TypeOf(f zoho.Field) string {
	if f.Returns != "" {
		return f.DataType + ":" + f.Returns
	}
	return f.DataType
}

// Readable reports whether a query can name the field.
func Readable(f zoho.Field) bool { return !slices.Contains(unreadable, f.DataType) }

// Changes tells how a module's metadata differs from an older copy of it.
func Changes(before, after []zoho.Field) []Drift {
	old, current := byName(before), byName(after)
	var changes []Drift
	for _, f := range after {
		was, known := old[f.APIName]
		switch {
		case !known:
			changes = append(changes, Drift{Field: f.APIName, Kind: FieldAdded, IsNow: TypeOf(f)})
		case was.DataType != f.DataType, was.Returns != f.Returns && was.Returns != "": // the oldest copies have no Returns
			changes = append(changes, Drift{Field: f.APIName, Kind: TypeChanged, Was: TypeOf(was), IsNow: TypeOf(f)})
		}
	}
	for _, f := range before {
		if _, still := current[f.APIName]; !still {
			changes = append(changes, Drift{Field: f.APIName, Kind: FieldGone, Was: TypeOf(f)})
		}
	}
	return changes
}

// Gone adds to the fields that could be read once those that no longer can, and takes out
// those that can again.
func Gone(gone []string, before, after []zoho.Field) []string {
	current := byName(after)
	names := slices.Clone(gone)
	for _, f := range before {
		if Readable(f) && !slices.Contains(names, f.APIName) {
			names = append(names, f.APIName)
		}
	}
	return slices.DeleteFunc(names, func(api string) bool {
		f, listed := current[api]
		return listed && Readable(f)
	})
}

// NeedsFill reports whether rows that were written before the changes lack something that
// a query shows now.
func NeedsFill(changes []Drift, fields []zoho.Field) bool {
	current := byName(fields)
	return slices.ContainsFunc(changes, func(d Drift) bool {
		f, listed := current[d.Field]
		return listed && Readable(f) && (d.Kind == FieldAdded || d.Kind == TypeChanged)
	})
}

func byName(fields []zoho.Field) map[string]zoho.Field {
	named := make(map[string]zoho.Field, len(fields))
	for _, f := range fields {
		named[f.APIName] = f
	}
	return named
}

// suits are the data types whose values a kind's column holds; kinds that are not here
// hold whatever is a single value.
var suits = map[Kind][]string{
	Boolean: {"boolean"},
	Integer: {"integer", "bigint", "long"},
	Money:   {"currency", "double", "integer", "bigint", "long", "percent"},
	Numeric: {"currency", "double", "integer", "bigint", "long", "percent"},
	Date:    {"date"},
	Time:    {"datetime"},
	Lookup:  {"lookup", "ownerlookup", "userlookup", "layout", "module"},
	User:    {"ownerlookup", "userlookup", "lookup"},
}

// manifold are the data types whose values are objects or lists.
var manifold = []string{"lookup", "ownerlookup", "userlookup", "multiuserlookup", "multi_module_lookup", "multiselectlookup",
	"consent_lookup", "multiselectpicklist", "subform", "fileupload", "imageupload", "linetax", "layout", "module", "multireminder"}

func (k Kind) suits(f zoho.Field) bool {
	dataType := f.DataType
	if f.Returns != "" {
		dataType = f.Returns
	}
	if k == JSON || dataType == "" {
		return true
	}
	if allowed, bound := suits[k]; bound {
		return slices.Contains(allowed, dataType)
	}
	return !slices.Contains(manifold, dataType)
}

// Unsuited tells which mapped fields have a type, or more decimals, than their columns hold.
func (m *Module) Unsuited(fields []zoho.Field, money map[string]Width) []Drift {
	current := byName(fields)
	var unsuited []Drift
	for _, f := range m.Fields {
		is, listed := current[f.API]
		if !listed {
			continue
		}
		if !f.Kind.suits(is) {
			unsuited = append(unsuited, Drift{Field: f.API, Kind: TypeChanged, Was: f.columns()[0].SQLType(), IsNow: TypeOf(is)})
		}
	}
	for _, gap := range m.MoneyGaps(fields, money) {
		unsuited = append(unsuited, Drift{Field: gap.Field, Kind: TypeChanged, Was: "numeric" + gap.Is.String(),
			IsNow: fmt.Sprintf("%s with %d decimals", TypeOf(current[gap.Field]), gap.Required.Scale)})
	}
	return unsuited
}

// MoneyGap is a money column that holds fewer decimals than its field has.
type MoneyGap struct {
	Field    string `json:"field"`
	Column   string `json:"column"`
	Is       Width  `json:"is"`
	Required Width  `json:"required"` // as many digits before the point as now
}

func (w Width) String() string { return fmt.Sprintf("(%d,%d)", w.Precision, w.Scale) }

// MoneyGaps tells which money columns are to be widened.
func (m *Module) MoneyGaps(fields []zoho.Field, money map[string]Width) []MoneyGap {
	current := byName(fields)
	var gaps []MoneyGap
	for _, f := range m.Fields {
		is, column := current[f.API], f.columns()[0].Name
		w, known := money[column]
		if !known {
			w = defaultWidth
		}
		if f.Kind == Money && w.Precision > 0 && is.DecimalPlace > w.Scale {
			gaps = append(gaps, MoneyGap{Field: f.API, Column: column, Is: w,
				Required: Width{Precision: w.Precision + is.DecimalPlace - w.Scale, Scale: is.DecimalPlace}})
		}
	}
	return gaps
}

// Picklists maps the columns of the module's picklists to their fields' API names.
func (m *Module) Picklists() map[string]string {
	columns := map[string]string{}
	for _, f := range m.Fields {
		if f.Kind == Picklist {
			columns[f.columns()[0].Name] = f.API
		}
	}
	return columns
}

// PicklistValues are the org's values of the module's picklists, by column.
func (m *Module) PicklistValues(fields []zoho.Field) map[string][]string {
	current := byName(fields)
	values := map[string][]string{}
	for column, api := range m.Picklists() {
		if f := current[api]; f.DataType == "picklist" && len(f.Values) > 0 {
			values[column] = f.Values
		}
	}
	return values
}

// PicklistValues are the values that rows hold in picklists, by column.
func (p *Plan) PicklistValues(rows []Row) map[string][]string {
	values := map[string][]string{}
	for c, column := range p.Columns {
		if column.Kind != Picklist {
			continue
		}
		seen := map[string]bool{}
		for i := range rows {
			if v := rows[i].Values[c]; v.Valid && !seen[v.Text] {
				seen[v.Text] = true
				values[column.Name] = append(values[column.Name], v.Text)
			}
		}
	}
	return values
}

// Digest changes whenever the module's mapping does.
func (m *Module) Digest() string {
	h := sha256.New()
	for _, f := range m.Fields {
		fmt.Fprintln(h, f.API, f.Kind, f.columns())
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
