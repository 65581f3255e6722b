package crm

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"zohomirror/internal/zoho"
)

// show renders a mapped row as column → value, nulls left out.
func show(p *Plan, row Row) map[string]any {
	shown := map[string]any{"id": row.ID}
	for i, c := range p.Columns {
		v := row.Values[i]
		switch {
		case !v.Valid:
		case c.Kind == Boolean:
			shown[c.Name] = v.Int == 1
		case c.Kind == Integer:
			shown[c.Name] = v.Int
		case c.Kind == Date:
			shown[c.Name] = time.Unix(v.Int*86400, 0).UTC().Format(time.DateOnly)
		case c.Kind == Time:
			shown[c.Name] = v.Time().Format(time.RFC3339)
		default:
			shown[c.Name] = v.Text
		}
	}
	if row.CustomFields != "" {
		shown["custom_fields"] = row.CustomFields
	}
	return shown
}

func one(p *Plan, record string) (map[string]any, string) {
	batch := p.Map([]jsontext.Value{jsontext.Value(record)})
	if len(batch.Problems) == 1 {
		return nil, batch.Problems[0].Reason
	}
	return show(p, batch.Rows[0]), ""
}

func TestMapLead(t *testing.T) {
	p := leads.Plan(Metadata{
		Fields: []zoho.Field{
			{APIName: "Last_Name"}, {APIName: "Owner"}, {APIName: "Annual_Revenue"}, {APIName: "Tag"}, {APIName: "Email_Opt_Out"},
			{APIName: "No_of_Employees"}, {APIName: "Rating"}, {APIName: "Converted__s"}, {APIName: "Converted_Account"},
			{APIName: "Score"}, {APIName: "Languages"}, {APIName: "Notes_Sub", DataType: "subform"}, {APIName: "Gone"},
		},
		Users:   map[string]string{"7": "Patricia Boyle"},
		Refused: []string{"Gone", "Rating"},
	})
	wantSelect := []string{"Last_Name", "No_of_Employees", "Annual_Revenue", "Email_Opt_Out", "Converted__s", "Converted_Date_Time",
		"Converted_Account", "Created_Time", "Modified_Time", "Owner", "Tag", "Score", "Languages"}
	if diff := cmp.Diff(wantSelect, p.Select); diff != "" {
		t.Errorf("Select (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Gone"}, p.KeptKeys); diff != "" {
		t.Errorf("KeptKeys (-want +got):\n%s", diff)
	}

	got, fault := one(p, `{"id":"5725767000000524157","Last_Name":"Boyle  ","Owner":{"name":"Boyle","id":"7"},"Annual_Revenue":25.10000,
		"Tag":[{"name":"v\u0000ip","id":"1"}],"Email_Opt_Out":false,"No_of_Employees":"12","Converted__s":true,
		"Converted_Date_Time":"2026-03-29T10:00:00+03:00","Converted_Account":{"id":"9","name":"Zylker"},
		"Created_Time":"2026-03-29T09:30:00+02:00","Modified_Time":"2026-11-03T10:14:41+05:30",
		"Score":12345678901234567890.120,"Languages":["a\u0000","b"],"Empty":1}`)
	want := map[string]any{
		"id": "5725767000000524157", "last_name": "Boyle", "owner_id": "7", "owner_name": "Patricia Boyle", "annual_revenue": "25.10000",
		"tag": "[{\"name\":\"v\uFFFDip\",\"id\":\"1\"}]", "email_opt_out": false, "no_of_employees": int64(12), "converted": true,
		"converted_date_time": "2026-03-29T07:00:00Z", "converted_account_id": "9", "converted_account_name": "Zylker",
		"created_time": "2026-03-29T07:30:00Z", "modified_time": "2026-11-03T04:44:41Z",
		"custom_fields": "{\"Score\":12345678901234567890.120,\"Languages\":[\"a\uFFFD\",\"b\"]}",
	}
	if diff := cmp.Diff(want, got); diff != "" || fault != "" {
		t.Errorf("fault %q, row (-want +got):\n%s", fault, diff)
	}
}

