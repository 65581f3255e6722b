package docs

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

// BenchmarkSizes measures what sizing.md says: bytes a row, WAL and credits of a first load,
// of idle ticks and of a tick with edits.
func BenchmarkSizes(b *testing.B) {
	for b.Loop() {
		sim := zohosim.New(zohosim.Config{})
		measure(b, sim, sim.Populate(7, 40_000, 20_000))
		b.Log("and with 20 custom fields, all of them set, and a description of 300 letters:")
		sim = zohosim.New(zohosim.Config{})
		wide := sim.Populate(7, 100, 100)
		record := zohosim.Record{"Description": strings.Repeat("What a sales person notes. ", 11)}
		for i := range 20 {
			name := fmt.Sprint("Custom_", i)
			sim.AddField("Leads", zohosim.Field{API: name, Type: "text", Custom: true})
			record[name] = fmt.Sprint("a value of field ", i)
		}
		sim.InsertMany("Leads", 20_000, func(i int) zohosim.Record {
			lead := maps.Clone(record)
			lead["Last_Name"], lead["Company"], lead["Email"] = fmt.Sprint("Lead ", i), fmt.Sprint("Company ", i), fmt.Sprintf("lead%d@example.com", i)
			return lead
		})
		measure(b, sim, wide)
	}
}

// What the benchmark measures holds at a small size too: an idle tick writes no mirror row
// and costs the credits that sizing.md counts with.
func TestSizes(t *testing.T) {
	t.Parallel()
	sim := zohosim.New(zohosim.Config{})
	for module, cost := range measure(t, sim, sim.Populate(7, 300, 300)) {
		if want := idleCredits[module]; cost < want || cost > want+1 { // the list of deletions may still name the last one
			t.Errorf("an idle tick of %s costs %d credits; sizing.md counts with %d, and 1 for the list of deletions", module, cost, want)
		}
	}
}

// idleCredits are those of a tick that finds nothing, metadata and the list of deletions aside.
var idleCredits = map[string]int64{"leads": 3, "deals": 1}

// measure fills a mirror and reports its sizes; it returns the credits of an idle tick.
func measure(t testing.TB, sim *zohosim.Zoho, live func(context.Context, time.Duration)) map[string]int64 {
	ctx := t.Context()
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	address := pgtest.Database(t)
	m, err := mirror.Open(ctx, mirror.Config{Deadline: 10 * time.Minute, Overlap: 2 * time.Second, StaleAfter: time.Hour, PageSize: 2000, MassDelete: 100, Retention: 90 * 24 * time.Hour},
		zoho.Config{AccountsURL: server.URL, APIURL: server.URL, ClientID: zohosim.DefaultClientID, ClientSecret: zohosim.DefaultClientSecret, RefreshToken: zohosim.DefaultRefreshToken},
		address, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	conn := connect(t, address)
	pass := func(what string) map[string]int64 {
		credits := map[string]int64{}
		for _, name := range crm.Modules() {
			module, _ := crm.Find(name)
			before := number(t, conn, "SELECT pg_current_wal_insert_lsn() - '0/0'")
			result, err := m.Run(ctx, mirror.Request{Module: module})
			if err != nil || result.More {
				t.Fatalf("%s: %+v %v", name, result, err)
			}
			wal := number(t, conn, "SELECT pg_current_wal_insert_lsn() - '0/0'") - before
			credits[name] = number(t, conn, "SELECT credits FROM sync_runs WHERE id = $1", result.RunID)
			t.Logf("%-22s %s: %d inserted, %d updated, %d pages, %d credits, %d calls, %d bytes of WAL, %d ms", what, name, result.Counts.Inserted, result.Counts.Updated,
				result.Counts.Pages, credits[name], number(t, conn, "SELECT calls FROM sync_runs WHERE id = $1", result.RunID), wal, result.Duration.Milliseconds())
		}
		return credits
	}
	pass("first load")
	for _, name := range crm.Modules() {
		rows := number(t, conn, "SELECT count(*) FROM "+name)
		t.Logf("%s: %d rows, %d bytes a row in the table, %d in indexes", name, rows,
			number(t, conn, fmt.Sprintf("SELECT pg_table_size('%s')", name))/rows, number(t, conn, fmt.Sprintf("SELECT pg_indexes_size('%s')", name))/rows)
	}
	for _, index := range []string{"leads_pkey", "leads_id_order_idx", "leads_modified_time_idx", "leads_lead_status_idx", "leads_owner_id_idx", "leads_custom_fields_idx"} {
		t.Logf("%s: %d bytes a row", index, number(t, conn, fmt.Sprintf("SELECT pg_relation_size('%s') / count(*) FROM leads", index)))
	}
	pass("again")
	idle := pass("idle")
	working, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	live(working, time.Second/200)
	pass("after some 200 edits")
	if _, err := conn.Exec(ctx, `INSERT INTO sync_runs (id, module, started_at, ended_at, status, records_processed, pages, watermark, reason, calls, credits, trigger, caught_up)
		SELECT gen_random_uuid(), module, started_at, ended_at, status, records_processed, pages, watermark, reason, calls, credits, trigger, caught_up
		FROM sync_runs, generate_series(1, 1000)`); err != nil {
		t.Fatal(err)
	}
	t.Logf("sync_runs: %d bytes a row with indexes", number(t, conn, "SELECT (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'sync_runs'::regclass)::bigint / count(*) FROM sync_runs"))
	if _, err := conn.Exec(ctx, `INSERT INTO sync_deletions (module, record_id, kind, deleted_at, state, listing, checked_at, due_at)
		SELECT 'leads', 5725767000001000000 + i, 'recycle', now(), 'confirmed', 1, now(), now() FROM generate_series(1, 20000) i`); err != nil {
		t.Fatal(err)
	}
	t.Logf("sync_deletions: %d bytes a row with indexes", number(t, conn, "SELECT pg_total_relation_size('sync_deletions') / count(*) FROM sync_deletions"))
	return idle
}

func number(t testing.TB, conn *pgx.Conn, sql string, args ...any) (n int64) {
	t.Helper()
	if err := conn.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}
