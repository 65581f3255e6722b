package zoho

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// page decodes records as they come in an answer.
func pageOf(t testing.TB, more bool, records ...string) *Page {
	t.Helper()
	page, err := decodePage(strings.NewReader(fmt.Sprintf(`{"data":[%s],"info":{"more_records":%v}}`, strings.Join(records, ","), more)))
	if err != nil {
		t.Fatal(err)
	}
	page.Places = page.Records
	return page
}

func record(id int, second int, rest string) string {
	return fmt.Sprintf(`{"id":"%d","Modified_Time":"2026-11-03T10:14:%02d+05:30"%s}`, id, second, rest)
}

// laid puts slices together, torn records left out.
func laid(q Query, first *Page, further ...*Page) *sheet {
	s := newSheet(first)
	for _, slice := range further {
		s.add(slice, q)
	}
	return s
}

func TestSheet(t *testing.T) {
	q := Query{Limit: 3}
	for _, c := range []struct {
		name         string
		first, other *Page
		want         string
		torn         string
		places       int
		more         bool
	}{
		{name: "whole", first: pageOf(t, false, record(1, 1, `,"A":1.50`), record(2, 2, `,"A":{"id":"7"}`)),
			other:  pageOf(t, false, `{"B":"}","Modified_Time":"2026-11-03T04:44:02Z" , "C":[ 1 ], "id":"2"}`, record(1, 1, `,"B":"x"`)),
			want:   `[` + record(1, 1, `,"A":1.50,"B":"x"`) + ` ` + record(2, 2, `,"A":{"id":"7"},"B":"}","C":[ 1 ]`) + `]`,
			places: 2},
		{name: "nothing but stamps", first: pageOf(t, true, record(1, 1, "")), other: pageOf(t, true, record(1, 1, "")), want: `[` + record(1, 1, "") + `]`, places: 1, more: true},
		{name: "edited", first: pageOf(t, false, record(1, 1, ""), record(2, 2, "")), other: pageOf(t, false, record(1, 1, `,"B":1`), record(2, 3, `,"B":2`)),
			want: `[` + record(1, 1, `,"B":1`) + `]`, torn: "[2]", places: 2},
		{name: "missing", first: pageOf(t, false, record(1, 1, ""), record(2, 2, "")), other: pageOf(t, false, record(2, 2, `,"B":2`), record(3, 3, `,"B":3`)),
			want: `[` + record(2, 2, `,"B":2`) + `]`, torn: "[1]", places: 2},
		{name: "none left", first: pageOf(t, true, record(1, 1, ""), record(2, 2, "")), other: pageOf(t, false, record(3, 3, "")), want: `[]`, torn: "[1 2]", places: 2, more: true},
		{name: "a short answer", first: pageOf(t, false, record(1, 1, ""), record(2, 2, ""), record(3, 3, "")), other: pageOf(t, true, record(1, 1, `,"B":1`), record(2, 2, `,"B":2`)),
			want: `[` + record(1, 1, `,"B":1`) + ` ` + record(2, 2, `,"B":2`) + `]`, places: 2, more: true},
		{name: "without an id", first: pageOf(t, false, `{"A":1}`, `5`, `{"id":"x","A":2}`), other: pageOf(t, false, `{"B":1}`, `"5"`, `{"id":"x","B":2}`),
			want: `[{"A":1} 5 {"id":"x","A":2}]`, places: 3},
		{name: "no time", first: pageOf(t, false, `{"id":"1","Modified_Time":null}`, `{"id":"2"}`, `{"id":"3","Modified_Time":null}`),
			other: pageOf(t, false, `{"id":"1","Modified_Time":null,"B":1}`, `{"id":"2","B":2}`, record(3, 3, "")),
			want:  `[{"id":"1","Modified_Time":null,"B":1} {"id":"2","B":2}]`, torn: "[3]", places: 3},
		{name: "given twice", first: pageOf(t, false, record(1, 1, ""), record(1, 2, "")), other: pageOf(t, false, record(1, 1, `,"B":1`), record(1, 2, `,"B":2`)),
			want: `[` + record(1, 2, `,"B":2`) + `]`, torn: "[1]", places: 2},
	} {
		s := laid(q, c.first, c.other)
		if torn := strings.TrimPrefix(fmt.Sprint(s.torn()), "[]"); torn != c.torn {
			t.Errorf("%s: torn %s, want %s", c.name, torn, c.torn)
		}
		page := s.joined()
		if got := fmt.Sprintf("%s", page.Records); got != c.want {
			t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
		}
		if len(page.Places) != c.places || page.More != c.more {
			t.Errorf("%s: %d places, more %v", c.name, len(page.Places), page.More)
		}
	}
}

