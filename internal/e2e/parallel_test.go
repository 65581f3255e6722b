package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Two hundred calls at once make one run and 199 skips, each with its row; the server takes
// no more connections than its pool has, stays small, and is well all the while.
func TestTwoHundredCallsAtOnce(t *testing.T) {
	t.Parallel()
	const callers, poolSize, mostMemory = 200, 4, 256 << 10 // KiB
	w := newWorld(t)
	d := w.serve(t)
	answered := make(chan page, callers)
	release := make(chan struct{})
	w.wire.strike(3, 1, meanwhile(func() { <-release })) // Zoho keeps the run waiting until all others are turned away
	var calls sync.WaitGroup
	for range callers {
		calls.Go(func() { answered <- d.get(t, "GET", "/api/sync?module=leads", key...) })
	}
	got := map[string]int{}
	note := func() {
		p := <-answered
		got[fmt.Sprint(p.Status, " ", p.Body["status"])]++
	}
	most := 0
	for n := range callers - 1 {
		note()
		if n%10 == 0 {
			most = max(most, value[int](t, w, "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'zohomirror' AND datname = current_database()"))
		}
	}
	if p := d.get(t, "GET", "/healthz"); p.Status != 200 {
		t.Errorf("health: %d %s", p.Status, p.Text)
	}
	if diff := cmp.Diff(map[string]int{"200 skipped": callers - 1}, got); diff != "" {
		t.Errorf("before the run has ended (-want +got):\n%s", diff)
	}
	close(release)
	note()
	calls.Wait()
	if got["200 ok"] != 1 || most > poolSize {
		t.Errorf("%v, and as many as %d connections", got, most)
	}
	rows := value[string](t, w, "SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) n FROM sync_runs GROUP BY 1) s")
	if rows != "ok 1, skipped 199" {
		t.Errorf("recorded: %s", rows)
	}
	w.equal(t)
	if peak := peakMemory(t, d.Process.Pid); peak > mostMemory {
		t.Errorf("the server grew to %d KiB", peak)
	} else {
		t.Logf("at most %d connections and %d KiB", most, peak)
	}
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMemory is the most that a process has held, in KiB; 0 where the system does not say.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	match := highWater.FindSubmatch(text)
	if match == nil {
		t.Fatalf("/proc has no peak: %s", text)
	}
	peak, err := strconv.Atoi(string(match[1]))
	if err != nil {
		t.Fatal(err)
	}
	return peak
}
