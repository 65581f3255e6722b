package mirror

import (
	"flag"
	"sort"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func TestWindowStart(t *testing.T) {
	tests := []struct {
		name string
		from postgres.Checkpoint
		want zoho.Cursor
	}{
		{"first ever", postgres.Checkpoint{}, zoho.Cursor{}},
		{"overlap below the watermark", postgres.Checkpoint{Watermark: at(0)}, zoho.Cursor{Time: at(-60)}},
		{"whole seconds", postgres.Checkpoint{Watermark: at(0).Add(time.Millisecond)}, zoho.Cursor{Time: at(-60)}},
		{"an open window at its cursor", postgres.Checkpoint{Watermark: at(0), CursorTime: at(5), CursorID: "7"}, zoho.Cursor{Time: at(5), ID: "7"}},
	}
	for _, tt := range tests {
		if got := windowStart(tt.from, time.Minute); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWindowAfter(t *testing.T) {
	const overlap = time.Minute
	last := func(second int) zoho.Cursor { return zoho.Cursor{Time: at(second), ID: "7"} }
	tests := []struct {
		name string
		from postgres.Checkpoint
		page pageEnd
		want postgres.Checkpoint
	}{
		{
			"a page in the middle keeps the cursor",
			postgres.Checkpoint{Watermark: at(-9000)},
			pageEnd{last: last(-5000), more: true, asOf: at(0), zohoClock: true},
			postgres.Checkpoint{Watermark: at(-9000), CursorTime: at(-5000), CursorID: "7", WindowAsOf: at(0), ZohoClock: true},
		},
		{
			"the first young page fixes the window's time",
			postgres.Checkpoint{},
			pageEnd{last: last(-59), more: true, asOf: at(0), zohoClock: true},
			postgres.Checkpoint{CursorTime: at(-59), CursorID: "7", WindowAsOf: at(0), ZohoClock: true, Young: true},
		},
		{
			"a later page does not move it",
			postgres.Checkpoint{CursorTime: at(-59), CursorID: "7", WindowAsOf: at(0), ZohoClock: true, Young: true},
			pageEnd{last: last(100), asOf: at(120), zohoClock: true},
			postgres.Checkpoint{Watermark: at(0)},
		},
		{
			"the last row's time, where it is older",
			postgres.Checkpoint{},
			pageEnd{last: last(-10), asOf: at(0), zohoClock: true},
			postgres.Checkpoint{Watermark: at(-10)},
		},
		{
			"ten overlaps below Zoho's time, where the module is quiet",
			postgres.Checkpoint{Watermark: at(-9000)},
			pageEnd{last: last(-9000), asOf: at(0), zohoClock: true},
			postgres.Checkpoint{Watermark: at(-600)},
		},
		{
			"never by our own clock",
			postgres.Checkpoint{Watermark: at(-9000)},
			pageEnd{last: last(-9000), asOf: at(0)},
			postgres.Checkpoint{Watermark: at(-9000)},
		},
		{
			"an empty window moves a quiet module on",
			postgres.Checkpoint{Watermark: at(-9000)},
			pageEnd{asOf: at(0), zohoClock: true},
			postgres.Checkpoint{Watermark: at(-600)},
		},
		{
			"never back",
			postgres.Checkpoint{Watermark: at(0)},
			pageEnd{last: last(-30), asOf: at(5), zohoClock: true},
			postgres.Checkpoint{Watermark: at(0)},
		},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, windowAfter(tt.from, tt.page, overlap)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// A hidden edit: Zoho stamps it at once and shows it up to an overlap later.
type edit struct{ stamped, shown, id int }

// Promise 1 on a model: edits arrive at any time, many in one second, each shown late by
// up to the overlap; pages are of any size, windows are cut anywhere, the Date header
// comes and goes. Once all is shown, one more complete window has read every edit.
func TestPromise1WindowsMissNothing(t *testing.T) {
	// A model without a database is cheap, and its rare cases are what it is for. The flag is
	// the whole package's, so this test is not parallel.
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	defer func() { _ = checks.Set(before) }() // it was its value
	if err := checks.Set("3000"); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		const overlap = 60 * time.Second
		var edits []edit
		for id := range rapid.IntRange(1, 40).Draw(t, "edits") {
			stamped := rapid.IntRange(0, 900).Draw(t, "stamped")
			edits = append(edits, edit{stamped, stamped + rapid.IntRange(0, 59).Draw(t, "lag"), 1000 + id})
		}
		sort.Slice(edits, func(i, j int) bool {
			a, b := edits[i], edits[j]
			return a.stamped < b.stamped || a.stamped == b.stamped && a.id < b.id
		})
		read := map[int]bool{}
		var c postgres.Checkpoint
		clock := 0
		for clock < 3000 {
			size := rapid.IntRange(1, 5).Draw(t, "page size")
			for pages := rapid.IntRange(1, 12).Draw(t, "pages in this run"); pages > 0; pages-- {
				page := readModel(edits, windowStart(c, overlap), clock, size, read)
				page.zohoClock = rapid.Bool().Draw(t, "Date header")
				c = windowAfter(c, page, overlap)
				clock += rapid.IntRange(0, 3).Draw(t, "seconds a page")
				if !page.more {
					break
				}
			}
			clock += rapid.IntRange(1, 200).Draw(t, "seconds between runs")
		}
		for open := true; open; { // one last complete window
			page := readModel(edits, windowStart(c, overlap), clock, 5, read)
			c = windowAfter(c, page, overlap)
			open = page.more
		}
		for _, e := range edits {
			if !read[e.id] {
				t.Fatalf("edit %+v was never read; checkpoint %+v", e, c)
			}
		}
	})
}

// readModel answers a page as Zoho would at that second.
func readModel(edits []edit, after zoho.Cursor, clock, size int, read map[int]bool) pageEnd {
	page := pageEnd{asOf: at(clock)}
	n := 0
	for _, e := range edits {
		when, id := at(e.stamped), strconv.Itoa(e.id)
		if e.shown > clock || when.Before(after.Time) || when.Equal(after.Time) && after.ID != "" && id <= after.ID {
			continue
		}
		if n == size {
			page.more = true
			return page
		}
		n++
		read[e.id] = true
		page.last = zoho.Cursor{Time: when, ID: id}
	}
	return page
}
