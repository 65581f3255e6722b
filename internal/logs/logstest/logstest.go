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

	WithinRuns bool // lines of either kind are held to be of runs
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

// Check holds JSON lines against the documentation.
func (d Documented) Check(t testing.TB, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		for _, fault := range d.Faults(line) {
			t.Errorf("%s: %.300s", fault, line)
		}
	}
}

// Faults says what is wrong with a JSON line: its message and its keys are documented, each
// key comes once, and a line that belongs to a run has run_id and module.
func (d Documented) Faults(line string) (faults []string) {
	values, err := members(line)
	if err != nil {
		return []string{err.Error()}
	}
	for key := range values {
		if !d.Keys[key] {
			faults = append(faults, "the key "+key+" is not in docs/logs.md")
		}
	}
	m := messageOf(values)
	section, ok := d.Messages[m]
	if !ok {
		faults = append(faults, "not in docs/logs.md: "+m.Level+" "+m.Text)
	}
	ofRun := section == OfRun || section == OfEither && d.WithinRuns
	if ofRun && (values["run_id"] == nil || values["module"] == nil) {
		faults = append(faults, "a line of a run without run_id and module")
	}
	return faults
}

// messageOf is what a line says, under whichever names.
func messageOf(values map[string]any) Message {
	if severity, cloud := values["severity"].(string); cloud {
		return Message{strings.Replace(strings.ToLower(severity), "warning", "warn", 1), fmt.Sprint(values["message"])}
	}
	return Message{fmt.Sprint(values["level"]), fmt.Sprint(values["msg"])}
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
