package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// tell runs the binary and returns what it printed.
func (w *world) tell(t *testing.T, argument string, settings ...string) string {
	t.Helper()
	output, err := w.command(t.Context(), t, argument, settings).CombinedOutput()
	w.heard(string(output))
	if err != nil {
		t.Errorf("%s: %v: %s", argument, err, output)
	}
	return string(output)
}

// Pain 21: everything works through a pooler that gives each transaction another connection:
// migrations side by side, pages of megabytes, two deployments, verification and repair, the
// quarantine.
func TestPain21WholeLifeThroughAPooler(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	pooled := pgtest.Pooler(t, database)
	w := newWorldIn(t, database, zohosim.Config{})
	w.enterBy(t, pooled)
	w.settings["SYNC_PAGE_SIZE"] = "2000"

	var migrations sync.WaitGroup
	for range 3 {
		migrations.Go(func() { w.tell(t, "migrate") })
	}
	migrations.Wait()
	folder := t.TempDir()
	w.tell(t, "schema migration --apply --folder "+folder)
	w.tell(t, "migrate --folder "+folder)

	text := strings.Repeat("Ein langes Wort, und noch eines. ", 40)
	w.InsertMany("Leads", 4100, func(i int) zohosim.Record {
		record := lead(i)
		record["Description"] = fmt.Sprint(i, " ", text)
		return record
	})
	misfit := w.Insert("Leads", zohosim.Record{"Last_Name": "L", "No_of_Employees": "many"})
	w.recover(t, lockFree)
	if n := value[int](t, w, "SELECT count(*)::int FROM sync_quarantine WHERE settled_at IS NULL"); n != 1 {
		t.Errorf("%d records in the quarantine", n)
	}
	w.Update("Leads", misfit, zohosim.Record{"No_of_Employees": json.Number("7")})
	w.tell(t, "quarantine replay")
	w.equal(t)

	deployments := []*deployment{w.serve(t), w.serve(t)}
	w.work()
	var callers sync.WaitGroup
	for i := range 6 {
		callers.Go(func() {
			if out := deployments[i%2].tick(t); out.exit != http.StatusOK || out.Status != "ok" && out.Status != "skipped" {
				t.Errorf("%s", out)
			}
		})
	}
	callers.Wait()
	w.recover(t, lockFree)
	w.exec(t, "DELETE FROM leads WHERE id = $1", w.leads[7])
	w.exec(t, "UPDATE leads SET company = 'Other' WHERE id = $1", w.leads[8])
	w.tell(t, "repair leads --deep")
	w.tell(t, "verify leads --deep")
	w.equal(t)
	w.link.mu.Lock()
	defer w.link.mu.Unlock()
	for _, part := range []string{"CREATE TABLE sync_migrations_lock", "CREATE TABLE leads", "INSERT INTO sync_locks", "INSERT INTO sync_quarantine", "INSERT INTO sync_verifications"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(w.link.heard)), func(sql string) bool { return strings.Contains(sql, part) }) {
			t.Errorf("%q was not heard", part)
		}
	}
}

// What the check of sessions looks for, it finds.
func TestPain21SessionsAreWatched(t *testing.T) {
	t.Parallel()
	for sql, found := range map[string]bool{
		"SELECT pg_advisory_lock(1)": true, "SELECT pg_try_advisory_lock(1)": true, "SELECT pg_advisory_xact_lock(1)": false,
		"SET statement_timeout = 0": true, "set lock_timeout = 0": true, "SET SESSION AUTHORIZATION x": true, "SET LOCAL lock_timeout = 0": false,
		"SELECT set_config('a', $1, false)": true, "SELECT set_config('a', $1, true)": false, "PREPARE x AS SELECT 1": true,
		"CREATE TEMP TABLE x ()": true, "CREATE TABLE x ()": false, "LISTEN x": true, "UPDATE x SET y = 1": false,
	} {
		l := link{heard: map[string]bool{}}
		l.listen(append([]byte{'P', 0, 0, 0, 0, 0}, sql...), true)
		if got := len(l.session) > 0; got != found {
			t.Errorf("%s: %v", sql, l.session)
		}
	}
	l := link{heard: map[string]bool{}}
	l.listen([]byte("P\x00\x00\x00\x00name\x00SELECT 1\x00"), true)
	l.listen([]byte("\x00\x00\x00\x00\x00\x03\x00\x00user\x00u\x00search_path\x00x\x00\x00"), false)
	if len(l.session) != 2 {
		t.Errorf("%v", l.session)
	}
}
