package e2e

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// leaves matches SQL that leaves something in its session: the next transaction does not
// find it there behind a pooler, and somebody else's does.
var (
	leaves = regexp.MustCompile(`(?i)^\s*(PREPARE|EXECUTE|DEALLOCATE|LISTEN|UNLISTEN|LOAD|DISCARD|SET)\b` +
		`|set_config\([^)]*,\s*false\s*\)|pg_(try_)?advisory_lock|CREATE\s+(GLOBAL\s+|LOCAL\s+)?TEMP|WITH\s+HOLD`)
	within = regexp.MustCompile(`(?i)^\s*SET\s+(LOCAL|TRANSACTION)\b`)
)

// listen notes what a message of the binary says, and what of it a session would have to keep.
func (l *link) listen(frame []byte, typed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !typed: // a start: version, then names and values
		for i, text := range bytes.Split(frame[8:], []byte{0}) {
			if name := string(text); i%2 == 0 && !slices.Contains([]string{"", "user", "database", "application_name"}, name) {
				l.session = append(l.session, "the connection is asked for with "+name)
			}
		}
	case frame[0] == 'P':
		name, rest, _ := bytes.Cut(frame[5:], []byte{0})
		sql, _, _ := bytes.Cut(rest, []byte{0})
		if len(name) > 0 {
			l.session = append(l.session, fmt.Sprintf("a statement is prepared as %s", name))
		}
		l.say(string(sql))
	case frame[0] == 'Q':
		sql, _, _ := bytes.Cut(frame[5:], []byte{0})
		l.say(string(sql))
	}
}

func (l *link) say(sql string) {
	l.heard[sql] = true
	if leaves.MatchString(sql) && !within.MatchString(sql) {
		l.session = append(l.session, strings.TrimSpace(sql))
	}
}

// keptNothing holds all that the binary sent against what a transaction pooler allows.
func (l *link) keptNothing(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.session)
	for _, what := range slices.Compact(l.session) {
		t.Errorf("something is left in a session: %s", what)
	}
}
