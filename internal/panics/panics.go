// Package panics makes an error of a panic, with its stack. A panic ends the whole process
// unless its own goroutine recovers it: here it is caught there, and thrown again where
// somebody waits for that goroutine, so that it ends one run.
package panics

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// An Error is a panic that was recovered.
type Error struct {
	value string
	stack string
	pcs   []uintptr
}

// New makes an error of what recover returned. It is to be called by the deferred function
// itself, whose stack still shows where the panic began.
func New(value any) *Error {
	if e, ok := value.(*Error); ok {
		return e // it was thrown again
	}
	e := &Error{stack: string(debug.Stack()), pcs: callers()}
	switch value := value.(type) {
	case error:
		e.value = value.Error()
	case string:
		e.value = value
	default: // who knows what it holds
		e.value = fmt.Sprintf("a value of type %T", value)
	}
	return e
}

// Catch returns the error of f, or an *Error where it panics.
func Catch(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = New(p)
		}
	}()
	return f()
}

// Rethrow panics with the first panic among what other goroutines have returned.
func Rethrow(errs ...error) {
	var e *Error
	if errors.As(errors.Join(errs...), &e) {
		panic(e)
	}
}

// callers are the calls that led to a panic, the innermost first.
func callers() []uintptr {
	pcs := make([]uintptr, 100)
	pcs = pcs[:runtime.Callers(0, pcs)]
	return pcs[1+slices.IndexFunc(pcs, func(pc uintptr) bool { return runtime.FuncForPC(pc-1).Name() == "runtime.gopanic" }):]
}

func (e *Error) Error() string {
	line, _, _ := strings.Cut(strings.TrimSpace(strings.ToValidUTF8(e.value, "")), "\n")
	return fmt.Sprintf("panic: %.500s", line)
}

// Hint says what to do.
func (e *Error) Hint() string {
	return "this is a fault of the program: please report it with the stack, which is in the log"
}

// Stack is where it happened, as Go prints it.
func (e *Error) Stack() string { return e.stack }

// StackTrace is the same in the form that sentry-go reads.
func (e *Error) StackTrace() []uintptr { return e.pcs }
