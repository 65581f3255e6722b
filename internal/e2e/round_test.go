package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/mirror/mirrortest"
)

// A start is how things stand before a run that is to meet a fault.
type start struct {
	watermark time.Time
	runs      int
}

// ready does a round of work for the next run to read.
func (w *world) ready(t *testing.T) start {
	t.Helper()
	w.work()
	w.forget(t)
	return w.look(t)
}

// look notes how things stand.
func (w *world) look(t *testing.T) start {
	t.Helper()
	return start{
		watermark: value[time.Time](t, w, "SELECT watermark FROM sync_watermarks WHERE module = 'leads' AND stream = 'modified'"),
		runs:      value[int](t, w, "SELECT count(*)::int FROM sync_runs"),
	}
}

// failed asserts that a run failed as it must: with a cause and what to do, said and recorded.
func (w *world) failed(t *testing.T, out outcome) {
	t.Helper()
	if out.Status != "failed" || out.exit != 1 && out.exit != 500 || out.Error == "" || out.Hint == "" {
		t.Errorf("want a failed run with a cause and a hint: %s", out)
	}
	if out.exit == 1 && !strings.Contains(out.log, "what to do: "+out.Hint) {
		t.Errorf("what to do is not printed: %s", out)
	}
}

// goesOn asserts what a run that met a fault has left, lets the ticks go on, and asserts
// that they mend everything and read little of it twice: what was committed not at all but
// for the overlap, and of what was read but not committed at most so many pages.
func (w *world) goesOn(t *testing.T, before start, lock, pages int) {
	t.Helper()
	w.recorded(t, lock)
	w.checkpoint(t, before)
	committed := value[int](t, w, `SELECT coalesce(sum(records_processed), 0)::int FROM (
		SELECT records_processed FROM sync_runs ORDER BY started_at DESC LIMIT (SELECT count(*) - $1 FROM sync_runs)) r`, before.runs)
	_, once := w.read()
	if once-committed > pages*pageSize {
		t.Errorf("%d rows were read and %d committed: more than %d pages of %d are lost", once, committed, pages, pageSize)
	}
	w.ResetCalls()
	ticks := w.recover(t, lock)
	const overlap = 3 * (int(time.Minute/spacing) + 1) // a tick, of three streams
	if again, _ := w.read(); again > w.clean.rows-committed+ticks*overlap {
		t.Errorf("of %d rows %d were committed, and %d were read by the next %d runs", w.clean.rows, committed, again, ticks)
	}
	w.equal(t)
	if open := value[int](t, w, "SELECT count(*)::int FROM sync_runs WHERE status = 'running'"); open != 0 {
		t.Errorf("%d runs are left open", open)
	}
}

// recorded asserts that each failed run's row says why and what to do, and that only a
// process which could not close its run has left it open.
func (w *world) recorded(t *testing.T, lock int) {
	t.Helper()
	mute := value[int](t, w, "SELECT count(*)::int FROM sync_runs WHERE status = 'failed' AND (coalesce(error, '') = '' OR coalesce(hint, '') = '' OR ended_at IS NULL)")
	open := value[int](t, w, "SELECT count(*)::int FROM sync_runs WHERE status = 'running'")
	if mute > 0 || lock == lockFree && open > 0 {
		t.Errorf("%d failed runs do not say why or what to do, %d are left open", mute, open)
	}
}

// checkpoint asserts that the watermark stands where it was while a window is open, and that
// all that lies behind the checkpoint is mirrored.
func (w *world) checkpoint(t *testing.T, before start) {
	t.Helper()
	var watermark, cursor *time.Time
	var id *string
	err := w.db.QueryRow(t.Context(), "SELECT watermark, cursor_time, cursor_id FROM sync_watermarks WHERE module = 'leads' AND stream = 'modified'").Scan(&watermark, &cursor, &id)
	if err != nil {
		t.Fatal(err)
	}
	end, endID := *watermark, ""
	if cursor != nil {
		if end, endID = *cursor, *id; !watermark.Equal(before.watermark) {
			t.Errorf("the watermark moved from %s to %s while its window is open", before.watermark, watermark)
		}
	}
	want, err := mirrortest.Expected(t.Context(), w.db, w.Zoho, "leads")
	if err != nil {
		t.Fatal(err)
	}
	got, err := mirrortest.Rows(t.Context(), w.db, "leads_live")
	if err != nil {
		t.Fatal(err)
	}
	for id, row := range want {
		modified, err := time.Parse(time.RFC3339, row["modified_time"].(string))
		if err != nil {
			t.Fatal(err)
		}
		behind := modified.Before(end) || modified.Equal(end) && (endID == "" || number(t, id) <= number(t, endID))
		if row["converted"] == true || !behind {
			continue
		}
		if diff := cmp.Diff(row, got[id], mirrortest.SameNumber); diff != "" {
			t.Errorf("%s lies behind the checkpoint %s %s and is not mirrored (-CRM +mirror):\n%s", id, end, endID, diff)
			return
		}
	}
}

func number(t *testing.T, id string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
