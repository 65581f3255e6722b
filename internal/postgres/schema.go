package postgres

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"zohomirror/internal/crm"
)

// Shape is what a schema migration must know of a mirror table.
type Shape struct {
	Columns []string             // all, in the table's order
	Money   map[string]crm.Width // numeric columns, by name
	Checks  []Check              // that list the values of one column
	Foreign map[string]string    // column → name of a CHECK in another form, which a person wrote
}

// Check is a CHECK that lists the values of one text column.
type Check struct {
	Name, Column string
	Values       []string
}

// Shape reads the shape of a module's table.
func (s *Store) Shape(ctx context.Context, module *crm.Module) (*Shape, error) {
	rows, err := s.pool.Query(ctx, tableColumns, module.Name)
	if err != nil {
		return nil, fmt.Errorf("read the table %s: %w", module.Name, conceal(err))
	}
	found, err := readColumns(rows)
	if err != nil {
		return nil, fmt.Errorf("read the table %s: %w", module.Name, conceal(err))
	}
	if len(found.columns) == 0 {
		return nil, &SchemaError{Want: SchemaVersion}
	}
	shape := &Shape{Money: found.widths(), Foreign: map[string]string{}}
	for _, c := range found.columns {
		shape.Columns = append(shape.Columns, c.name)
	}
	checks, err := s.columnChecks(ctx, module)
	if err != nil {
		return nil, fmt.Errorf("read the CHECKs of %s: %w", module.Name, err)
	}
	for _, c := range checks {
		if values, ok := listed(c); ok {
			shape.Checks = append(shape.Checks, Check{Name: c.name, Column: c.column, Values: values})
		} else {
			shape.Foreign[c.column] = c.name
		}
	}
	return shape, nil
}

// The two forms in which PostgreSQL writes column IN (…) of a text column.
var (
	constant = regexp.MustCompile(`'((?:[^']|'')*)'::text`)
	listForm = regexp.MustCompile(`^\(("?[^" ]+"?) = (?:ANY \(ARRAY\[` + constant.String() + `(?:, ` + constant.String() + `)*\]\)|` + constant.String() + `)\)$`)
)

// listed reads the values that a CHECK lists.
func listed(c columnCheck) (values []string, ok bool) {
	form := listForm.FindStringSubmatch(c.expression)
	if form == nil || strings.Trim(form[1], `"`) != c.column {
		return nil, false
	}
	for _, m := range constant.FindAllStringSubmatch(c.expression, -1) {
		values = append(values, strings.ReplaceAll(m[1], "''", "'"))
	}
	return values, true
}

// Stored returns the values that a table holds in a column.
func (s *Store) Stored(ctx context.Context, module *crm.Module, column string) ([]string, error) {
	var values []string
	query := fmt.Sprintf("SELECT coalesce(array_agg(DISTINCT %[1]s), '{}') FROM %[2]s WHERE %[1]s IS NOT NULL", quote(column), quote(module.Name))
	if err := s.pool.QueryRow(ctx, query).Scan(&values); err != nil {
		return nil, fmt.Errorf("read the values of %s.%s: %w", module.Name, column, conceal(err))
	}
	return values, nil
}

// Change is what a migration of the org's series does to one table.
type Change struct {
	Module   string
	Checks   []Check              // with all their values
	Widths   map[string]crm.Width // money columns to be widened
	Promoted []Promotion
}

// Migration writes a migration of the org's series, in goose's format.
func Migration(comment string, changes []Change) string {
	var b strings.Builder
	for line := range strings.Lines(comment) {
		fmt.Fprintf(&b, "-- %s\n", strings.TrimSpace(line))
	}
	b.WriteString("\n-- +goose Up\n")
	for _, c := range changes {
		for _, check := range c.Checks {
			values := make([]string, len(check.Values))
			for i, v := range check.Values {
				values[i] = "        " + literal(v)
			}
			whole(&b, fmt.Sprintf("ALTER TABLE %s\n    DROP CONSTRAINT %s,\n    ADD CONSTRAINT %[2]s CHECK (%[3]s IN (\n%[4]s));",
				ident(c.Module), ident(check.Name), ident(check.Column), strings.Join(values, ",\n")))
		}
		if len(c.Widths) > 0 {
			whole(&b, c.widen())
		}
		for _, p := range c.Promoted {
			p.write(&b, c.Module)
		}
	}
	return b.String()
}

