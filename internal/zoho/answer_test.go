package zoho_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

// What Zoho adds to an answer is passed over; what no client should hold is an error that
// is not asked for again.
func TestLargeAnswers(t *testing.T) {
	for kind, request := range requests {
		t.Run(kind, func(t *testing.T) {
			sim, client := start(t, zohosim.Config{})
			sim.Insert("Leads", zohosim.Record{"Last_Name": "Boyle"})
			c := client()
			sim.Plan(1, nil, zohosim.Fault{Padding: 1 << 20})
			if n, err := request(t.Context(), c); err != nil || n == 0 {
				t.Errorf("with an unknown member of 1 MB: %d, %v", n, err)
			}
			sim.ResetCalls()
			sim.Plan(1, nil, zohosim.Fault{Padding: 32 << 20})
			if _, err := request(t.Context(), c); !errors.Is(err, zoho.ErrPageTooLarge) || !strings.Contains(err.Error(), ": the answer is larger than 32 MiB") || calls(sim, "/crm/") != 1 {
				t.Errorf("with one of 32 MiB: %d calls, %v", calls(sim, "/crm/"), err)
			}
			sim.Plan(1, nil, zohosim.Fault{Status: 403, Body: `{"code":"NO_PERMISSION","message":"` + strings.Repeat("x", 60<<10) + `","status":"error"}`})
			if _, err := request(t.Context(), c); !zoho.NoPermission(err) {
				t.Errorf("a long error: %.200v", err)
			}
		})
	}
}

// Amounts keep all their digits and zeros on the way, as do ids beyond 2^53.
func TestNumbersKeepTheirText(t *testing.T) {
	const record = `{"Amount":12345678901234.56,"Big":1e11,"Rate":25.10000,"Long":12345678901234567890123.4567890,"id":"9223372036854775807"}`
	sim, client := start(t, zohosim.Config{})
	sim.Plan(1, nil, zohosim.Fault{Status: 200, Body: `{"data":[` + record + `],"info":{"count":1,"more_records":false}}`})
	page, err := client().Query(t.Context(), leadsQuery)
	if err != nil || len(page.Records) != 1 || string(page.Records[0]) != record {
		t.Errorf("%s, %v\nwant %s", page.Records, err, record)
	}
}

// No content is no error, whatever was asked for.
func TestNoContent(t *testing.T) {
	for kind, request := range requests {
		sim, client := start(t, zohosim.Config{})
		sim.Plan(1, nil, zohosim.Fault{Status: 204, Body: ""})
		if n, err := request(t.Context(), client()); err != nil || n != 0 || calls(sim, "/crm/") != 1 {
			t.Errorf("%s: %d, %v, %d calls", kind, n, err, calls(sim, "/crm/"))
		}
	}
}

// Users come in pages of 200; all are read, disabled ones too.
func TestUsersOfAllPages(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	for range 450 {
		sim.AddUser(zohosim.User{LastName: "Boyle", Status: "disabled"})
	}
	users, err := client().Users(t.Context())
	if err != nil || len(users) != len(sim.Users()) || calls(sim, "/crm/") != 3 {
		t.Errorf("%d users of %d in %d calls, %v", len(users), len(sim.Users()), calls(sim, "/crm/"), err)
	}
	known := map[string]bool{}
	for _, user := range users {
		known[user.ID] = user.FullName != ""
	}
	for _, user := range sim.Users() {
		if !known[user.ID] {
			t.Errorf("%s is missing or has no name", user.ID)
		}
	}
}

// Every form of a query is one that Zoho's grammar takes; what could mean something else
// is not sent.
func TestQueriesAreAccepted(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	sim.Insert("Leads", zohosim.Record{"Last_Name": "Boyle"})
	c := client()
	at := time.Date(2026, 3, 29, 10, 0, 0, 0, time.FixedZone("", 3*3600))
	sent := 0
	for _, after := range []zoho.Cursor{{}, {Time: at}, {Time: at, ID: "5725767000000411001"}} {
		for _, filter := range []string{"", "Converted__s = true", "(Converted__s = true and Converted_Date_Time >= '2026-03-29T07:00:00+00:00')"} {
			for _, columns := range [][]string{{"id", "Last_Name"}, {"Last_Name", "Owner", "Modified_Time"}} {
				q := zoho.Query{Module: "Leads", Columns: columns, Filter: filter, OrderBy: "Modified_Time", After: after, Limit: 2000}
				if _, err := c.Query(t.Context(), q); err != nil {
					t.Errorf("%s: %v", q, err)
				}
				sent++
			}
		}
	}
	for name, change := range map[string]func(*zoho.Query){
		"module": func(q *zoho.Query) { q.Module = "Leads where id is not null limit 1 --" },
		"column": func(q *zoho.Query) { q.Columns = []string{"Last_Name from Contacts"} },
		"id":     func(q *zoho.Query) { q.After = zoho.Cursor{Time: at, ID: "1) or (id > 0"} },
	} {
		q := leadsQuery
		change(&q)
		var failure *zoho.Error
		if _, err := c.Query(t.Context(), q); err == nil || errors.As(err, &failure) || !strings.HasPrefix(err.Error(), "query "+q.Module+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := calls(sim, "/crm/"); n != sent || sim.Refused() != nil {
		t.Errorf("%d calls, want %d; refused: %v", n, sent, sim.Refused())
	}
}

// A page is as of the moment before Zoho read it, by Zoho's clock where it tells it.
func TestPageIsDated(t *testing.T) {
	zohos := time.Date(2026, 3, 29, 10, 0, 0, 0, time.UTC)
	for _, silent := range []bool{false, true} {
		sim, client := start(t, zohosim.Config{NoDate: silent, Now: func() time.Time { return zohos }})
		c, before := client(), time.Now()
		for _, records := range []int{0, 1} { // a 204 is dated too
			sim.InsertMany("Leads", records, func(int) zohosim.Record { return zohosim.Record{"Last_Name": "Boyle"} })
			page, err := c.Query(t.Context(), leadsQuery)
			if err != nil || len(page.Records) != records || page.ZohoClock == silent {
				t.Fatalf("%+v, %v", page, err)
			}
			earliest, latest := zohos.Add(-time.Minute), zohos
			if silent {
				earliest, latest = before, time.Now()
			}
			if page.AsOf.Before(earliest) || page.AsOf.After(latest) {
				t.Errorf("as of %s, want between %s and %s", page.AsOf, earliest, latest)
			}
		}
	}
}
