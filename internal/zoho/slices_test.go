package zoho_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"zohomirror/internal/panics"
	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

var slicedQuery = zoho.Query{Module: "Leads", Columns: []string{"Modified_Time", "City"},
	Further: [][]string{{"Modified_Time", "Street"}, {"State", "Modified_Time"}}, OrderBy: "Modified_Time", Limit: 200}

// clock is the time of a simulated org whose requests overlap.
type clock struct{ seconds atomic.Int64 }

// at starts a clock.
func at(start time.Time) *clock {
	c := &clock{}
	c.seconds.Store(start.Unix())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(c.seconds.Load(), 0).UTC() }
func (c *clock) Advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// queries are the texts of all queries so far.
func queries(sim *zohosim.Zoho) (all []string) {
	for _, call := range sim.Calls() {
		if call.Query != "" { // a token has none
			all = append(all, call.Query)
		}
	}
	return all
}

// Slices ask for the same records; nothing to read costs one call; what cannot be compared
// is not sent.
func TestSlicedQuery(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	c := client()
	if page, err := c.Query(t.Context(), slicedQuery); err != nil || len(page.Records) != 0 || len(queries(sim)) != 1 {
		t.Errorf("nothing to read: %v, %v", page, err)
	}
	id := sim.Insert("Leads", zohosim.Record{"City": "Porto", "Street": "Rua", "State": nil})
	sim.ResetCalls()
	page, err := c.Query(t.Context(), slicedQuery)
	if err != nil {
		t.Fatal(err)
	}
	const rest = " from Leads where id is not null order by Modified_Time asc, id asc limit 200"
	got := map[string]bool{}
	for _, q := range queries(sim) {
		got[q] = true
	}
	want := map[string]bool{"select id, Modified_Time, City" + rest: true, "select id, Modified_Time, Street" + rest: true, "select id, State, Modified_Time" + rest: true}
	if diff := cmp.Diff(want, got); diff != "" || len(sim.Calls()) != 3 || sim.Calls()[0].Query != "select id, Modified_Time, City"+rest {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
	var record map[string]any
	if err := json.Unmarshal(page.Records[0], &record); err != nil {
		t.Fatal(err)
	}
	delete(record, "Modified_Time")
	if diff := cmp.Diff(map[string]any{"id": id, "City": "Porto", "Street": "Rua", "State": nil}, record); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	sim.ResetCalls()
	for _, q := range []zoho.Query{
		{Module: "Leads", Columns: []string{"City"}, Further: [][]string{{"Modified_Time"}}, Limit: 1},
		{Module: "Leads", Columns: []string{"Modified_Time"}, Further: [][]string{{"Modified_Time"}, {"City"}}, Limit: 1},
		{Module: "Leads", Columns: []string{"Modified_Time"}, Further: [][]string{{"Modified_Time", "a, b"}}, Limit: 1},
	} {
		if _, err := c.Query(t.Context(), q); err == nil {
			t.Errorf("sent: %+v", q)
		}
	}
	if n := len(sim.Calls()); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// A query of one slice is one call, and its records are its places.
func TestOneSliceIsOneCall(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	sim.InsertMany("Leads", 3, func(int) zohosim.Record { return zohosim.Record{"Last_Name": "Boyle"} })
	page, err := client().Query(t.Context(), leadsQuery)
	if err != nil || len(page.Records) != 3 || &page.Records[0] != &page.Places[0] || len(page.Places) != 3 {
		t.Errorf("%+v, %v", page, err)
	}
	want := []string{"select id, Last_Name, Modified_Time from Leads where id is not null order by Modified_Time asc, id asc limit 200"}
	if diff := cmp.Diff(want, queries(sim)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Few torn records are read again by their ids, many with the whole page; when that is of no
// use, the page ends early.
func TestTornRecordsAreReadAgain(t *testing.T) {
	for name, c := range map[string]struct {
		torn, times            int
		calls, records, places int
		more                   bool
	}{
		"one":               {torn: 1, times: 1, calls: 3 + 3, records: 120, places: 120},
		"fifty":             {torn: 50, times: 1, calls: 3 + 3, records: 120, places: 120},
		"many":              {torn: 120, times: 1, calls: 3 + 3, records: 120, places: 120},
		"one, always":       {torn: 1, times: 100, calls: 3 + 3*3, records: 119, places: 120},
		"many, twice":       {torn: 120, times: 2, calls: 3 * 3, records: 120, places: 120},
		"many, three times": {torn: 120, times: 3, calls: 3*3 + 3, records: 50, places: 50, more: true},
		"many, always":      {torn: 120, times: 100, calls: 3*3 + 3*3, records: 0, places: 50, more: true},
	} {
		t.Run(name, func(t *testing.T) {
			now := at(noon)
			sim, client := start(t, zohosim.Config{Now: now.Now})
			var ids []string
			for i := range 120 {
				ids = append(ids, sim.Insert("Leads", zohosim.Record{"City": fmt.Sprint(i)}))
			}
			edits := 0
			sim.OnCall(func(call zohosim.Call) {
				if strings.Contains(call.Query, "State") && edits < c.times { // the last slice
					edits++
					now.Advance(time.Second)
					sim.MassUpdate("Leads", ids[:c.torn], zohosim.Record{"Street": fmt.Sprint(edits)})
				}
			})
			page, err := client().Query(t.Context(), slicedQuery)
			if err != nil {
				t.Fatal(err)
			}
			if n := calls(sim, "/crm/"); n != c.calls || len(page.Records) != c.records || len(page.Places) != c.places || page.More != c.more {
				t.Errorf("%d calls, %d records, %d places, more %v: want %+v", n, len(page.Records), len(page.Places), page.More, c)
			}
			if refused := sim.Refused(); refused != nil {
				t.Errorf("the client asked for what is not documented: %v", refused)
			}
		})
	}
}

// Converted leads, which only their own criterion shows, are read again as well.
func TestTornConvertedLead(t *testing.T) {
	now := at(noon)
	sim, client := start(t, zohosim.Config{Now: now.Now})
	id := sim.Insert("Leads", zohosim.Record{"City": "Porto"})
	sim.Convert(id, false)
	edited := false
	sim.OnCall(func(call zohosim.Call) {
		if strings.Contains(call.Query, "State") && !edited {
			edited = true
			now.Advance(time.Second)
			sim.Update("Leads", id, zohosim.Record{"City": "Lisboa"})
		}
	})
	q := slicedQuery
	q.Filter, q.OrderBy, q.Columns = "Converted__s = true", "Converted_Date_Time", append([]string{"Converted_Date_Time"}, q.Columns...)
	page, err := client().Query(t.Context(), q)
	if err != nil || len(page.Records) != 1 || !strings.Contains(string(page.Records[0]), "Lisboa") || !strings.Contains(string(page.Places[0]), "Porto") {
		t.Errorf("%s, %v", page.Records, err)
	}
}

// A run that has no time to read torn records again goes on without them.
func TestTornWithoutTime(t *testing.T) {
	t.Parallel()
	now := at(noon)
	sim, client := start(t, zohosim.Config{Latency: 1500 * time.Millisecond, Now: now.Now})
	ids := []string{sim.Insert("Leads", zohosim.Record{"City": "Porto"}), sim.Insert("Leads", zohosim.Record{"City": "Lisboa"})}
	sim.OnCall(func(call zohosim.Call) {
		if strings.Contains(call.Query, "State") {
			now.Advance(time.Second)
			sim.Update("Leads", ids[0], zohosim.Record{"City": "Braga"})
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second) // of which the page takes three
	defer cancel()
	page, err := client().Query(ctx, slicedQuery)
	if err != nil || len(page.Records) != 1 || len(page.Places) != 2 {
		t.Errorf("%+v, %v", page, err)
	}
}

// Slices that are too large together are so as one answer would be.
func TestSlicesTooLarge(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	body := `{"data":[{"id":"1","Modified_Time":null,"City":"` + strings.Repeat("x", 12<<20) + `"}],"info":{"count":1,"more_records":false}}`
	sim.Plan(3, nil, zohosim.Fault{Status: 200, Body: body})
	if _, err := client().Query(t.Context(), slicedQuery); !errors.Is(err, zoho.ErrPageTooLarge) {
		t.Errorf("error %v", err)
	}
}

// A page is as of its earliest slice, and by Zoho's clock only if all are.
func TestSlicedPageIsDated(t *testing.T) {
	for _, step := range []time.Duration{time.Minute, -time.Minute} {
		now := at(noon)
		sim, client := start(t, zohosim.Config{Now: now.Now})
		sim.InsertMany("Leads", 3, func(int) zohosim.Record { return zohosim.Record{"Last_Name": "Boyle"} })
		sim.OnCall(func(zohosim.Call) { now.Advance(step) })
		page, err := client().Query(t.Context(), slicedQuery)
		if earliest := min(step, 0); err != nil || !page.ZohoClock || page.AsOf.After(noon.Add(earliest)) {
			t.Errorf("%+v, %v", page, err)
		}
	}
}

// Whatever happens between any two calls, records are whole, and what a page lacks of its
// places has changed since.
func TestSlicedPagesAreWhole(t *testing.T) {
	now := at(noon)
	sim, client := start(t, zohosim.Config{Now: now.Now})
	c := client()
	rapid.Check(t, func(rt *rapid.T) {
		ids := rapid.IntRange(1, 80).Draw(rt, "records")
		own := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		calm := rapid.IntRange(1, 6).Draw(rt, "calm")
		now.Advance(time.Second)
		start, version, live := now.Now(), 0, []string{}
		fill := func() zohosim.Record {
			version++
			return zohosim.Record{"City": fmt.Sprint(version), "Street": fmt.Sprint(version), "State": fmt.Sprint(version)}
		}
		for range ids {
			live = append(live, sim.Insert("Leads", fill()))
		}
		var mu sync.Mutex
		sim.OnCall(func(zohosim.Call) {
			mu.Lock()
			defer mu.Unlock()
			for range own.IntN(8) / calm {
				now.Advance(time.Second)
				i := own.IntN(len(live))
				switch own.IntN(4) {
				case 0:
					sim.MassUpdate("Leads", live[i:], fill())
				case 1:
					sim.Convert(live[i], own.IntN(2) == 0)
					live = append(live[:i:i], append([]string{sim.Insert("Leads", fill())}, live[i+1:]...)...)
				default:
					sim.Update("Leads", live[i], fill())
				}
			}
		})
		q := slicedQuery
		q.After = zoho.Cursor{Time: start}
		q.Limit = rapid.SampledFrom([]int{7, 60, 200}).Draw(rt, "limit")
		began := now.Now()
		page, err := c.Query(t.Context(), q)
		sim.OnCall(nil)
		if err != nil {
			rt.Fatal(err)
		}
		read := map[string]bool{}
		for _, text := range page.Records {
			var r struct{ ID, City, Street, State string }
			if err := json.Unmarshal(text, &r); err != nil || r.City != r.Street || r.City != r.State || r.City == "" {
				rt.Errorf("torn: %s, %v", text, err)
			}
			read[r.ID] = true
		}
		truth := sim.Truth("Leads")
		for _, text := range page.Places {
			var r struct{ ID string }
			if err := json.Unmarshal(text, &r); err != nil {
				rt.Fatal(err)
			}
			record := truth[r.ID]
			if at, _ := record["Modified_Time"].(time.Time); !read[r.ID] && !at.After(began) && record["Converted__s"] != true {
				rt.Errorf("%s is left out, and was not touched", r.ID)
			}
		}
		sim.Purge("Leads", func() (all []string) {
			for id := range sim.Truth("Leads") {
				all = append(all, id)
			}
			return all
		}()...)
	})
}

// fuse is a log handler that panics where a call is sent again, but not before its context
// has ended.
type fuse struct {
	slog.Handler
	lit chan struct{}
}

func (f fuse) Enabled(context.Context, slog.Level) bool { return true }

func (f fuse) Handle(ctx context.Context, line slog.Record) error {
	if line.Message == "a call to Zoho is sent again" {
		close(f.lit)
		<-ctx.Done()
		panic("the fuse has blown")
	}
	return nil
}

// A panic in a slice is one of whoever asked for the page, also when another slice has failed
// before it.
func TestPanicInASlice(t *testing.T) {
	sim := zohosim.New(zohosim.Config{})
	burning := fuse{slog.DiscardHandler, make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(body, []byte("Street")) {
			<-burning.lit
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		sim.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	client := zoho.New(credentials(server.URL, server.URL), &shared{kept: map[string]zoho.StoredToken{}}, slog.New(burning))
	t.Cleanup(client.Close)
	sim.Insert("Leads", zohosim.Record{"City": "Porto"})
	asksFor := func(column string) func(zohosim.Call) bool {
		return func(c zohosim.Call) bool { return strings.Contains(c.Query, column) }
	}
	sim.Plan(1, asksFor("State"), zohosim.Fault{Status: 500})
	sim.Plan(1, asksFor("Street"), zohosim.Fault{Status: 400, Body: `{"code":"INVALID_QUERY","details":{},"message":"no","status":"error"}`})

	err := panics.Catch(func() error { _, err := client.Query(t.Context(), slicedQuery); return err })
	var p *panics.Error
	if !errors.As(err, &p) || p.Error() != "panic: the fuse has blown" || !strings.Contains(p.Stack(), "querySheet") {
		t.Errorf("%v", err)
	}
}
