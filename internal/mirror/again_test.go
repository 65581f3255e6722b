package mirror_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

func request(module string, id uuid.UUID) mirror.Request {
	found, _ := crm.Find(module)
	return mirror.Request{Module: found, RunID: id}
}

// answer is a result as callers see it, without the time it took.
func answer(t testing.TB, result mirror.Result) map[string]any {
	t.Helper()
	body, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatal(err)
	}
	delete(members, "duration_ms")
	return members
}

// table is every column of every row, as text.
func table(t testing.TB, o *org, name string) string {
	t.Helper()
	return value[string](t, o, "SELECT coalesce(jsonb_agg(to_jsonb(t) || jsonb_build_object('xmin', t.xmin, 'ctid', t.ctid) ORDER BY t.ctid), '[]')::text FROM "+name+" t")
}

// untouched calls do, and holds the tables against what they were before.
func untouched(t testing.TB, o *org, do func(), names ...string) {
	t.Helper()
	before := map[string]string{}
	for _, name := range names {
		before[name] = table(t, o, name)
	}
	do()
	for _, name := range names {
		if diff := cmp.Diff(before[name], table(t, o, name)); diff != "" {
			t.Errorf("%s changed:\n%.2000s", name, diff)
		}
	}
}

// A repeated call answers with the recorded outcome, whatever it was, and does nothing.
func TestRunIDIsAnsweredFromTheRecord(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 300, deal)
	o.Insert("Deals", zohosim.Record{"Deal_Name": "Rounded", "Amount": json.Number("0.005")})
	id := uuid.New()
	first, err := o.mirror.Run(t.Context(), request("deals", id))
	if err != nil || first.RunID != id || first.Counts.Inserted != 300 {
		t.Fatalf("%v, %+v", err, first)
	}
	broken := uuid.New()
	o.Plan(1, nil, zohosim.Fault{Status: 400, Body: `{"code":"SYNTAX_ERROR","details":{},"message":"error occured while parsing the query","status":"error"}`})
	failed, failure := o.mirror.Run(t.Context(), request("deals", broken))
	if failure == nil {
		t.Fatal("the fault was survived")
	}
	o.Insert("Deals", deal(7)) // which a repeated call does not read

	o.ResetCalls()
	untouched(t, o, func() {
		for range 2 {
			again, err := o.process(t, o.database).Run(t.Context(), request("deals", id))
			if diff := cmp.Diff(answer(t, first), answer(t, again)); err != nil || diff != "" {
				t.Errorf("%v (-first +again):\n%s", err, diff)
			}
			again, err = o.process(t, o.database).Run(t.Context(), request("deals", broken))
			if diff := cmp.Diff(answer(t, failed), answer(t, again)); err == nil || err.Error() != failure.Error() || diff != "" {
				t.Errorf("%v (-failed +again):\n%s", err, diff)
			}
			var other *mirror.OtherRun
			if result, err := o.mirror.Run(t.Context(), request("leads", id)); !errors.As(err, &other) || result.Status != mirror.StatusFailed || other.Module != "deals" {
				t.Errorf("another module's: %v, %+v", err, result)
			}
		}
	}, "deals", "sync_runs", "sync_locks", "sync_watermarks", "sync_quarantine")
	if calls := o.Calls(); len(calls) != 0 {
		t.Errorf("repeated calls asked Zoho: %+v", calls)
	}
}

