package mirror_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

// renew makes the metadata of every process an hour old.
func (o *org) renew(t testing.TB) {
	t.Helper()
	o.Advance(time.Hour)
	execute(t, o, "UPDATE sync_metadata SET fetched_at = fetched_at - interval '61 minutes'")
}

// drift returns what was noticed, a line each.
func (o *org) drift(t testing.TB) []string {
	t.Helper()
	return value[[]string](t, o, `SELECT coalesce(array_agg(concat_ws(' ', field, kind, nullif(was, ''), nullif(is_now, '')) ORDER BY field, kind, was, is_now), '{}') FROM sync_drift`)
}

func (o *org) same(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// fillCalls counts the queries that are ordered by id alone.
func (o *org) fillCalls() (n int) {
	for _, call := range o.Calls() {
		if strings.Contains(call.Query, "order by id asc") {
			n++
		}
	}
	return n
}

// Pain 13: a schema change breaks the sync, or what is new is never filled in. A new field
// is in custom_fields at once, and in older rows, converted ones too, after some runs more,
// whatever becomes of these.
func TestPain13NewFieldIsFilledIn(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.PageSize = 7
	o := newOrg(t, zohosim.Config{}, config)
	var ids []string
	for i := range 60 {
		ids = append(ids, o.Insert("Leads", lead(i)))
		if i%3 == 0 {
			o.Convert(ids[i], true)
		}
	}
	o.runAll(t, "leads")
	o.Advance(time.Hour)
	o.runAll(t, "leads")
	if n := o.fillCalls(); n != 0 {
		t.Errorf("the first load was filled: %d calls", n)
	}

	o.AddField("Leads", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	for i, id := range ids {
		if i%2 == 0 {
			o.UpdateQuietly("Leads", id, zohosim.Record{"Shoe_Size": 30 + i}) // a default of the new field
		}
	}
	o.renew(t)
	watermarks := func() string {
		return value[string](t, o, "SELECT jsonb_object_agg(stream, watermark)::text FROM sync_watermarks WHERE stream NOT LIKE 'fill%'")
	}
	var before string
	for tick := range 20 {
		o.ResetCalls()
		o.mirror = o.process(t, o.database) // whatever became of the last one
		if result := o.run(t, "leads"); result.More || result.Reason != "complete" {
			t.Errorf("tick %d: %+v", tick, result)
		}
		n := o.fillCalls()
		if n > 5 {
			t.Errorf("tick %d: %d calls for the fill", tick, n)
		}
		if tick > 0 && watermarks() != before {
			t.Errorf("tick %d: the fill moved a watermark: %s, before %s", tick, watermarks(), before)
		}
		before = watermarks()
		if n == 0 {
			if tick < 2 {
				t.Errorf("the fill took %d runs", tick)
			}
			break
		}
		if tick == 0 { // another field begins it anew
			o.AddField("Leads", zohosim.Field{API: "Hat_Size", Type: "integer", Custom: true})
			o.UpdateQuietly("Leads", ids[1], zohosim.Record{"Hat_Size": 7}) // the fill is past it
			execute(t, o, "UPDATE sync_metadata SET fetched_at = fetched_at - interval '61 minutes'")
		}
	}
	o.equal(t, "leads")
	o.same(t, "drift", []string{"Hat_Size field_added integer", "Shoe_Size field_added integer"}, o.drift(t))
	if n := strings.Count(o.log.String(), `"msg":"schema drift"`); n != 2 {
		t.Errorf("said %d times", n)
	}
	written := value[int](t, o, "SELECT count(*) FROM leads WHERE run_id IN (SELECT id FROM sync_runs WHERE updated > 0 OR inserted > 0)")
	if updates := value[int](t, o, "SELECT sum(updated)::int FROM sync_runs WHERE started_at > (SELECT min(started_at) FROM sync_runs)"); updates > 40 || written != 60 {
		t.Errorf("%d rows updated, where 30 have the new field", updates)
	}
	o.renew(t)
	o.ResetCalls()
	o.run(t, "leads")
	if n := o.fillCalls(); n != 0 {
		t.Errorf("the fill goes on: %d calls", n)
	}
	if n := value[int](t, o, "SELECT count(*) FROM sync_drift WHERE last_seen_at > first_seen_at"); n != 2 {
		t.Errorf("%d of 2 seen again", n)
	}
}

// Pain 13: fields that go or get another name are noted, and what they held stays.
func TestPain13FieldsGoneAndRenamed(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.AddField("Leads", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	record := lead(1)
	record["Shoe_Size"], record["Twitter"] = 43, "@boyle"
	id := o.Insert("Leads", record)
	o.Insert("Leads", lead(2))
	o.run(t, "leads")

	o.RemoveField("Leads", "Twitter")
	o.RemoveField("Leads", "Shoe_Size")
	o.AddField("Leads", zohosim.Field{API: "Shoe_Size_EU", Type: "integer", Custom: true})
	o.UpdateQuietly("Leads", id, zohosim.Record{"Shoe_Size_EU": 43})
	for range 3 {
		o.renew(t)
		o.Update("Leads", id, zohosim.Record{"Company": o.Now().String()})
		o.run(t, "leads")
		o.equal(t, "leads") // the simulated org too forgets no value
	}
	o.same(t, "drift", []string{"Shoe_Size field_gone integer", "Shoe_Size_EU field_added integer", "Twitter field_gone text"}, o.drift(t))

	// One that is back is filled in.
	o.UpdateQuietly("Leads", id, zohosim.Record{"Twitter": "@boyle2"})
	o.AddField("Leads", zohosim.Field{API: "Twitter", Type: "text"})
	o.renew(t)
	o.run(t, "leads")
	o.equal(t, "leads")
}

// A column that Zoho refuses for a while, and then no more, is filled in.
func TestReadmittedColumnIsFilledIn(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	id := o.Insert("Deals", deal(1))
	o.run(t, "deals")
	o.RemoveField("Deals", "Next_Step")
	o.Advance(time.Minute)
	o.Update("Deals", id, zohosim.Record{"Next_Step": "Call"})
	o.run(t, "deals")
	o.same(t, "drift", []string{"Next_Step field_gone text"}, o.drift(t))
	if row := o.rows(t, "deals")[id]; row["next_step"] == "Call" {
		t.Error("a field that cannot be read was read")
	}

	o.AddField("Deals", zohosim.Field{API: "Next_Step", Type: "text"})
	for range 2 { // until the overlap lies behind
		o.Advance(time.Hour)
		o.run(t, "deals")
	}
	execute(t, o, `UPDATE sync_metadata SET body = jsonb_build_object('Next_Step', now() - interval '25 hours') WHERE key = 'refused:deals'`)
	o.run(t, "deals")
	o.equal(t, "deals")
	o.ResetCalls()
	o.run(t, "deals")
	if n := o.fillCalls(); n != 0 {
		t.Errorf("the fill goes on: %d calls", n)
	}
}

// Pain 13: rows that no longer fit a changed type are quarantined, and the others go on.
func TestPain13TypeChanged(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.AddField("Leads", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	fits, not := lead(1), lead(2)
	fits["Shoe_Size"], not["Shoe_Size"] = 43, 44
	good, bad := o.Insert("Leads", fits), o.Insert("Leads", not)
	o.run(t, "leads")
	o.same(t, "drift", []string{}, o.drift(t))

	o.RemoveField("Leads", "No_of_Employees")
	o.AddField("Leads", zohosim.Field{API: "No_of_Employees", Type: "text"})
	o.RemoveField("Leads", "Shoe_Size")
	o.AddField("Leads", zohosim.Field{API: "Shoe_Size", Type: "text", Custom: true})
	o.UpdateQuietly("Leads", good, zohosim.Record{"No_of_Employees": json.RawMessage(`"12"`), "Shoe_Size": "43"})
	o.UpdateQuietly("Leads", bad, zohosim.Record{"No_of_Employees": "a dozen", "Shoe_Size": "44"})
	for range 2 {
		o.renew(t)
		o.run(t, "leads")
	}
	o.same(t, "drift", []string{"No_of_Employees type_changed integer text", "Shoe_Size type_changed integer text"}, o.drift(t))
	rows := o.rows(t, "leads")
	if got := rows[good]; got["no_of_employees"] != json.Number("12") || got["custom_fields"].(map[string]any)["Shoe_Size"] != "43" {
		t.Errorf("what fits: %v", got)
	}
	if got := rows[bad]["custom_fields"].(map[string]any)["Shoe_Size"]; got != json.Number("44") {
		t.Errorf("what does not fit was written: %v", got)
	}
	if reason := value[string](t, o, "SELECT reason FROM sync_quarantine WHERE record_id = $1", bad); !strings.Contains(reason, "No_of_Employees") {
		t.Errorf("quarantined for %q", reason)
	}
}

// A type that never suited the catalogue's is noted at the first contact, once.
func TestUnsuitedFields(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.RemoveField("Deals", "Probability")
	o.AddField("Deals", zohosim.Field{API: "Probability", Type: "multiselectpicklist"})
	o.RemoveField("Deals", "Amount")
	o.AddField("Deals", zohosim.Field{API: "Amount", Type: "currency", Places: 3})
	for range 2 {
		o.run(t, "deals")
		o.renew(t)
	}
	o.same(t, "drift", []string{"Amount type_changed numeric(14,2) currency with 3 decimals", "Probability type_changed bigint multiselectpicklist"}, o.drift(t))
}

// Values that the CHECK of a picklist refuses are noted, whether the org lists them or a
// record has them.
func TestPain13PicklistValues(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.run(t, "leads")
	o.same(t, "drift of a default org", []string{}, o.drift(t))
	o.RemoveField("Leads", "Lead_Source")
	o.AddField("Leads", zohosim.Field{API: "Lead_Source", Type: "picklist", Values: append(slices.Clone(zohosim.LeadSources), "Podcast", "O'Reilly")})
	o.renew(t)
	o.run(t, "leads")
	want := []string{"Lead_Source picklist_value O'Reilly", "Lead_Source picklist_value Podcast"}
	o.same(t, "drift", want, o.drift(t))

	record := lead(1)
	record["Lead_Source"], record["Rating"] = "Podcast", "Imported"
	bad := o.Insert("Leads", record)
	o.Insert("Leads", lead(2))
	o.Advance(time.Minute)
	for range 2 {
		o.run(t, "leads")
	}
	o.same(t, "drift", append(want, "Rating picklist_value Imported"), o.drift(t))
	o.equal(t, "leads", bad)
	said := o.log.String()
	if n := strings.Count(said, `"msg":"schema drift"`); n != 2 { // one a field
		t.Errorf("said %d times:\n%s", n, said)
	}
	if strings.Contains(said, "Imported") { // it stands in a record alone
		t.Errorf("a record's value is logged:\n%s", said)
	}
}

// A scope that is given later fills in what could not be read before.
func TestScopeGivenLater(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.AddField("Deals", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	record := deal(1)
	record["Shoe_Size"] = 43
	o.Insert("Deals", record)
	o.SetScopes("ZohoCRM.modules.READ", "ZohoCRM.coql.READ", "ZohoCRM.users.READ")
	for range 2 { // until the overlap lies behind
		o.run(t, "deals")
		o.Advance(time.Hour)
	}
	o.SetScopes("ZohoCRM.modules.READ", "ZohoCRM.coql.READ", "ZohoCRM.users.READ", "ZohoCRM.settings.fields.READ")
	o.ExpireTokens()
	o.renew(t)
	o.run(t, "deals")
	o.equal(t, "deals")
	// Without metadata nobody can tell a field that is gone from one that never was there.
	o.same(t, "drift", []string{"Currency field_gone", "Exchange_Rate field_gone", "Territory field_gone"}, o.drift(t))
}

// A fill that ends anywhere goes on behind the last page that was committed.
func TestFillIsResumed(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.PageSize = 10
	o := newOrg(t, zohosim.Config{}, config)
	ids := map[string]bool{}
	for i := range 35 {
		ids[o.Insert("Deals", deal(i))] = true
	}
	for range 2 { // until the overlap lies behind
		o.runAll(t, "deals")
		o.Advance(time.Hour)
	}
	o.AddField("Deals", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	for id := range ids {
		o.UpdateQuietly("Deals", id, zohosim.Record{"Shoe_Size": 43})
	}
	o.renew(t)
	o.ResetCalls()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := 0
	o.OnCall(func(c zohosim.Call) {
		if strings.Contains(c.Query, "order by id asc") {
			if asked++; asked == 3 {
				cancel()
			}
		}
	})
	module, _ := crm.Find("deals")
	if result, err := o.mirror.Run(ctx, mirror.Request{Module: module}); err != nil || result.Counts.Updated != 20 {
		t.Errorf("the first run: %v, %+v", err, result)
	}
	o.OnCall(nil)
	o.mirror = o.process(t, o.database)
	if result := o.run(t, "deals"); result.Counts.Updated != 15 {
		t.Errorf("the second run: %+v", result)
	}
	o.equal(t, "deals")
}
