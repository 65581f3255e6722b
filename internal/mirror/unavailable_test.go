package mirror_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

// Pain 15: modules without Modified_Time or without permission kill the whole sync, or are
// skipped in silence. Here their own runs fail at once, say why and what to do, and harm
// nothing; the other modules go on.
func TestPain15UnavailableModules(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) func(*org) {
		return func(o *org) {
			o.Plan(99, func(c zohosim.Call) bool {
				return strings.Contains(c.Query, "from Leads") || strings.HasPrefix(c.Path, "/crm/v8/Leads")
			},
				zohosim.Fault{Status: status, Body: body})
		}
	}
	for name, c := range map[string]struct {
		withdraw func(*org)
		back     func(*org)
		says     string
		hint     string
	}{
		"permission": {func(o *org) { o.Forbid("Leads", true) }, func(o *org) { o.Forbid("Leads", false) },
			`NO_PERMISSION: permission denied {"permissions":["Crm_Implied_View_Leads"]}`, "let the user who consented view the records of Leads"},
		"no such module": {func(o *org) { o.RemoveModule("Leads") }, nil, "INVALID_MODULE", "if the org has a module Leads, make it visible"},
		"feature off": {answer(403, `{"code":"NOT_SUPPORTED","details":{},"message":"not supported","status":"error"}`), func(o *org) { o.ClearPlans() },
			"NOT_SUPPORTED", "enable the feature that Leads belongs to"},
		"no Modified_Time": {func(o *org) { o.RemoveField("Leads", "Modified_Time") },
			func(o *org) { o.AddField("Leads", zohosim.Field{API: "Modified_Time", Type: "datetime"}) },
			"leads cannot be read without the field Modified_Time", "let the user who consented see the field Modified_Time of Leads"},
	} {
		for when, age := range map[string]string{"at the first run": "", "later": "0 hours", "later, metadata asked for anew": "2 hours"} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				o := newOrg(t, zohosim.Config{}, defaultConfig)
				o.InsertMany("Leads", 3, lead)
				o.InsertMany("Deals", 3, deal)
				if age != "" {
					o.run(t, "leads")
					execute(t, o, "UPDATE sync_metadata SET fetched_at = fetched_at - $1::interval", age)
				}
				o.Advance(time.Hour)
				o.Insert("Leads", lead(4))
				c.withdraw(o)
				for range 2 { // and again, at the scheduler's next call
					o.refuses(t, c.says, c.hint)
				}
				if name == "no Modified_Time" && age == "" && slices.ContainsFunc(o.Calls(), func(c zohosim.Call) bool { return c.Path == "/crm/v8/coql" }) {
					t.Error("records were asked for, although the metadata knew that they have no Modified_Time")
				}
				o.Insert("Deals", deal(4))
				o.run(t, "deals")
				o.equal(t, "deals")
				if c.back != nil {
					c.back(o)
					o.run(t, "leads")
					o.equal(t, "leads")
				}
			})
		}
	}
}

// refuses is a run of leads that must end as unavailable, at once and without a trace in
// the mirror.
func (o *org) refuses(t *testing.T, says, hint string) {
	t.Helper()
	const state = `SELECT jsonb_build_object('rows', (SELECT count(*) FROM leads), 'quarantine', (SELECT count(*) FROM sync_quarantine),
		'streams', (SELECT coalesce(jsonb_agg(to_jsonb(w) ORDER BY stream), '[]') FROM sync_watermarks w))::text`
	before := value[string](t, o, state)
	o.ResetCalls()
	module, _ := crm.Find("leads")
	result, err := o.mirror.Run(t.Context(), mirror.Request{Module: module})
	if err == nil || result.Status != mirror.StatusFailed || !strings.HasPrefix(result.Err, "unavailable: ") || !strings.Contains(result.Err, says) ||
		!strings.HasPrefix(result.Hint, hint) || !strings.HasSuffix(result.Hint, "remove the scheduler's calls for leads") {
		t.Errorf("%v, %+v", err, result)
	}
	if after := value[string](t, o, state); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
	refused := map[string]int{}
	for _, call := range o.Calls() {
		if call.Status >= 400 && call.Code != "INVALID_TOKEN" { // an hour has passed
			if refused[call.Path]++; refused[call.Path] > 1 {
				t.Errorf("a lasting refusal was met by asking again: %+v", call)
			}
		}
	}
	row := value[map[string]any](t, o, "SELECT jsonb_build_object('status', status, 'error', error, 'hint', hint) FROM sync_runs WHERE id = $1", result.RunID)
	if diff := cmp.Diff(map[string]any{"status": "failed", "error": result.Err, "hint": result.Hint}, row); diff != "" {
		t.Errorf("(-want +row):\n%s", diff)
	}
}
