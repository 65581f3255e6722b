package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// A screen is the standard error. On a terminal it has a last line that says how far the
// work has come; what else is written goes above it. In a pipe it only passes on.
type screen struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	line     string // shown now
}

// stderr is where commands log, complain and show progress.
var stderr = &screen{out: os.Stderr, terminal: term.IsTerminal(int(os.Stderr.Fd()))}

const clearLine = "\r\x1b[K"

// Write implements [io.Writer]. In a pipe it is one write.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line == "" {
		return s.out.Write(p)
	}
	_, err := fmt.Fprintf(s.out, "%s%s%s", clearLine, p, s.line)
	return len(p), err
}

func (s *screen) show(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line == "" && line == "" {
		return
	}
	s.line = line
	fmt.Fprint(s.out, clearLine+line)
}

const (
	patience = 2 * time.Second // work that is done sooner needs no line
	redraw   = 200 * time.Millisecond
)

// during shows, while do works, what is done and for how long. do may say how far it has
// come.
func (s *screen) during(what string, do func(come func(string)) error) error {
	if !s.terminal {
		return do(func(string) {})
	}
	var mu sync.Mutex
	far := ""
	done, gone := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(gone)
		ticker := time.NewTicker(redraw)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				s.show("")
				return
			case <-ticker.C:
			}
			if past := time.Since(began); past >= patience {
				mu.Lock()
				s.show(fmt.Sprintf("%s … %s%d s", what, far, past/time.Second))
				mu.Unlock()
			}
		}
	}()
	defer func() {
		close(done)
		<-gone
	}()
	return do(func(text string) {
		mu.Lock()
		defer mu.Unlock()
		far = text + ", "
	})
}
