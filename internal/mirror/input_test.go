package mirror_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

// Whatever people and programs put into a CRM arrives as it is; what PostgreSQL cannot
// store is replaced, what does not fit is quarantined, and nothing else is held up.
func TestOddRecords(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.AddField("Deals", zohosim.Field{API: "Notes_X", Type: "text", Custom: true})
	long := strings.Repeat("Ж", 16_000) // 32 kB
	texts := map[string]string{
		"emoji": "Zylker 👩🏽‍🚀🏳️‍🌈", "right to left": "שלום זוהו \u202e", "quotes": `O'Brien "Bob" \ %s $1 {x}`, "newlines": "a\r\nb\tc", "long": long,
		"sql": "'); DROP TABLE deals; --", "html": "<script>alert(1)</script>",
	}
	for _, text := range texts {
		o.Insert("Deals", zohosim.Record{"Deal_Name": "x", "Description": text, "Notes_X": text})
	}
	o.run(t, "deals")
	o.equal(t, "deals")

	nul := o.Insert("Deals", zohosim.Record{"Deal_Name": "a\x00b", "Notes_X": "c\x00d"})
	empty := o.Insert("Deals", zohosim.Record{"Deal_Name": "", "Owner": json.RawMessage("{}"), "Account_Name": json.RawMessage("{}"), "Layout": json.RawMessage(`{"id":null}`)})
	o.Advance(time.Second)
	o.run(t, "deals")
	rows := o.rows(t, "deals")
	if got := rows[nul]; got["deal_name"] != "a\ufffdb" || got["custom_fields"].(map[string]any)["Notes_X"] != "c\ufffdd" {
		t.Errorf("NUL: %v", got)
	}
	for _, column := range []string{"owner_id", "owner_name", "account_id", "account_name", "layout_id"} {
		if rows[empty][column] != nil {
			t.Errorf("empty object: %s is %v", column, rows[empty][column])
		}
	}
}

// Money keeps every digit or goes to the quarantine; it is never rounded, and the page goes on.
func TestMoney(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	ids := map[string]string{}
	amounts := []string{"1e11", "19.99", "25.10000", "-0.005", "12345678901234.56", "0", "-0.01", "999999999999.99", "1000000000000", "0.1e-1", "100E-2", "1e400"}
	for _, amount := range amounts {
		ids[amount] = o.Insert("Deals", zohosim.Record{"Deal_Name": amount, "Amount": json.RawMessage(amount), "Expected_Revenue": json.RawMessage("0.123456789")})
	}
	got := o.run(t, "deals")
	if got.Counts.Inserted != 8 || got.Counts.Quarantined != 4 {
		t.Errorf("%+v", got.Counts)
	}
	kept := map[string]string{}
	for _, amount := range amounts {
		kept[amount] = value[string](t, o, "SELECT coalesce((SELECT amount::text FROM deals WHERE id = $1), 'quarantined')", ids[amount])
	}
	want := map[string]string{"1e11": "100000000000.00", "19.99": "19.99", "25.10000": "25.10", "-0.005": "quarantined", "12345678901234.56": "quarantined",
		"0": "0.00", "-0.01": "-0.01", "999999999999.99": "999999999999.99", "1000000000000": "quarantined", "0.1e-1": "0.01", "100E-2": "1.00", "1e400": "quarantined"}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := value[int](t, o, "SELECT count(*) FROM sync_quarantine WHERE reason LIKE 'Amount is %, which numeric(14,2) cannot hold without rounding' AND payload->>'Deal_Name' IS NOT NULL AND run_id = $1", got.RunID.String()); n != 4 {
		t.Errorf("%d entries say why", n)
	}
	// A wider column is noticed by the next run.
	execute(t, o, `DROP VIEW deals_live; ALTER TABLE deals ALTER amount TYPE numeric(20,4);
		CREATE VIEW deals_live WITH (security_invoker = true) AS SELECT * FROM deals WHERE deleted_at IS NULL`)
	o.Advance(time.Second)
	o.Update("Deals", ids["-0.005"], zohosim.Record{"Next_Step": "Call"})
	o.run(t, "deals")
	if got := value[string](t, o, "SELECT amount::text FROM deals WHERE id = $1", ids["-0.005"]); got != "-0.0050" {
		t.Errorf("after widening: %s", got)
	}
}