// While the first call is at work, the others are told so.
func TestRunIDRepeatedWhileItRuns(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 3000, deal)
	id := uuid.New()
	other := o.process(t, o.database)
	var repeats atomic.Int64
	o.OnCall(func(c zohosim.Call) {
		if c.Path != "/crm/v8/coql" {
			return
		}
		repeats.Add(1)
		result, err := other.Run(t.Context(), request("deals", id))
		want := map[string]any{"run_id": id.String(), "module": "deals", "status": "running"}
		if diff := cmp.Diff(want, answer(t, result)); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
	result, err := o.mirror.Run(t.Context(), request("deals", id))
	if err != nil || result.Counts.Inserted != 3000 || repeats.Load() < 3 {
		t.Errorf("%v, %+v, %d repeats", err, result, repeats.Load())
	}
	if n := value[int](t, o, "SELECT count(*) FROM sync_runs"); n != 1 {
		t.Errorf("%d run rows", n)
	}
	o.equal(t, "deals")
}

// Of ten calls at once with one id, one runs.
func TestRunIDTenTimesAtOnce(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{Latency: 20 * time.Millisecond}, defaultConfig)
	o.InsertMany("Deals", 500, deal)
	id := uuid.New()
	var processes []*mirror.Mirror
	for range 5 {
		processes = append(processes, o.process(t, o.database))
	}
	var mu sync.Mutex
	statuses := map[string]int{}
	var calls sync.WaitGroup
	for i := range 10 {
		calls.Go(func() {
			result, err := processes[i/2].Run(t.Context(), request("deals", id))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[result.Status]++
		})
	}
	calls.Wait()
	if statuses[mirror.StatusOK] < 1 || statuses[mirror.StatusOK]+statuses[mirror.StatusRunning] != 10 {
		t.Errorf("%v", statuses)
	}
	if n := value[int](t, o, "SELECT count(*) FROM sync_runs WHERE id = $1 AND status = 'ok' AND inserted = 500", id.String()); n != 1 {
		t.Errorf("%d runs did the work", n)
	}
	if n := value[int](t, o, "SELECT count(*) FROM sync_runs"); n != 1 {
		t.Errorf("%d run rows", n)
	}
	o.equal(t, "deals")
}

