package zoho

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDecodePage(t *testing.T) {
	for body, want := range map[string]string{
		`{"data":[{"id":"1","A":25.10000},{"id":"2","A":1e11}],"info":{"count":2,"more_records":true}}`:               `[{"id":"1","A":25.10000} {"id":"2","A":1e11}] true`,
		`{"info":{"more_records":false,"count":1,"x":{}},"padding":"y","data":[{"id":"1","A":12345678901234567.89}]}`: `[{"id":"1","A":12345678901234567.89}] false`,
		`{"data":[],"info":{"more_records":false}}`:                                                                   `[] false`,
		`{"data":[{"a":1,"a":2}],"info":{"more_records":false}}`:                                                      `[{"a":1,"a":2}] false`,
		`{"data":[{"A":12345678901234.56,"B":1e11,"C":25.10000,"D":-0,"E":1E+02}],"info":{"more_records":false}}`:     `[{"A":12345678901234.56,"B":1e11,"C":25.10000,"D":-0,"E":1E+02}] false`,
		`{"data":[{"name":"\ud83d\u00e9 ` + "\xff" + `"}],"info":{"more_records":false}}`:                             `[{"name":"\ud83d\u00e9 ` + "\xff" + `"}] false`,
		` { "data" : [ { "a" : 1 } ] , "info" : { "more_records" : true } } `:                                         `[{ "a" : 1 }] true`,
		`{"code":"NOT_AN_ERROR","data":[{}],"info":{"more_records":true},"status":"success"}`:                         `[{}] true`,
		`{"code":5,"status":"error","data":[{}],"info":{"more_records":true}}`:                                        `[{}] true`,
		`{"data":null,"info":{"more_records":false}}`:                                                                 "an answer of an unexpected form",
		`{"data":[{}],"info":{"more_records":"yes"}}`:                                                                 "an info without more_records",
		`{"data":[{}],"info":null}`:                         "an info without more_records: \"null\"",
		`{"data":[{"id":"1"},{"id":`:                        "unexpected EOF",
		`{"data":[{"id":"1"},`:                              "EOF",
		`{"data":[{"id":"1"}`:                               "EOF",
		`{"data":[{"a":01}],"info":{"more_records":false}}`: "invalid character '1' after",
		`null`:                             "an answer of an unexpected form",
		`<html>`:                           "invalid character '<'",
		`{"status":"error"}`:               "an answer without data and info",
		`{"data":[{}]}`:                    "an answer without data and info",
		`{"info":{"more_records":true}}`:   "an answer without data and info",
		`{"data":[{}],"info":{"count":1}}`: `an info without more_records: "{\"count\":1}"`,
		`{"data":[{}],"info":{"more_records":true}`:        "unexpected EOF",
		`{"data":{"id":"1"},"info":{"more_records":true}}`: "an answer of an unexpected form",
		`[]`: "an answer of an unexpected form",
		``:   "EOF",
		`{"code":"INVALID_QUERY","details":{"column_name":"X"},"message":"m","status":"error"}`:    `: INVALID_QUERY: m {"column_name":"X"}`,
		`{"status":"error","code":"INTERNAL_ERROR","message":"m","details":{},"data":[],"info":5}`: "an info without more_records",
	} {
		page, err := decodePage(strings.NewReader(body))
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprintf("%s %v", page.Records, page.More)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}

func TestBoundedReader(t *testing.T) {
	exact := &boundedReader{from: strings.NewReader(`{"data":[],"info":{"more_records":false}}`), left: 41}
	if _, err := decodePage(exact); err != nil {
		t.Errorf("a body of just the size: %v", err)
	}
	over := &boundedReader{from: strings.NewReader(`{"data":[],"info":{"more_records":false}}`), left: 40}
	if _, err := decodePage(over); !errors.Is(err, ErrPageTooLarge) || over.left >= 0 {
		t.Errorf("a body too large: %v", err)
	}
}

// Whatever decodes is what was sent, piece by piece, and decodes to the same once more.
func FuzzDecodePage(f *testing.F) {
	for _, seed := range []string{
		`{"data":[{"id":"1","A":25.10000}],"info":{"count":1,"more_records":true}}`,
		`{"info":{"more_records":false},"x":[{}],"data":[{"a":1,"a":{"b":[]}},{}]}`,
		`{"code":"X","status":"error"}`,
		`{"code":"X","status":"error","details":{"a":1},"data":[],"info":{}}`,
		`{"data":[` + strings.Repeat("[", 50),
		`{"data":[],"info":{"more_records":false}}{`,
		`{"data":["` + "\xff\xfe" + `", null ,1],"info":{"more_records":true,"more_records":false}}`,
		`[]`, ``, `{`, `{"data"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		page, err := decodePage(bytes.NewReader(body))
		if err != nil {
			return
		}
		again := []byte(`{"data":[`)
		for i, record := range page.Records {
			if !bytes.Contains(body, record) {
				t.Errorf("record %q is not what was sent", record)
			}
			if i > 0 {
				again = append(again, ',')
			}
			again = append(again, record...)
		}
		again = fmt.Appendf(again, `],"info":{"more_records":%v}}`, page.More)
		second, err := decodePage(iotest.OneByteReader(bytes.NewReader(again)))
		if err != nil {
			t.Fatalf("%q: %v", again, err)
		}
		if diff := cmp.Diff(page, second, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}

// More than two criteria are bracketed in pairs; times are UTC, without a Z and fractions.
func TestQueryString(t *testing.T) {
	at := time.Date(2026, 3, 29, 10, 0, 0, 999_999_999, time.FixedZone("", 3*3600))
	const since, behind = "Modified_Time >= '2026-03-29T07:00:00+00:00'", "(Modified_Time > '2026-03-29T07:00:00+00:00' or (Modified_Time = '2026-03-29T07:00:00+00:00' and id > 57))"
	for _, c := range []struct {
		after  Cursor
		filter string
		want   string
	}{
		{Cursor{}, "", "id is not null"},
		{Cursor{at, ""}, "", since},
		{Cursor{at.UTC(), ""}, "", since},
		{Cursor{at, "57"}, "", behind},
		{Cursor{}, "Converted__s = true", "Converted__s = true"},
		{Cursor{at, ""}, "Converted__s = true", "(" + since + " and Converted__s = true)"},
		{Cursor{at, "57"}, "Converted__s = true", "(" + behind + " and Converted__s = true)"},
		{Cursor{at, "57"}, "(a = 1 and b = 2)", "(" + behind + " and (a = 1 and b = 2))"},
	} {
		q := Query{Module: "Leads", Columns: []string{"Last_Name"}, Filter: c.filter, OrderBy: "Modified_Time", After: c.after, Limit: 200}
		want := "select id, Last_Name from Leads where " + c.want + " order by Modified_Time asc, id asc limit 200"
		if diff := cmp.Diff(want, q.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := q.Validate(); err != nil {
			t.Error(err)
		}
	}
	q := Query{Module: "Deals", Columns: []string{"Stage", "id", "Account_Name.Account_Name"}, OrderBy: "Converted_Date_Time", Limit: 1}
	const want = "select Stage, id, Account_Name.Account_Name from Deals where id is not null order by Converted_Date_Time asc, id asc limit 1"
	if diff := cmp.Diff(want, q.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Pages by id alone, and records by their ids.
func TestQueryByID(t *testing.T) {
	for want, q := range map[string]Query{
		"id is not null":                    {},
		"id > 57":                           {After: Cursor{ID: "57"}},
		"(id > 57 and Converted__s = true)": {After: Cursor{ID: "57"}, Filter: "Converted__s = true"},
		"id in (1, 22)":                     {IDs: []string{"1", "22"}},
		"((id > 57 and id in (1, 22)) and Converted__s = true)": {After: Cursor{ID: "57"}, IDs: []string{"1", "22"}, Filter: "Converted__s = true"},
	} {
		q.Module, q.Limit = "Leads", 50
		if diff := cmp.Diff("select id from Leads where "+want+" order by id asc limit 50", q.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := q.Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, ids := range [][]string{{}, {"x"}, {"1 or 1"}, make([]string, MaxIDs+1)} {
		if err := (Query{Module: "Leads", IDs: ids, Limit: 1}).Validate(); err == nil {
			t.Errorf("ids %q are sent", ids)
		}
	}
}

// Zoho quotes neither names nor bare ids: what is no name or id is never sent.
func TestQueryValidate(t *testing.T) {
	good := Query{Module: "Leads", Columns: []string{"Last_Name"}, OrderBy: "Modified_Time", Limit: 200}
	for _, name := range []string{"", " ", "Leads where id > 0", "a, b", "x'y", `x"y`, "Leads\n", "Leads\x00", "Ｌeads", "Prénom", "1st", "_x", "a;b", "a--", "count(id)", "*", "(a)"} {
		for place, put := range map[string]func(*Query){
			"module": func(q *Query) { q.Module = name }, "column": func(q *Query) { q.Columns = []string{"Last_Name", name} }, "order": func(q *Query) { q.OrderBy = name },
		} {
			if place == "order" && name == "" {
				continue // by id alone
			}
			q := good
			put(&q)
			if err := q.Validate(); err == nil || !strings.HasSuffix(err.Error(), "is not an API name") {
				t.Errorf("%s %q: %v, would be sent: %s", place, name, err, q)
			}
		}
	}
	for id, fine := range map[string]bool{
		"": true, "1": true, "9223372036854775807": true, "12345678901234567890": false, "-1": false, "+1": false, "1.0": false, "1e3": false, "0x1": false,
		" 1": false, "1\n": false, "1 or id > 0": false, "1)": false, "'1'": false, "１": false, "null": false,
	} {
		q := good
		q.After = Cursor{time.Now(), id}
		if err := q.Validate(); err == nil != fine || !fine && !strings.HasSuffix(err.Error(), "is not a record id") {
			t.Errorf("id %q: %v", id, err)
		}
	}
	for limit, fine := range map[int]bool{-1: false, 0: false, 1: true, 2000: true, 2001: false} {
		q := good
		q.Limit = limit
		if err := q.Validate(); err == nil != fine || !fine && !strings.Contains(err.Error(), fmt.Sprintf("a page of %d records", limit)) {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// A full page of leads with forty fields, as wide as a usual org's.
func BenchmarkDecodePage(b *testing.B) {
	const rows = 2000
	body := widePage(rows)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		page, err := decodePage(bytes.NewReader(body))
		if err != nil || len(page.Records) != rows {
			b.Fatal(err)
		}
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func widePage(rows int) []byte {
	body := []byte(`{"data":[`)
	for i := range rows {
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"id":"57257670000005%05d","Modified_Time":"2026-11-03T10:14:41+05:30","Owner":{"name":"Boyle","id":"5725767000000411001"}`, i)
		for f := range 37 {
			switch f % 4 {
			case 0:
				body = fmt.Appendf(body, `,"Text_%d":"a value of field %d"`, f, f)
			case 1:
				body = fmt.Appendf(body, `,"Amount_%d":%d.%02d`, f, i*f, f)
			case 2:
				body = fmt.Appendf(body, `,"Flag_%d":%v`, f, i%2 == 0)
			default:
				body = fmt.Appendf(body, `,"Empty_%d":null`, f)
			}
		}
		body = append(body, '}')
	}
	return append(body, `],"info":{"count":2000,"more_records":true}}`...)
}