func TestMapWithoutMetadata(t *testing.T) {
	p := deals.Plan(Metadata{})
	if p.CustomFields || len(p.Select) != len(deals.Fields) {
		t.Errorf("CustomFields = %v, %d fields of %d", p.CustomFields, len(p.Select), len(deals.Fields))
	}
	for _, c := range p.Columns {
		if c.Name == "owner_name" || c.Name == "created_by_name" {
			t.Errorf("without users the plan writes %s", c.Name)
		}
	}
}

// TestCoerce gives one value at a time to a field of each kind.
func TestCoerce(t *testing.T) {
	p := deals.Plan(Metadata{Users: map[string]string{}})
	const null = "<null>"
	tests := []struct{ field, value, want, fault string }{
		{field: "Amount", value: `19.99`, want: "19.99"},
		{field: "Amount", value: `1e11`, want: "1e11"},
		{field: "Amount", value: `25.10000`, want: "25.10000"},
		{field: "Amount", value: `"250"`, want: "250"},
		{field: "Amount", value: `""`, want: null},
		{field: "Amount", value: `-0.005`, fault: "Amount is -0.005, which numeric(14,2) cannot hold without rounding"},
		{field: "Amount", value: `12345678901234.56`, fault: "Amount is 12345678901234.56, which numeric(14,2) cannot hold without rounding"},
		{field: "Amount", value: `1e12`, fault: "Amount is 1e12, which numeric(14,2) cannot hold without rounding"},
		{field: "Amount", value: `"abc"`, fault: `Amount is "abc", not a number`},
		{field: "Amount", value: `true`, fault: "Amount is true, where a single value belongs"},
		{field: "Amount", value: `{}`, fault: "Amount is {}, where a single value belongs"},
		{field: "Expected_Revenue", value: `0.123456789012345678901234567890`, want: "0.123456789012345678901234567890"},
		{field: "Probability", value: `10`, want: "10"},
		{field: "Probability", value: `10.0`, want: "10"},
		{field: "Probability", value: `10.5`, fault: "Probability is 10.5, not a whole number of at most 64 bits"},
		{field: "Probability", value: `9223372036854775808`, fault: "Probability is 9223372036854775808, not a whole number of at most 64 bits"},
		{field: "Closing_Date", value: `"2026-12-31"`, want: "2026-12-31"},
		{field: "Closing_Date", value: `"1969-07-20"`, want: "1969-07-20"},
		{field: "Closing_Date", value: `""`, want: null},
		{field: "Closing_Date", value: `"31.12.2026"`, fault: `Closing_Date is "31.12.2026", not a date such as 2026-12-31`},
		{field: "Last_Activity_Time", value: `"2026-03-29T10:00:00+03:00"`, want: "2026-03-29T07:00:00Z"},
		{field: "Last_Activity_Time", value: `"2026-03-29T09:30:00+02:00"`, want: "2026-03-29T07:30:00Z"},
		{field: "Last_Activity_Time", value: `"2026-10-25T02:30:00-03:30"`, want: "2026-10-25T06:00:00Z"},
		{field: "Last_Activity_Time", value: `"2026-10-25T02:30:00+14:00"`, want: "2026-10-24T12:30:00Z"},
		{field: "Last_Activity_Time", value: `"yesterday"`, fault: `Last_Activity_Time is "yesterday", not a datetime such as 2026-12-31T10:00:00+01:00`},
		{field: "Stage", value: `"Closed Won"`, want: "Closed Won"},
		{field: "Stage", value: `""`, want: null},
		{field: "Locked__s", value: `"true"`, want: "true"},
		{field: "Locked__s", value: `0`, fault: "Locked__s is 0, not true or false"},
		{field: "Deal_Name", value: `"Benton "`, want: "Benton"},
		{field: "Deal_Name", value: `""`, want: ""},
		{field: "Deal_Name", value: `"a\u0000b"`, want: "a\uFFFDb"},
		{field: "Deal_Name", value: `"\ud83d\ude00 \u05e9\u05dc\u05d5\u05dd"`, want: "😀 שלום"},
		{field: "Deal_Name", value: `"\ud83d!"`, want: "\uFFFD!"},
		{field: "Deal_Name", value: "\"\xff\"", want: "\uFFFD"},
		{field: "Deal_Name", value: `42`, want: "42"},
		{field: "Deal_Name", value: `[1]`, fault: "Deal_Name is [1], where a single value belongs"},
		{field: "Description", value: `"kept  "`, want: "kept  "},
		{field: "Description", value: `"` + strings.Repeat("é", 32000) + `"`, want: strings.Repeat("é", 32000)},
		{field: "Account_Name", value: `{"id":"5725767000000524100","name":"Benton"}`, want: "5725767000000524100"},
		{field: "Account_Name", value: `{"id":"5"}`, want: "5"},
		{field: "Account_Name", value: `{}`, want: null},
		{field: "Account_Name", value: `null`, want: null},
		{field: "Account_Name", value: `"5725767000000524100"`, want: "5725767000000524100"},
		{field: "Account_Name", value: `{"name":"Benton"}`, fault: `Account_Name is {"name":"Benton"}, not a reference to a record`},
		{field: "Account_Name", value: `[]`, fault: "Account_Name is [], not a reference to a record"},
		{field: "Territory", value: `[{"name":"North","id":"1"}]`, want: `[{"name":"North","id":"1"}]`},
		{field: "Unknown", value: `{"any":["thing"]}`, want: null},
	}
	for _, tt := range tests {
		t.Run(tt.field+"="+tt.value[:min(len(tt.value), 40)], func(t *testing.T) {
			got, fault := one(p, fmt.Sprintf(`{"id":"1","Modified_Time":"2026-01-01T00:00:00Z","%s":%s}`, tt.field, tt.value))
			if fault != tt.fault {
				t.Fatalf("fault %q, want %q", fault, tt.fault)
			}
			column := Field{API: tt.field, Kind: p.members[tt.field].kind}.columns()[0].Name
			value := null
			if v, ok := got[column]; ok {
				value = fmt.Sprint(v)
			}
			if tt.fault == "" && value != tt.want {
				t.Errorf("%s = %q, want %q", column, value, tt.want)
			}
		})
	}
}

