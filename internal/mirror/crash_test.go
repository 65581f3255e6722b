package mirror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

// victim is a run in a process of its own, to be frozen and killed.
type victim struct {
	Zoho     zoho.Config
	Database string
	Module   string
	Mode     string
	Since    time.Time
	Config   mirror.Config
}

// victimVariable makes this test binary a victim.
const victimVariable = "ZOHOMIRROR_TEST_VICTIM"

// Exit statuses of a victim.
const (
	victimDone = 0
	victimLost = 7 // it was told that it no longer holds the lock
	victimElse = 1
)

func runVictim(encoded string) {
	var v victim
	if err := json.Unmarshal([]byte(encoded), &v); err != nil {
		panic(err)
	}
	m, err := mirror.Open(context.Background(), v.Config, v.Zoho, v.Database, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		panic(err)
	}
	module, _ := crm.Find(v.Module)
	_, err = m.Run(context.Background(), mirror.Request{Module: module, Mode: v.Mode, Since: v.Since})
	switch {
	case err == nil:
		status, _ := os.ReadFile("/proc/self/status") // for benchmarks, on Linux
		if found := regexp.MustCompile(`VmHWM:\s+([0-9]+) kB`).FindSubmatch(status); found != nil {
			fmt.Print(string(found[1]))
		}
		os.Exit(victimDone)
	case errors.Is(err, postgres.ErrLockLost):
		os.Exit(victimLost)
	}
	os.Exit(victimElse)
}

func (o *org) victim(t *testing.T, database, module string, config mirror.Config) *exec.Cmd {
	t.Helper()
	found, _ := crm.Find(module)
	return o.victimOf(t, database, mirror.Request{Module: found}, config)
}

func (o *org) victimOf(t *testing.T, database string, request mirror.Request, config mirror.Config) *exec.Cmd {
	t.Helper()
	encoded, err := json.Marshal(victim{
		Zoho: o.source(), Database: database, Module: request.Module.Name, Mode: request.Mode, Since: request.Since, Config: config,
	})
	if err != nil {
		t.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), executable)
	command.Env = append(os.Environ(), victimVariable+"="+string(encoded))
	if testing.Verbose() {
		command.Stderr = os.Stderr
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	return command
}

// Promise 5: kill the process anywhere; the next one goes on from the last checkpoint,
// nothing is read twice but the page that was under way, and the mirror ends equal.
func TestPromise05KilledAnywhere(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.StaleAfter = time.Nanosecond // the successor need not wait
	o := newOrg(t, zohosim.Config{}, config)
	config.PageSize = 400 // more pages than are read before the last kill
	const n = 14_000
	o.InsertMany("Deals", n, deal)
	var killed atomic.Pointer[exec.Cmd]
	var left atomic.Int64
	o.OnCall(func(c zohosim.Call) {
		if c.Path == "/crm/v8/coql" && left.Add(-1) == 0 {
			victim := killed.Load()
			time.AfterFunc(rand.N(60*time.Millisecond), func() { _ = victim.Process.Kill() })
		}
	})
	const kills = 8
	for range kills {
		left.Store(2 + rand.N[int64](3))
		command := o.victim(t, o.address(), "deals", config)
		killed.Store(command)
		_ = command.Wait() // it was killed
	}
	left.Store(-1)
	got := o.runAll(t, "deals")
	if got.Reason != "complete" {
		t.Errorf("%+v", got)
	}
	o.equal(t, "deals")
	if read := value[int](t, o, "SELECT sum(records_processed)::int FROM sync_runs"); read != n {
		t.Errorf("%d rows were committed, want each of %d once", read, n)
	}
	orphans := value[int](t, o, "SELECT count(*) FROM sync_runs WHERE status = 'failed' AND ended_at IS NOT NULL AND error LIKE 'the process ended%'")
	if running := value[int](t, o, "SELECT count(*) FROM sync_runs WHERE status = 'running'"); running != 0 || orphans == 0 {
		t.Errorf("%d runs left open, %d orphans closed", running, orphans)
	}
}

