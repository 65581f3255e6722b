package postgres

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"zohomirror/internal/crm"
)

// upsert is the statement that writes the rows of a page, for one plan. They arrive in
// binary, as an array of the table's row type or, where that does not suit, as an array a
// column and the run's id; then come the keys of custom_fields to keep.
type upsert struct {
	plan    *crm.Plan
	module  string
	columns []crm.Column // the plan's, and custom_fields where it is read
	table   *table
	slots   []slot // nil: only an array a column will do

	byRow, byColumn source
}

// A source is one form of the page, with the statements that read it.
type source struct {
	page   string            // a SELECT that gives the columns by their names
	placed string            // the same with page_ord, a row's place
	names  []string          // of the columns written
	stamps map[string]string // how to say synced_at and run_id
	oids   []uint32
	sql    [3]string // by task
}

// A task is what is done with a page.
type task int

const (
	taskUpsert  task = iota
	taskInsert       // for rows that are likely all new: fails where one is not
	taskCompare      // writes nothing and names the rows that differ
)

// Columns that every mirror table has beside those of its catalogue.
const (
	customFields = "custom_fields"
	deletedAt    = "deleted_at"
	syncedAt     = "synced_at"
	runID        = "run_id"
)

func newUpsert(run *Run, plan *crm.Plan) *upsert {
	u := &upsert{plan: plan, module: run.Module.Name, columns: plan.Columns, table: run.table}
	if plan.CustomFields {
		u.columns = append(u.columns[:len(u.columns):len(u.columns)], crm.Column{Name: customFields, Kind: crm.JSON})
	}
	if slots, ok := u.table.slots(plan); ok {
		u.slots = slots
		u.byRow = source{
			page:   "SELECT u.* FROM unnest($1) AS u",
			placed: "SELECT u.* FROM unnest($1) WITH ORDINALITY AS u (" + u.table.names() + ", page_ord)",
			names:  u.table.written(slots),
			stamps: map[string]string{syncedAt: "p.synced_at", runID: "p.run_id"},
			oids:   []uint32{u.table.array},
		}
		u.statements(&u.byRow)
	}
	u.byColumn = source{page: u.columnarPage(), names: []string{"id"}, oids: []uint32{pgtype.TextArrayOID}}
	u.byColumn.placed = u.byColumn.page
	for _, c := range u.columns {
		u.byColumn.names = append(u.byColumn.names, c.Name)
		u.byColumn.oids = append(u.byColumn.oids, arrayOID(c.Kind))
	}
	u.byColumn.names = append(u.byColumn.names, syncedAt, runID)
	u.byColumn.oids = append(u.byColumn.oids, pgtype.TextOID)
	u.byColumn.stamps = map[string]string{syncedAt: "clock_timestamp()", runID: fmt.Sprintf("$%d::uuid", len(u.byColumn.oids))}
	u.statements(&u.byColumn)
	return u
}

func (t *table) names() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = quote(c.name)
	}
	return strings.Join(names, ", ")
}

// written names the columns that have a value of ours, in the table's order: an INSERT of
// a whole row in that order is not taken apart on its way.
func (t *table) written(slots []slot) []string {
	var names []string
	for i, c := range t.columns {
		if slots[i].from != slotOther {
			names = append(names, c.name)
		}
	}
	return names
}

// columnarPage unnests an array a column. Numbers travel as text, so that no digit is
// touched on the way.
func (u *upsert) columnarPage() string {
	names, values, params := []string{"id"}, []string{"u.id"}, []string{"$1"}
	for i, c := range u.columns {
		name := quote(c.Name)
		value := "u." + name
		if c.Kind == crm.Money || c.Kind == crm.Numeric {
			value += "::numeric AS " + name
		}
		names = append(names, name)
		values = append(values, value)
		params = append(params, fmt.Sprintf("$%d", i+2))
	}
	return fmt.Sprintf("SELECT %s, u.page_ord FROM unnest(%s) WITH ORDINALITY AS u (%s, page_ord)",
		strings.Join(values, ", "), strings.Join(params, ", "), strings.Join(names, ", "))
}

