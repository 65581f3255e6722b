package mirror_test

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"zohomirror/internal/crm"
	"zohomirror/internal/logs"
	"zohomirror/internal/logs/logstest"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

// logger is the program's own, at its most talkative. When the test ends, whatever its runs
// have said is held against docs/logs.md.
func (o *org) logger(t testing.TB) *slog.Logger {
	if !o.logChecked {
		o.logChecked = true
		t.Cleanup(func() { logstest.Read(t).Check(t, o.log.String()) })
	}
	return logs.New(o.log, logs.Options{Level: slog.LevelDebug})
}

// loud are the lines at info and above.
func (o *org) loud(t testing.TB) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(o.log.String()) {
		var values map[string]any
		if err := json.Unmarshal([]byte(line), &values); err != nil {
			t.Fatal(err)
		}
		if values["level"] != "debug" {
			lines = append(lines, values)
		}
	}
	return lines
}

// last is the last line at info or above, without what differs each time.
func (o *org) last(t testing.TB) map[string]any {
	t.Helper()
	lines := o.loud(t)
	if len(lines) == 0 {
		t.Fatal("nothing was logged")
	}
	line := lines[len(lines)-1]
	for _, key := range []string{"time", "duration_ms", "run_id", "calls", "held_since"} {
		if line[key] == nil && (key != "calls" || line["pages"] != nil) && key != "held_since" {
			t.Errorf("no %s in %v", key, line)
		}
		delete(line, key)
	}
	return line
}

// A run has one line, which says what the run history says.
func TestOneLineARun(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	good := o.Insert("Deals", zohosim.Record{"Deal_Name": "D"})
	o.Insert("Deals", zohosim.Record{"Deal_Name": "D", "Amount": json.Number("0.005")})
	deals, _ := crm.Find("deals")
	run := func(request mirror.Request) mirror.Result {
		t.Helper()
		request.Module = deals
		result, _ := o.mirror.Run(t.Context(), request) // judged by its line
		return result
	}
	expect := func(what string, want map[string]any) {
		t.Helper()
		if diff := cmp.Diff(want, o.last(t)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	want := map[string]any{
		"level": "info", "msg": "run ended", "module": "deals", "mode": "sync", "trigger": "curl", "status": "ok",
		"pages": 1.0, "rows": 2.0, "inserted": 1.0, "updated": 0.0, "unchanged": 0.0, "deleted": 0.0, "restored": 0.0, "quarantined": 1.0,
		"credits": 4.0, "more": false, "reason": "complete", "watermark": noon.Format(time.RFC3339),
	}
	id := uuid.New()
	result := run(mirror.Request{Trigger: mirror.TriggerCurl, RunID: id})
	if n := len(o.loud(t)); n != 1 || result.RunID != id {
		t.Errorf("%d lines, run %s", n, result.RunID)
	}
	want["watermark"] = result.Watermark.UTC().Format(time.RFC3339)
	expect("ok", want)

	run(mirror.Request{RunID: id})
	expect("repeated", map[string]any{"level": "info", "msg": "run not repeated: its outcome is recorded", "module": "deals", "mode": "sync", "trigger": "other", "status": "ok"})

	execute(t, o, "UPDATE sync_locks SET claimed_by = $1, claimed_at = clock_timestamp()", uuid.NewString())
	run(mirror.Request{})
	expect("skipped", map[string]any{"level": "info", "msg": "run skipped", "module": "deals", "mode": "sync", "trigger": "other", "status": "skipped", "reason": "lock-held"})
	execute(t, o, "UPDATE sync_locks SET claimed_by = NULL")

	o.Update("Deals", good, zohosim.Record{"Deal_Name": "E"})
	o.SetScopes("ZohoCRM.modules.READ")
	result = run(mirror.Request{})
	want["level"], want["msg"], want["status"], want["trigger"], want["reason"] = "error", "run failed", "failed", "other", ""
	for _, key := range []string{"pages", "rows", "inserted", "quarantined", "credits"} {
		want[key] = 0.0
	}
	want["cause"], want["error"], want["hint"] = "zoho-scope", result.Err, result.Hint
	if result.Err == "" || !strings.Contains(result.Hint, "ZohoCRM.coql.READ") {
		t.Errorf("%+v", result)
	}
	expect("failed", want)

	execute(t, o, "DROP TABLE sync_locks CASCADE")
	run(mirror.Request{})
	line := o.last(t)
	if line["msg"] != "run failed" || line["level"] != "error" || line["cause"] != "schema" || line["error"] == nil || line["hint"] == nil || line["pages"] != nil {
		t.Errorf("before its lock: %v", line)
	}
}

// What is retried is a warning, and belongs to its run.
func TestRetriesAreWarnings(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.Plan(1, func(c zohosim.Call) bool { return c.Path == "/crm/v8/coql" }, zohosim.Fault{Status: 500})
	o.FailTokens(`{"error":"general_error"}`)
	o.run(t, "deals")
	var said []string
	for _, line := range o.loud(t) {
		if line["run_id"] == nil || line["module"] != "deals" {
			t.Errorf("of no run: %v", line)
		}
		said = append(said, line["level"].(string)+" "+line["msg"].(string))
	}
	slices.Sort(said)
	if diff := cmp.Diff([]string{"info run ended", "warn a call to Zoho is sent again", "warn a call to Zoho is sent again"}, said); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
