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

// sqlBlock tells SQL among the blocks that do not say what they are.
var sqlBlock = regexp.MustCompile(`(?i)^(--|select|with|create|grant|alter|begin;)`)

// Every SQL of the pages runs against a migrated database, in a transaction that is rolled back.
func TestSQLOfThePages(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.Database(t))
	pages, err := Pages(".")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, name := range append(pages, "../README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range Blocks(name, string(text)) {
			if block.Needs != "" || block.Language != "sql" && (block.Language != "" || !sqlBlock.MatchString(block.Text)) {
				continue
			}
			sql := regexp.MustCompile(`(?mi)^(begin|commit);$`).ReplaceAllString(block.Text, "")
			if _, err := conn.PgConn().Exec(t.Context(), "begin;\n"+sql).ReadAll(); err != nil {
				t.Errorf("%s:%d: %v\n%s", name, block.Line, err, block.Text)
			}
			if _, err := conn.Exec(t.Context(), "rollback"); err != nil {
				t.Fatal(err)
			}
			ran++
		}
	}
	if ran < 6 {
		t.Errorf("only %d blocks of SQL were found", ran)
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
