package docs

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
)

const schemaPage = "schema.md"

// schema.md is made of the catalogue, of a migrated database and of what meaning.go says.
func TestSchemaPage(t *testing.T) {
	t.Parallel()
	d := describe(t)
	got := d.page(t)
	if *update {
		if err := os.WriteFile(schemaPage, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(page(t, schemaPage), got); diff != "" {
		t.Errorf("%s is stale, run: go generate ./docs (-it says +it should say)\n%s", schemaPage, diff)
	}
}

type column struct {
	Relation, Name, Type, Default string
	NotNull                       bool
}

type index struct{ Relation, Name, Definition string }

// A database is what a migrated one says of itself.
type database struct {
	columns map[string][]column // of tables and views
	checks  map[string]string   // relation.column → its CHECK's values
	indexes map[string][]index
	views   []string
}

func describe(t *testing.T) *database {
	conn := connect(t, pgtest.Database(t))
	d := &database{columns: map[string][]column{}, checks: map[string]string{}, indexes: map[string][]index{}}
	for _, c := range collect[column](t, conn, `
SELECT c.relname AS relation, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS default, a.attnotnull AS not_null
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition AND c.relname !~ 'migrations'
ORDER BY c.relname, a.attnum`) {
		d.columns[c.Relation] = append(d.columns[c.Relation], c)
	}
	for _, i := range collect[index](t, conn, `
SELECT tablename AS relation, indexname AS name, regexp_replace(indexdef, '^.* USING ', '') AS definition
FROM pg_indexes WHERE schemaname = 'public' ORDER BY tablename, indexname`) {
		d.indexes[i.Relation] = append(d.indexes[i.Relation], i)
	}
	for _, c := range collect[index](t, conn, `
SELECT c.conrelid::regclass::text || '.' || a.attname AS relation, conname AS name,
       (SELECT string_agg('`+"`"+`' || m[1] || '`+"`"+`', ', ') FROM regexp_matches(pg_get_constraintdef(c.oid), '''([^'']*)''::text', 'g') m) AS definition
FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.contype = 'c' AND c.connamespace = 'public'::regnamespace AND cardinality(c.conkey) = 1`) {
		d.checks[c.Relation] = c.Definition
	}
	rows, err := conn.Query(t.Context(), "SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	if d.views, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		t.Fatal(err)
	}
	return d
}

func collect[T any](t *testing.T, conn *pgx.Conn, sql string) []T {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[T])
	if err != nil {
		t.Fatalf("%v in %s", err, sql)
	}
	return all
}

func (d *database) page(t *testing.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, schemaHead, strings.Join(crm.Modules(), ", "))
	left := maps.Clone(d.columns)
	for _, name := range crm.Modules() {
		module, _ := crm.Find(name)
		d.mirrorTable(t, &b, module)
		delete(left, name)
	}
	b.WriteString(viewsHead)
	for _, name := range d.views {
		if table, live := strings.CutSuffix(name, "_live"); live {
			fmt.Fprintf(&b, "### %s\n\nThe rows of `%s` that are not deleted, all columns.\n\n", name, table)
		} else {
			d.stateTable(t, &b, name)
		}
		delete(left, name)
	}
	b.WriteString(stateHead)
	for _, name := range slices.Sorted(maps.Keys(left)) {
		d.stateTable(t, &b, name)
	}
	return b.String()
}

// mirrorTable lists a module's columns in the order of the table, each with its Zoho field.
func (d *database) mirrorTable(t *testing.T, b *strings.Builder, module *crm.Module) {
	fields, picklists := map[string]string{"id": "`id`"}, module.Picklists()
	for _, f := range module.Fields {
		for i, c := range f.Columns() {
			fields[c.Name] = "`" + f.API + "`"
			if c.Pair != "" || i == 0 && len(f.Columns()) == 2 {
				fields[c.Name] = "`" + f.API + "." + c.Name[strings.LastIndex(c.Name, "_")+1:] + "`"
			}
		}
	}
	fmt.Fprintf(b, "## %s\n\nZoho's module `%s`, read by the streams %s.\n\n| Column | Type | Zoho field | |\n|---|---|---|---|\n", module.Name, module.API, streams(module))
	for _, c := range d.columns[module.Name] {
		note := bookkeeping[c.Name]
		field, mapped := fields[c.Name]
		if !mapped && note == "" {
			t.Errorf("%s.%s is neither in the catalogue nor in meaning_test.go", module.Name, c.Name)
		}
		if _, is := picklists[c.Name]; is {
			note = "picklist, with a CHECK"
		}
		if f := find(module, c.Name); f != nil && f.Kind == crm.User && strings.HasSuffix(c.Name, "_name") {
			note = "from the users list"
		}
		fmt.Fprintf(b, "| `%s` | `%s` | %s | %s |\n", c.Name, short(c.Type), field, note)
		delete(fields, c.Name)
	}
	for name := range fields {
		t.Errorf("%s has no column %s", module.Name, name)
	}
	b.WriteString("\n")
	d.listIndexes(b, module.Name)
}

func find(module *crm.Module, name string) *crm.Field {
	for i, f := range module.Fields {
		if slices.ContainsFunc(f.Columns(), func(c crm.Column) bool { return c.Name == name }) {
			return &module.Fields[i]
		}
	}
	return nil
}

func streams(module *crm.Module) string {
	var names []string
	for _, s := range module.Streams {
		text := fmt.Sprintf("`%s` (by `%s`", s.Name, s.OrderBy)
		if s.Filter != "" {
			text += ", where `" + s.Filter + "`"
		}
		names = append(names, text+")")
	}
	return strings.Join(names, ", ")
}

func (d *database) listIndexes(b *strings.Builder, table string) {
	if len(d.indexes[table]) == 0 {
		return
	}
	b.WriteString("Indexes: ")
	for i, index := range d.indexes[table] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(b, "`%s`", index.Definition)
	}
	b.WriteString(".\n\n")
}

func (d *database) stateTable(t *testing.T, b *strings.Builder, name string) {
	meaning, known := meanings[name]
	if !known {
		t.Errorf("meaning_test.go does not say what %s is", name)
	}
	fmt.Fprintf(b, "### %s\n\n%s\n\n| Column | Type | Meaning |\n|---|---|---|\n", name, meaning.table)
	for _, c := range d.columns[name] {
		note := meaning.columns[c.Name]
		if note == "" && name == "sync_recent" {
			note = meanings["sync_runs"].columns[c.Name]
		}
		if note == "" {
			note = everywhere[c.Name]
		}
		if values := d.checks[name+"."+c.Name]; values != "" {
			note = strings.TrimPrefix(note+"; one of "+values, "; ")
		}
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", c.Name, short(c.Type), note)
	}
	for spoken := range meaning.columns {
		if !slices.ContainsFunc(d.columns[name], func(c column) bool { return c.Name == spoken }) {
			t.Errorf("meaning_test.go speaks of %s.%s, which is not there", name, spoken)
		}
	}
	b.WriteString("\n")
}

func short(sqlType string) string {
	return strings.NewReplacer("timestamp with time zone", "timestamptz").Replace(sqlType)
}
