package zoho_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

// shared is a token store for several clients.
type shared struct {
	mu    sync.Mutex
	kept  map[string]zoho.StoredToken
	locks sync.Mutex
}

func (s *shared) Token(_ context.Context, fingerprint string) (zoho.StoredToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[fingerprint], nil
}

func (s *shared) UpdateToken(ctx context.Context, fingerprint string, update func(context.Context, zoho.StoredToken) (zoho.StoredToken, error)) error {
	s.locks.Lock()
	defer s.locks.Unlock()
	stored, _ := s.Token(ctx, fingerprint)
	token, err := update(ctx, stored)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[fingerprint] = token
	return err
}

// start returns an org and a maker of clients, each as if in a process of its own, that share
// a token store. Their logs are searched for secrets when the test is over.
func start(t *testing.T, config zohosim.Config) (*zohosim.Zoho, func() *zoho.Client) {
	t.Helper()
	sim := zohosim.New(config)
	spy := newSpy(t)
	server := httptest.NewServer(spy.watch(sim))
	t.Cleanup(server.Close)
	store := &shared{kept: map[string]zoho.StoredToken{}}
	return sim, func() *zoho.Client { return zoho.New(credentials(server.URL, server.URL), store, spy.log()) }
}

// credentials are those that a simulated org accepts.
func credentials(accounts, api string) zoho.Config {
	return zoho.Config{
		AccountsURL: accounts, APIURL: api, ClientID: zohosim.DefaultClientID,
		ClientSecret: zohosim.DefaultClientSecret, RefreshToken: zohosim.DefaultRefreshToken,
	}
}

var leadsQuery = zoho.Query{Module: "Leads", Columns: []string{"Last_Name", "Modified_Time"}, OrderBy: "Modified_Time", Limit: 200}

// Many leads share one second; the keyset reads each once, in pages.
func TestQueryPagesByKeyset(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	sim, client := start(t, zohosim.Config{Now: func() time.Time { return now }})
	sim.InsertMany("Leads", 25, func(i int) zohosim.Record { return zohosim.Record{"Last_Name": fmt.Sprint("Lead ", i)} })

	c, q, seen := client(), leadsQuery, map[string]string{}
	q.Limit = 10
	for pages := 1; ; pages++ {
		page, err := c.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range page.Records {
			var lead struct {
				ID   string `json:"id"`
				Name string `json:"Last_Name"`
			}
			if err := json.Unmarshal(record, &lead); err != nil || seen[lead.ID] != "" {
				t.Fatalf("record %s given twice or broken: %v", record, err)
			}
			seen[lead.ID], q.After = lead.Name, zoho.Cursor{Time: now, ID: lead.ID}
		}
		if !page.More {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
	}
	want := map[string]string{}
	for id, record := range sim.Truth("Leads") {
		want[id] = record["Last_Name"].(string)
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("leads (-truth +read):\n%s", diff)
	}
	if refused := sim.Refused(); refused != nil {
		t.Errorf("the client asked for what is not documented: %v", refused)
	}
}

// Converted leads are hidden from all queries that do not ask for them.
func TestQueryHidesConverted(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	id := sim.Insert("Leads", zohosim.Record{"Last_Name": "Boyle"})
	sim.Convert(id, false)
	c, q := client(), leadsQuery
	plain, err := c.Query(t.Context(), q)
	if err != nil || len(plain.Records) != 0 {
		t.Errorf("plain: %v %v", plain, err)
	}
	q.Filter = "Converted__s = true"
	converted, err := c.Query(t.Context(), q)
	if err != nil || len(converted.Records) != 1 {
		t.Errorf("converted: %v %v", converted, err)
	}
}

// Cold processes side by side share one access token.
func TestOneTokenForAll(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := client().Query(t.Context(), leadsQuery); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	sim.ExpireTokens() // a rejected token is replaced once
	if _, err := client().Query(t.Context(), leadsQuery); err != nil {
		t.Error(err)
	}
	if n := sim.Minted(); n != 2 {
		t.Errorf("%d tokens minted, want 2", n)
	}
}

func TestUnknownColumnAndScope(t *testing.T) {
	sim, client := start(t, zohosim.Config{})
	q := leadsQuery
	q.Columns = []string{"Nonsense"}
	_, err := client().Query(t.Context(), q)
	if column, ok := zoho.UnknownColumn(err); !ok || column != "Nonsense" {
		t.Errorf("error %v", err)
	}
	sim.SetScopes("ZohoCRM.modules.leads.READ", "ZohoCRM.coql.READ")
	if _, err := client().Fields(t.Context(), "Leads"); !zoho.IsScope(err) {
		t.Errorf("error %v, want a missing scope", err)
	}
}
