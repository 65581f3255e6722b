package postgres

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zoho"
)

// stored are a table's rows without what every row has alike.
func stored(t testing.TB, s *Store, table string) []map[string]any {
	t.Helper()
	all := rows(t, s, "SELECT * FROM "+table+" ORDER BY length(id), id COLLATE \"C\"")
	for _, row := range all {
		delete(row, "synced_at")
		delete(row, "created_time")
	}
	return all
}

// A row is written when it is newer, or equally old and different; never when it is older
// or equal. Each row says which run wrote it.
func TestPageWritesWhatIsNew(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	run := claim(t, s, "leads")
	first, second := "2026-01-01T10:00:00+02:00", "2026-01-01T08:00:01Z"
	got := mustPage(t, run, crm.Metadata{}, lead(1, first, `,"Company":"A"`), lead(2, first, ""), lead(3, first, `,"Company":"C"`), lead(4, first, `,"Company":"D"`))
	same(t, "first", Counts{Processed: 4, Inserted: 4, Pages: 1}, got)
	if err := run.Close(t.Context(), got, Outcome{Reason: "complete"}); err != nil {
		t.Fatal(err)
	}

	next := claim(t, s, "leads")
	got = mustPage(t, next, crm.Metadata{},
		lead(1, second, `,"Company":"A2"`),                // newer
		lead(2, "2026-01-01T08:00:00Z", `,"Company":"B"`), // the same second, different
		lead(3, "2026-01-01T07:59:59Z", `,"Company":"X"`), // older
		lead(4, first, `,"Company":"D"`),                  // equal
		lead(5, first, ""))
	same(t, "second", Counts{Processed: 5, Inserted: 1, Updated: 2, Unchanged: 2, Pages: 1}, got)
	row := func(id, company, modified string, by *Run) object {
		r := object{"id": id, "modified_time": modified, "run_id": by.ID.String(), "custom_fields": object{}, "company": company}
		if company == "" {
			delete(r, "company")
		}
		return r
	}
	same(t, "leads", []object{
		row("1", "A2", "2026-01-01T08:00:01+00:00", next), row("2", "B", "2026-01-01T08:00:00+00:00", next),
		row("3", "C", "2026-01-01T08:00:00+00:00", run), row("4", "D", "2026-01-01T08:00:00+00:00", run),
		row("5", "", "2026-01-01T08:00:00+00:00", next),
	}, stored(t, s, "leads"))
	same(t, "checkpoint", []object{{"module": "leads", "stream": "modified", "watermark": "2026-11-23T12:00:00+00:00"}},
		rows(t, s, "SELECT module, stream, watermark, cursor_time, cursor_id FROM sync_watermarks"))
}

// An equal row is neither written nor locked: xmax tells of both.
func TestEqualRowsAreNotTouched(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	run := claim(t, s, "leads")
	var page []string
	for i := range 100 {
		page = append(page, lead(i+1, "2026-01-01T10:00:00Z", `,"Annual_Revenue":1.50,"Tag":[{"name":"a"}],"Owner":{"id":"7"},"Shoe_Size":43`))
	}
	meta := crm.Metadata{Users: map[string]string{"7": "Patricia Boyle"}, Fields: everyField(run.Module, "Shoe_Size")}
	mustPage(t, run, meta, page...)
	const trace = "SELECT id, ctid::text, xmin::text, xmax::text, synced_at, run_id FROM leads ORDER BY id"
	before := rows(t, s, trace)
	got := mustPage(t, run, meta, page...)
	same(t, "counts", Counts{Processed: 100, Unchanged: 100, Pages: 1}, got)
	same(t, "rows", before, rows(t, s, trace))
}

// everyField is metadata that lists the catalogue and what is custom.
func everyField(m *crm.Module, custom ...string) []zoho.Field {
	var fields []zoho.Field
	for _, f := range m.Fields {
		fields = append(fields, zoho.Field{APIName: f.API})
	}
	for _, name := range custom {
		fields = append(fields, zoho.Field{APIName: name, DataType: "text"})
	}
	return fields
}

