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

// Every command that a page shows is one that the program takes, in code and amid words, in
// the changelog too. That each is run is seen to by the tests of docs.
func TestCommandsOfThePages(t *testing.T) {
	t.Parallel()
	pages, err := docs.Pages("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	ours := regexp.MustCompile(`^(?:\./|go run \./cmd/)?zohomirror (.*)`)
	for _, file := range append(pages, "../../README.md", "../../CHANGELOG.md", "../../public/llms.txt") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range docs.Commands(file, string(text)) {
			if m := ours.FindStringSubmatch(command.Text); m != nil {
				takes(t, file, m[1], command.Inline)
				tried++
			}
		}
	}
	if tried < 80 {
		t.Errorf("only %d commands were found", tried)
	}
}

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
