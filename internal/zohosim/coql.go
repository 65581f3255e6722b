package zohosim

import (
	"cmp"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of COQL (zoho-api, "Paging, limits, cost").
const (
	maxLimit   = 2000
	maxReach   = 100_000
	maxOrderBy = 10
	maxValues  = 100 // of in

	maxFormulas = 5 // of a SELECT
)

// selectQuery is the COQL text of a body, or nothing.
func selectQuery(body []byte) string {
	var request struct {
		Query string `json:"select_query"`
	}
	if json.Unmarshal(body, &request) != nil {
		return ""
	}
	return request.Query
}

// coqlPrice follows the LIMIT, whatever is found.
func coqlPrice(body []byte) int {
	s, err := parse(selectQuery(body))
	if err != nil {
		return 1
	}
	return priceOf(s.limit)
}

func priceOf(rows int) int {
	switch {
	case rows <= 200:
		return 1
	case rows <= 1000:
		return 2
	default:
		return 3
	}
}

func (z *Zoho) coql(_ *http.Request, body []byte) answer {
	if !json.Valid(body) {
		return fail(http.StatusBadRequest, "INVALID_DATA", "body is not a JSON object", map[string]any{"expected_data_type": "jsonobject"})
	}
	query := selectQuery(body)
	if query == "" {
		return fail(http.StatusBadRequest, "MANDATORY_NOT_FOUND", "required field not found", map[string]any{"api_name": "select_query"})
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	s, err := parse(query)
	var m *module
	if err == nil {
		m, err = z.check(s)
	}
	var wrong *syntaxError
	if errors.As(err, &wrong) {
		return fail(http.StatusBadRequest, wrong.code, wrong.message, wrong.details)
	}
	if !z.allowed("ZohoCRM.modules." + s.module + ".READ") {
		return fail(http.StatusUnauthorized, "OAUTH_SCOPE_MISMATCH", "Unauthorized", nil)
	}
	if z.forbidden[m.name] {
		return noPermission(m.name)
	}
	m.settle(z.now())
	return z.run(m, s)
}

// check holds a parsed query against the module and the limits.
func (z *Zoho) check(s *statement) (*module, error) {
	refused := func(code, message string, details map[string]any) error {
		return &syntaxError{code: code, message: message, details: details}
	}
	m, ok := z.modules[s.module]
	switch {
	case !ok:
		return nil, refused("INVALID_MODULE", "the given module is not supported in api", nil)
	case s.limit == 0:
		return nil, refused("INVALID_DATA", "invalid limit", nil)
	case s.limit > maxLimit, s.offset+s.limit > maxReach, s.count > maxCriteria, len(s.order) > maxOrderBy, len(s.columns) > z.config.MaxColumns:
		return nil, refused("LIMIT_EXCEEDED", "the query exceeds a limit", nil)
	}
	seen, formulas := map[string]bool{}, 0
	for i, c := range s.columns {
		f := m.field(c.name)
		s.columns[i].field = f
		if f == nil || slices.Contains([]string{"subform", "fileupload", "imageupload", "multiselectlookup", "multiuserlookup"}, f.Type) {
			return nil, refused("INVALID_QUERY", "column given seems to be invalid", map[string]any{"column_name": c.name})
		}
		if seen[c.name] {
			return nil, refused("DUPLICATE_DATA", "duplicate column", map[string]any{"column_name": c.name})
		}
		seen[c.name] = true
		if f.Type == "formula" {
			formulas++
		}
	}
	if formulas > maxFormulas {
		return nil, refused("LIMIT_EXCEEDED", "the query exceeds a limit", nil)
	}
	for _, o := range s.order {
		if m.field(o.name) == nil {
			return nil, refused("INVALID_QUERY", "column given seems to be invalid", map[string]any{"column_name": o.name, "clause": "order by"})
		}
		if seen["order "+o.name] {
			return nil, refused("DUPLICATE_DATA", "duplicate column", map[string]any{"column_name": o.name})
		}
		seen["order "+o.name] = true
	}
	return m, z.checkCriterion(m, s.where)
}

// operators by data type (zoho-api, "Operators by data type"); others allow all but like.
var operators = map[string]string{
	"boolean": "=", "lookup": "= != in,not in is null is not null", "ownerlookup": "= != in,not in is null is not null",
	"text": "= != like,not like in,not in is null is not null", "textarea": "", "layout": "",
}

func (z *Zoho) checkCriterion(m *module, c *criterion) error {
	if c.join != "" {
		if err := z.checkCriterion(m, c.left); err != nil {
			return err
		}
		return z.checkCriterion(m, c.right)
	}
	f := m.field(c.field)
	if f == nil {
		return &syntaxError{code: "INVALID_QUERY", message: "column given seems to be invalid", details: map[string]any{"column_name": c.field, "clause": "where"}}
	}
	kind := f.kind()
	if slices.Contains([]string{"picklist", "email", "phone", "website"}, kind) {
		kind = "text"
	}
	allowed, limited := operators[kind]
	bad := strings.Contains(c.op, "like") && kind != "text"
	if limited && !strings.Contains(" "+strings.ReplaceAll(allowed, ",", " ")+" ", " "+c.op+" ") {
		bad = true
	}
	if f.kind() == "datetime" {
		for _, v := range c.values {
			_, err := time.Parse(time.RFC3339, v.text)
			fraction, zulu := strings.Contains(v.text, "."), strings.HasSuffix(v.text, "Z") // neither is documented
			bad = bad || err != nil || fraction && !z.config.LiteralMillis || zulu && z.config.LiteralNoZ
		}
	}
	if len(c.values) > maxValues {
		return &syntaxError{code: "LIMIT_EXCEEDED", message: "the query exceeds a limit", details: map[string]any{}}
	}
	c.readIDs()
	if bad {
		return &syntaxError{code: "INVALID_QUERY", message: "Invalid query formed",
			details: map[string]any{"reason": "invalid operator found", "column_name": c.field, "operator": c.op}}
	}
	return nil
}

func (m *module) order(by []ordering) func(a, b *entry) int {
	return func(a, b *entry) int {
		for _, o := range by {
			n := compare(m.value(a, o.name), m.value(b, o.name))
			if o.desc {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return cmp.Compare(a.id, b.id)
	}
}

// value is a field's value as criteria see it: bool, string, time.Time, *big.Rat or nil.
func (m *module) value(e *entry, field string) any {
	v := e.visible
	switch field {
	case "id":
		return new(big.Rat).SetInt(new(big.Int).SetUint64(e.id))
	case "Modified_Time":
		return time.Unix(v.modified, 0)
	case "Created_Time":
		return time.Unix(e.created, 0)
	case "Converted__s":
		return v.converted != 0
	case "Converted_Date_Time":
		if v.converted == 0 {
			return nil
		}
		return time.Unix(v.converted, 0)
	}
	switch value := v.get(field).(type) {
	case int:
		return new(big.Rat).SetInt64(int64(value))
	case json.Number:
		n, _ := new(big.Rat).SetString(value.String())
		return n
	case Ref:
		return value.ID
	default:
		return value
	}
}

func (m *module) holds(c *criterion, e *entry) bool {
	if c.join != "" {
		left := m.holds(c.left, e)
		if c.join == "and" {
			return left && m.holds(c.right, e)
		}
		return left || m.holds(c.right, e)
	}
	if c.ids != nil {
		return c.meetsID(e.id)
	}
	if c.field == "id" && c.op == "is not null" {
		return true // by far the most frequent: a WHERE is mandatory
	}
	value := m.value(e, c.field)
	switch c.op {
	case "is null":
		return value == nil
	case "is not null":
		return value != nil
	}
	if value == nil {
		return false
	}
	return meets(value, c)
}

func meets(value any, c *criterion) bool {
	n := compare(value, c.values[0].like(value))
	switch c.op {
	case "=":
		return n == 0
	case "!=":
		return n != 0
	case ">":
		return n > 0
	case ">=":
		return n >= 0
	case "<":
		return n < 0
	case "<=":
		return n <= 0
	case "between", "not between":
		within := n >= 0 && compare(value, c.values[1].like(value)) <= 0
		return within == (c.op == "between")
	case "in", "not in":
		in := slices.ContainsFunc(c.values, func(l literal) bool { return compare(value, l.like(value)) == 0 })
		return in == (c.op == "in")
	default: // like, not like
		text, _ := value.(string)
		pattern := c.values[0].text
		part := strings.Trim(pattern, "%")
		start, end := strings.HasPrefix(pattern, "%"), strings.HasSuffix(pattern, "%")
		match := start && end && strings.Contains(text, part) || !start && strings.HasPrefix(text, part) && (end || text == part) ||
			start && !end && strings.HasSuffix(text, part)
		return match == (c.op == "like")
	}
}

// like reads the literal in the type of a value.
func (l literal) like(value any) any {
	switch value.(type) {
	case *big.Rat:
		n, ok := new(big.Rat).SetString(l.text)
		if !ok {
			return nil
		}
		return n
	case time.Time:
		t, err := time.Parse(time.RFC3339, l.text)
		if err != nil {
			return nil
		}
		return t
	case bool:
		return l.text == "true"
	default:
		return l.text
	}
}

// compare orders values of one type; nil comes first.
func compare(a, b any) int {
	switch x := a.(type) {
	case *big.Rat:
		if y, ok := b.(*big.Rat); ok {
			return x.Cmp(y)
		}
	case time.Time:
		if y, ok := b.(time.Time); ok {
			return x.Compare(y)
		}
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y)
		}
	case bool:
		if y, ok := b.(bool); ok && x == y {
			return 0
		}
	case nil:
		if b == nil {
			return 0
		}
		return -1
	}
	return 1
}

// row renders a record: datetimes in offsets that vary by field and row, users by last name.
func (z *Zoho) row(m *module, s *statement, e *entry) map[string]any {
	row := map[string]any{"id": strconv.FormatUint(e.id, 10)}
	if e.broken {
		delete(row, "id")
	}
	for i, c := range s.columns {
		if c.name == "id" {
			continue
		}
		raw := e.visible.get(c.name)
		if f := c.field; f.kind() == "datetime" || f.kind() == "boolean" {
			raw = m.value(e, c.name)
		}
		switch value := raw.(type) {
		case time.Time:
			zone := z.config.Zones[(int(e.id)+i)%len(z.config.Zones)]
			row[c.name] = value.In(zone).Format("2006-01-02T15:04:05-07:00")
		case Ref:
			row[c.name] = value
			if c.field.Type == "ownerlookup" {
				row[c.name] = z.reference(value.ID)
			}
		default:
			row[c.name] = value
		}
	}
	return row
}
