package notify

import (
	"fmt"
	"runtime/debug"

	"github.com/getsentry/sentry-go"
)

// A Panic is a panic that was recovered.
type Panic struct {
	value  string
	stack  string
	frames *sentry.Stacktrace
}

// NewPanic makes an error of what recover returned. It is to be called by the deferred
// function itself, whose stack still shows where the panic began.
func NewPanic(value any) *Panic {
	if p, ok := value.(*Panic); ok {
		return p
	}
	p := &Panic{stack: string(debug.Stack()), frames: sentry.NewStacktrace()}
	switch value := value.(type) {
	case error:
		p.value = value.Error()
	case string:
		p.value = value
	default: // who knows what it holds
		p.value = fmt.Sprintf("a value of type %T", value)
	}
	return p
}

func (p *Panic) Error() string { return "panic: " + firstLine(p.value, longest) }

// Hint says what to do.
func (p *Panic) Hint() string {
	return "this is a fault of the program: please report it with the stack, which is in the log"
}

// Stack is where it happened, as Go prints it.
func (p *Panic) Stack() string { return p.stack }

// where names the function that panicked.
func (p *Panic) where() string {
	if p.frames == nil || len(p.frames.Frames) == 0 {
		return ""
	}
	frame := p.frames.Frames[len(p.frames.Frames)-1]
	return frame.Module + "." + frame.Function
}