// With the three scopes of a minimal client a run reads what it may, leaves the rest as it
// is, and says so once.
func TestMinimalScopes(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.AddField("Leads", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	record := lead(1)
	record["Shoe_Size"] = 43
	id := o.Insert("Leads", record)
	o.run(t, "leads")
	o.equal(t, "leads")
	full := o.rows(t, "leads")[id]

	o.SetScopes("ZohoCRM.modules.leads.READ", "ZohoCRM.modules.deals.READ", "ZohoCRM.coql.READ")
	o.ExpireTokens()
	execute(t, o, "TRUNCATE sync_metadata")
	o.Advance(time.Minute)
	o.Update("Leads", id, zohosim.Record{"Company": "Zylker Ltd", "Shoe_Size": 44})
	o.ResetCalls()
	for range 2 {
		o.mirror = o.process(t, o.database)
		o.run(t, "leads")
	}
	full["company"], full["modified_time"] = "Zylker Ltd", o.Now().Format("2006-01-02T15:04:05+00:00")
	if diff := cmp.Diff(full, o.rows(t, "leads")[id], sameNumber); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	refused := 0
	for _, call := range o.Calls() {
		if call.Code == "OAUTH_SCOPE_MISMATCH" {
			refused++
		}
	}
	if refused != 2 { // fields and users, once each
		t.Errorf("%d refused calls: %+v", refused, o.Calls())
	}
	for _, line := range []string{"custom_fields are left as they are", "their names are left as they are"} {
		if n := strings.Count(o.log.String(), line); n != 1 {
			t.Errorf("%q was said %d times", line, n)
		}
	}
}

// A column that an administrator deletes while we know of it is left out, reported, and
// its stored values stay; the page is asked again, and other processes need not find out.
func TestRefusedColumn(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.AddField("Leads", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	record := lead(1)
	record["Shoe_Size"], record["Twitter"] = 43, "@boyle"
	id := o.Insert("Leads", record)
	o.run(t, "leads")
	before := o.rows(t, "leads")[id]

	o.RemoveField("Leads", "Shoe_Size")
	o.RemoveField("Leads", "Twitter")
	o.Advance(time.Minute)
	o.Update("Leads", id, zohosim.Record{"Company": "Zylker Ltd"})
	o.ResetCalls()
	o.run(t, "leads")
	before["company"], before["modified_time"] = "Zylker Ltd", o.Now().Format("2006-01-02T15:04:05+00:00")
	if diff := cmp.Diff(before, o.rows(t, "leads")[id], sameNumber); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(o.Calls()); n != 6 { // two refusals, then three streams and the deletions
		t.Errorf("%d calls", n)
	}
	o.ResetCalls()
	o.mirror = o.process(t, o.database)
	o.run(t, "leads")
	for _, call := range o.Calls() {
		if call.Status >= 400 {
			t.Errorf("another process asked again: %+v", call)
		}
	}
	if !strings.Contains(o.log.String(), "Zoho does not know a column") {
		t.Error("nobody was told")
	}
}

// Fields that the org has and a query can read are in custom_fields under their API names,
// nulls left out; those that a query cannot read are not asked for.
func TestCustomFields(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	values := map[string]string{"Text_X": `"a"`, "Number_X": `12345678901234567890.5`, "List_X": `["a","b"]`, "Ref_X": `{"id":"5","name":"n"}`, "Flag_X": `false`, "Null_X": `null`}
	types := map[string]string{"Text_X": "text", "Number_X": "double", "List_X": "multiselectpicklist", "Ref_X": "lookup", "Flag_X": "boolean", "Null_X": "text",
		"Sub_X": "subform", "File_X": "fileupload", "New_X": "a type nobody has heard of"}
	record := lead(1)
	for name, kind := range types {
		o.AddField("Leads", zohosim.Field{API: name, Type: kind, Custom: true})
		if text, ok := values[name]; ok {
			record[name] = json.RawMessage(text)
		}
	}
	record["Flag_X"] = false
	id := o.Insert("Leads", record)
	o.run(t, "leads")
	custom := value[string](t, o, "SELECT custom_fields::text FROM leads WHERE id = $1", id)
	want := `{"Ref_X": {"id": "5", "name": "n"}, "Flag_X": false, "List_X": ["a", "b"], "Text_X": "a", "Number_X": 12345678901234567890.5}`
	if custom != want {
		t.Errorf("custom_fields %s, want %s", custom, want)
	}
	for _, call := range o.Calls() {
		if strings.Contains(call.Query, "Sub_X") || strings.Contains(call.Query, "File_X") {
			t.Errorf("asked for what cannot be read: %s", call.Query)
		}
	}
	// The metadata is asked for once an hour at most, whatever process runs.
	asked := func() (paths []string) {
		for _, call := range o.Calls() {
			if strings.Contains(call.Path, "settings") || strings.Contains(call.Path, "users") {
				paths = append(paths, call.Path)
			}
		}
		return paths
	}
	for range 3 {
		o.mirror = o.process(t, o.database)
		o.run(t, "leads")
	}
	if diff := cmp.Diff([]string{"/crm/v8/settings/fields", "/crm/v8/users"}, asked()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	execute(t, o, "UPDATE sync_metadata SET fetched_at = fetched_at - interval '61 minutes'")
	o.run(t, "leads")
	if n := len(asked()); n != 4 {
		t.Errorf("after an hour: %v", asked())
	}
}

// A page that is larger than a client should hold is asked for again, smaller.
func TestPageTooLarge(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 500, deal)
	o.Plan(2, func(c zohosim.Call) bool { return c.Path == "/crm/v8/coql" }, zohosim.Fault{Padding: 40 << 20})
	o.run(t, "deals")
	o.equal(t, "deals")
	var limits []string
	for _, call := range o.Calls() {
		if _, limit, ok := strings.Cut(call.Query, " limit "); ok {
			limits = append(limits, limit)
		}
	}
	if want := []string{"200", "100", "50"}; !slices.Equal(limits[:3], want) {
		t.Errorf("limits %v", limits)
	}
}

// Ids of 18 and 19 digits are ordered as numbers.
func TestIDsOfDifferentLength(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.PageSize = 3
	o := newOrg(t, zohosim.Config{}, config)
	for i := range 10 {
		o.Insert("Deals", zohosim.Record{"id": fmt.Sprintf("9999999999999999%02d", i), "Deal_Name": "18"})
		o.Insert("Deals", zohosim.Record{"id": fmt.Sprintf("57257670000005000%02d", i), "Deal_Name": "19"})
	}
	o.run(t, "deals")
	o.equal(t, "deals")
}

// Promise 10: every row leads to the run that wrote it.
func TestPromise10RowsExplainThemselves(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	first := o.Insert("Deals", deal(1))
	one := o.run(t, "deals")
	o.Advance(time.Minute)
	second := o.Insert("Deals", deal(2))
	two := o.run(t, "deals")
	for id, run := range map[string]string{first: one.RunID.String(), second: two.RunID.String()} {
		if n := value[int](t, o, `SELECT count(*) FROM deals d JOIN sync_runs r ON r.id = d.run_id
			WHERE d.id = $1 AND r.id = $2 AND d.synced_at BETWEEN r.started_at AND r.ended_at`, id, run); n != 1 {
			t.Errorf("row %s does not lead to run %s", id, run)
		}
	}
}

// Promise 9: no secret gets into logs, run rows or stored tokens.
func TestPromise09SecretsStayIn(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	module, _ := crm.Find("deals")
	o.run(t, "deals")
	o.FailTokens(`{"error":"invalid_code"}`, `<html>1000.zohosim.refresh.token</html>`)
	o.ExpireTokens()
	for range 2 {
		_, _ = o.process(t, o.database).Run(t.Context(), mirror.Request{Module: module}) // what they say is looked at below
	}
	text := o.log.String() + value[string](t, o, "SELECT string_agg(r::text, '') FROM sync_runs r") + value[string](t, o, "SELECT string_agg(t::text || encode(sealed, 'escape'), '') FROM sync_tokens t")
	for _, secret := range []string{zohosim.DefaultClientSecret, zohosim.DefaultRefreshToken, "Zoho-oauthtoken", "1000.0000"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q got out", secret)
		}
	}
}

// Zoho's own samples show pages that are shorter than asked for with more behind them: only
// more_records ends a window.
func TestShortPageIsNotTheEnd(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Deals", 30, deal)
	first := ""
	for id := range o.Truth("Deals") {
		if first == "" || id < first {
			first = id
		}
	}
	short := fmt.Sprintf(`{"data":[{"id":%q,"Deal_Name":"Deal 0","Created_Time":"2026-11-23T12:00:00Z","Modified_Time":"2026-11-23T12:00:00Z"}],"info":{"count":1,"more_records":true}}`, first)
	o.Plan(1, func(c zohosim.Call) bool { return c.Path == "/crm/v8/coql" }, zohosim.Fault{Status: http.StatusOK, Body: short})
	if got := o.run(t, "deals"); got.Counts.Pages != 2 || got.More {
		t.Errorf("%+v", got)
	}
	o.Advance(5 * time.Minute)
	o.run(t, "deals")
	o.equal(t, "deals")
}

// A page of which no record fits has its place all the same, in every stream.
func TestPageOfMisfits(t *testing.T) {
	t.Parallel()
	config := defaultConfig
	config.PageSize = 2
	o := newOrg(t, zohosim.Config{}, config)
	var bad []string
	for range 5 {
		bad = append(bad, o.Insert("Leads", zohosim.Record{"Last_Name": "Misfit", "Annual_Revenue": json.Number("0.005")}))
	}
	good := o.Insert("Leads", lead(1))
	o.Advance(5 * time.Minute)
	for _, id := range append(bad, good) {
		o.Convert(id, false)
		o.Advance(time.Second)
	}
	o.run(t, "leads")
	o.Advance(5 * time.Minute)
	o.run(t, "leads")
	o.equal(t, "leads", bad...)
	if n := value[int](t, o, "SELECT count(*) FROM sync_quarantine WHERE settled_at IS NULL AND field = 'Annual_Revenue'"); n != 5 {
		t.Errorf("%d open entries", n)
	}
}
