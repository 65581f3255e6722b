package postgres

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"zohomirror/internal/crm"
)

// upsert is the one statement that writes the rows of a page, for one plan. Its
// parameters are arrays, a column each, in binary: id, the plan's columns, custom_fields
// where it is read; then the run's id, then the keys of custom_fields to keep.
type upsert struct {
	plan    *crm.Plan
	module  string
	sql     string
	page    string // the CTE that gives the arrays the columns' names and types
	columns []crm.Column
	oids    []uint32
}

const customFields = "custom_fields"

func newUpsert(module *crm.Module, plan *crm.Plan) *upsert {
	u := &upsert{plan: plan, module: module.Name, columns: plan.Columns}
	if plan.CustomFields {
		u.columns = append(u.columns[:len(u.columns):len(u.columns)], crm.Column{Name: customFields, Kind: crm.JSON})
	}
	u.oids = []uint32{pgtype.TextArrayOID}
	for _, c := range u.columns {
		u.oids = append(u.oids, arrayOID(c.Kind))
	}
	u.page = u.pageSQL()
	u.sql = u.upsertSQL()
	return u
}

// pageSQL unnests the arrays. Numbers travel as text, so that no digit is touched on the way.
func (u *upsert) pageSQL() string {
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
	return fmt.Sprintf("SELECT %s, u.ord FROM unnest(%s) WITH ORDINALITY AS u (%s, ord)",
		strings.Join(values, ", "), strings.Join(params, ", "), strings.Join(names, ", "))
}

// upsertSQL leaves out equal and older rows before it inserts: a conflict that ends in no
// update would still lock the row and write WAL for it.
func (u *upsert) upsertSQL() string {
	names, incoming, stored, updates := []string{"id"}, []string{}, []string{}, []string{}
	values := []string{"p.id"}
	for _, c := range u.columns {
		name := quote(c.Name)
		value := u.incoming(c)
		names = append(names, name)
		values = append(values, value+" AS "+name)
		incoming = append(incoming, value)
		stored = append(stored, "t."+name)
		updates = append(updates, name+" = excluded."+name)
	}
	list := strings.Join(names, ", ")
	return fmt.Sprintf(`
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
	SELECT %[6]s, clock_timestamp(), $%[7]d::uuid FROM changed
	ON CONFLICT (id) DO UPDATE
	SET %[8]s, synced_at = excluded.synced_at, run_id = excluded.run_id, deleted_at = NULL
	WHERE t.modified_time <= excluded.modified_time
	RETURNING xmax = 0 AS inserted
)
SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM written`,
		u.page, strings.Join(values, ", "), quote(u.module),
		strings.Join(incoming, ", "), strings.Join(stored, ", "),
		list, len(u.columns)+2, strings.Join(updates, ", "))
}

// incoming is a column's new value. A name that did not come with its id stays as long
// as the id does; keys that were not read stay in custom_fields.
func (u *upsert) incoming(c crm.Column) string {
	name := quote(c.Name)
	switch {
	case c.Pair != "":
		return fmt.Sprintf("CASE WHEN p.%[1]s IS NULL AND p.%[2]s = t.%[2]s THEN t.%[1]s ELSE p.%[1]s END", name, quote(c.Pair))
	case c.Name == customFields && len(u.plan.KeptKeys) > 0:
		return fmt.Sprintf(`(p.custom_fields || coalesce((SELECT jsonb_object_agg(k.key, k.value)
			FROM jsonb_each(t.custom_fields) k WHERE k.key = ANY ($%d::text[])), '{}'))`, len(u.columns)+3)
	default:
		return "p." + name
	}
}

// params encodes rows for the statement. The buffers are taken from and stay with enc.
func (u *upsert) params(enc *arrays, rows []crm.Row, runID string) ([][]byte, []uint32, []int16) {
	values := enc.columns(u, rows)
	oids := append(u.oids[:len(u.oids):len(u.oids)], 0)
	formats := make([]int16, len(u.oids), len(u.oids)+2)
	for i := range formats {
		formats[i] = 1
	}
	values = append(values, []byte(runID))
	formats = append(formats, 0)
	if len(u.plan.KeptKeys) > 0 {
		values = append(values, textArray(u.plan.KeptKeys))
		oids = append(oids, pgtype.TextArrayOID)
		formats = append(formats, 1)
	}
	return values, oids, formats
}

// quote makes an identifier; names come from the catalogue or the database.
func quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