// What a run did not read it does not write: columns, names and keys stay, and do not
// make a row differ.
func TestUnreadStays(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	run := claim(t, s, "leads")
	users := map[string]string{"7": "Patricia Boyle", "8": "Kenji Watanabe"}
	full := crm.Metadata{Users: users, Fields: everyField(run.Module, "Shoe_Size", "Hat")}
	at := "2026-01-01T10:00:00Z"
	mustPage(t, run, full, lead(1, at, `,"Company":"A","Owner":{"id":"7"},"Layout":{"id":"3","name":"Standard"},"Shoe_Size":43,"Hat":"red"`))

	bare := lead(1, at, `,"Company":"A","Owner":{"id":"7"},"Layout":{"id":"3"}`)
	for what, meta := range map[string]crm.Metadata{
		"without metadata": {}, "without users": {Fields: full.Fields},
		"with refused columns": {Users: users, Fields: full.Fields, Refused: []string{"Shoe_Size", "Hat", "Company"}},
	} {
		record := bare
		if what == "without users" {
			record = lead(1, at, `,"Company":"A","Owner":{"id":"7"},"Layout":{"id":"3"},"Shoe_Size":43,"Hat":"red"`)
		}
		same(t, what, Counts{Processed: 1, Unchanged: 1, Pages: 1}, mustPage(t, run, meta, record))
	}

	got := mustPage(t, run, crm.Metadata{Users: users, Fields: full.Fields, Refused: []string{"Hat", "Company"}},
		lead(1, "2026-01-01T10:00:01Z", `,"Owner":{"id":"8"},"Layout":{"id":"4"},"Shoe_Size":44`))
	same(t, "changed", Counts{Processed: 1, Updated: 1, Pages: 1}, got)
	same(t, "lead", []object{{
		"id": "1", "modified_time": "2026-01-01T10:00:01+00:00", "company": "A", "owner_id": "8", "owner_name": "Kenji Watanabe",
		"layout_id": "4", "custom_fields": object{"Shoe_Size": 44.0, "Hat": "red"}, "run_id": run.ID.String(),
	}}, stored(t, s, "leads"))
}

