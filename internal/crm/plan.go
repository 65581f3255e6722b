package crm

import (
	"cmp"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"zohomirror/internal/zoho"
)

// Metadata is what a run knows beyond the catalogue. What is nil was not readable,
// and a [Plan] then neither reads nor writes what depends on it.
type Metadata struct {
	Fields  []zoho.Field      // of the module, all layouts
	Users   map[string]string // user id → full name
	Refused []string          // API names that Zoho refused as columns
	Gone    []string          // API names that could be read once
	Money   map[string]Width  // column → what the database can hold; absent: numeric(14,2)

	MaxColumns int // what a SELECT may name, id included; 0 is zoho.MaxColumns
}

// Width is the precision and scale of a numeric column; the zero Width has no bounds.
type Width struct {
	Precision int `json:"precision"`
	Scale     int `json:"scale"`
}

var defaultWidth = Width{Precision: 14, Scale: 2}

// Plan says what one run reads of a module and which columns it writes.
type Plan struct {
	Select       []string   // API names for COQL
	Slices       [][]string // Select in parts that one SELECT each may name, most often one
	Columns      []Column   // columns written, id aside
	CustomFields bool       // custom_fields is read and written
	KeptKeys     []string   // keys of custom_fields that were not read and keep their stored values

	members  map[string]member
	users    map[string]string
	modified int // place of modified_time in Columns
}

// A member is where the value of one JSON member goes.
type member struct {
	kind   Kind
	custom bool
	column int // the first column; Lookup's name, where it is written, is the next
	named  bool
	width  Width
}

// essential fields are asked for whatever the metadata says: without them no row
// can be placed in time.
var essential = []string{fieldCreatedTime, fieldModifiedTime}

// unreadable data types are refused by COQL or not part of its rows
// (zoho-api, "What values look like").
var unreadable = []string{"subform", "fileupload", "imageupload", "multiselectlookup", "multiuserlookup"}

// Essential reports whether a run of the module cannot do without the field.
func (m *Module) Essential(api string) bool {
	if api == fieldID || slices.Contains(essential, api) {
		return true
	}
	return slices.ContainsFunc(m.Streams, func(s Stream) bool { return s.OrderBy == api })
}

// Plan settles what a run with this metadata reads and writes.
func (m *Module) Plan(meta Metadata) *Plan {
	p := &Plan{
		CustomFields: meta.Fields != nil,
		members:      make(map[string]member, len(m.Fields)+len(meta.Fields)),
		users:        meta.Users,
	}
	listed := make(map[string]string, len(meta.Fields)) // field → its data type
	for _, f := range meta.Fields {
		listed[f.APIName] = cmp.Or(f.DataType, "unknown")
	}
	mapped := make(map[string]bool, len(m.Fields))
	for _, f := range m.Fields {
		mapped[f.API] = true
		wanted := meta.Fields == nil || listed[f.API] != "" || m.Essential(f.API)
		if wanted && !slices.Contains(meta.Refused, f.API) {
			p.add(f, meta.Money)
		}
	}
	for _, f := range meta.Fields {
		switch {
		case f.APIName == fieldID || mapped[f.APIName] || slices.Contains(unreadable, f.DataType):
		case slices.Contains(meta.Refused, f.APIName):
			p.KeptKeys = append(p.KeptKeys, f.APIName)
		default:
			p.Select = append(p.Select, f.APIName)
			p.members[f.APIName] = member{kind: JSON, custom: true}
		}
	}
	for _, api := range meta.Gone {
		if _, read := p.members[api]; !read && !mapped[api] && !slices.Contains(p.KeptKeys, api) {
			p.KeptKeys = append(p.KeptKeys, api)
		}
	}
	p.Slices = m.slices(p.Select, listed, cmp.Or(meta.MaxColumns, zoho.MaxColumns))
	return p
}

// TimePlan reads ids and Modified_Time alone.
func TimePlan() *Plan { return placePlan(fieldModifiedTime) }

// placePlan reads ids and one time alone, which stands for the time of the row.
func placePlan(orderBy string) *Plan {
	p := &Plan{members: map[string]member{}}
	p.add(Field{API: orderBy, Kind: Time}, nil)
	return p
}

func (p *Plan) add(f Field, money map[string]Width) {
	columns := f.columns()
	to := member{kind: f.Kind, column: len(p.Columns), width: defaultWidth}
	if w, ok := money[columns[0].Name]; ok {
		to.width = w
	}
	if f.API == fieldModifiedTime {
		p.modified = to.column
	}
	if f.Kind == User && p.users == nil {
		columns = columns[:1] // names come from the users list alone
	}
	to.named = len(columns) == 2
	p.Select = append(p.Select, f.API)
	p.Columns = append(p.Columns, columns...)
	p.members[f.API] = to
}

// Last returns the place of a page's last record in a stream: its id and the instant that
// orderBy holds, whatever else of the record does not fit. It goes back over records that
// have no such place, and reports false where none has.
func Last(records []jsontext.Value, orderBy string) (id string, at time.Time, ok bool) {
	place := placePlan(orderBy)
	for i := len(records) - 1; i >= 0; i-- {
		for _, row := range place.Map(records[i : i+1]).Rows {
			return row.ID, row.Modified, true
		}
	}
	return "", time.Time{}, false
}
