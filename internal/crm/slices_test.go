package crm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"zohomirror/internal/zoho"
)

// custom are fields of an org, n of them formulas and m of them not.
func custom(n, m int) []zoho.Field {
	var fields []zoho.Field
	for i := range m {
		fields = append(fields, zoho.Field{APIName: fmt.Sprintf("Text_%d", i), DataType: "text"})
	}
	for i := range n {
		fields = append(fields, zoho.Field{APIName: fmt.Sprintf("Formula_%d", i), DataType: "formula"})
	}
	return fields
}

// What fits is read as ever; what does not, in as few slices as can be.
func TestSlices(t *testing.T) {
	const always = 2 // Created_Time and Modified_Time are read whatever the org lists
	for _, c := range []struct{ formulas, others, most, slices int }{
		{0, 0, 0, 1},
		{5, 500 - 5 - always - 1, 0, 1}, // and id: 500 columns
		{5, 500 - 5 - always, 0, 2},
		{6, 0, 0, 2},
		{0, 620, 0, 2},
		{12, 20, 0, 3},
		{10, 3*499 - 10 - 2 - always, 500, 3}, // full to the last place: Modified_Time is in each
		{10, 3*499 - 10 - 1 - always, 500, 4},
		{0, 620, 31, 22},
		{3, 3, 3, 7},
		{3, 3, 1, 7}, // less than id, Modified_Time and one more cannot be
	} {
		p := deals.Plan(Metadata{Fields: custom(c.formulas, c.others), MaxColumns: c.most})
		if len(p.Slices) != c.slices {
			t.Errorf("%+v: %d slices", c, len(p.Slices))
		}
		if len(p.Slices) == 1 && &p.Slices[0][0] != &p.Select[0] {
			t.Errorf("%+v: the one slice is not what is selected", c)
		}
	}
}

// Every column is in one slice, Modified_Time in all, what orders streams in the first; no
// slice is too wide; and halving always comes to an end.
func TestSlicesHoldEveryColumn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		module := rapid.SampledFrom(modules).Draw(rt, "module")
		fields := custom(rapid.IntRange(0, 30).Draw(rt, "formulas"), rapid.IntRange(0, 700).Draw(rt, "others"))
		for most := rapid.IntRange(1, 600).Draw(rt, "most"); ; {
			p := module.Plan(Metadata{Fields: fields, MaxColumns: most})
			var held []string
			for i, slice := range p.Slices {
				if len(slice)+1 > max(most, 3) || count(slice, func(c string) bool { return strings.HasPrefix(c, "Formula_") }) > zoho.MaxFormulas {
					rt.Fatalf("at most %d: %q", most, slice)
				}
				if !slices.Contains(slice, fieldModifiedTime) {
					rt.Fatalf("without Modified_Time: %q", slice)
				}
				for _, c := range slice {
					if i == 0 || c != fieldModifiedTime {
						held = append(held, c)
					}
				}
			}
			for _, s := range module.Streams {
				if !slices.Contains(p.Slices[0], s.OrderBy) {
					rt.Fatalf("%s is not in the first slice", s.OrderBy)
				}
			}
			want := slices.Sorted(slices.Values(p.Select))
			slices.Sort(held)
			if diff := cmp.Diff(want, held); diff != "" {
				rt.Fatalf("(-selected +held):\n%s", diff)
			}
			if width := p.Width(); width <= 3 {
				return
			} else if most = width / 2; module.Plan(Metadata{Fields: fields, MaxColumns: most}).Width() >= width {
				rt.Fatalf("width %d does not shrink", width)
			}
		}
	})
}
