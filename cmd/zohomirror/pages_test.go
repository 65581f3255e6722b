package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"zohomirror/docs"
)

// Every command that a page shows is one that the program takes, in code and amid words.
// What other programs are asked to do is on a list, so that no page grows a command that
// nothing tries.
func TestCommandsOfThePages(t *testing.T) {
	t.Parallel()
	pages, err := docs.Pages("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, file := range append(pages, "../../README.md", "../../CHANGELOG.md", "../../public/llms.txt") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range docs.Blocks(file, string(text)) {
			if block.Language != "" && block.Language != "sh" || block.Needs != "" {
				continue
			}
			for line := range strings.Lines(strings.ReplaceAll(block.Text, "\\\n", " ")) {
				line = strings.TrimSpace(line)
				switch command, ours := strings.CutPrefix(strings.NewReplacer("./zohomirror ", "zohomirror ", "go run ./cmd/zohomirror ", "zohomirror ").Replace(line), "zohomirror "); {
				case ours:
					takes(t, file, command, false)
					tried++
				case block.Language == "sh" && line != "" && !others.MatchString(line):
					t.Errorf("%s: nothing tries %q: add it to a test, or say above it <!-- needs … -->", file, line)
				}
			}
		}
		for _, m := range regexp.MustCompile("`zohomirror ([^`]+)`").FindAllStringSubmatch(string(text), -1) {
			takes(t, file, strings.ReplaceAll(m[1], "\n", " "), true)
			tried++
		}
	}
	if tried < 40 {
		t.Errorf("only %d commands were found", tried)
	}
}

// others are commands of other programs that the tests, .ci/run, .ci/deploy or a person's shell
// try.
var others = regexp.MustCompile(`^(#|go (run|test|build|generate) |set -a; \. \./\.env; set \+a$|cp \.env\.example \.env$|openssl rand -hex (16|32)$|curl -H "Authorization: Bearer \$CRON_SECRET" |curl -fsS |CGO_ENABLED=0 go build )`)

// takes reports a command line that the program does not know. What is in brackets is
// optional, and is given; what is in angles stands for something. Prose may leave out
// what a command needs.
func takes(t *testing.T, file, line string, prose bool) {
	t.Helper()
	line, _, _ = strings.Cut(line, " #")
	stands := strings.NewReplacer("<module>", "leads", "[module]", "leads", "<Field>", "Shoe_Size", "…", "x", "[", "", "]", "", "<", "", ">", "")
	parser, err := kong.New(&cli{}, kong.Name("zohomirror"))
	if err != nil {
		t.Fatal(err)
	}
	arguments := strings.Fields(stands.Replace(line))
	for i, word := range arguments {
		if first, rest, several := strings.Cut(word, "|"); several { // list|show|replay: one, then the others
			takes(t, file, strings.Join(slices.Concat(arguments[:i], []string{rest}, arguments[i+1:]), " "), prose)
			arguments[i] = first
		}
	}
	_, err = parser.Parse(arguments)
	if err == nil || prose && (strings.HasPrefix(err.Error(), "expected ") || strings.HasPrefix(err.Error(), "missing flags: ")) {
		return
	}
	t.Errorf("%s: zohomirror %s: %v", file, line, err)
}

// The example of the settings can be read by a shell, as the README has it, in a folder
// with whatever files.
func TestShellReadsTheExample(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	text, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{".env": string(text), "a": ""} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", "set -a; . ./.env; set +a")
	shell.Dir = folder
	if told, err := shell.CombinedOutput(); err != nil || len(told) > 0 {
		t.Errorf("%v: %s", err, told)
	}
}
