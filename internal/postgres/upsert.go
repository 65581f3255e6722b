package postgres

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"zohomirror/internal/crm"
)

// upsert is the one statement that writes the rows of a page, for one plan. The page
// arrives in binary, as an array of the table's row type or, where that does not suit, as
// an array a column; then come the run's id and the keys of custom_fields to keep.
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
	page   string // a SELECT that gives the columns by their names
	placed string // the same with page_ord, a row's place
	oids   []uint32
	upsert string
	insert string // for a page that is likely all new: fails where a row is not
}

const customFields = "custom_fields"

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
			oids:   []uint32{u.table.array},
		}
		u.statements(&u.byRow)
	}
	u.byColumn = source{page: u.columnarPage(), oids: []uint32{pgtype.TextArrayOID}}
	u.byColumn.placed = u.byColumn.page
	for _, c := range u.columns {
		u.byColumn.oids = append(u.byColumn.oids, arrayOID(c.Kind))
	}
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
	names, values, incoming, stored, updates := []string{"id"}, []string{"p.id"}, []string{}, []string{}, []string{}
	for _, c := range u.columns {
		name := quote(c.Name)
		value := u.incoming(c, len(s.oids))
		names = append(names, name)
		values = append(values, value+" AS "+name)
		incoming = append(incoming, value)
		stored = append(stored, "t."+name)
		updates = append(updates, name+" = excluded."+name)
	}
	table, list, run := quote(u.module), strings.Join(names, ", "), fmt.Sprintf("$%d::uuid", len(s.oids)+1)
	s.upsert = fmt.Sprintf(`
WITH page AS (
	%[1]s
), changed AS (
	SELECT %[2]s
	FROM page p
	LEFT JOIN %[3]s t ON t.id = p.id
	WHERE t.id IS NULL
	   OR p.modified_time > t.modified_time
	   OR p.modified_time = t.modified_time
	      AND (t.deleted_at IS NOT NULL OR ROW(%[4]s) IS DISTINCT FROM ROW(%[5]s))
), written AS (
	INSERT INTO %[3]s AS t (%[6]s, synced_at, run_id)
	SELECT %[6]s, clock_timestamp(), %[7]s FROM changed
	ON CONFLICT (id) DO UPDATE
	SET %[8]s, synced_at = excluded.synced_at, run_id = excluded.run_id, deleted_at = NULL
	WHERE t.modified_time <= excluded.modified_time
	RETURNING xmax = 0 AS inserted
)
SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM written`,
		s.page, strings.Join(values, ", "), table, strings.Join(incoming, ", "), strings.Join(stored, ", "),
		list, run, strings.Join(updates, ", "))
	s.insert = fmt.Sprintf(`
WITH page AS (
	%[1]s
), written AS (
	INSERT INTO %[2]s (%[3]s, synced_at, run_id)
	SELECT %[3]s, clock_timestamp(), %[4]s FROM page
	RETURNING 1
)
SELECT count(*), 0 FROM written`, s.page, table, list, run)
}

// incoming is a column's new value. A name that did not come with its id stays as long
// as the id does; keys that were not read stay in custom_fields.
func (u *upsert) incoming(c crm.Column, params int) string {
	name := quote(c.Name)
	switch {
	case c.Pair != "":
		return fmt.Sprintf("CASE WHEN p.%[1]s IS NULL AND p.%[2]s = t.%[2]s THEN t.%[1]s ELSE p.%[1]s END", name, quote(c.Pair))
	case c.Name == customFields && len(u.plan.KeptKeys) > 0:
		return fmt.Sprintf(`(p.custom_fields || coalesce((SELECT jsonb_object_agg(k.key, k.value)
			FROM jsonb_each(t.custom_fields) k WHERE k.key = ANY ($%d::text[])), '{}'))`, params+2)
	default:
		return "p." + name
	}
}

// page encodes rows in the best form. The buffers are taken from and stay with enc.
func (u *upsert) page(enc *arrays, rows []crm.Row) (s *source, values [][]byte) {
	if u.slots != nil {
		if encoded, ok := enc.rows(u.table, u.slots, rows); ok {
			return &u.byRow, [][]byte{encoded}
		}
	}
	return &u.byColumn, enc.columns(u, rows)
}

// binary are the formats of a page's parameters.
func (s *source) binary() []int16 {
	formats := make([]int16, len(s.oids), len(s.oids)+2)
	for i := range formats {
		formats[i] = 1
	}
	return formats
}

// statement writes rows; fresh says that they are likely all new.
func (u *upsert) statement(enc *arrays, rows []crm.Row, runID string, fresh bool) statement {
	s, values := u.page(enc, rows)
	st := statement{sql: s.upsert, values: append(values, []byte(runID)), oids: append(s.oids[:len(s.oids):len(s.oids)], 0), formats: append(s.binary(), 0)}
	if fresh {
		st.sql = s.insert
	} else if len(u.plan.KeptKeys) > 0 {
		st.values = append(st.values, textArray(u.plan.KeptKeys))
		st.oids = append(st.oids, pgtype.TextArrayOID)
		st.formats = append(st.formats, 1)
	}
	return st
}

// quote makes an identifier; names come from the catalogue or the database.
func quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
