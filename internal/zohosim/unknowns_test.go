package zohosim

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// deletedLines are the ids, types and times of one page of the deleted list, in its order.
func (c *caller) deletedLines(query string, header ...string) (status int, lines []string) {
	c.t.Helper()
	status, got := c.call(http.MethodGet, "/crm/v8/Leads/deleted?"+query, "", header...)
	if status != http.StatusOK {
		return status, nil
	}
	for _, line := range got["data"].([]any) {
		line := line.(map[string]any)
		lines = append(lines, fmt.Sprintf("%s %s %s", line["id"], line["type"], line["deleted_time"]))
	}
	return status, lines
}

// renew replaces the access token: an hour and more has passed.
func (c *caller) renew() { c.token = c.mintToken()["access_token"].(string) }

// count is how many records a COUNT finds.
func (c *caller) count(where string) any {
	c.t.Helper()
	status, got := c.coqlCall("select COUNT(id) as n from Leads where " + where)
	if status != http.StatusOK {
		c.t.Fatalf("%s: %d %v", where, status, got)
	}
	return got["data"].([]any)[0].(map[string]any)["n"]
}

// A merge deletes its losers, anonymously and for good, and modifies the master; what
// pointed to a loser points to the master, and no Modified_Time says so.
func TestMerge(t *testing.T) {
	for name, permanent := range map[string]bool{"recycle": false, "permanent": true} {
		t.Run(name, func(t *testing.T) {
			now := noon
			c := newCaller(t, Config{Now: func() time.Time { return now }, Unknowns: Unknowns{LosersPermanent: permanent}})
			c.AddField("Leads", Field{API: "Reseller", Type: "lookup", Target: "Leads", Custom: true})
			master := c.Insert("Leads", Record{"Last_Name": "Master"})
			losers := []string{c.Insert("Leads", Record{"Last_Name": "One"}), c.Insert("Leads", Record{"Last_Name": "Two"})}
			c.AddField("Deals", Field{API: "Lead", Type: "lookup", Target: "Leads", Custom: true})
			deal := c.Insert("Deals", Record{"Deal_Name": "x", "Lead": Ref{ID: losers[1], Name: "Two"}, "Account_Name": Ref{ID: losers[0]}})
			other := c.Insert("Leads", Record{"Last_Name": "Other", "Reseller": Ref{ID: losers[0], Name: "One"}})
			now = now.Add(time.Minute)
			c.Merge("Leads", master, losers...)

			status, got := c.call(http.MethodGet, "/crm/v8/Leads/deleted", "")
			line := `{"deleted_by":null,"id":%q,"display_name":null,"type":%q,"created_by":null,"deleted_time":"2026-11-23T17:31:00+05:30"}`
			c.answered("the list", 200, fmt.Sprintf(`{"data":[`+line+`,`+line+`],"info":{"per_page":200,"count":2,"page":1,"more_records":false}}`,
				losers[0], name, losers[1], name), status, got)
			for _, id := range losers {
				c.Restore("Leads", id, true) // does nothing
				status, got := c.call(http.MethodGet, "/crm/v8/Leads/"+id, "")
				c.answered("a loser", 204, "", status, got)
			}
			want := map[string]Record{
				master: {"id": master, "Last_Name": "Master", "Created_Time": noon, "Modified_Time": noon.Add(time.Minute), "Converted__s": false},
				other:  {"id": other, "Last_Name": "Other", "Created_Time": noon, "Modified_Time": noon, "Converted__s": false, "Reseller": Ref{ID: master, Name: "Master"}},
			}
			if diff := cmp.Diff(want, c.Truth("Leads")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			want = map[string]Record{deal: {"id": deal, "Deal_Name": "x", "Lead": Ref{ID: master, Name: "Master"},
				"Account_Name": Ref{ID: losers[0]}, "Created_Time": noon, "Modified_Time": noon}} // accounts were not merged
			if diff := cmp.Diff(want, c.Truth("Deals")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if status, got := c.coqlCall("select Lead from Deals where Modified_Time = '2026-11-23T12:00:00+00:00'"); status != 200 ||
				cmp.Diff(map[string]any{"id": master, "name": "Master"}, got["data"].([]any)[0].(map[string]any)["Lead"]) != "" {
				t.Errorf("%d %v", status, got)
			}
		})
	}
}

// The bin holds a record for 60 days, the list remembers it for 120; a purge may or may
// not move deleted_time.
func TestPurge(t *testing.T) {
	for _, keeps := range []bool{false, true} {
		now := noon
		c := newCaller(t, Config{Now: func() time.Time { return now }, Unknowns: Unknowns{PurgeKeepsTime: keeps}})
		ids := []string{c.Insert("Leads", Record{"Last_Name": "aged"}), c.Insert("Leads", Record{"Last_Name": "purged"})}
		c.Delete("Leads", ids...)
		now = now.Add(24 * time.Hour)
		c.Purge("Leads", ids[1])
		c.Delete("Leads", ids[1])         // nothing is left to be deleted
		c.Restore("Leads", ids[1], false) // or restored
		moved := map[bool]string{false: "24", true: "23"}[keeps]
		for _, want := range []struct {
			at    time.Time
			lines []string
		}{
			{now, []string{ids[0] + " recycle 2026-11-23T17:30:00+05:30", ids[1] + " permanent 2026-11-" + moved + "T17:30:00+05:30"}},
			{noon.Add(binRetention - time.Second), []string{ids[0] + " recycle 2026-11-23T17:30:00+05:30", ids[1] + " permanent 2026-11-" + moved + "T17:30:00+05:30"}},
			{noon.Add(binRetention), []string{ids[0] + " permanent " + map[bool]string{false: "2027-01-22", true: "2026-11-23"}[keeps] + "T17:30:00+05:30",
				ids[1] + " permanent 2026-11-" + moved + "T17:30:00+05:30"}},
			{noon.Add(goneRetention - time.Second), []string{ids[0] + " permanent " + map[bool]string{false: "2027-01-22", true: "2026-11-23"}[keeps] + "T17:30:00+05:30",
				ids[1] + " permanent 2026-11-" + moved + "T17:30:00+05:30"}},
			{noon.Add(goneRetention), nil},
		} {
			now = want.at
			c.renew()
			c.Restore("Leads", ids[1], true)
			if now.Sub(noon) >= binRetention {
				c.Restore("Leads", ids[0], true)
			}
			if _, got := c.deletedLines("type=all"); cmp.Diff(want.lines, got) != "" {
				t.Errorf("keeps %v, at %s (-want +got):\n%s", keeps, now, cmp.Diff(want.lines, got))
			}
		}
		if n := len(c.Truth("Leads")); n != 0 {
			t.Errorf("%d records are back", n)
		}
	}
}

// The deleted list has a lag of its own: it may show a deletion before reads hide the
// record, and after; likewise a restore. In the end both agree, and the order of what
// happened to a record is kept.
func TestDeletedListLags(t *testing.T) {
	now := noon
	c := newCaller(t, Config{Now: func() time.Time { return now }, VisibilityLag: time.Minute})
	var ids []string
	for i := range 40 {
		ids = append(ids, c.Insert("Leads", Record{"Last_Name": fmt.Sprint(i)}))
	}
	now = now.Add(time.Minute)
	states := func() map[string]int {
		found := map[string]int{}
		_, lines := c.deletedLines("type=all")
		for _, id := range ids {
			status, _ := c.call(http.MethodGet, "/crm/v8/Leads/"+id, "")
			listed := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, id) })
			found[fmt.Sprint("readable ", status == 200, ", listed ", listed)]++
		}
		return found
	}
	for _, step := range []struct {
		act  func()
		ends string
	}{
		{func() { c.Delete("Leads", ids...) }, "readable false, listed true"},
		{func() {
			for _, id := range ids {
				c.Restore("Leads", id, false)
			}
		}, "readable true, listed false"},
		{func() {
			c.Delete("Leads", ids...)
			for _, id := range ids {
				c.Restore("Leads", id, true)
			}
			c.Purge("Leads", ids...)
		}, "readable false, listed true"},
	} {
		step.act()
		now = now.Add(30 * time.Second)
		if found := states(); len(found) != 4 {
			t.Errorf("halfway: %v", found)
		}
		now = now.Add(30 * time.Second)
		if diff := cmp.Diff(map[string]int{step.ends: len(ids)}, states()); diff != "" {
			t.Errorf("at the end (-want +got):\n%s", diff)
		}
	}
}

