package mirror_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zohosim"
)

// mirrored is an org of n deals, a hundred a second, that a mirror has at rest.
func mirrored(b *testing.B, n int) *org {
	b.Helper()
	config := defaultConfig
	config.Deadline = time.Hour
	o := newOrg(b, zohosim.Config{}, config)
	o.InsertMany("Deals", n, func(i int) zohosim.Record {
		record := deal(i)
		record["Modified_Time"] = noon.Add(time.Duration(i-n) * 10 * time.Millisecond)
		return record
	})
	for range 3 { // until the overlap lies behind
		o.runAll(b, "deals")
		o.Advance(time.Hour)
	}
	return o
}

// BenchmarkVerify compares all times of 100,000 rows at a latency of 250 ms a call, and
// reports what the verification costs, what its run costs besides, and the wall time over
// the time that Zoho took.
func BenchmarkVerify(b *testing.B) {
	const n = 100_000
	o := mirrored(b, n)
	var waiting atomic.Int64
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		time.Sleep(250 * time.Millisecond)
		o.ServeHTTP(w, r)
		waiting.Add(int64(time.Since(began)))
	}))
	b.Cleanup(slow.Close)
	o.url = slow.URL
	o.mirror = o.process(b, o.database)
	deals, _ := crm.Find("deals")
	for b.Loop() {
		o.ResetCalls()
		waiting.Store(0)
		began := time.Now()
		result, err := o.mirror.Run(b.Context(), mirror.Request{Module: deals, Mode: mirror.ModeVerify})
		wall := time.Since(began)
		if err != nil || result.More || result.Verification.Verdict != postgres.VerdictEqual || result.Verification.Checked != n {
			b.Fatalf("%v, %+v, %+v", err, result, result.Verification)
		}
		credits := 0
		for _, call := range o.Calls() {
			credits += call.Credit
		}
		o.reportVerification(b)
		b.ReportMetric(float64(len(o.Calls())), "calls/run")
		b.ReportMetric(float64(credits), "credits/run")
		b.ReportMetric(float64(wall)/float64(waiting.Load()), "wall/zoho")
		b.ReportMetric(n/wall.Seconds(), "rows/s")
	}
}

// reportVerification reports what the last verification cost, by its own account.
func (o *org) reportVerification(b *testing.B) {
	b.Helper()
	last := value[map[string]any](b, o, "SELECT to_jsonb(v) FROM sync_verifications v ORDER BY started_at DESC LIMIT 1")
	if last["verdict"] != postgres.VerdictEqual {
		b.Errorf("%v", last)
	}
	b.ReportMetric(last["calls"].(float64), "calls")
	b.ReportMetric(last["credits"].(float64), "credits")
}

// BenchmarkVerifyPeakRSS verifies n rows in a process of its own and reports its largest
// size, and what the verification cost.
func BenchmarkVerifyPeakRSS(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := mirrored(b, n)
			for b.Loop() {
				peak, err := o.verifyingVictim(b).Output() // what wait reports would include this process's own size
				if err != nil {
					b.Fatal(err)
				}
				kB, err := strconv.ParseFloat(string(peak), 64)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(kB/1024, "MiB")
				o.reportVerification(b)
			}
		})
	}
}

func (o *org) verifyingVictim(b *testing.B) *exec.Cmd {
	b.Helper()
	encoded, err := json.Marshal(victim{Zoho: o.source(), Database: o.database, Module: "deals", Mode: mirror.ModeVerify, Config: o.config})
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
