package mirror_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

const owner = "5725767000000411002"

func lead(i int) zohosim.Record {
	return zohosim.Record{
		"Last_Name": fmt.Sprintf("Lead %d", i), "Company": "Zylker", "Lead_Status": "Contacted", "Owner": zohosim.Ref{ID: owner},
		"Annual_Revenue": json.Number(fmt.Sprintf("%d.25", 1000+i)), "No_of_Employees": i, "Email_Opt_Out": i%2 == 0,
	}
}

func deal(i int) zohosim.Record {
	return zohosim.Record{
		"Deal_Name": fmt.Sprintf("Deal %d", i), "Stage": "Qualification", "Amount": json.Number(fmt.Sprintf("%d.5", i)),
		"Account_Name": zohosim.Ref{ID: "5725767000000777001", Name: "Zylker"}, "Owner": zohosim.Ref{ID: owner}, "Closing_Date": "2026-12-24",
	}
}

// The main job: everything arrives, changes arrive, conversions arrive, and a CRM at rest
// costs nothing.
func TestMirrorEqualsTheCRM(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.AddField("Leads", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	o.InsertMany("Leads", 3210, lead)
	o.InsertMany("Deals", 1234, deal)
	converted := o.Insert("Leads", lead(5000))
	o.Convert(converted, false)

	first := o.run(t, "leads")
	if first.Counts.Inserted != 3211 || first.More || first.Reason != "complete" {
		t.Errorf("first load: %+v", first)
	}
	o.run(t, "deals")
	o.equal(t, "leads")
	o.equal(t, "deals")

	o.Advance(5 * time.Minute)
	edited := o.Insert("Leads", lead(6000))
	o.Update("Leads", edited, zohosim.Record{"Company": "Zylker Ltd", "Shoe_Size": 43})
	o.Convert(edited, false)
	if got := o.run(t, "leads"); got.Counts.Inserted != 1 {
		t.Errorf("after an edit: %+v", got)
	}
	o.equal(t, "leads")

	o.Advance(time.Hour)
	o.run(t, "leads")
	o.Advance(time.Minute)
	before := value[string](t, o, "SELECT jsonb_agg(jsonb_build_array(id, ctid, xmin, synced_at) ORDER BY id)::text FROM leads")
	o.ResetCalls()
	if got := o.run(t, "leads"); got.Counts.Processed != 0 || len(o.Calls()) != 4 {
		t.Errorf("idle tick: %+v, calls %+v", got, o.Calls())
	}
	if after := value[string](t, o, "SELECT jsonb_agg(jsonb_build_array(id, ctid, xmin, synced_at) ORDER BY id)::text FROM leads"); after != before {
		t.Error("an idle tick touched rows")
	}
}

// The answer of the sync endpoint and the run history say the same.
func TestRunLeavesItsRow(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 300, deal)
	o.Insert("Deals", zohosim.Record{"Deal_Name": "Rounded", "Amount": json.Number("0.005")})
	result := o.run(t, "deals")

	body, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "duration_ms")
	row := value[map[string]any](t, o, `SELECT jsonb_build_object('run_id', id, 'module', module, 'status', status,
		'records_processed', records_processed, 'inserted', inserted, 'updated', updated, 'unchanged', unchanged,
		'quarantined', quarantined, 'deleted', deleted, 'restored', restored, 'pages', pages, 'watermark', to_char(watermark AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
		'more', more, 'reason', reason) FROM sync_runs WHERE ended_at >= started_at AND error IS NULL`)
	if diff := cmp.Diff(row, got); diff != "" {
		t.Errorf("(-sync_runs +answer):\n%s", diff)
	}
	want := map[string]any{
		"run_id": result.RunID.String(), "module": "deals", "status": mirror.StatusOK, "records_processed": 301.0, "inserted": 300.0,
		"updated": 0.0, "unchanged": 0.0, "quarantined": 1.0, "deleted": 0.0, "restored": 0.0, "pages": 2.0, "watermark": "2026-11-23T11:59:59Z",
		"more": false, "reason": "complete",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +answer):\n%s", diff)
	}
	for line := range strings.Lines(o.log.String()) {
		if !strings.Contains(line, `"run_id":"`+result.RunID.String()+`","module":"deals"`) {
			t.Errorf("a line of the run without its id and module: %s", line)
		}
	}
}