// The list shows a record's changes in their order: once for each, and a purge without a gap.
func TestDeletedListKeepsOrder(t *testing.T) {
	now := noon
	c := newCaller(t, Config{Now: func() time.Time { return now }, VisibilityLag: time.Minute})
	var ids []string
	for i := range 40 {
		ids = append(ids, c.Insert("Leads", Record{"Last_Name": fmt.Sprint(i)}))
	}
	c.Delete("Leads", ids...)
	now = now.Add(time.Minute)
	for _, act := range []func(){
		func() {
			for _, id := range ids {
				c.Restore("Leads", id, false)
			}
			c.Delete("Leads", ids...)
		},
		func() { c.Purge("Leads", ids...) },
	} {
		act()
		for range 60 {
			now = now.Add(time.Second)
			times := map[string]int{}
			_, lines := c.deletedLines("type=all")
			for _, line := range lines {
				times[line[:19]]++
			}
			for _, id := range ids {
				if times[id] > 1 || times[id] == 0 && c.line(t, id).permanent {
					t.Fatalf("%s: %s is on the list %d times", now, id, times[id])
				}
			}
		}
	}
}

// line is the present line of a record.
func (c *caller) line(t *testing.T, id string) tombstone {
	t.Helper()
	m := c.module("Leads")
	return m.line(m.entry(id))
}