// Two modules cannot share an id, even at the same instant.
func TestRunIDOfTwoModulesAtOnce(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	other := o.process(t, o.database)
	for range 5 {
		id := uuid.New()
		var failures atomic.Int64
		var calls sync.WaitGroup
		for m, module := range map[*mirror.Mirror]string{o.mirror: "leads", other: "deals"} {
			calls.Go(func() {
				var taken *mirror.OtherRun
				if _, err := m.Run(t.Context(), request(module, id)); errors.As(err, &taken) {
					failures.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if n := value[int](t, o, "SELECT count(*) FROM sync_runs WHERE id = $1", id.String()); n != 1 || failures.Load() != 1 {
			t.Errorf("%d run rows, %d refused", n, failures.Load())
		}
	}
}

// A run that was killed is running for its callers until its lock is stale, and then failed.
func TestRunIDOfAKilledRun(t *testing.T) {
	t.Parallel()
	for _, closer := range []string{"the repeated call", "another run"} {
		o := newOrg(t, zohosim.Config{}, defaultConfig)
		o.Insert("Deals", deal(1))
		id := uuid.New()
		execute(t, o, "INSERT INTO sync_locks (module, claimed_by) VALUES ('deals', $1)", id.String())
		execute(t, o, "INSERT INTO sync_runs (id, module, status) VALUES ($1, 'deals', 'running')", id.String())
		if result, err := o.mirror.Run(t.Context(), request("deals", id)); err != nil || result.Status != mirror.StatusRunning {
			t.Errorf("not stale: %v, %+v", err, result)
		}
		execute(t, o, "UPDATE sync_locks SET claimed_at = claimed_at - interval '31 minutes'")
		if closer == "another run" {
			o.run(t, "deals")
		}
		for range 2 {
			result, err := o.mirror.Run(t.Context(), request("deals", id))
			if err == nil || result.Status != mirror.StatusFailed || result.Hint == "" {
				t.Errorf("stale: %v, %+v", err, result)
			}
		}
		if left := value[int](t, o, "SELECT count(*) FROM sync_locks WHERE claimed_by IS NOT NULL"); left != 0 {
			t.Error("the dead run still holds the lock")
		}
		if running := value[int](t, o, "SELECT count(*) FROM sync_runs WHERE status = 'running' OR ended_at IS NULL"); running != 0 {
			t.Errorf("%d runs are open", running)
		}
		o.run(t, "deals")
		o.equal(t, "deals")
	}
}

// A call that was turned away did nothing under its id: repeated, it does the work.
func TestRunIDOfASkippedRun(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.Insert("Deals", deal(1))
	id, holder := uuid.New(), uuid.New()
	execute(t, o, "INSERT INTO sync_locks (module, claimed_by) VALUES ('deals', $1)", holder.String())
	for range 2 {
		if result, err := o.mirror.Run(t.Context(), request("deals", id)); err != nil || result.Status != mirror.StatusSkipped {
			t.Errorf("%v, %+v", err, result)
		}
	}
	execute(t, o, "UPDATE sync_locks SET claimed_by = NULL")
	for range 2 {
		if result, err := o.mirror.Run(t.Context(), request("deals", id)); err != nil || result.Status != mirror.StatusOK || result.Counts.Inserted != 1 {
			t.Errorf("%v, %+v", err, result)
		}
	}
	rows := value[string](t, o, "SELECT string_agg(status, ' ' ORDER BY started_at) FROM sync_runs WHERE id = $1 AND ended_at IS NOT NULL", id.String())
	if rows != "skipped skipped ok" {
		t.Errorf("run rows: %s", rows)
	}
}

const (
	ordinary = "SELECT jsonb_agg(to_jsonb(w) || jsonb_build_object('xmin', w.xmin, 'ctid', w.ctid) ORDER BY stream)::text FROM sync_watermarks w WHERE stream NOT LIKE 'since:%'"
	ownOnes  = "SELECT count(*) FROM sync_watermarks WHERE stream LIKE 'since:%'"
)

// A module read again from an earlier point in time mends what is wrong, writes nothing else,
// and leaves watermark and open window of the ordinary streams as they are.
func TestSinceReadsAgain(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.PageSize = 100
	o := newOrg(t, zohosim.Config{}, config)
	for range 3 {
		o.InsertMany("Leads", 200, lead)
		o.Advance(time.Hour)
	}
	for i := range 30 {
		o.Convert(o.Insert("Leads", lead(9000+i)), false)
	}
	o.runAll(t, "leads")
	o.Advance(time.Hour)
	o.MassUpdate("Leads", nil, zohosim.Record{"Company": "Zylker Ltd"})
	var pages atomic.Int64
	o.OnCall(func(c zohosim.Call) {
		if c.Path == "/crm/v8/coql" && pages.Add(1) == 2 {
			o.mirror.Stop()
		}
	})
	if got := o.run(t, "leads"); !got.More {
		t.Fatalf("no window is open: %+v", got)
	}
	before := value[string](t, o, ordinary)

	// Someone spoiled rows; a quiet edit is only seen by who reads again.
	execute(t, o, "UPDATE leads SET company = 'spoiled' WHERE id IN (SELECT id FROM leads WHERE company = 'Zylker' ORDER BY length(id), id LIMIT 10)")
	execute(t, o, "DELETE FROM leads WHERE id IN (SELECT id FROM leads WHERE converted LIMIT 5)")
	o.mirror = o.process(t, o.database)
	module, _ := crm.Find("leads")
	since := mirror.Request{Module: module, Since: noon.Add(-time.Hour)}
	stale := value[int](t, o, "SELECT count(*) FROM leads WHERE company <> 'Zylker Ltd'")
	result, err := o.mirror.Run(t.Context(), since)
	if err != nil || result.More || answer(t, result)["mode"] != "since" {
		t.Fatalf("%v, %+v", err, result)
	}
	if result.Counts.Inserted != 5 || result.Counts.Updated != int64(stale) || result.Counts.Unchanged == 0 {
		t.Errorf("%+v, %d rows were stale", result.Counts, stale)
	}
	if after := value[string](t, o, ordinary); after != before {
		t.Errorf("the ordinary checkpoints moved:\n%s\n%s", before, after)
	}
	if n := value[int](t, o, ownOnes); n != 0 {
		t.Errorf("%d of its own streams are left", n)
	}
	o.equal(t, "leads")
	untouched(t, o, func() {
		if again, err := o.mirror.Run(t.Context(), since); err != nil || again.Counts.Unchanged != result.Counts.Processed {
			t.Errorf("%v, %+v", err, again)
		}
	}, "leads", "sync_watermarks")
	o.runAll(t, "leads")
	o.equal(t, "leads")
}

// Reading again, cut short and killed wherever, goes on with the same call; another point
// in time has a cursor of its own.
func TestSinceIsResumed(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.StaleAfter = time.Nanosecond // the successor need not wait
	config.PageSize = 100
	o := newOrg(t, zohosim.Config{}, config)
	o.InsertMany("Leads", 1500, lead)
	for i := range 250 {
		o.Convert(o.Insert("Leads", lead(9000+i)), false)
	}
	o.runAll(t, "leads")
	before := value[string](t, o, ordinary)
	execute(t, o, "TRUNCATE leads")
	module, _ := crm.Find("leads")
	since := mirror.Request{Module: module, Since: noon}

	var victim atomic.Pointer[exec.Cmd]
	var left atomic.Int64
	o.OnCall(func(c zohosim.Call) {
		if c.Path != "/crm/v8/coql" || left.Add(-1) != 0 {
			return
		}
		if command := victim.Load(); command != nil {
			_ = command.Process.Kill()
		} else {
			o.mirror.Stop()
		}
	})
	var read int64
	for range 3 {
		left.Store(4)
		victim.Store(o.victimOf(t, o.address(), since, config))
		_ = victim.Load().Wait() // it was killed
		victim.Store(nil)
		left.Store(4)
		o.mirror = o.process(t, o.database)
		result, err := o.mirror.Run(t.Context(), since)
		if err != nil || !result.More || result.Reason != "stopping" {
			t.Fatalf("%v, %+v", err, result)
		}
	}
	left.Store(-1)
	o.mirror = o.process(t, o.database)
	beside := mirror.Request{Module: module, Since: noon.Add(time.Minute)}
	if result, err := o.mirror.Run(t.Context(), beside); err != nil || result.Counts.Processed != 0 || result.More {
		t.Errorf("another point in time: %v, %+v", err, result)
	}
	// The same instant, said in another zone.
	since.Since = since.Since.In(time.FixedZone("", 2*60*60))
	if result, err := o.mirror.Run(t.Context(), since); err != nil || result.More {
		t.Fatalf("%v, %+v", err, result)
	}
	read = value[int64](t, o, "SELECT sum(records_processed)::bigint FROM sync_runs WHERE mode = 'since'")
	if want := int64(1500 + 250 + 250); read != want { // converted leads are in two streams
		t.Errorf("%d rows were committed, want each once: %d", read, want)
	}
	if after := value[string](t, o, ordinary); after != before {
		t.Errorf("the ordinary checkpoints moved:\n%s\n%s", before, after)
	}
	if n := value[int](t, o, ownOnes); n != 0 {
		t.Errorf("%d of its own streams are left", n)
	}
	o.equal(t, "leads")
}

// The run's time holds here too.
func TestSinceKeepsItsTime(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.PageSize = 2000
	o := newOrg(t, zohosim.Config{Latency: 50 * time.Millisecond}, config)
	o.InsertMany("Deals", 2000, deal)
	o.runAll(t, "deals")
	before := value[string](t, o, ordinary)
	module, _ := crm.Find("deals")
	since := mirror.Request{Module: module, Since: noon}
	o.config.Deadline, o.config.PageSize = 2*time.Second, 20 // a hundred pages
	began := time.Now()
	result, err := o.process(t, o.database).Run(t.Context(), since)
	if err != nil || !result.More || result.Reason != "time-budget" || time.Since(began) > 2*time.Second {
		t.Errorf("%v, %+v", err, result)
	}
	rest, err := o.mirror.Run(t.Context(), since)
	if err != nil || rest.More || rest.Counts.Processed+result.Counts.Processed != 2000 {
		t.Errorf("%v, %+v", err, rest)
	}
	if after := value[string](t, o, ordinary); after != before {
		t.Errorf("the ordinary checkpoints moved:\n%s\n%s", before, after)
	}
}

// What a stored row holds that is newer than what is read again stays.
func TestSinceWritesNothingOlder(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 50, deal)
	o.run(t, "deals")
	execute(t, o, "UPDATE deals SET modified_time = modified_time + interval '1 day', deal_name = 'newer'")
	module, _ := crm.Find("deals")
	untouched(t, o, func() {
		result, err := o.mirror.Run(t.Context(), mirror.Request{Module: module, Since: noon.Add(-time.Hour)})
		if err != nil || result.Counts.Unchanged != 50 {
			t.Errorf("%v, %+v", err, result)
		}
	}, "deals")
}
