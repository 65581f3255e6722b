package mirror

import (
	"time"

	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// A window is one pass over a stream, from a little below its watermark to its present
// end. These rules decide what is never missed; they are pure, and design and tests
// speak of them by these names.

// settled is how many overlaps below Zoho's time a window that has come to its end is
// surely complete: a quiet module's watermark moves on at least so far.
const settled = 10

// windowStart says after which record the window's next page begins: an open window goes
// on exactly where it stopped, a new one starts an overlap below the watermark, since
// Zoho may have shown an edit late, and the first one ever at the beginning.
func windowStart(c postgres.Checkpoint, overlap time.Duration) zoho.Cursor {
	switch {
	case !c.CursorTime.IsZero():
		return zoho.Cursor{Time: c.CursorTime, ID: c.CursorID}
	case c.Watermark.IsZero():
		return zoho.Cursor{}
	default:
		return zoho.Cursor{Time: c.Watermark.Add(-overlap).Truncate(time.Second)}
	}
}

// pageEnd is what a page says about how far the window has come.
type pageEnd struct {
	last      zoho.Cursor // its last record; zero when it was empty
	more      bool
	asOf      time.Time // Zoho's time when it was asked for
	zohoClock bool      // asOf is Zoho's own, not ours
}

// windowAfter returns the checkpoint that commits with the page.
//
// A page is young when its last row is so recent that a row before it may still be hidden.
// The first young page fixes the time up to which the window is complete; without one, the
// last page does.
func windowAfter(c postgres.Checkpoint, page pageEnd, overlap time.Duration) postgres.Checkpoint {
	if !c.Young {
		c.WindowAsOf, c.ZohoClock = page.asOf, page.zohoClock
		c.Young = page.last.Time.After(page.asOf.Add(-overlap))
	}
	if !page.last.Time.IsZero() {
		c.CursorTime, c.CursorID = page.last.Time, page.last.ID
	}
	if page.more {
		return c
	}
	return postgres.Checkpoint{Stream: c.Stream, Watermark: windowWatermark(c, overlap)}
}

// windowWatermark is the watermark of a window that has come to its end, in whole seconds like
// the times it bounds. It never moves back.
func windowWatermark(c postgres.Checkpoint, overlap time.Duration) time.Time {
	watermark := c.Watermark
	if !c.CursorTime.IsZero() {
		watermark = later(watermark, earlier(c.CursorTime, c.WindowAsOf).Truncate(time.Second))
	}
	if c.ZohoClock {
		watermark = later(watermark, c.WindowAsOf.Add(-settled*overlap).Truncate(time.Second))
	}
	return watermark
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
