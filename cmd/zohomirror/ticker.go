package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/panics"
)

// A ticker is the scheduler of a box that has none: it runs each module at once, and then
// whenever the time has come. What an outside scheduler calls meanwhile meets the same lock.
type ticker struct {
	every time.Duration
	run   func(context.Context, mirror.Request) (mirror.Result, error)
	fell  func(context.Context, string, *panics.Error) // says of a panic where it was
	log   *slog.Logger
}

// start ticks until ctx ends; wait returns when the last run has ended. Each module has a
// clock of its own, so that a long first load keeps no other module waiting.
func (t ticker) start(ctx context.Context) (wait func()) {
	var modules sync.WaitGroup
	for _, name := range crm.Modules() {
		module, _ := crm.Find(name)
		modules.Go(func() { t.tickOn(ctx, module) })
	}
	return modules.Wait
}

func (t ticker) tickOn(ctx context.Context, module *crm.Module) {
	clock := time.NewTicker(t.every) // a tick that comes during another is one, not two
	defer clock.Stop()
	for {
		for t.tick(ctx, module) {
			if ctx.Err() != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		}
	}
}

// tick reports whether there is more to read. The run has logged what it did, and a failed
// one is tried again by the next tick. Like a caller's, it outlives ctx up to its next page.
func (t ticker) tick(ctx context.Context, module *crm.Module) (more bool) {
	defer func() {
		if p := recover(); p != nil {
			fault := panics.New(p)
			t.log.ErrorContext(ctx, "a run ended in a panic", "module", module.Name, "panic", fault.Error(), "stack", fault.Stack())
			t.fell(ctx, mirror.TriggerTicker, fault)
		}
	}()
	result, err := t.run(context.WithoutCancel(ctx), mirror.Request{Module: module, Trigger: mirror.TriggerTicker})
	return err == nil && result.More
}