func TestMapProblems(t *testing.T) {
	p := deals.Plan(Metadata{})
	const head = `{"id":"1","Modified_Time":"2026-01-01T00:00:00Z",`
	tests := []struct {
		record, id, reason string
		fault              Fault
	}{
		{`{"Modified_Time":"2026-01-01T00:00:00Z"}`, "sha256:", "id is missing", Fault{"id", "", "required"}},
		{`{"id":"1 or 1=1","Modified_Time":"2026-01-01T00:00:00Z"}`, "sha256:", `id is "1 or 1=1", not a record id; id is missing`, Fault{"id", "1 or 1=1", "record id"}},
		{`{"id":"1"}`, "1", "Modified_Time is missing", Fault{"Modified_Time", "", "required"}},
		{`[1]`, "sha256:", "record is not a JSON object; Modified_Time is missing; id is missing", Fault{Rule: "json object"}},
		{head + `"Amount":"x","Probability":"y"}`, "1",
			`Amount is "x", not a number; Probability is "y", not a whole number of at most 64 bits`, Fault{"Amount", "x", "numeric(14,2)"}},
		{head + `"Amount":0.005}`, "1", `Amount is 0.005, which numeric(14,2) cannot hold without rounding`, Fault{"Amount", "0.005", "numeric(14,2)"}},
		{head + `"Probability":[1]}`, "1", `Probability is [1], where a single value belongs`, Fault{"Probability", "[1]", "single value"}},
		{head + `"Closing_Date":"soon"}`, "1", `Closing_Date is "soon", not a date such as 2026-12-31`, Fault{"Closing_Date", "soon", "date"}},
		{head + `"Locked__s":{}}`, "1", `Locked__s is {}, not true or false`, Fault{"Locked__s", "{}", "boolean"}},
		{head + `"Created_Time":"\u0000"}`, "1", `Created_Time is "\u0000", not a datetime such as 2026-12-31T10:00:00+01:00`, Fault{"Created_Time", "\uFFFD", "timestamptz"}},
		{head + `"Account_Name":{"name":"Zylker"}}`, "1", `Account_Name is {"name":"Zylker"}, not a reference to a record`, Fault{"Account_Name", `{"name":"Zylker"}`, "reference"}},
	}
	for _, tt := range tests {
		batch := p.Map([]jsontext.Value{jsontext.Value(tt.record)})
		if len(batch.Problems) != 1 {
			t.Fatalf("%s: %d problems", tt.record, len(batch.Problems))
		}
		got := batch.Problems[0]
		if !strings.HasPrefix(got.ID, tt.id) || got.Reason != tt.reason || got.Record != tt.record || got.Fault != tt.fault {
			t.Errorf("%s: problem %+v, want %+v", tt.record, got, tt.fault)
		}
	}
}

