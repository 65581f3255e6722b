package zoho

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Query is one page of a module, read by keyset: never by a growing offset, which would
// skip rows that move while they are read.
type Query struct {
	Module  string     // API name, e.g. Leads
	Columns []string   // API names; id is always in the rows
	Further [][]string // more columns, each slice a SELECT of its own; all then hold Modified_Time
	Filter  string     // one more criterion, e.g. Converted__s = true; or empty
	IDs     []string   // only these records, at most MaxIDs; nil is all
	OrderBy string     // the datetime column of the keyset; empty: the keyset is the id alone
	After   Cursor
	Limit   int // 1 to 2000; 200, 1000 and 2000 are the steps of Zoho's price
}

// Cursor is a place in the order of (time, id). The zero Cursor is the beginning; without
// an ID it lies before all records of its second, with one right behind that record.
type Cursor struct {
	Time time.Time
	ID   string
}

// Page is what a Query answers. Records are JSON objects as Zoho sent them, numbers
// included.
type Page struct {
	Records   []jsontext.Value
	Places    []jsontext.Value // where the page ends: Records, and those that slices left out, as the first one shows them
	More      bool             // Zoho's more_records; a short page may have more
	AsOf      time.Time        // Zoho's time when the page was asked for, or ours without a Date header
	ZohoClock bool             // AsOf is Zoho's
}

// MaxIDs is how many ids one call may name: what every source says of COQL's in, and what
// fits into the 1024 characters of ids of Get Records.
const MaxIDs = 50

// What one SELECT may name (zoho-api, "Paging, limits, cost"). Sources differ about the
// columns: an org that takes fewer says LIMIT_EXCEEDED.
const (
	MaxColumns  = 500 // id included
	MaxFormulas = 5
)

const timeLayout = "2006-01-02T15:04:05-07:00" // Z and fractions are not documented for COQL

// String returns the query in COQL. More than two criteria are bracketed in pairs, as
// Zoho's grammar demands; ids stand bare.
func (q Query) String() string {
	columns := q.Columns
	if !slices.Contains(columns, "id") {
		columns = append([]string{"id"}, columns...)
	}
	order := "id asc"
	if q.OrderBy != "" {
		order = q.OrderBy + " asc, id asc"
	}
	return fmt.Sprintf("select %s from %s where %s order by %s limit %d",
		strings.Join(columns, ", "), q.Module, q.criteria(), order, q.Limit)
}

// criteria joins what restricts the page, in pairs.
func (q Query) criteria() string {
	all := ""
	for _, criterion := range []string{q.keyset(), q.among(), q.Filter} {
		switch {
		case criterion == "":
		case all == "":
			all = criterion
		default:
			all = "(" + all + " and " + criterion + ")"
		}
	}
	if all == "" {
		return "id is not null" // a WHERE is mandatory
	}
	return all
}

func (q Query) keyset() string {
	t := q.After.Time.UTC().Format(timeLayout)
	switch {
	case q.After == Cursor{}:
		return ""
	case q.OrderBy == "":
		return "id > " + q.After.ID
	case q.After.ID == "":
		return fmt.Sprintf("%s >= '%s'", q.OrderBy, t)
	default:
		return fmt.Sprintf("(%[1]s > '%[2]s' or (%[1]s = '%[2]s' and id > %[3]s))", q.OrderBy, t, q.After.ID)
	}
}

func (q Query) among() string {
	if q.IDs == nil {
		return ""
	}
	return "id in (" + strings.Join(q.IDs, ", ") + ")"
}

