package crm

import (
	"slices"

	"zohomirror/internal/zoho"
)

// slices parts columns into what SELECTs of at most so many columns, id included, may name.
// Every slice holds Modified_Time, by which torn records are found, and the first one also
// what orders the streams, since it says where a page ends. types are the fields' data types.
func (m *Module) slices(columns []string, types map[string]string, most int) [][]string {
	formula := func(column string) bool { return types[column] == "formula" }
	if len(columns) < most && count(columns, formula) <= zoho.MaxFormulas {
		return [][]string{columns}
	}
	first := []string{fieldModifiedTime}
	for _, s := range m.Streams {
		if !slices.Contains(first, s.OrderBy) {
			first = append(first, s.OrderBy)
		}
	}
	most = max(most-1, len(first), 2) // beside id; with less nothing could be read
	parts := [][]string{first}
	put := func(formulas bool) {
		for _, c := range columns {
			if formula(c) != formulas || slices.Contains(first, c) {
				continue
			}
			fits := func(part []string) bool {
				return len(part) < most && (!formulas || count(part, formula) < zoho.MaxFormulas)
			}
			if i := slices.IndexFunc(parts, fits); i >= 0 {
				parts[i] = append(parts[i], c)
			} else {
				parts = append(parts, []string{fieldModifiedTime, c})
			}
		}
	}
	put(true) // first, so that formulas share their slices with other columns
	put(false)
	return parts
}

func count(columns []string, is func(string) bool) (n int) {
	for _, c := range columns {
		if is(c) {
			n++
		}
	}
	return n
}

// Width is how many columns the plan's widest SELECT names, id included.
func (p *Plan) Width() int {
	widest := 0
	for _, slice := range p.Slices {
		widest = max(widest, len(slice))
	}
	return widest + 1
}