// A record given twice in a page is kept in its newest version.
func TestMapTwice(t *testing.T) {
	p := deals.Plan(Metadata{})
	record := func(second int, name string) jsontext.Value {
		return jsontext.Value(fmt.Sprintf(`{"id":"1","Modified_Time":"2026-01-01T00:00:%02dZ","Deal_Name":%q}`, second, name))
	}
	batch := p.Map([]jsontext.Value{record(2, "new"), record(1, "old"), record(2, "newest")})
	if len(batch.Rows) != 1 || show(p, batch.Rows[0])["deal_name"] != "newest" {
		t.Errorf("rows %+v", batch.Rows)
	}
}

// Whatever is in a string arrives as it was written, NUL and what is no UTF-8 aside.
func TestMapTextProperty(t *testing.T) {
	p := deals.Plan(Metadata{})
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.String().Draw(t, "content")
		quoted, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		got, fault := one(p, fmt.Sprintf(`{"id":"1","Modified_Time":"2026-01-01T00:00:00Z","Description":%s}`, quoted))
		want := strings.ReplaceAll(strings.ToValidUTF8(content, "\uFFFD"), "\x00", "\uFFFD")
		if fault != "" || got["description"] != want {
			t.Fatalf("fault %q, got %q, want %q", fault, got["description"], want)
		}
	})
}

func FuzzMap(f *testing.F) {
	f.Add([]byte(`{"id":"1","Modified_Time":"2026-01-01T00:00:00Z","Amount":1,"X":{"a":["\u0000"]}}`))
	f.Add([]byte(`{"id":1,"Owner":{},"Tag":[]}`))
	f.Add([]byte(`{`))
	p := deals.Plan(Metadata{Fields: []zoho.Field{{APIName: "Amount"}, {APIName: "Owner"}, {APIName: "Tag"}, {APIName: "X"}}, Users: map[string]string{}})
	f.Fuzz(func(t *testing.T, record []byte) {
		batch := p.Map([]jsontext.Value{record})
		if len(batch.Rows)+len(batch.Problems) != 1 {
			t.Fatalf("%d rows and %d problems", len(batch.Rows), len(batch.Problems))
		}
		for _, row := range batch.Rows {
			if !json.Valid([]byte(row.CustomFields)) || strings.Contains(row.CustomFields, `\u0000`) {
				t.Errorf("custom_fields %q", row.CustomFields)
			}
		}
	})
}