// Whatever the database refuses, the rest of the page is written, and the refused row is
// in the quarantine with its payload, reason and run; a newer good version settles it.
func TestRefusedRowsGoToTheQuarantine(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	own := `CREATE UNIQUE INDEX own ON leads (email)`
	if _, err := s.pool.Exec(t.Context(), own, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	run := claim(t, s, "leads")
	at := "2026-01-01T10:00:00Z"
	var records []string
	for i := range 50 {
		more := fmt.Sprintf(`,"Email":"%d@example.com"`, i)
		switch i {
		case 7:
			more += `,"Lead_Status":"Podcast","Rating":"Nine"`
		case 20:
			more = `,"Email":"3@example.com"`
		case 40:
			more += `,"Annual_Revenue":0.005`
		}
		records = append(records, lead(1000+i, at, more))
	}
	got := mustPage(t, run, crm.Metadata{}, records...)
	same(t, "counts", Counts{Processed: 50, Inserted: 47, Quarantined: 3, Pages: 1}, got)

	same(t, "faults", []object{
		{"record_id": "1007", "field": "Lead_Status", "value": "Podcast", "rule": "leads_lead_status_check", "attempts": 1.0},
		{"record_id": "1020", "rule": "own", "attempts": 1.0},
		{"record_id": "1040", "field": "Annual_Revenue", "value": "0.005", "rule": "numeric(14,2)", "attempts": 1.0},
	}, rows(t, s, "SELECT record_id, field, value, rule, attempts FROM sync_quarantine ORDER BY 1"))
	const open = "SELECT record_id, reason, payload, run_id, modified_time FROM sync_quarantine WHERE settled_at IS NULL ORDER BY 1"
	found := rows(t, s, open)
	var reasons []string
	for _, entry := range found {
		reasons = append(reasons, fmt.Sprint(entry["record_id"], " ", entry["reason"]))
		if entry["run_id"] != run.ID.String() || entry["payload"].(object)["id"] != entry["record_id"] || entry["modified_time"] != "2026-01-01T10:00:00+00:00" {
			t.Errorf("entry %v", entry)
		}
	}
	for i, want := range []string{"1007 refused by the table's leads_lead_status_check, leads_rating_check", "1020 the database refuses it", "1040 Annual_Revenue is 0.005, "} {
		if i >= len(reasons) || !strings.HasPrefix(reasons[i], want) {
			t.Errorf("reasons %q, want %q", reasons, want)
		}
	}

	// The same again changes nothing; an older good version settles nothing; a newer one does.
	before := rows(t, s, "SELECT ctid::text, * FROM sync_quarantine ORDER BY record_id")
	mustPage(t, run, crm.Metadata{}, records...)
	mustPage(t, run, crm.Metadata{}, lead(1007, "2026-01-01T09:00:00Z", ""))
	same(t, "quarantine", before, rows(t, s, "SELECT ctid::text, * FROM sync_quarantine ORDER BY record_id"))
	mustPage(t, run, crm.Metadata{}, lead(1007, "2026-01-01T10:00:01Z", ""))
	same(t, "settled", []object{{"record_id": "1007", "settled_by": run.ID.String()}},
		rows(t, s, "SELECT record_id, settled_by FROM sync_quarantine WHERE settled_at IS NOT NULL"))
}

// A CHECK that itself fails on a row, as a team's own may, still leaves the others alone.
func TestCheckThatFails(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	if _, err := s.pool.Exec(t.Context(), "ALTER TABLE leads ADD CHECK (1 / no_of_employees < 2)"); err != nil {
		t.Fatal(err)
	}
	run, at := claim(t, s, "leads"), "2026-01-01T10:00:00Z"
	got := mustPage(t, run, crm.Metadata{}, lead(1, at, ""), lead(2, at, `,"No_of_Employees":0`), lead(3, at, `,"Rating":"Nine"`), lead(4, at, ""))
	same(t, "counts", Counts{Processed: 4, Inserted: 2, Quarantined: 2, Pages: 1}, got)
	same(t, "quarantine", []object{
		{"record_id": "2", "rule": "22012", "reason": "the database refuses it: ERROR: division by zero (SQLSTATE 22012)"},
		{"record_id": "3", "rule": "leads_rating_check", "field": "Rating", "value": "Nine", "reason": `the database refuses it: ERROR: new row for relation "leads" violates check constraint "leads_rating_check" (SQLSTATE 23514)`},
	}, rows(t, s, "SELECT record_id, rule, field, value, reason FROM sync_quarantine ORDER BY record_id"))
}

// Of the database's refusals only those of a row are a row's: others fail the run, and
// nothing of the page is written.
func TestOnlyRowFaultsAreQuarantined(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	trigger := `CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.company = 'boom' THEN RAISE EXCEPTION 'boom'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER boom BEFORE INSERT ON leads FOR EACH ROW EXECUTE FUNCTION boom()`
	if _, err := s.pool.Exec(t.Context(), trigger, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	run := claim(t, s, "leads")
	_, err := page(t, run, crm.Metadata{}, lead(1, "2026-01-01T10:00:00Z", ""), lead(2, "2026-01-01T10:00:00Z", `,"company":"x","Company":"boom"`))
	if sqlState(err) != "P0001" {
		t.Errorf("error %v", err)
	}
	for _, table := range []string{"leads", "sync_quarantine", "sync_watermarks"} {
		if found := rows(t, s, "SELECT * FROM "+table); len(found) > 0 {
			t.Errorf("%s has %v", table, found)
		}
	}
}

// A run whose lock was taken over writes nothing more: no row, no quarantine, no
// checkpoint, no end of its run row.
func TestLostLockWritesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	zombie := claim(t, s, "leads")
	heir, err := s.Claim(t.Context(), Intent{Module: zombie.Module, ID: uuid.New(), Mode: ModeSync}, 0) // stale at once
	if err != nil {
		t.Fatal(err)
	}
	same(t, "runs", []object{
		{"id": zombie.ID.String(), "status": "failed", "ended": true}, {"id": heir.ID.String(), "status": "running", "ended": false},
	}, rows(t, s, "SELECT id, status, ended_at IS NOT NULL AS ended FROM sync_runs ORDER BY started_at"))

	for what, records := range map[string][]string{
		"good rows": {lead(1, "2026-01-01T10:00:00Z", "")}, "refused rows": {lead(2, "2026-01-01T10:00:00Z", `,"Rating":"Nine"`)},
		"problems": {`{"id":"3"}`}, "nothing": {},
	} {
		if _, err := page(t, zombie, crm.Metadata{}, records...); !errors.Is(err, ErrLockLost) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := zombie.Close(t.Context(), Counts{}, Outcome{}); !errors.Is(err, ErrLockLost) {
		t.Errorf("close: %v", err)
	}
	for _, table := range []string{"leads", "sync_quarantine", "sync_watermarks"} {
		if found := rows(t, s, "SELECT * FROM "+table); len(found) > 0 {
			t.Errorf("%s has %v", table, found)
		}
	}
	if err := heir.Close(t.Context(), Counts{}, Outcome{}); err != nil {
		t.Error(err)
	}
}

// A claim that meets a lock, or a lock row that a frozen transaction keeps, answers within
// seconds and leaves its row.
func TestHeldLockIsSkipped(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	run := claim(t, s, "leads")
	var held *Held
	if _, err := s.Claim(t.Context(), Intent{Module: run.Module, ID: uuid.New(), Mode: ModeSync}, time.Hour); !errors.As(err, &held) || time.Since(held.Since) > time.Minute {
		t.Fatalf("error %v", err)
	}
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), "UPDATE sync_locks SET claimed_at = clock_timestamp()"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(t.Context(), Intent{Module: run.Module, ID: uuid.New(), Mode: ModeSync}, 0); !errors.As(err, &held) {
		t.Fatalf("error %v", err)
	}
	same(t, "runs", []object{{"status": "running"}, {"status": "skipped", "reason": "lock-held"}, {"status": "skipped", "reason": "lock-held"}},
		rows(t, s, "SELECT status, reason FROM sync_runs ORDER BY started_at"))
}

// Run rows go to their month's partition.
func TestRunRowsArePartitioned(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	run := claim(t, s, "leads")
	if err := run.Close(t.Context(), Counts{}, Outcome{}); err != nil {
		t.Fatal(err)
	}
	same(t, "partition", []object{{"p": "sync_runs_" + time.Now().UTC().Format("2006_01")}}, rows(t, s, "SELECT tableoid::regclass::text AS p FROM sync_runs"))
}
