package mirror_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

// A run's row says who called, what it cost, whether the mirror is current, and the class of
// what failed.
func TestRunHistory(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.PageSize = 200
	o := newOrg(t, zohosim.Config{}, config)
	o.InsertMany("Deals", 250, deal)
	module, _ := crm.Find("deals")
	request := func(trigger string) mirror.Request { return mirror.Request{Module: module, Trigger: trigger} }
	if _, err := o.mirror.Run(t.Context(), request("curl")); err != nil {
		t.Fatal(err)
	}
	o.Plan(1, func(c zohosim.Call) bool { return c.Path == "/crm/v8/coql" }, zohosim.Fault{Status: http.StatusUnauthorized, Body: `{"code":"OAUTH_SCOPE_MISMATCH","details":{},"message":"invalid oauth scope to access this URL","status":"error"}`})
	if _, err := o.mirror.Run(t.Context(), request("")); err == nil {
		t.Fatal("a run without the scope succeeded")
	}
	rows := value[[]any](t, o, `SELECT jsonb_agg(jsonb_build_array(trigger, status, cause, caught_up, calls > 0, credits > 0, duration_ms >= 0) ORDER BY started_at) FROM sync_runs`)
	if diff := cmp.Diff([]any{
		[]any{"curl", "ok", nil, true, true, true, true},
		[]any{"other", "failed", "zoho-scope", false, true, false, true},
	}, rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The run history is tidied by a run once a day.
func TestRunTidies(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	execute(t, o, `CREATE TABLE sync_runs_2020_01 PARTITION OF sync_runs FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z')`)
	execute(t, o, `DO $$BEGIN EXECUTE 'ALTER TABLE sync_runs_2020_01 OWNER TO ' || (SELECT relowner::regrole FROM pg_class WHERE oid = 'sync_runs'::regclass); END$$`)
	there := func() bool { return value[bool](t, o, "SELECT to_regclass('sync_runs_2020_01') IS NOT NULL") }
	o.run(t, "leads")
	if !there() {
		t.Fatal("tidied on the day of the migration")
	}
	execute(t, o, "UPDATE sync_metadata SET fetched_at = now() - interval '25 hours' WHERE key = 'tidied'")
	o.run(t, "leads")
	if there() {
		t.Error("not tidied after a day")
	}
}