func TestPlanLast(t *testing.T) {
	at := func(id, field, value string) jsontext.Value {
		return jsontext.Value(fmt.Sprintf(`{"id":%q,"Modified_Time":"2026-01-01T00:00:00Z","%s":%s}`, id, field, value))
	}
	tests := []struct {
		name, orderBy string
		records       []jsontext.Value
		want          string
	}{
		{"the last", fieldModifiedTime, []jsontext.Value{at("1", "X", "1"), at("2", "X", "1")}, "2 2026-01-01T00:00:00Z"},
		{"one with a fault elsewhere", fieldModifiedTime, []jsontext.Value{at("1", "X", "1"), at("2", "Annual_Revenue", `"x"`)}, "2 2026-01-01T00:00:00Z"},
		{"not one without id", fieldModifiedTime, []jsontext.Value{at("1", "X", "1"), at("", "X", "1")}, "1 2026-01-01T00:00:00Z"},
		{"by another clock", fieldConvertedAt, []jsontext.Value{at("1", fieldConvertedAt, `"2026-02-01T00:00:00+01:00"`), at("2", "X", "1")}, "1 2026-01-31T23:00:00Z"},
		{"none", fieldConvertedAt, []jsontext.Value{at("1", "X", "1")}, ""},
	}
	for _, tt := range tests {
		id, when, ok := Last(tt.records, tt.orderBy)
		got := ""
		if ok {
			got = id + " " + when.Format(time.RFC3339)
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// samplePage is a page of leads as Zoho sends them.
func samplePage(n int) []jsontext.Value {
	page := make([]jsontext.Value, n)
	for i := range page {
		page[i] = jsontext.Value(fmt.Sprintf(`{"Owner":{"name":"Boyle","id":"5725767000000411001"},"Email":"christopher%[1]d@example.com",`+
			`"Last_Activity_Time":"2024-01-02T09:00:00-08:00","Industry":"Service Provider","Unsubscribed_Mode":null,"Converted_Contact":null,`+
			`"Street":"228 Runamuck Pl # 2808","Zip_Code":"21224","id":"57257670000%08[1]d","Created_Time":"2023-04-12T02:08:05-07:00",`+
			`"No_of_Employees":12,"State":"MD","Country":"United States","Created_By":{"name":"Boyle","id":"5725767000000411001"},`+
			`"Annual_Revenue":850000.50,"Secondary_Email":null,"Description":"Met at the trade show, wants a quote for %[1]d seats by spring.",`+
			`"Rating":"Active","Website":"https://example.com/%[1]d","Twitter":null,"Salutation":"Mr.","First_Name":"Christopher",`+
			`"Full_Name":"Mr. Christopher Maclead","Lead_Status":"Attempted to Contact","Record_Image":null,`+
			`"Modified_By":{"name":"Boyle","id":"5725767000000411001"},"Skype_ID":"cmaclead","Phone":"555-555-5555","Email_Opt_Out":false,`+
			`"Designation":"VP Accounting","Modified_Time":"2023-11-12T02:08:05-08:00","Converted__s":false,"Converted_Date_Time":null,`+
			`"Mobile":null,"Last_Name":"Maclead","Tag":[],"Lead_Source":"Cold Call","Company":"Rangoni Of Florence","Fax":null,`+
			`"City":"Baltimore","Converted_Account":null,"Converted_Deal":null,"Layout":{"name":"Standard","id":"5725767000000091055"},`+
			`"Locked__s":false,"Score":%[1]d,"Region":"East","Budget_Confirmed":true}`, i))
	}
	return page
}

func BenchmarkMap(b *testing.B) {
	fields := []zoho.Field{{APIName: "Score"}, {APIName: "Region"}, {APIName: "Budget_Confirmed"}}
	for _, f := range leads.Fields {
		fields = append(fields, zoho.Field{APIName: f.API})
	}
	p := leads.Plan(Metadata{Fields: fields, Users: map[string]string{"5725767000000411001": "Patricia Boyle"}})
	page := samplePage(2000)
	b.ReportAllocs()
	for b.Loop() {
		if batch := p.Map(page); len(batch.Rows) != len(page) {
			b.Fatal(batch.Problems[0])
		}
	}
	b.ReportMetric(float64(b.N*len(page))/b.Elapsed().Seconds(), "rows/s")
}
