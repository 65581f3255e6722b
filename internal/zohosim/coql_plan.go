package zohosim

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/tidwall/btree"
)

// A path is how the rows of a query are found without a look at all records.
type path struct {
	trees  []*btree.BTreeG[*entry]
	low    *entry   // where a single tree is entered; nil is its beginning
	ids    []uint64 // instead of trees: looked up one by one
	sorted bool     // the rows come in the query's order
}

// run answers a query that has been checked.
func (z *Zoho) run(m *module, s *statement) answer {
	counting := len(s.columns) == 1 && s.columns[0].counts
	enough := s.offset + s.limit
	p := z.plan(m, s)
	if counting {
		p.sorted = false // all are counted
	}
	apart := !z.showsConverted(s.where)
	var found []*entry
	take := func(e *entry) bool {
		if apart && e.visible.converted != 0 || z.config.Drafts != DraftsShown && e.visible.draft() || !m.holds(s.where, e) {
			return true
		}
		found = append(found, e)
		return !p.sorted || len(found) <= enough
	}
	p.walk(m, take)
	if counting {
		key := cmp.Or(s.columns[0].alias, "COUNT("+s.columns[0].name+")")
		return ok(map[string]any{"data": []any{map[string]any{key: len(found)}}, "info": map[string]any{"count": 1, "more_records": false}}, 1)
	}
	if !p.sorted {
		slices.SortFunc(found, m.order(s.order))
	}
	more := len(found) > enough
	found = found[min(s.offset, len(found)):min(enough, len(found))]
	if len(found) == 0 {
		return nothing
	}
	rows := make([]any, len(found))
	for i, e := range found {
		rows[i] = z.row(m, s, e)
	}
	return ok(map[string]any{"data": rows, "info": map[string]any{"count": len(rows), "more_records": more}}, len(rows))
}

func (p path) walk(m *module, take func(*entry) bool) {
	for _, e := range m.visible(p.ids) {
		take(e)
	}
	for _, tree := range p.trees {
		if p.low != nil {
			tree.Ascend(p.low, take)
		} else {
			tree.Scan(take)
		}
	}
}

// showsConverted: converted leads are hidden from a query that does not mention Converted__s.
func (z *Zoho) showsConverted(where *criterion) bool {
	if where.pinned("Converted__s") != "" {
		return true
	}
	return where.mentions("Converted__s") && !z.config.ConvertedApart
}

// plan picks the index whose order is the query's, or the least that must be scanned.
func (z *Zoho) plan(m *module, s *statement) path {
	if ids := s.where.among(); ids != nil {
		return path{ids: ids}
	}
	converted := s.where.pinned("Converted__s")
	if len(s.order) == 0 || len(s.order) == 1 && s.order[0] == (ordering{name: "id"}) {
		low := &entry{visible: &version{}}
		if first, ok := s.where.from("id"); ok {
			low.id = uint64(first)
		}
		tree := m.byID
		if converted == "true" {
			tree = m.moved
		}
		return path{trees: []*btree.BTreeG[*entry]{tree}, low: low, sorted: true}
	}
	trees := []*btree.BTreeG[*entry]{m.live}
	switch {
	case converted == "true":
		trees[0] = m.hidden
	case converted == "" && z.showsConverted(s.where):
		trees = append(trees, m.hidden)
	}
	if len(s.order) != 2 || s.order[0].desc || s.order[1] != (ordering{name: "id"}) {
		return path{trees: trees}
	}
	by := s.order[0].name
	if by == "Converted_Date_Time" && converted == "true" {
		trees[0] = m.byMoment
	} else if by != "Modified_Time" || len(trees) > 1 {
		return path{trees: trees}
	}
	low := &entry{visible: &version{}}
	if t, ok := s.where.from(by); ok {
		low.visible.modified, low.visible.converted = t, t
	}
	return path{trees: trees, low: low, sorted: true}
}

func (c *criterion) mentions(field string) bool {
	if c.join != "" {
		return c.left.mentions(field) || c.right.mentions(field)
	}
	return c.field == field
}

// pinned is the one value that a criterion lets field have, or nothing.
func (c *criterion) pinned(field string) string {
	switch {
	case c.join == "and":
		return cmp.Or(c.left.pinned(field), c.right.pinned(field))
	case c.join == "" && c.field == field && c.op == "=":
		return c.values[0].text
	default:
		return ""
	}
}

// among are the ids, if there are such, outside which a criterion lets no record be.
func (c *criterion) among() []uint64 {
	switch {
	case c.join == "and":
		if ids := c.left.among(); ids != nil {
			return ids
		}
		return c.right.among()
	case c.join == "" && (c.op == "=" || c.op == "in"):
		return c.ids
	default:
		return nil
	}
}

// from is the least id, or the earliest second, that a criterion lets field hold, for a
// start in an index.
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
	if field == "id" {
		id, err := strconv.ParseInt(c.values[0].text, 10, 64)
		return id, err == nil && id > 0
	}
	t, err := time.Parse(time.RFC3339, c.values[0].text)
	return t.Unix(), err == nil
}

// readIDs reads the values of a criterion on ids, bare or quoted, once for all records.
func (c *criterion) readIDs() {
	if c.field != "id" || !slices.Contains([]string{"=", "!=", ">", ">=", "<", "<=", "in", "not in"}, c.op) {
		return
	}
	ids := make([]uint64, len(c.values))
	for i, v := range c.values {
		id, err := strconv.ParseUint(v.text, 10, 64)
		if err != nil {
			return
		}
		ids[i] = id
	}
	c.ids = ids
}

func (c *criterion) meetsID(id uint64) bool {
	n := cmp.Compare(id, c.ids[0])
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
	default:
		return slices.Contains(c.ids, id) == (c.op == "in")
	}
}
