package mirror_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zohomirror/internal/mirror"
	"zohomirror/internal/notify"
	"zohomirror/internal/zohosim"
)

// An idle tick, in a cold process too, costs one call a stream and few round trips.
func TestIdleTickIsCheap(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Leads", 300, lead)
	o.InsertMany("Deals", 300, deal)
	for _, module := range []string{"leads", "deals"} {
		o.run(t, module)
	}
	for range 2 {
		o.Advance(time.Hour)
		for _, module := range []string{"leads", "deals"} {
			o.run(t, module)
		}
	}
	o.run(t, "leads") // the token of an hour ago has expired
	for module, want := range map[string]int{"leads": 4, "deals": 2} {
		trips, address := countTrips(t, o.database)
		o.mirror = o.process(t, address)
		o.ResetCalls()
		o.run(t, module)
		credits := 0
		for _, call := range o.Calls() {
			credits += call.Credit
		}
		if n := len(o.Calls()); n != want || credits != want {
			t.Errorf("%s: %d calls, %d credits, want %d", module, n, credits, want)
		}
		if n := trips.Load(); n > 10 { // four of which make the connection
			t.Errorf("%s: %d round trips", module, n)
		} else {
			t.Logf("%s: %d calls, %d round trips, the connection's own included", module, len(o.Calls()), n)
		}
	}
}

// countTrips stands before a database and counts how often its client speaks after an answer.
func countTrips(t *testing.T, database string) (*atomic.Int64, string) {
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
	server, trips := u.Host, &atomic.Int64{}
	u.Host = listener.Addr().String()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				return
			}
			var answered atomic.Bool
			answered.Store(true)
			go relay(client, upstream, func() {
				if answered.Swap(false) {
					trips.Add(1)
				}
			})
			go relay(upstream, client, func() { answered.Store(true) })
		}
	}()
	return trips, u.String()
}

func relay(from, to net.Conn, seen func()) {
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			seen()
		}
		if _, lost := to.Write(buffer[:n]); err != nil || lost != nil {
			return
		}
	}
}

// After a mass import whose rows share one second, a tick that comes eleven minutes later by
// Zoho's clock is the last that reads them again.
func TestIdleAfterAMassImport(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 5000, deal)
	o.runAll(t, "deals")
	for range 11 {
		o.Advance(time.Minute)
		o.runAll(t, "deals")
	}
	o.Advance(30 * time.Second) // the time of a call counts from before it was sent
	o.runAll(t, "deals")
	o.ResetCalls()
	o.runAll(t, "deals")
	if calls := o.Calls(); len(calls) != 2 || calls[0].Credit != 1 || calls[0].Rows != 0 { // the other lists deletions
		t.Errorf("after eleven minutes: %+v", calls)
	}
	o.equal(t, "deals")
}

// BenchmarkDelta reads 100,000 changes that share one second, at a latency of 250 ms a
// call, and reports the calls, the credits, and the wall time over the time that Zoho took.
func BenchmarkDelta(b *testing.B) {
	const n = 100_000
	config := defaultConfig
	config.Deadline = 10 * time.Minute
	o := newOrg(b, zohosim.Config{Latency: 250 * time.Millisecond}, config)
	var waiting atomic.Int64
	timed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		o.ServeHTTP(w, r)
		waiting.Add(int64(time.Since(began)))
	}))
	b.Cleanup(timed.Close)
	o.url = timed.URL
	o.mirror = o.process(b, o.database)
	o.InsertMany("Deals", n, deal)
	for b.Loop() {
		b.StopTimer()
		execute(b, o, "TRUNCATE deals, sync_watermarks")
		o.ResetCalls()
		waiting.Store(0)
		b.StartTimer()
		began := time.Now()
		result := o.runAll(b, "deals")
		wall := time.Since(began)
		calls, credits := 0, 0
		for _, call := range o.Calls() {
			if call.Path == "/crm/v8/coql" {
				calls, credits = calls+1, credits+call.Credit
			}
		}
		b.ReportMetric(float64(calls), "calls")
		b.ReportMetric(float64(credits), "credits")
		b.ReportMetric(float64(wall)/float64(waiting.Load()), "wall/zoho")
		b.ReportMetric(float64(result.Counts.Processed)/wall.Seconds(), "rows/s")
	}
}

// BenchmarkPeakRSS mirrors n rows in a process of its own and reports its largest size.
func BenchmarkPeakRSS(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := newOrg(b, zohosim.Config{}, defaultConfig)
			o.InsertMany("Deals", n, func(i int) zohosim.Record { // a hundred a second
				record := deal(i)
				record["Modified_Time"] = noon.Add(time.Duration(i-n) * 10 * time.Millisecond)
				return record
			})
			config := defaultConfig
			config.Deadline = time.Hour
			for b.Loop() {
				execute(b, o, "TRUNCATE deals, sync_watermarks, sync_locks")
				command := o.benchVictim(b, config)
				peak, err := command.Output() // what wait reports would include this process's own size
				if err != nil {
					b.Fatal(err)
				}
				kB, err := strconv.ParseFloat(string(peak), 64)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(kB/1024, "MiB")
			}
			if rows := value[int](b, o, "SELECT count(*) FROM deals"); rows != n {
				b.Errorf("%d rows", rows)
			}
		})
	}
}

func (o *org) benchVictim(b *testing.B, config mirror.Config) *exec.Cmd {
	b.Helper()
	encoded, err := json.Marshal(victim{Zoho: o.source(), Database: o.database, Module: "deals", Config: config})
	if err != nil {
		b.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	command := exec.CommandContext(b.Context(), executable)
	command.Env = append(os.Environ(), victimVariable+"="+string(encoded))
	return command
}

// BenchmarkIdleTick is a tick of deals that finds nothing, by whom it tells. Zoho, Slack and
// Sentry answer at once.
func BenchmarkIdleTick(b *testing.B) {
	desk := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	b.Cleanup(desk.Close)
	slack := notify.Config{SlackWebhook: desk.URL}
	both := notify.Config{SlackWebhook: desk.URL, SentryDSN: strings.Replace(desk.URL, "://", "://key@", 1) + "/1", Schedule: "*/15 * * * *"}
	for _, c := range []struct {
		name string
		told notify.Config
		log  io.Writer // nil: nothing is logged
	}{{"nobody", notify.Config{}, nil}, {"log", notify.Config{}, io.Discard}, {"slack", slack, io.Discard}, {"slack-and-sentry", both, io.Discard}} {
		b.Run(c.name, func(b *testing.B) {
			config := defaultConfig
			config.Notify = c.told
			o := newOrg(b, zohosim.Config{}, config)
			o.InsertMany("Deals", 300, deal)
			for range 2 {
				o.run(b, "deals")
				o.Advance(10 * time.Minute)
			}
			log := quiet
			if c.log != nil {
				log = slog.New(slog.NewJSONHandler(c.log, nil))
			}
			o.mirror = o.processWith(b, o.database, log)
			for b.Loop() {
				o.run(b, "deals")
			}
		})
	}
}