// Promise 4: a process that is frozen while it writes a page, wherever, keeps nobody
// waiting; when it wakes up it writes nothing more.
func TestPromise04FrozenHolder(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"in the middle of its page", "before it commits"} {
		for _, page := range []string{"a good page", "a page with a bad row"} {
			t.Run(moment+", "+page, func(t *testing.T) {
				t.Parallel()
				o := newOrg(t, zohosim.Config{}, defaultConfig)
				o.InsertMany("Deals", 150, deal)
				var bad []string
				if page == "a page with a bad row" {
					bad = append(bad, o.Insert("Deals", zohosim.Record{"Deal_Name": "no such stage", "Stage": "Nowhere"}))
				}
				between := newFreezer(t, o.address(), moment == "before it commits")
				command := o.victim(t, between.address, "deals", defaultConfig)
				between.frozen(t, command)
				trial(t, o, bad)

				trace := value[string](t, o, written)
				close(between.release)
				if err := command.Process.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				_ = command.Wait() // judged by its status
				if status := command.ProcessState.ExitCode(); status != victimLost {
					t.Errorf("the frozen run ended with %d, want %d: the lock is lost", status, victimLost)
				}
				after := value[string](t, o, written)
				if diff := cmp.Diff(trace, after); diff != "" {
					t.Error("the run that woke up wrote")
				}
			})
		}
	}
}

// written is all that a run writes, with what tells whether it was written again.
const written = `SELECT jsonb_build_array(
	(SELECT jsonb_agg(to_jsonb(d) || jsonb_build_object('xmin', xmin, 'ctid', ctid) ORDER BY id) FROM deals d),
	(SELECT jsonb_agg(to_jsonb(w) || jsonb_build_object('xmin', xmin) ORDER BY stream) FROM sync_watermarks w),
	(SELECT jsonb_agg(to_jsonb(q) || jsonb_build_object('xmin', xmin) ORDER BY record_id) FROM sync_quarantine q),
	(SELECT jsonb_agg(to_jsonb(r) || jsonb_build_object('xmin', xmin) ORDER BY id) FROM sync_runs r))::text`

// trial is what the next ticks do while a run is frozen: one that comes soon is turned
// away, one that comes when the lock is stale does all the work.
func trial(t *testing.T, o *org, bad []string) {
	t.Helper()
	module, _ := crm.Find("deals")
	began := time.Now()
	if result, err := o.mirror.Run(t.Context(), mirror.Request{Module: module}); err != nil || result.Status != mirror.StatusSkipped {
		t.Errorf("the tick that comes soon: %v, %+v", err, result)
	}
	o.config.StaleAfter = time.Nanosecond
	o.mirror = o.process(t, o.database)
	o.runAll(t, "deals")
	if took := time.Since(began); took > 20*time.Second { // twice the limit of a transaction
		t.Errorf("the next ticks were held up for %s", took)
	}
	o.equal(t, "deals", bad...)
}

// A freezer stands between a process and its database, and stops the process with SIGSTOP
// while a page is on its way.
type freezer struct {
	address string
	late    bool // only when the whole page is with the server, and nothing is executed yet
	reached chan struct{}
	once    sync.Once
	release chan struct{}
}

func newFreezer(t *testing.T, database string, late bool) *freezer {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	f := &freezer{late: late, reached: make(chan struct{}), release: make(chan struct{})}
	server := u.Host
	u.Host = listener.Addr().String()
	f.address = u.String()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			go f.relay(client, server)
		}
	}()
	return f
}

func (f *freezer) relay(client net.Conn, address string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		_ = client.Close()
		return
	}
	defer server.Close()
	defer client.Close()
	var answered atomic.Bool
	go func() {
		buffer := make([]byte, 32<<10)
		for {
			n, err := server.Read(buffer)
			answered.Store(true)
			if _, lost := client.Write(buffer[:n]); err != nil || lost != nil {
				_ = client.Close()
				return
			}
		}
	}()
	paging := false
	buffer := make([]byte, 32<<10)
	for {
		n, err := client.Read(buffer)
		part := buffer[:n]
		switch {
		case !f.late && bytes.Contains(part, []byte("WITH page AS")), f.late && paging && answered.Load():
			half := n / 2
			if f.late {
				half = 0
			}
			_, _ = server.Write(part[:half])
			f.once.Do(func() { close(f.reached) })
			<-f.release
			part = part[half:]
		case bytes.Contains(part, []byte("WITH page AS")):
			paging = true
			answered.Store(false)
		}
		if _, lost := server.Write(part); err != nil && !errors.Is(err, io.EOF) || lost != nil || n == 0 {
			return
		}
	}
}

// frozen stops the process once it has come so far.
func (f *freezer) frozen(t *testing.T, command *exec.Cmd) {
	t.Helper()
	select {
	case <-f.reached:
	case <-time.After(30 * time.Second):
		t.Fatal("the process never wrote a page")
	}
	if err := command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // what it has sent arrives
}
