// Package logstest holds what is logged against docs/logs.md.
package logstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// Documented is what docs/logs.md says.
type Documented struct {
	Keys     map[string]bool
	Messages map[Message]Section
}

// Message is what a line says, and at which level.
type Message struct{ Level, Text string }

// Section says whether a message belongs to a run.
type Section string

// Sections of docs/logs.md.
const (
	OfRun     Section = "Of a run"
	OfProcess Section = "Of the process"
	OfEither  Section = "Of either"
	keys      Section = "Keys"
)

var (
	keyRow     = regexp.MustCompile("^\\| `([^`]+)` \\|")
	messageRow = regexp.MustCompile("^\\| (debug|info|warn|error) \\| `([^`]+)` \\|")
)

// Root is the source tree.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../../..")
}

// Read reads docs/logs.md.
func Read(t testing.TB) Documented {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root(), "docs/logs.md"))
	if err != nil {
		t.Fatal(err)
	}
	d := Documented{Keys: map[string]bool{}, Messages: map[Message]Section{}}
	section := Section("")
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
			section = Section(title)
		}
		if row := keyRow.FindStringSubmatch(line); row != nil && section == keys {
			d.Keys[row[1]] = true
		}
		if row := messageRow.FindStringSubmatch(line); row != nil {
			d.Messages[Message{row[1], row[2]}] = section
		}
	}
	return d
}

// Check holds JSON lines against the documentation: each has its message and its keys
// there, each key once, and, where it belongs to a run, run_id and module.
func (d Documented) Check(t testing.TB, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		values, err := members(line)
		if err != nil {
			t.Errorf("%v: %.300s", err, line)
			continue
		}
		for key := range values {
			if !d.Keys[key] {
				t.Errorf("the key %s is not in docs/logs.md: %.300s", key, line)
			}
		}
		message := Message{fmt.Sprint(values["level"]), fmt.Sprint(values["msg"])}
		section, ok := d.Messages[message]
		switch {
		case !ok:
			t.Errorf("not in docs/logs.md: %s %q", message.Level, message.Text)
		case section == OfRun && (values["run_id"] == nil || values["module"] == nil):
			t.Errorf("a line of a run without run_id and module: %.300s", line)
		}
	}
}

// members are those of a JSON object; it is an error where one comes twice.
func members(line string) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(line)))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, fmt.Errorf("not a JSON object")
	}
	values := map[string]any{}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("the key %s comes twice", name)
		}
		var value any
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		values[name] = value
	}
	return values, nil
}
