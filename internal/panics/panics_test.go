package panics

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

//go:noinline
func falls(value any) error { panic(value) }

// A panic goes from one goroutine to the other, with the place where it began.
func TestAcross(t *testing.T) {
	caught := make(chan error, 1)
	go func() { caught <- Catch(func() error { return falls("a mistake") }) }()
	first := <-caught
	again := Catch(func() error { Rethrow(nil, errors.New("another"), fmt.Errorf("read: %w", first)); return nil })
	var e *Error
	if again != first || !errors.As(again, &e) || again.Error() != "panic: a mistake" || e.Hint() == "" || !strings.Contains(e.Stack(), "panics.falls(") {
		t.Fatalf("%v, then %v", first, again)
	}
	if frame, _ := runtime.CallersFrames(e.StackTrace()).Next(); frame.Function != "zohomirror/internal/panics.falls" {
		t.Errorf("it began in %s", frame.Function)
	}
}

func TestNoPanic(t *testing.T) {
	failure := errors.New("an ordinary one")
	for _, want := range []error{nil, failure} {
		if got := Catch(func() error { return want }); got != want {
			t.Errorf("%v, want %v", got, want)
		}
		Rethrow(want)
	}
	Rethrow()
}

// Nothing is shown of a value that may hold anything, and little of a long one.
func TestValue(t *testing.T) {
	for want, value := range map[string]any{
		"panic: a value of type []string":         []string{"payload"},
		"panic: an error":                         errors.New("an error\nand more"),
		"panic: " + strings.Repeat("\u00e9", 500): strings.Repeat("\u00e9", 501),
	} {
		if got := Catch(func() error { return falls(value) }); got.Error() != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
}