// whole keeps a statement together: a value may look like the end of one.
func whole(b *strings.Builder, sql string) {
	b.WriteString("\n-- +goose StatementBegin\n" + sql + "\n-- +goose StatementEnd\n")
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// ident quotes a name where it must be, for text that people read.
func ident(name string) string {
	if plainName.MatchString(name) && !slices.Contains(reserved, name) {
		return name
	}
	return quote(name)
}

// reserved are the words of SQL that a field may well be named after and that cannot name
// a column without quotes.
var reserved = []string{"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "authorization", "binary", "both", "case", "cast", "check",
	"collate", "column", "constraint", "create", "cross", "current_date", "default", "desc", "distinct", "do", "else", "end", "except", "false",
	"fetch", "for", "foreign", "freeze", "from", "full", "grant", "group", "having", "ilike", "in", "initially", "inner", "intersect", "into", "is",
	"isnull", "join", "lateral", "leading", "left", "like", "limit", "localtime", "natural", "not", "notnull", "null", "offset", "on", "only", "or",
	"order", "outer", "overlaps", "placing", "primary", "references", "returning", "right", "select", "session_user", "similar", "some",
	"symmetric", "system_user", "table", "tablesample", "then", "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "verbose",
	"when", "where", "window", "with"}

func (c Change) widen() string {
	var columns []string
	for _, name := range sortedKeys(c.Widths) {
		w := c.Widths[name]
		columns = append(columns, fmt.Sprintf("ALTER COLUMN %s TYPE numeric(%d,%d)", ident(name), w.Precision, w.Scale))
	}
	return fmt.Sprintf(alterUnderViews, literal(c.Module), "ALTER TABLE "+ident(c.Module)+" "+strings.Join(columns, ", "))
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// alterUnderViews alters a table whose columns views depend on: they are dropped and made
// again in the same transaction, with their options, owner, comment and grants.
const alterUnderViews = `DO $$
DECLARE
    views jsonb;
    v jsonb;
    g record;
BEGIN
    -- The views that read the table, directly or through others, are dropped and made again as they were.
    WITH RECURSIVE readers AS (
        SELECT %[1]s::regclass::oid AS oid, 0 AS depth
        UNION
        SELECT w.ev_class, r.depth + 1
        FROM readers r
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_rewrite w ON w.oid = d.objid AND w.ev_class <> r.oid
    ), ranked AS (
        SELECT oid, max(depth) AS depth FROM readers WHERE depth > 0 GROUP BY oid
    )
    SELECT coalesce(jsonb_agg(jsonb_build_object(
               'name', format('%%I.%%I', n.nspname, c.relname),
               'definition', pg_get_viewdef(c.oid),
               'options', array_to_string(c.reloptions, ', '),
               'owner', c.relowner::regrole::text,
               'comment', obj_description(c.oid, 'pg_class'),
               'grants', (SELECT jsonb_agg(jsonb_build_object('privilege', a.privilege_type, 'option', a.is_grantable,
                              'grantee', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END))
                          FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner)
           ) ORDER BY k.depth, c.oid), '[]')
    INTO views
    FROM ranked k JOIN pg_class c ON c.oid = k.oid JOIN pg_namespace n ON n.oid = c.relnamespace;

    FOR v IN SELECT e FROM jsonb_array_elements(views) WITH ORDINALITY x (e, i) ORDER BY i DESC LOOP
        EXECUTE 'DROP VIEW ' || (v->>'name');
    END LOOP;

    %[2]s;

    FOR v IN SELECT e FROM jsonb_array_elements(views) WITH ORDINALITY x (e, i) ORDER BY i LOOP
        EXECUTE 'CREATE VIEW ' || (v->>'name') || coalesce(' WITH (' || (v->>'options') || ')', '') || ' AS ' || (v->>'definition');
        IF v->>'owner' <> current_user::regrole::text THEN
            EXECUTE 'ALTER VIEW ' || (v->>'name') || ' OWNER TO ' || (v->>'owner');
        END IF;
        IF v->>'comment' IS NOT NULL THEN
            EXECUTE 'COMMENT ON VIEW ' || (v->>'name') || ' IS ' || quote_literal(v->>'comment');
        END IF;
        -- What is granted on new views by default was not granted on the old one.
        FOR g IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
                 FROM pg_class c, aclexplode(c.relacl) a
                 WHERE c.oid = (v->>'name')::regclass AND a.grantee <> c.relowner LOOP
            EXECUTE 'REVOKE ALL ON ' || (v->>'name') || ' FROM ' || g.grantee;
        END LOOP;
        FOR g IN SELECT x.* FROM jsonb_to_recordset(coalesce(nullif(v->'grants', 'null'), '[]')) AS x (privilege text, grantee text, option boolean) LOOP
            EXECUTE 'GRANT ' || g.privilege || ' ON ' || (v->>'name') || ' TO ' || g.grantee || CASE WHEN g.option THEN ' WITH GRANT OPTION' ELSE '' END;
        END LOOP;
    END LOOP;
END
$$;`
