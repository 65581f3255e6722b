package docs

import (
	"fmt"
	"log/slog"
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

const (
	person  = "A Person"
	address = "person@example.com"
)

// The statements of erasure.md find a person's records and leave nothing of them in any
// table; what Zoho still has comes back with its next edit, as the page says.
func TestErasure(t *testing.T) {
	t.Parallel()
	sim := zohosim.New(zohosim.Config{})
	lead := sim.Insert("Leads", zohosim.Record{"Last_Name": person, "Email": address})
	misfit := sim.Insert("Leads", zohosim.Record{"Last_Name": person, "Secondary_Email": address, "Lead_Status": "nobody knows this"})
	deal := sim.Insert("Deals", zohosim.Record{"Deal_Name": "A deal", "Description": "Ask " + person + ", " + address})
	sim.Insert("Leads", zohosim.Record{"Last_Name": "Another", "Email": "other@example.com"})
	sim.Insert("Deals", zohosim.Record{"Deal_Name": "Another"})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	database := pgtest.Database(t)
	m, err := mirror.Open(t.Context(), mirror.Config{Deadline: time.Minute, Overlap: 2 * time.Second, StaleAfter: time.Hour, PageSize: 2000, MassDelete: 100, Retention: 90 * 24 * time.Hour},
		zoho.Config{AccountsURL: server.URL, APIURL: server.URL, ClientID: zohosim.DefaultClientID, ClientSecret: zohosim.DefaultClientSecret, RefreshToken: zohosim.DefaultRefreshToken},
		database, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	run := func() {
		t.Helper()
		for _, name := range crm.Modules() {
			module, _ := crm.Find(name)
			if result, err := m.Run(t.Context(), mirror.Request{Module: module}); err != nil || result.More {
				t.Fatalf("%s: %+v %v", name, result, err)
			}
		}
	}
	run()

	conn := connect(t, database)
	blocks := Blocks("erasure.md", page(t, "erasure.md"))
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of SQL in erasure.md, want those of looking, erasing and retaining", len(blocks))
	}
	if found := lookup(t, conn, blocks[0].Text); fmt.Sprint(found) != fmt.Sprint([]string{"leads " + lead, "deals " + deal, "leads " + misfit}) {
		t.Errorf("found %v", found)
	}

	for _, id := range []string{lead, misfit} {
		sim.Delete("Leads", id)
	}
	sim.Delete("Deals", deal)
	run()
	if left := traces(t, conn); len(left) != 3 { // what the page says a deletion leaves
		t.Errorf("after the deletion in Zoho a person is found in %v, want leads, deals and sync_quarantine", left)
	}
	erase := strings.NewReplacer("5725767000000500001", lead, "5725767000000500002", misfit, "5725767000000500003", deal).Replace(blocks[1].Text)
	execute(t, conn, erase)
	if left := traces(t, conn); len(left) != 0 {
		t.Errorf("after the erasure a person is found in %v", left)
	}
	run()
	if left := traces(t, conn); len(left) != 0 {
		t.Errorf("after the next run a person is found in %v", left)
	}
	if rows := number(t, conn, "SELECT (SELECT count(*) FROM leads) + (SELECT count(*) FROM deals)"); rows != 2 {
		t.Errorf("%d rows of others, want 2", rows)
	}

	sim.Restore("Leads", lead, true)
	sim.Update("Leads", lead, zohosim.Record{"City": "Springfield"})
	run()
	if left := traces(t, conn); len(left) != 1 {
		t.Errorf("restored and edited in Zoho, a person is found in %v, want leads", left)
	}

	execute(t, conn, "UPDATE leads SET deleted_at = now() - interval '181 days' WHERE id = '"+lead+"'")
	execute(t, conn, blocks[2].Text)
	if left := traces(t, conn); len(left) != 0 {
		t.Errorf("after the retention a person is found in %v", left)
	}
}

func execute(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%v in %s", err, sql)
	}
}

// lookup runs statements and returns the first two columns of all their rows.
func lookup(t *testing.T, conn *pgx.Conn, sql string) (found []string) {
	t.Helper()
	results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%v in %s", err, sql)
	}
	for _, result := range results {
		for _, row := range result.Rows {
			found = append(found, string(row[0])+" "+string(row[1]))
		}
	}
	return found
}

// traces are the tables that hold a person's name or address anywhere.
func traces(t *testing.T, conn *pgx.Conn) (tables []string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range all {
		if n := number(t, conn, fmt.Sprintf("SELECT count(*) FROM %[1]s t WHERE t::text ILIKE '%%' || $1 || '%%' OR t::text ILIKE '%%' || $2 || '%%'", table), person, address); n > 0 {
			tables = append(tables, table)
		}
	}
	return tables
}
