package docs

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dependencies.md has a row for each module that go.mod requires directly, and no other.
func TestDependenciesPage(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:require )?\s+([\w.-]+\.[\w.-]+/\S+|[\w.-]+/\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1) {
		required[m[1]] = true // those with // indirect do not end there
	}
	text := page(t, "dependencies.md")
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.+) \\|$").FindAllStringSubmatch(text, -1) {
		named[m[1]] = true
		if len(strings.TrimSpace(m[2])) < 20 {
			t.Errorf("%s has no reason", m[1])
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(required)), slices.Sorted(maps.Keys(named))); diff != "" {
		t.Errorf("docs/dependencies.md and go.mod (-go.mod +page):\n%s", diff)
	}
	if len(required) < 10 {
		t.Errorf("only %d requirements were found in go.mod", len(required))
	}
}
