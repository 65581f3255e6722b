package logs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/logs/logstest"
)

var levels = map[string]string{"DebugContext": "debug", "InfoContext": "info", "WarnContext": "warn", "ErrorContext": "error"}

// withoutContext are the calls that lose the request's trace.
var withoutContext = map[string]bool{"Debug": true, "Info": true, "Warn": true, "Error": true}

// standard are the keys that the logger writes by itself.
var standard = []string{"time", "level", "msg", "severity", "message", "logging.googleapis.com/trace"}

// said is what the source logs.
type said struct {
	t        *testing.T
	files    *token.FileSet
	keys     map[string]bool
	messages map[logstest.Message]bool
}

func (s *said) call(call *ast.CallExpr) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	name, receiver := method.Sel.Name, types.ExprString(method.X)
	// This is how all loggers are called here.
	logger := strings.HasSuffix(strings.ToLower(receiver), "log") || strings.HasPrefix(receiver, "about(")
	switch {
	case levels[name] != "":
		s.messages[logstest.Message{Level: levels[name], Text: s.text(call.Args[1])}] = true
		s.pairs(call.Args[2:])
	case name == "With" && logger:
		s.pairs(call.Args)
	case withoutContext[name] && logger:
		s.t.Errorf("%s: %s.%s has no context", s.files.Position(call.Pos()), receiver, name)
	}
}

func (s *said) pairs(args []ast.Expr) {
	for i := 0; i < len(args); i++ {
		if attr, ok := args[i].(*ast.CallExpr); ok { // slog.String("key", …)
			s.keys[s.text(attr.Args[0])] = true
			continue
		}
		s.keys[s.text(args[i])] = true
		i++
	}
}

// text is a literal: what is logged must not be made up at run time, or nobody can look for it.
func (s *said) text(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		s.t.Errorf("%s: %s is no text that stands here", s.files.Position(e.Pos()), types.ExprString(e))
		return fmt.Sprint(e)
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// docs/logs.md has every message at its level and every key that the source logs, and none
// besides.
func TestDocumented(t *testing.T) {
	t.Parallel()
	s := &said{t: t, files: token.NewFileSet(), keys: map[string]bool{}, messages: map[logstest.Message]bool{}}
	for _, folder := range []string{"internal", "cmd", "api"} {
		err := filepath.WalkDir(filepath.Join(logstest.Root(), folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(s.files, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					s.call(call)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range standard {
		s.keys[key] = true
	}
	documented := logstest.Read(t)
	if diff := cmp.Diff(s.keys, documented.Keys); diff != "" {
		t.Errorf("keys (-source +docs/logs.md):\n%s", diff)
	}
	messages := map[logstest.Message]bool{}
	for m, section := range documented.Messages {
		messages[m] = true
		if section != logstest.OfRun && section != logstest.OfProcess && section != logstest.OfEither {
			t.Errorf("%q stands under %q", m.Text, section)
		}
	}
	if diff := cmp.Diff(s.messages, messages); diff != "" {
		t.Errorf("messages (-source +docs/logs.md):\n%s", diff)
	}
	if len(s.messages) < 20 || len(s.keys) < 30 {
		t.Errorf("only %d messages and %d keys were found in the source", len(s.messages), len(s.keys))
	}
}
