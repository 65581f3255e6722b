// Command mutate breaks the mirror's promises one by one, each by a small change of its
// source that never touches the disk's copy, and holds that a named test then fails. It
// keeps the table in docs/guarantees.md true: each mutation is named there.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A mutation is one broken promise.
type mutation struct {
	name    string // as docs/guarantees.md calls it
	changes []change
	pkg     string
	tests   string // a regular expression
}

// A change replaces a text that stands once in a file. A promise that is guarded twice is
// broken by two.
type change struct{ file, old, new string }

func main() {
	root := flag.String("root", ".", "the project's root")
	only := flag.String("only", "", "only mutations whose name holds this")
	flag.Parse()
	survivors := 0
	for _, m := range mutations {
		if !strings.Contains(m.name, *only) {
			continue
		}
		verdict, err := m.try(*root)
		if err != nil {
			verdict, survivors = "BROKEN: "+err.Error(), survivors+1
		}
		fmt.Printf("%-60s %s\n", m.name, verdict)
	}
	if survivors > 0 {
		fmt.Printf("%d mutations were not seen red\n", survivors)
		os.Exit(1)
	}
}

// try runs the tests over the mutated source and returns the first that failed.
func (m mutation) try(root string) (failed string, err error) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	if err != nil {
		return "", err
	}
	if !bytes.Contains(page, []byte("| "+m.name+" |")) {
		return "", fmt.Errorf("docs/guarantees.md does not name it")
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	overlay, err := m.overlay(root, dir)
	if err != nil {
		return "", err
	}
	// What is broken on purpose need not please vet, which would look at it anew each time.
	test := exec.Command("go", "test", "-vet=off", "-overlay", overlay, "-count", "1", "-timeout", "5m", "-run", m.tests, m.pkg)
	test.Dir = root
	output, err := test.CombinedOutput()
	if err == nil {
		return "", fmt.Errorf("%s passed", m.tests)
	}
	for line := range strings.Lines(string(output)) {
		if name, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
			return "red: " + strings.Fields(name)[0], nil
		}
	}
	return "", fmt.Errorf("no test failed: %.300s", output)
}

// overlay writes the mutated files to dir, and which files they stand for.
func (m mutation) overlay(root, dir string) (string, error) {
	mutated := map[string]string{} // by path
	for _, c := range m.changes {
		path, err := filepath.Abs(filepath.Join(root, c.file))
		if err != nil {
			return "", err
		}
		if _, begun := mutated[path]; !begun {
			source, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			mutated[path] = string(source)
		}
		if n := strings.Count(mutated[path], c.old); n != 1 {
			return "", fmt.Errorf("%s holds %q %d times", c.file, c.old, n)
		}
		mutated[path] = strings.Replace(mutated[path], c.old, c.new, 1)
	}
	replace := map[string]string{}
	for path, source := range mutated {
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[path], []byte(source), 0o600); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, text, 0o600)
}
