package crm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/zoho"
)

// What a promotion writes is read again as it was; what a person wrote is not.
func TestPromotedSource(t *testing.T) {
	t.Parallel()
	p := Promoted{}
	for module, types := range map[string][]string{"leads": {"text", "textarea", "picklist", "boolean", "integer", "currency"}, "deals": {"date", "datetime", "lookup", "ownerlookup", "a new type"}} {
		m, _ := Find(module)
		for _, dataType := range types {
			if _, err := p.Promote(m, zoho.Field{APIName: "F_" + strings.ReplaceAll(dataType, " ", "_"), DataType: dataType}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	again, err := ParsePromoted(p.Source())
	if diff := cmp.Diff(p, again); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := ParsePromoted(strings.Replace(p.Source(), "Kind: Text", "Kind: LongText /* sic */", 1)); err == nil {
		t.Error("a file changed by hand was read")
	}
}

// Columns that others have, and PostgreSQL's own, are not taken twice.
func TestPromotedNamesAreFree(t *testing.T) {
	t.Parallel()
	p, taken := Promoted{}, map[string]string{}
	m, _ := Find("leads")
	for _, c := range m.Columns() {
		taken[c.Name] = "the catalogue"
	}
	for _, name := range append([]string{"of_the_team"}, reservedColumns...) {
		taken[name] = "others"
	}
	for _, api := range []string{"Xmin", "Of_The_Team", "Custom_Fields", "Company__s", "COMPANY", "Of_The_Team__s", "Owner_ID", "Page_Ord"} {
		for _, dataType := range []string{"text", "lookup"} {
			name := api
			if dataType == "lookup" {
				name += "_X"
			}
			f, err := p.Promote(m, zoho.Field{APIName: name, DataType: dataType}, []string{"of_the_team"})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range f.Columns() {
				if other, twice := taken[c.Name]; twice || len(c.Name) > 63 {
					t.Errorf("%s has the column %s of %s", name, c.Name, other)
				}
				taken[c.Name] = name
			}
		}
	}
}

func TestGoneComesBack(t *testing.T) {
	t.Parallel()
	a, b := zoho.Field{APIName: "A", DataType: "text"}, zoho.Field{APIName: "B", DataType: "text"}
	subform := zoho.Field{APIName: "B", DataType: "subform"}
	gone := Gone(nil, []zoho.Field{a, b}, []zoho.Field{subform})
	if diff := cmp.Diff([]string{"A", "B"}, gone); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if gone = Gone(gone, []zoho.Field{subform}, []zoho.Field{a, b}); len(gone) != 0 {
		t.Errorf("still gone: %v", gone)
	}
}
