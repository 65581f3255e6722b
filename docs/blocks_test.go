package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/pgembed/pgtest"
)

func TestBlocks(t *testing.T) {
	t.Parallel()
	const text = "Words\n\n    zohomirror a\n\n    zohomirror b\nWords\n    no code\n\n<!-- needs an account -->\n```sql\nselect 1;\n```\n\n```\nplain\n    kept\n```\n"
	want := []Block{
		{"p", 3, "", "zohomirror a\n\nzohomirror b\n", ""},
		{"p", 11, "sql", "select 1;\n", "an account"},
		{"p", 15, "", "plain\n    kept\n", ""},
	}
	if diff := cmp.Diff(want, Blocks("p", text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// statement is SQL amid a page's text.
var statement = regexp.MustCompile(`(?i)^(select|insert into|update|delete from|create|alter|drop|grant|revoke) `)

// Every SQL of the pages, also amid their text, runs against a migrated database, in a transaction that is rolled back.
func TestSQLOfThePages(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.Database(t))
	pages, err := Pages(".")
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, line int, sql string) {
		sql = regexp.MustCompile(`(?mi)^(begin|commit);$`).ReplaceAllString(sql, "")
		sql = strings.NewReplacer("ROLE …", "ROLE current_user", "= …", "= public").Replace(sql)
		if _, err := conn.PgConn().Exec(t.Context(), "begin;\n"+sql).ReadAll(); err != nil {
			t.Errorf("%s:%d: %v\n%s", name, line, err, sql)
		}
		if _, err := conn.Exec(t.Context(), "rollback"); err != nil {
			t.Fatal(err)
		}
	}
	blocks, amid := 0, 0
	for _, name := range append(pages, "../README.md", "../public/llms.txt") {
		text := page(t, name)
		for _, block := range Blocks(name, text) {
			if block.Needs == "" && block.SQL() {
				run(name, block.Line, block.Text)
				blocks++
			}
		}
		for _, span := range Spans(name, text) {
			if statement.MatchString(span.Text) {
				run(name, span.Line, span.Text)
				amid++
			}
		}
	}
	if blocks < 12 || amid < 2 {
		t.Errorf("only %d blocks of SQL and %d statements amid text were found", blocks, amid)
	}
}

// Links within the repository lead to something.
func TestLinks(t *testing.T) {
	t.Parallel()
	pages, err := Pages(".")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	for _, name := range append(pages, "../README.md", "../CHANGELOG.md") {
		for _, m := range link.FindAllStringSubmatch(page(t, name), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
}

// The architecture's table names every package.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	t.Parallel()
	text := page(t, "architecture.md")
	folders, err := os.ReadDir("../internal")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if name := "`internal/" + folder.Name() + "`"; !strings.Contains(text, name) {
			t.Errorf("architecture.md does not say what %s knows", name)
		}
	}
}