// statements writes the source's two statements. The upsert leaves out equal and older rows
// before it inserts: a conflict that ends in no update would still lock the row and write
// WAL for it. Rows that are all new need neither that look nor a conflict's bookkeeping.
func (u *upsert) statements(s *source) {
	columns, values, incoming, stored, updates := []string{"id"}, []string{"p.id"}, []string{}, []string{}, []string{}
	for _, c := range u.columns {
		name := quote(c.Name)
		value := u.incoming(c, len(s.oids)+1)
		columns = append(columns, name)
		values = append(values, value+" AS "+name)
		incoming = append(incoming, value)
		stored = append(stored, "t."+name)
		updates = append(updates, name+" = excluded."+name)
	}
	table, list := quote(u.module), strings.Join(columns, ", ")
	s.sql[taskUpsert] = fmt.Sprintf(`
WITH page AS (
	%[1]s
), changed AS (
	SELECT %[2]s, %[3]s AS synced_at, %[4]s AS run_id
	FROM page p
	LEFT JOIN %[5]s t ON t.id = p.id
	WHERE t.id IS NULL
	   OR p.modified_time > t.modified_time
	   OR p.modified_time = t.modified_time
	      AND (t.deleted_at IS NOT NULL OR ROW(%[6]s) IS DISTINCT FROM ROW(%[7]s))
), written AS (
	INSERT INTO %[5]s AS t (%[8]s, synced_at, run_id)
	SELECT %[8]s, synced_at, run_id FROM changed
	ON CONFLICT (id) DO UPDATE
	SET %[9]s, synced_at = excluded.synced_at, run_id = excluded.run_id, deleted_at = NULL
	WHERE t.modified_time <= excluded.modified_time
	RETURNING xmax = 0 AS inserted
)
SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM written`,
		s.page, strings.Join(values, ", "), s.stamps[syncedAt], s.stamps[runID], table, strings.Join(incoming, ", "), strings.Join(stored, ", "),
		list, strings.Join(updates, ", "))
	s.sql[taskInsert] = u.insert(s)
	s.sql[taskCompare] = fmt.Sprintf(`
SELECT id, finding FROM (
	SELECT p.id, CASE
		WHEN t.id IS NULL THEN 'missing'
		WHEN p.modified_time <> t.modified_time THEN 'stale'
		WHEN t.deleted_at IS NOT NULL THEN 'wrongly_deleted'
		WHEN ROW(%[3]s) IS DISTINCT FROM ROW(%[4]s) THEN 'different' END AS finding
	FROM (%[1]s) p
	LEFT JOIN %[2]s t ON t.id = p.id
) AS compared
WHERE finding IS NOT NULL`, s.page, table, strings.Join(incoming, ", "), strings.Join(stored, ", "))
}

// insert needs no counts: its command tag has them.
func (u *upsert) insert(s *source) string {
	names, values := make([]string, len(s.names)), make([]string, len(s.names))
	for i, name := range s.names {
		names[i] = quote(name)
		values[i] = "p." + names[i]
		if stamp, ok := s.stamps[name]; ok {
			values[i] = stamp
		}
	}
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM (%s) p", quote(u.module), strings.Join(names, ", "), strings.Join(values, ", "), s.page)
}

// incoming is a column's new value. A name that did not come with its id stays as long
// as the id does; keys that were not read stay in custom_fields.
func (u *upsert) incoming(c crm.Column, kept int) string {
	name := quote(c.Name)
	switch {
	case c.Pair != "":
		return fmt.Sprintf("CASE WHEN p.%[1]s IS NULL AND p.%[2]s = t.%[2]s THEN t.%[1]s ELSE p.%[1]s END", name, quote(c.Pair))
	case c.Name == customFields && len(u.plan.KeptKeys) > 0:
		return fmt.Sprintf(`(p.custom_fields || coalesce((SELECT jsonb_object_agg(k.key, k.value)
			FROM jsonb_each(t.custom_fields) k WHERE k.key = ANY ($%d::text[])), '{}'))`, kept)
	default:
		return "p." + name
	}
}

// page encodes rows in the best form. The buffers are taken from and stay with enc.
func (u *upsert) page(enc *arrays, rows []crm.Row, by stamp) (s *source, values [][]byte) {
	if u.slots != nil {
		if encoded, ok := enc.rows(u.table, u.slots, rows, by); ok {
			return &u.byRow, [][]byte{encoded}
		}
	}
	return &u.byColumn, append(enc.columns(u, rows), []byte(by.run.String()))
}

// formats are those of a page's parameters: binary, but for the run's id.
func (s *source) formats() []int16 {
	formats := make([]int16, len(s.oids), len(s.oids)+1)
	for i, oid := range s.oids {
		if oid != pgtype.TextOID {
			formats[i] = 1
		}
	}
	return formats
}

// bind completes a statement that does the task with rows.
func (u *upsert) bind(st *statement, enc *arrays, rows []crm.Row, by stamp, task task) {
	s, values := u.page(enc, rows, by)
	st.sql, st.values, st.oids, st.formats = s.sql[task], values, s.oids, s.formats()
	if task != taskInsert && len(u.plan.KeptKeys) > 0 {
		st.values = append(st.values, textArray(u.plan.KeptKeys))
		st.oids = append(st.oids[:len(st.oids):len(st.oids)], pgtype.TextArrayOID)
		st.formats = append(st.formats, 1)
	}
}

// quote makes an identifier; names come from the catalogue or the database.
func quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