var (
	nameForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]*$`)
	idForm   = regexp.MustCompile(`^[0-9]{1,19}$`)
)

// IsID reports whether a text has the form of a record's id.
func IsID(text string) bool { return idForm.MatchString(text) }

// Validate reports what could not stand in a query as it is meant. Zoho quotes neither
// names nor bare ids, so nothing but names and ids may get there.
func (q Query) Validate() error {
	names := append([]string{q.Module}, q.Columns...)
	for _, slice := range q.Further {
		names = append(names, slice...)
	}
	if q.OrderBy != "" {
		names = append(names, q.OrderBy)
	}
	for _, name := range names {
		if !nameForm.MatchString(name) {
			return fmt.Errorf("%.40q is not an API name", name)
		}
	}
	for i, id := range append([]string{q.After.ID}, q.IDs...) {
		if (i > 0 || id != "") && !idForm.MatchString(id) {
			return fmt.Errorf("%.40q is not a record id", id)
		}
	}
	if q.IDs != nil && (len(q.IDs) == 0 || len(q.IDs) > MaxIDs) {
		return fmt.Errorf("%d records cannot be asked for by id: 1 to %d can", len(q.IDs), MaxIDs)
	}
	if !q.comparable() {
		return fmt.Errorf("a slice of columns without %s cannot be compared with the others", modifiedTime)
	}
	if q.Limit < 1 || q.Limit > 2000 {
		return fmt.Errorf("a page of %d records cannot be asked for: 1 to 2000 can", q.Limit)
	}
	return nil
}

// price follows the limit asked for, not what is found.
func (q Query) price() int64 {
	switch {
	case q.Limit <= 200:
		return 1
	case q.Limit <= 1000:
		return 2
	default:
		return 3
	}
}

// Query reads one page. Nothing found is an empty page.
func (c *Client) Query(ctx context.Context, q Query) (*Page, error) {
	if err := q.Validate(); err != nil {
		return nil, fmt.Errorf("query %s: %w", q.Module, err)
	}
	if len(q.Further) > 0 {
		return c.querySlices(ctx, q)
	}
	return c.querySlice(ctx, q, q.Columns)
}

// querySlice reads one page of the given columns alone, in one call.
func (c *Client) querySlice(ctx context.Context, q Query, columns []string) (*Page, error) {
	q.Columns = columns
	body, err := json.Marshal(map[string]string{"select_query": q.String()})
	if err != nil {
		return nil, err
	}
	got, err := c.do(ctx, call{
		name: q.call(), scope: "ZohoCRM.coql.READ and " + ReadScope(q.Module),
		method: http.MethodPost, path: "/crm/v8/coql", body: body, price: q.price(),
		decode: func(from io.Reader, got *answer) (err error) {
			got.page, err = decodePage(from)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	page := got.page
	if page == nil {
		page = &Page{}
	}
	page.Places = page.Records
	page.AsOf, page.ZohoClock = got.asOf()
	return page, nil
}

// call names the call for errors and logs.
func (q Query) call() string { return "COQL query of " + q.Module }

// lenient reads what occurs: names given twice, strings that are no UTF-8.
var lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// decodePage reads {"data":[…],"info":{…}}, in any order and with anything beside it.
func decodePage(from io.Reader) (*Page, error) {
	dec := jsontext.NewDecoder(from, lenient...)
	page := &Page{}
	var found, informed bool
	failure, err := members(dec, func(name string) (err error) {
		switch name {
		case "data":
			found = true
			page.Records, err = readRecords(dec)
		case "info":
			informed = true
			page.More, err = readMore(dec)
		default:
			err = dec.SkipValue()
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case failure != nil:
		return nil, failure
	case !found || !informed:
		return nil, fmt.Errorf("an answer without data and info")
	}
	return page, nil
}

// members calls read for each member of the object that dec is at. An object in Zoho's
// form of an error is returned as such, whatever its status was.
func members(dec *jsontext.Decoder, read func(name string) error) (*Error, error) {
	if open, err := dec.ReadToken(); err != nil || open.Kind() != '{' {
		return nil, orUnexpected(err)
	}
	var body errorBody
	for dec.PeekKind() == '"' {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		switch name := token.String(); name {
		case "code", "message", "status", "details":
			value, err := dec.ReadValue()
			if err != nil {
				return nil, err
			}
			set(&body, name, value)
		default:
			if err := read(name); err != nil {
				return nil, err
			}
		}
	}
	if end, err := dec.ReadToken(); err != nil || end.Kind() != '}' {
		return nil, orUnexpected(err)
	}
	if body.Code != "" && body.Status == "error" {
		failure := body.asError()
		failure.transient = failure.isTransient()
		return failure, nil
	}
	return nil, nil
}

func set(body *errorBody, name string, value jsontext.Value) {
	if name == "details" {
		body.Details = bytes.Clone(value)
		return
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return // not a string: not Zoho's form of an error
	}
	switch name {
	case "code":
		body.Code = string(text)
	case "message":
		body.Message = string(text)
	case "status":
		body.Status = string(text)
	}
}

func orUnexpected(err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("an answer of an unexpected form")
}

// readRecords reads an array of objects into one buffer.
func readRecords(dec *jsontext.Decoder) ([]jsontext.Value, error) {
	if open, err := dec.ReadToken(); err != nil || open.Kind() != '[' {
		return nil, orUnexpected(err)
	}
	var buffer []byte
	var ends []int
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		buffer = append(buffer, value...)
		ends = append(ends, len(buffer))
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	return parted(buffer, ends), nil
}

// parted cuts a buffer into the records that end there.
func parted(buffer []byte, ends []int) []jsontext.Value {
	records := make([]jsontext.Value, len(ends))
	start := 0
	for i, end := range ends {
		records[i] = jsontext.Value(buffer[start:end:end])
		start = end
	}
	return records
}

func readMore(dec *jsontext.Decoder) (more bool, err error) {
	value, err := dec.ReadValue()
	if err != nil {
		return false, err
	}
	var info struct {
		More *bool `json:"more_records"`
	}
	if err := json.Unmarshal(value, &info); err != nil || info.More == nil {
		return false, fmt.Errorf("an info without more_records: %s", strconv.Quote(string(value[:min(len(value), 80)])))
	}
	return *info.More, nil
}