// A record that is read again replaces the torn one, is gone, or stays torn.
func TestSheetMends(t *testing.T) {
	q := Query{Limit: 200}
	s := laid(q, pageOf(t, false, record(1, 1, ""), record(2, 2, ""), record(3, 3, ""), record(4, 4, `,"A":4`)), pageOf(t, false, record(4, 4, `,"B":4`)))
	again := laid(q, pageOf(t, false, record(1, 9, `,"A":1`), record(2, 9, "")), pageOf(t, false, record(1, 9, `,"B":1`)))
	s.mend(again, []string{"1", "2", "3"})
	if torn := fmt.Sprint(s.torn()); torn != "[2]" {
		t.Errorf("torn %s", torn)
	}
	page := s.joined()
	want := `[` + record(1, 9, `,"A":1,"B":1`) + ` ` + record(4, 4, `,"A":4,"B":4`) + `]`
	if got := fmt.Sprintf("%s", page.Records); got != want || len(page.Places) != 4 {
		t.Errorf("%s\nwant %s, %d places", got, want, len(page.Places))
	}
	short := laid(q, pageOf(t, false, record(1, 1, "")), pageOf(t, false))
	short.mend(newSheet(pageOf(t, true)), []string{"1"})
	if torn := fmt.Sprint(short.torn()); torn != "[1]" {
		t.Errorf("what a short answer did not reach is taken for gone: torn %s", torn)
	}
}

// Whatever two slices hold, a joined record is JSON with the members of both, as they stood.
func FuzzSheet(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"id":"1","Modified_Time":"2026-11-03T10:14:41+05:30","A":1}`, `{"Modified_Time":"2026-11-03T04:44:41Z","B":2.50,"id":"1"}`},
		{`{"id":1,"a":{"id":"2"},"a":[]}`, `{ "id" : "1" , "b" : "\u0000` + "\xff" + `" }`},
		{`{"id":"1"}`, `{"id":"1"}`}, {`{"id":"1","id":"2"}`, `{"id":"2","Modified_Time":1}`}, {`{}`, `5`},
		{`{"id":"1","\u0069d":"2"}`, `{"id":"1","\u0069d":"3"}`}, {`{"id":"\u0031"}`, `{"id":"1","":{}}`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		decode := func(record string) *Page {
			page, err := decodePage(strings.NewReader(`{"data":[` + record + `],"info":{"more_records":false}}`))
			if err != nil || len(page.Records) != 1 {
				t.Skip()
			}
			page.Places = page.Records
			return page
		}
		first, other := decode(a), decode(b)
		s := laid(Query{Limit: 1}, first, other)
		whole := len(s.rows[0].rests) == 1
		page := s.joined()
		if len(page.Places) != 1 {
			t.Fatalf("%d places", len(page.Places))
		}
		if s.rows[0].torn != (len(page.Records) == 0) {
			t.Fatalf("torn %v, %d records", s.rows[0].torn, len(page.Records))
		}
		if len(page.Records) == 0 {
			return
		}
		got := decode(string(page.Records[0])).Records[0]
		want := membersOf(t, first.Places[0])
		if whole {
			for _, m := range membersOf(t, other.Records[0]) {
				if !strings.HasPrefix(m, `"id":`) && !strings.HasPrefix(m, `"Modified_Time":`) {
					want = append(want, m)
				}
			}
		}
		if diff := cmp.Diff(want, membersOf(t, got), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s and %s (-want +got):\n%s", a, b, diff)
		}
	})
}

// membersOf lists an object's members in order, each as name:value.
func membersOf(t *testing.T, record []byte) (all []string) {
	t.Helper()
	dec := jsontext.NewDecoder(bytes.NewReader(record), lenient...)
	if open, err := dec.ReadToken(); err != nil || open.Kind() != '{' {
		return []string{string(record)}
	}
	for dec.PeekKind() == '"' {
		name, _ := dec.ReadValue()
		member := string(name) + ":"
		value, err := dec.ReadValue()
		if err != nil {
			t.Fatalf("%s: %v", record, err)
		}
		all = append(all, member+string(value))
	}
	return all
}
