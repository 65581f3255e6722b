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

	"github.com/tidwall/btree"
)

// Limits of COQL (zoho-api, "Paging, limits, cost").
const (
	maxLimit   = 2000
	maxReach   = 100_000
	maxOrderBy = 10

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
	switch {
	case err != nil || s.limit <= 200:
		return 1
	case s.limit <= 1000:
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
	for _, c := range s.columns {
		f := m.field(c.name)
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
	return m, m.checkCriterion(s.where)
}

// operators by data type (zoho-api, "Operators by data type"); others allow all but like.
var operators = map[string]string{
	"boolean": "=", "lookup": "= != in,not in is null is not null", "ownerlookup": "= != in,not in is null is not null",
	"text": "= != like,not like in,not in is null is not null", "textarea": "", "layout": "",
}

func (m *module) checkCriterion(c *criterion) error {
	if c.join != "" {
		if err := m.checkCriterion(c.left); err != nil {
			return err
		}
		return m.checkCriterion(c.right)
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
			// Fractions are not documented for COQL.
			if _, err := time.Parse(time.RFC3339, v.text); err != nil || strings.Contains(v.text, ".") {
				bad = true
			}
		}
	}
	if bad {
		return &syntaxError{code: "INVALID_QUERY", message: "Invalid query formed",
			details: map[string]any{"reason": "invalid operator found", "column_name": c.field, "operator": c.op}}
	}
	return nil
}

func (c *criterion) mentions(field string) bool {
	if c.join != "" {
		return c.left.mentions(field) || c.right.mentions(field)
	}
	return c.field == field
}

// from is the earliest second that a criterion lets field hold, for a start in an index.
func (c *criterion) from(field string) (int64, bool) {
	if c.join != "" {
		a, okA := c.left.from(field)
		b, okB := c.right.from(field)
		switch {
		case okA && okB && c.join == "and":
			return max(a, b), true
		case okA && okB:
			return min(a, b), true
		case c.join == "and":
			return a + b, okA || okB // the one that is missing is zero
		}
		return 0, false
	}
	if c.field != field || !slices.Contains([]string{"=", ">", ">="}, c.op) {
		return 0, false
	}
	t, err := time.Parse(time.RFC3339, c.values[0].text)
	return t.Unix(), err == nil
}

// run answers a query that has been checked.
func (z *Zoho) run(m *module, s *statement) answer {
	var found []*entry
	more := false
	take := func(e *entry) bool {
		if !m.holds(s.where, e) {
			return true
		}
		found = append(found, e)
		more = len(found) > s.offset+s.limit
		return !more
	}
	counting := len(s.columns) == 1 && s.columns[0].counts
	trees, moment := m.plan(s)
	if len(trees) == 1 && !counting {
		low := &entry{visible: &version{}}
		if t, ok := s.where.from(moment); ok {
			low.visible.modified, low.visible.converted = t, t
		}
		trees[0].Ascend(low, take)
	} else {
		for _, tree := range trees {
			tree.Scan(func(e *entry) bool {
				if m.holds(s.where, e) {
					found = append(found, e)
				}
				return true
			})
		}
		slices.SortFunc(found, m.order(s.order))
		more = len(found) > s.offset+s.limit
	}
	if counting {
		key := cmp.Or(s.columns[0].alias, "COUNT("+s.columns[0].name+")")
		return ok(map[string]any{"data": []any{map[string]any{key: len(found)}}, "info": map[string]any{"count": 1, "more_records": false}}, 1)
	}
	found = found[min(s.offset, len(found)):min(s.offset+s.limit, len(found))]
	if len(found) == 0 {
		return nothing
	}
	rows := make([]any, len(found))
	for i, e := range found {
		rows[i] = z.row(m, s, e)
	}
	return ok(map[string]any{"data": rows, "info": map[string]any{"count": len(rows), "more_records": more}}, len(rows))
}

// plan picks the index whose order is the query's, or all that must be scanned. Converted
// leads are hidden from a query that does not mention Converted__s.
func (m *module) plan(s *statement) ([]*btree.BTreeG[*entry], string) {
	ordered := len(s.order) == 2 && s.order[1].name == "id" && !s.order[0].desc && !s.order[1].desc
	if !s.where.mentions("Converted__s") {
		if ordered && s.order[0].name == "Modified_Time" {
			return []*btree.BTreeG[*entry]{m.live}, "Modified_Time"
		}
		return []*btree.BTreeG[*entry]{m.live}, ""
	}
	if ordered && s.order[0].name == "Converted_Date_Time" {
		return []*btree.BTreeG[*entry]{m.byMoment}, "Converted_Date_Time"
	}
	return []*btree.BTreeG[*entry]{m.live, m.hidden}, ""
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
		if f := m.field(c.name); f.kind() == "datetime" || f.kind() == "boolean" {
			raw = m.value(e, c.name)
		}
		switch value := raw.(type) {
		case time.Time:
			zone := z.config.Zones[(int(e.id)+i)%len(z.config.Zones)]
			row[c.name] = value.In(zone).Format("2006-01-02T15:04:05-07:00")
		case Ref:
			row[c.name] = value
			if m.field(c.name).Type == "ownerlookup" {
				row[c.name] = z.reference(value.ID)
			}
		default:
			row[c.name] = value
		}
	}
	return row
}
