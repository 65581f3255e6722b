package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// must runs the program and returns what it printed.
func must(t *testing.T, settings map[string]string, arguments ...string) string {
	t.Helper()
	printed, complaints, status := output(t, settings, arguments...)
	if status != 0 {
		t.Fatalf("%v: %d %s%s", arguments, status, printed, complaints)
	}
	return printed
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// list returns a query's lines.
func list(t *testing.T, conn *pgx.Conn, sql string, args ...any) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return lines
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// oddValues are picklist values that must survive SQL, goose and regular expressions.
var oddValues = []string{"Podcast", "O'Reilly", `back\slash;`, "two\nlines;\n-- +goose StatementEnd", "a', 'b'::text", "Ж$$", "x = ANY (ARRAY['y'::text])"}

const grants = `SELECT concat_ws(' ', c.relname, array_to_string(c.reloptions, ','), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, string_agg(a.privilege_type, ',' ORDER BY a.privilege_type))
	FROM pg_class c LEFT JOIN aclexplode(c.relacl) a ON a.grantee <> c.relowner WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace GROUP BY c.relname, c.reloptions, a.grantee ORDER BY 1`

func TestSchemaMigration(t *testing.T) {
	t.Parallel()
	zoho := zohosim.New(zohosim.Config{})
	replace := func(module string, f zohosim.Field) {
		zoho.RemoveField(module, f.API)
		zoho.AddField(module, f)
	}
	replace("Deals", zohosim.Field{API: "Amount", Type: "currency", Places: 3})
	replace("Deals", zohosim.Field{API: "Lead_Source", Type: "picklist", Values: append(slices.Clone(zohosim.LeadSources[:5]), oddValues...)})
	zoho.AddField("Deals", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	for i, v := range oddValues {
		zoho.Insert("Deals", zohosim.Record{"Deal_Name": fmt.Sprint(i), "Lead_Source": v, "Amount": json.RawMessage("1.125")})
	}
	zoho.Insert("Deals", zohosim.Record{"Deal_Name": "unlisted", "Lead_Source": "of a record alone", "Amount": json.RawMessage("1.12")})
	settings := settingsFor(t, zoho, pgtest.Database(t))
	conn := connect(t, settings["DATABASE_URL"])
	execute(t, conn, "CREATE VIEW big_deals AS SELECT id, amount FROM deals_live WHERE amount > 1", "GRANT SELECT ON big_deals TO PUBLIC", "COMMENT ON VIEW big_deals IS 'it''s big'",
		"GRANT SELECT, UPDATE ON deals_live TO zohomirror_reader WITH GRANT OPTION", "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO zohomirror_service",
		"ALTER TABLE deals DROP CONSTRAINT deals_type_check, ADD CONSTRAINT deals_type_check CHECK (type <> 'Secret')")
	before := list(t, conn, grants)
	folder := filepath.Join(t.TempDir(), "org")

	must(t, settings, "sync", "deals")
	if n := list(t, conn, "SELECT count(*)::text FROM deals"); n[0] != "0" {
		t.Fatalf("%s deals fit beforehand", n)
	}
	told := must(t, settings, "schema", "diff", "deals")
	for _, line := range []string{"Podcast | O'Reilly", "of a record alone", "numeric(14,2), required numeric(15,3)", "Shoe_Size  integer", "deals_type_check", "picklist value"} {
		if !strings.Contains(told, line) {
			t.Errorf("schema diff does not tell %q:\n%s", line, told)
		}
	}
	var diffs []struct {
		Module    string
		Noticed   []map[string]any
		Picklists []struct {
			Field   string
			Missing []string
		}
	}
	if err := json.Unmarshal([]byte(must(t, settings, "schema", "diff", "--json")), &diffs); err != nil || len(diffs) != 2 {
		t.Fatalf("schema diff --json: %v %+v", err, diffs)
	}
	same(t, "missing values", append(slices.Clone(oddValues), "of a record alone"), diffs[1].Picklists[0].Missing)
	if len(diffs[1].Noticed) != len(oddValues)+2 { // and Amount
		t.Errorf("noticed %v", diffs[1].Noticed)
	}

	if told := must(t, settings, "schema", "migration", "deals", "--folder", folder); !strings.Contains(told, "_org_picklists_and_money.sql\nTo apply it: zohomirror migrate") {
		t.Errorf("schema migration: %s", told)
	}
	if _, complaints, status := output(t, settings, "schema", "migration", "--folder", folder); status != 1 || !strings.Contains(complaints, "are not applied yet") {
		t.Errorf("a second one beside it: %d %s", status, complaints)
	}
	must(t, settings, "migrate", "--folder", folder)
	if told := must(t, settings, "schema", "migration", "--folder", folder, "--apply"); !strings.Contains(told, "nothing to change") {
		t.Errorf("in line: %s", told)
	}
	if files, _ := os.ReadDir(folder); len(files) != 1 {
		t.Errorf("files %v", files)
	}
	same(t, "views, options and grants", before, list(t, conn, grants))
	same(t, "comment", []string{"it's big"}, list(t, conn, "SELECT obj_description('big_deals'::regclass)"))

	must(t, settings, "sync", "deals")
	same(t, "rows", append(slices.Clone(oddValues), "of a record alone"), list(t, conn, "SELECT lead_source FROM deals_live WHERE amount >= 1.12 ORDER BY id"))
	same(t, "drift is told once", []string{"9"}, list(t, conn, "SELECT count(*)::text FROM sync_drift"))

	// A CHECK only grows: what the org no longer lists stays allowed.
	replace("Deals", zohosim.Field{API: "Lead_Source", Type: "picklist", Values: []string{"Newest"}})
	if told := must(t, settings, "schema", "migration", "--folder", folder, "--apply"); !strings.Contains(told, "_org_picklists.sql\nApplied.") {
		t.Errorf("schema migration --apply: %s", told)
	}
	execute(t, conn, "UPDATE deals SET lead_source = 'Newest' WHERE lead_source = 'Podcast'", "UPDATE deals SET lead_source = 'Cold Call' WHERE lead_source = 'Newest'")

	// The same files bring another database there, and one that is ahead in them is not newer.
	other := map[string]string{"DATABASE_URL": pgtest.Empty(t)}
	must(t, other, "migrate", "--folder", folder)
	must(t, other, "migrate")
	const shape = "SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'deals'::regclass AND conname <> 'deals_type_check' ORDER BY 1"
	same(t, "the other database", list(t, conn, shape), list(t, connect(t, other["DATABASE_URL"]), shape))
	same(t, "row level security", []string{"true"}, list(t, conn, "SELECT relrowsecurity::text FROM pg_class WHERE relname = 'sync_org_migrations'"))
}

// Pain 14: names beyond 63 bytes, and names that fold to one, collide. Promoted fields have
// columns of their own, whatever they are called, and the mirror still equals the CRM.
func TestPain14Promote(t *testing.T) {
	t.Parallel()
	if _, complaints, status := output(t, nil, "schema", "promote", "leads", "X", "--source", t.TempDir()); status != 1 || !strings.Contains(complaints, "run this in a checkout") {
		t.Errorf("without a source tree: %d %s", status, complaints)
	}
	zoho := zohosim.New(zohosim.Config{})
	long := strings.Repeat("Very_Long_Name_", 5)
	fields := []zohosim.Field{
		{API: "Shoe_Size", Type: "integer"}, {API: "SHOE_SIZE", Type: "text"}, {API: "Shoe_Size__s", Type: "double", Places: 3},
		{API: long + "1", Type: "date"}, {API: long + "2", Type: "datetime"}, {API: long + "3", Type: "lookup", Target: "Accounts"}, {API: "City__s", Type: "boolean"},
		{API: "Order", Type: "textarea"}, {API: "Run_ID", Type: "multiselectpicklist"},
	}
	records := []zohosim.Record{
		{"Shoe_Size": 43, "SHOE_SIZE": "forty-three ", "Shoe_Size__s": json.Number("43.125"), long + "1": "2026-01-31", long + "2": "2026-01-02T10:00:00+02:00",
			long + "3": zohosim.Ref{ID: "5725767000000777001", Name: "Zylker"}, "City__s": true, "Order": "first ", "Run_ID": json.RawMessage(`["a","b"]`)},
		{"Shoe_Size": 44, long + "1": "2026-02-01", "City__s": false, "Order": "2nd"},
		{},
	}
	for _, f := range fields {
		f.Custom = true
		zoho.AddField("Leads", f)
	}
	for i, record := range records {
		record["Last_Name"] = fmt.Sprint(i)
		zoho.Insert("Leads", record)
	}
	settings := settingsFor(t, zoho, pgtest.Database(t))
	must(t, settings, "sync", "leads")
	tree := sourceTree(t)
	for _, f := range fields {
		must(t, settings, "schema", "promote", "leads", f.API, "--source", tree)
	}
	if _, complaints, status := output(t, settings, "schema", "promote", "leads", "Shoe_Size", "--source", tree); status != 1 || !strings.Contains(complaints, "Shoe_Size has a column already") {
		t.Errorf("once more: %d %s", status, complaints)
	}
	must(t, settings, "migrate", "--folder", filepath.Join(tree, orgFolder))
	conn := connect(t, settings["DATABASE_URL"])
	columns := "SELECT to_jsonb(l)::text FROM (SELECT " + strings.Join(list(t, conn, `SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = 'leads_live'::regclass
		AND attnum > (SELECT attnum FROM pg_attribute WHERE attrelid = 'leads_live'::regclass AND attname = 'deleted_at') ORDER BY attname`), ", ") + ", custom_fields FROM leads_live ORDER BY id) l"
	migrated := list(t, conn, columns)
	execute(t, conn, "UPDATE sync_watermarks SET watermark = watermark + interval '1 hour'") // as after an hour without edits

	rebuilt := filepath.Join(t.TempDir(), "zohomirror")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay(t, tree), "-o", rebuilt, ".")
	if told, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, told)
	}
	sync := exec.CommandContext(t.Context(), rebuilt, "sync", "leads")
	for name, value := range settings {
		sync.Env = append(sync.Env, name+"="+value)
	}
	if told, err := sync.CombinedOutput(); err != nil {
		t.Fatalf("sync: %v\n%s", err, told)
	}
	// What each column must hold, in the order of their names; null is left out.
	want := []string{
		`{"city_0140acbb": true, "order": "first ", "run_id_233fbe52": ["a", "b"], "shoe_size": 43, "shoe_size_bf3943c6": 43.125, "shoe_size_cf4d4788": "forty-three",
			"very_long_name_very_long_name_very_long_name_very_46fdb31a_id": "5725767000000777001", "very_long_name_very_long_name_very_long_name_very_46fdb31a_name": "Zylker",
			"very_long_name_very_long_name_very_long_name_very_long_89d1e302": "2026-01-02T08:00:00+00:00",
			"very_long_name_very_long_name_very_long_name_very_long_92d43ee0": "2026-01-31", "custom_fields": {}}`,
		`{"city_0140acbb": false, "order": "2nd", "shoe_size": 44, "very_long_name_very_long_name_very_long_name_very_long_92d43ee0": "2026-02-01", "custom_fields": {}}`,
		`{"custom_fields": {}}`,
	}
	same(t, "rows after the first run of the new version", objects(t, want), objects(t, list(t, conn, columns)))
	// The migration takes over what is surely of the type, and leaves the rest where it was.
	want[0] = strings.Replace(strings.Replace(want[0], `"`+strings.ToLower(long[:55])+`92d43ee0": "2026-01-31", `, "", 1),
		`"custom_fields": {}`, `"custom_fields": {"`+long+`1": "2026-01-31"}`, 1)
	same(t, "rows after the migration", objects(t, want), objects(t, migrated))
}

func objects(t *testing.T, texts []string) (all []map[string]any) {
	t.Helper()
	for _, text := range texts {
		object := map[string]any{}
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(object, func(_ string, v any) bool { return v == nil })
		all = append(all, object)
	}
	return all
}

// sourceTree is what a promotion needs of this program's source, and may change.
func sourceTree(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	for _, file := range []string{"go.mod", promotedFile} {
		content, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(tree, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, file), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// overlay makes a build take the tree's promoted fields instead of ours.
func overlay(t *testing.T, tree string) string {
	t.Helper()
	ours, err := filepath.Abs(filepath.Join("../..", promotedFile))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{ours: filepath.Join(tree, promotedFile)}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(tree, "overlay.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