// Converted leads are hidden from reads, and not deleted.
func TestConvertedIsNotDeleted(t *testing.T) {
	c := newCaller(t, Config{})
	id, other := c.Insert("Leads", Record{"Last_Name": "Boyle"}), c.Insert("Leads", Record{"Last_Name": "Other"})
	c.Convert(id, true)
	if status, _ := c.deletedLines(""); status != 204 {
		t.Errorf("the deleted list: %d", status)
	}
	for converted, want := range map[string][]string{"": {other}, "&converted=false": {other}, "&converted=true": {id}, "&converted=both": {other, id}} {
		_, got := c.call(http.MethodGet, "/crm/v8/Leads?fields=id&ids="+id+","+other+",5,x"+converted, "")
		var found []string
		for _, row := range got["data"].([]any) {
			found = append(found, row.(map[string]any)["id"].(string))
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("%q (-want +got):\n%s", converted, diff)
		}
	}
	counts := []any{c.count("id is not null"), c.count("Converted__s = true"), c.count("Converted__s = false"), c.count("(Converted__s = true or Converted__s = false)")}
	if diff := cmp.Diff([]any{1.0, 1.0, 1.0, 2.0}, counts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.config.ConvertedApart = true
	if n := c.count("(Converted__s = true or Converted__s = false)"); n != 1.0 {
		t.Errorf("both states at once: %v", n)
	}
}

// Each order of the deleted list shows the same lines; only the shifting one changes
// between two pages.
func TestDeletedOrder(t *testing.T) {
	list := func(order DeletedOrder) (first, second []string) {
		now := noon
		c := newCaller(t, Config{Now: func() time.Time { return now }, Unknowns: Unknowns{DeletedOrder: order}})
		for i := range 30 {
			c.Delete("Leads", c.Insert("Leads", Record{"Last_Name": fmt.Sprint(i)}))
			now = now.Add(time.Second)
		}
		_, first = c.deletedLines("")
		_, second = c.deletedLines("")
		return first, second
	}
	sample, again := list(OrderSample)
	if !slices.Equal(sample, again) || !strings.HasSuffix(sample[0], "17:30:29+05:30") || !strings.HasSuffix(sample[29], "17:30:00+05:30") {
		t.Errorf("the sample's order: %v, %v", sample, again)
	}
	any, anyAgain := list(OrderAny)
	shifting, shiftingAgain := list(OrderShifting)
	if slices.Equal(any, sample) || !slices.Equal(any, anyAgain) || slices.Equal(shifting, shiftingAgain) {
		t.Errorf("any: %v, %v; shifting: %v, %v", any, anyAgain, shifting, shiftingAgain)
	}
	for _, other := range [][]string{any, shifting, shiftingAgain} {
		if diff := cmp.Diff(slices.Sorted(slices.Values(sample)), slices.Sorted(slices.Values(other))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// What the deleted list says of nothing, of the very second of If-Modified-Since, and
// beyond its wall.
func TestDeletedAnswers(t *testing.T) {
	since := func(at string) []string { return []string{"If-Modified-Since", "2026-11-23T" + at + "+00:00"} }
	for empty, want := range map[int][2]int{0: {204, 304}, 200: {200, 200}, 204: {204, 204}, 304: {304, 304}} {
		c := newCaller(t, Config{Unknowns: Unknowns{DeletedEmpty: empty}})
		without, _ := c.deletedLines("")
		with, _ := c.deletedLines("", since("12:00:00")...)
		if without != want[0] || with != want[1] {
			t.Errorf("empty as %d: %d, and %d with a date", empty, without, with)
		}
		if status, got := c.call(http.MethodGet, "/crm/v8/Leads/deleted", ""); empty == 200 {
			c.answered("empty", 200, `{"data":[],"info":{"per_page":200,"count":0,"page":1,"more_records":false}}`, status, got)
		}
	}
	for _, exclusive := range []bool{false, true} {
		c := newCaller(t, Config{Unknowns: Unknowns{SinceExclusive: exclusive, DeletedWall: 40}})
		c.Delete("Leads", c.Insert("Leads", Record{"Last_Name": "x"}))
		var found []int
		for _, at := range []string{"11:59:59", "12:00:00", "12:00:01"} {
			_, lines := c.deletedLines("per_page=20", since(at)...)
			found = append(found, len(lines))
		}
		if diff := cmp.Diff([]int{1, map[bool]int{false: 1, true: 0}[exclusive], 0}, found); diff != "" {
			t.Errorf("exclusive %v (-want +got):\n%s", exclusive, diff)
		}
		status, got := c.call(http.MethodGet, "/crm/v8/Leads/deleted?page=3&per_page=20", "")
		c.answered("beyond the wall", 400, `{"code":"DISCRETE_PAGINATION_LIMIT_EXCEEDED","details":{"limit":40},"message":"page is limited to 40 records","status":"error"}`, status, got)
	}
	c := newCaller(t, Config{})
	if status, _ := c.deletedLines("page=11"); status != 204 {
		t.Errorf("no wall: %d", status)
	}
}

// Drafts and what is in the trash are shown, or hidden from some reads.
func TestDrafts(t *testing.T) {
	for drafts, want := range map[Drafts]string{DraftsShown: "2 2 200", DraftsNotInCOQL: "0 2 200", DraftsHiddenByAll: "0 0 204"} {
		c := newCaller(t, Config{Unknowns: Unknowns{Drafts: drafts}})
		ids := []string{c.Insert("Leads", Record{"Last_Name": "a", "Record_Status__s": "Draft"}), c.Insert("Leads", Record{"Last_Name": "b", "Record_Status__s": "Trash"}),
			c.Insert("Leads", Record{"Last_Name": "c", "Record_Status__s": "Available"}), c.Insert("Leads", Record{"Last_Name": "d"})}
		_, listed := c.call(http.MethodGet, "/crm/v8/Leads?fields=id", "")
		status, _ := c.call(http.MethodGet, "/crm/v8/Leads/"+ids[0], "")
		if got := fmt.Sprint(c.count("id is not null").(float64)-2, len(listed["data"].([]any))-2, status); got != want {
			t.Errorf("%v: %s, want %s", drafts, got, want)
		}
		c.UpdateQuietly("Leads", ids[0], Record{"Record_Status__s": "Available"}) // published, behind every watermark
		if n := c.count("Last_Name = 'a'"); n != 1.0 {
			t.Errorf("a published draft: %v", n)
		}
	}
}

// in takes a hundred ids, bare or quoted.
func TestInOfIDs(t *testing.T) {
	c := newCaller(t, Config{})
	var bare, quoted []string
	for i := range 101 {
		id := c.Insert("Leads", Record{"Last_Name": fmt.Sprint(i)})
		bare, quoted = append(bare, id), append(quoted, "'"+id+"'")
	}
	for _, all := range [][]string{bare, quoted} {
		for n, want := range map[int]string{1: "200 1", 50: "200 50", 100: "200 100", 101: "400 LIMIT_EXCEEDED"} {
			status, got := c.coqlCall("select id from Leads where id in (" + strings.Join(all[:n], ", ") + ")")
			said := fmt.Sprint(status, " ", got["code"])
			if status == 200 {
				said = fmt.Sprint(status, " ", len(got["data"].([]any)))
			}
			if said != want {
				t.Errorf("%d ids: %s, want %s", n, said, want)
			}
		}
	}
	if n := c.count("id not in (" + strings.Join(bare[:100], ", ") + ")"); n != 1.0 {
		t.Errorf("not in: %v", n)
	}
}

// The ways to write an instant, and the price of a query, may be otherwise.
func TestLiteralsAndPrices(t *testing.T) {
	for _, other := range []bool{false, true} {
		c := newCaller(t, Config{Unknowns: Unknowns{LiteralMillis: other, LiteralNoZ: other, PriceByRows: other}})
		c.InsertMany("Leads", 201, func(i int) Record { return Record{"Last_Name": fmt.Sprint(i)} })
		c.ResetCalls()
		var got []string
		for _, query := range []string{"Modified_Time >= '2026-11-23T00:00:00Z' limit 1", "Modified_Time >= '2026-11-23T00:00:00.000+00:00' limit 1",
			"id is not null limit 2000", "id is not null limit 201", "id is null limit 2000"} {
			c.coqlCall("select id from Leads where " + query)
		}
		for _, call := range c.Calls() {
			got = append(got, fmt.Sprint(call.Status, " ", call.Credit))
		}
		want := []string{"200 1", "400 1", "200 3", "200 2", "204 3"}
		if other {
			want = []string{"400 1", "200 1", "200 2", "200 2", "204 1"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("other %v (-want +got):\n%s", other, diff)
		}
	}
}

// A module may be withdrawn from the user, or from the org.
func TestModulesWithdrawn(t *testing.T) {
	c := newCaller(t, Config{})
	id := c.Insert("Leads", Record{"Last_Name": "x"})
	reads := func() (said []string) {
		for _, path := range []string{"/crm/v8/Leads?fields=id", "/crm/v8/Leads/deleted", "/crm/v8/Leads/" + id} {
			status, got := c.call(http.MethodGet, path, "")
			said = append(said, fmt.Sprint(status, " ", got["code"], " ", got["details"]))
		}
		status, got := c.coqlCall("select id from Leads where id is not null")
		return append(said, fmt.Sprint(status, " ", got["code"], " ", got["details"]))
	}
	c.Forbid("Leads", true)
	refused := "403 NO_PERMISSION map[permissions:[Crm_Implied_View_Leads]]"
	if diff := cmp.Diff([]string{refused, refused, refused, refused}, reads()); diff != "" {
		t.Errorf("forbidden (-want +got):\n%s", diff)
	}
	c.Forbid("Leads", false)
	if status, _ := c.coqlCall("select id from Leads where id is not null"); status != 200 {
		t.Errorf("allowed again: %d", status)
	}
	c.RemoveModule("Leads")
	unknown := "400 INVALID_MODULE map[resource_path_index:0]"
	if diff := cmp.Diff([]string{unknown, unknown, unknown, "400 INVALID_MODULE map[]"}, reads()); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}

// Reads by id look at what they ask for, not at the whole module.
func BenchmarkByID(b *testing.B) {
	z := New(Config{Now: func() time.Time { return noon }})
	const n = 1_000_000
	z.InsertMany("Leads", n, func(i int) Record { return Record{"Last_Name": "x"} })
	first := uint64(5725767000000500000)
	own := rand.New(rand.NewPCG(1, 2))
	some := func() uint64 { return first + 7*own.Uint64N(n) }
	for name, query := range map[string]func() string{
		"in": func() string {
			return fmt.Sprintf("select id, Modified_Time from Leads where id in (%d, %d, %d) limit 50", some(), some(), some())
		},
		"after": func() string {
			return fmt.Sprintf("select id from Leads where id > %d order by id asc limit 200", some())
		},
		"converted": func() string {
			return fmt.Sprintf("select id from Leads where (id > %d and Converted__s = true) order by id asc limit 200", some())
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s, err := parse(query())
				if err != nil {
					b.Fatal(err)
				}
				m, err := z.check(s)
				if err != nil {
					b.Fatal(err)
				}
				z.run(m, s)
			}
		})
	}
}
