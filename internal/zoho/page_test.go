package zoho

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDecodePage(t *testing.T) {
	for body, want := range map[string]string{
		`{"data":[{"id":"1","A":25.10000},{"id":"2","A":1e11}],"info":{"count":2,"more_records":true}}`:               `[{"id":"1","A":25.10000} {"id":"2","A":1e11}] true`,
		`{"info":{"more_records":false,"count":1,"x":{}},"padding":"y","data":[{"id":"1","A":12345678901234567.89}]}`: `[{"id":"1","A":12345678901234567.89}] false`,
		`{"data":[],"info":{"more_records":false}}`:                                                                   `[] false`,
		`{"data":[{"a":1,"a":2}],"info":{"more_records":false}}`:                                                      `[{"a":1,"a":2}] false`,
		`{"data":[{}]}`:                                    "an answer without data and info",
		`{"info":{"more_records":true}}`:                   "an answer without data and info",
		`{"data":[{}],"info":{"count":1}}`:                 `an info without more_records: "{\"count\":1}"`,
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

func FuzzDecodePage(f *testing.F) {
	f.Add([]byte(`{"data":[{"id":"1","A":25.10000}],"info":{"count":1,"more_records":true}}`))
	f.Add([]byte(`{"code":"X","status":"error"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		page, err := decodePage(bytes.NewReader(body))
		if err != nil {
			return
		}
		for _, record := range page.Records {
			if !bytes.Contains(body, record) {
				t.Errorf("record %q is not what was sent", record)
			}
		}
	})
}

func TestQueryString(t *testing.T) {
	at := time.Date(2026, 3, 29, 10, 0, 0, 0, time.FixedZone("", 3*3600))
	q := Query{Module: "Leads", Columns: []string{"Last_Name"}, OrderBy: "Modified_Time", Limit: 200}
	for want, change := range map[string]func(*Query){
		"id is not null": func(*Query) {},
		"Modified_Time >= '2026-03-29T07:00:00+00:00'":                                                               func(q *Query) { q.After.Time = at },
		"(Modified_Time > '2026-03-29T07:00:00+00:00' or (Modified_Time = '2026-03-29T07:00:00+00:00' and id > 57))": func(q *Query) { q.After = Cursor{at, "57"} },
		"Converted__s = true": func(q *Query) { q.Filter = "Converted__s = true" },
		"(Modified_Time >= '2026-03-29T07:00:00+00:00' and Converted__s = true)":                                               func(q *Query) { q.After.Time, q.Filter = at, "Converted__s = true" },
		"((Modified_Time > '2026-03-29T07:00:00+00:00' or (Modified_Time = '2026-03-29T07:00:00+00:00' and id > 57)) and X=1)": func(q *Query) { q.After, q.Filter = Cursor{at, "57"}, "X=1" },
	} {
		changed := q
		change(&changed)
		want = "select id, Last_Name from Leads where " + want + " order by Modified_Time asc, id asc limit 200"
		if diff := cmp.Diff(want, changed.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := changed.Validate(); err != nil {
			t.Error(err)
		}
	}
	for name, change := range map[string]func(*Query){
		"module": func(q *Query) { q.Module = "Leads where id > 0" }, "column": func(q *Query) { q.Columns = []string{"a, b"} },
		"quote": func(q *Query) { q.OrderBy = "x'y" }, "id": func(q *Query) { q.After = Cursor{at, "1 or id > 0"} },
		"long id": func(q *Query) { q.After = Cursor{at, strings.Repeat("1", 20)} }, "limit 0": func(q *Query) { q.Limit = 0 }, "limit": func(q *Query) { q.Limit = 2001 },
	} {
		changed := q
		change(&changed)
		if changed.Validate() == nil {
			t.Errorf("%s: %s would be sent", name, changed)
		}
	}
}

func BenchmarkDecodePage(b *testing.B) {
	var body bytes.Buffer
	body.WriteString(`{"data":[`)
	for i := range 2000 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"id":"57257670000005%05d"`, i)
		for f := range 40 {
			fmt.Fprintf(&body, `,"Field_%d":"a value of field %d"`, f, f)
		}
		body.WriteByte('}')
	}
	body.WriteString(`],"info":{"count":2000,"more_records":true}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodePage(bytes.NewReader(body.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
