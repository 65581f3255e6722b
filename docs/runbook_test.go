package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"zohomirror/internal/mirror"
	"zohomirror/internal/pgembed/pgtest"
)

// The runbook has a word on every alert and everything that the program gives a hint for, and
// says of every class of failure what the program itself says of it.
func TestRunbook(t *testing.T) {
	t.Parallel()
	text := page(t, "runbook.md")
	named := func(what string, names []string, least int) {
		t.Helper()
		if len(names) < least {
			t.Errorf("%s: only %d were found", what, len(names))
		}
		for _, name := range names {
			if !strings.Contains(text, "`"+name+"`") {
				t.Errorf("the runbook does not speak of %s %s", what, name)
			}
		}
	}
	causes, plain, said := constants(t, "../internal/mirror/cause.go", "Cause"), strings.ReplaceAll(text, "`", ""), map[mirror.Meaning]bool{}
	named("the cause", causes, 13)
	for _, cause := range causes {
		m := mirror.MeaningOf(cause)
		if row := "\n| " + cause + ": " + m.Title + " | " + m.Text + " | " + m.ToDo; !strings.Contains(plain, row) || said[m] {
			t.Errorf("the runbook lacks, or two causes share:%s", row)
		}
		said[m] = true
	}
	named("Zoho's error", append(constants(t, "../internal/zoho/errors.go", "code"), keys(t, "../internal/zoho/errors.go", "codeHints", "refusals")...), 15)
	named("the SQLSTATE", keys(t, "../internal/postgres/errors.go", "hints"), 14)

	conn := connect(t, pgtest.Database(t))
	var kinds []string
	const sql = `SELECT array_agg(m[1]) FROM pg_constraint, regexp_matches(pg_get_constraintdef(oid), '''([^'']*)''::text', 'g') m WHERE conname = 'sync_alerts_kind_check'`
	if err := conn.QueryRow(t.Context(), sql).Scan(&kinds); err != nil {
		t.Fatal(err)
	}
	named("the alert", kinds, 5)
}

// constants are the texts of a file's constants whose names begin with prefix.
func constants(t *testing.T, file, prefix string) (values []string) {
	t.Helper()
	inspect(t, file, func(spec *ast.ValueSpec) {
		for i, name := range spec.Names {
			if strings.HasPrefix(name.Name, prefix) && i < len(spec.Values) {
				if text, ok := literal(spec.Values[i]); ok {
					values = append(values, text)
				}
			}
		}
	})
	return values
}

// keys are the literal keys of a file's maps.
func keys(t *testing.T, file string, maps ...string) (values []string) {
	t.Helper()
	inspect(t, file, func(spec *ast.ValueSpec) {
		for i, name := range spec.Names {
			if !strings.Contains(" "+strings.Join(maps, " ")+" ", " "+name.Name+" ") || i >= len(spec.Values) {
				continue
			}
			if composite, ok := spec.Values[i].(*ast.CompositeLit); ok {
				for _, element := range composite.Elts {
					if text, ok := literal(element.(*ast.KeyValueExpr).Key); ok {
						values = append(values, text)
					}
				}
			}
		}
	})
	return values
}

func inspect(t *testing.T, file string, each func(*ast.ValueSpec)) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range parsed.Decls {
		if general, ok := declaration.(*ast.GenDecl); ok {
			for _, spec := range general.Specs {
				if value, ok := spec.(*ast.ValueSpec); ok {
					each(value)
				}
			}
		}
	}
}

func literal(e ast.Expr) (string, bool) {
	basic, ok := e.(*ast.BasicLit)
	if !ok || basic.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(basic.Value)
	return text, err == nil
}
