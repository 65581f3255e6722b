package postgres

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
	"pgregory.net/rapid"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
)

// A decimal that is encoded here is, digit by digit, what PostgreSQL reads from its text.
func TestNumericIsExact(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	conn, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	check := func(fail func(string, ...any), text string) {
		var a arrays
		if !a.numeric(text) {
			return // left to PostgreSQL
		}
		result := conn.Conn().PgConn().ExecParams(t.Context(), "SELECT $1::numeric::text, $2::numeric::text",
			[][]byte{a.buf[4:], []byte(text)}, []uint32{pgtype.NumericOID, pgtype.TextOID}, []int16{1, 0}, nil).Read()
		if result.Err != nil || string(result.Rows[0][0]) != string(result.Rows[0][1]) {
			fail("%s: %v %s", text, result.Err, result.Rows)
		}
	}
	for _, text := range []string{"0", "-0", "0.0", "-0.005", "1e11", "25.10000", "12345678901234.56", "100E-2", "0.1e-1", "+7", ".5", "5.", "10000", "9999.9999",
		"1e-300", "123456789012345678901234567890.123456789", "1e400", "00012.3400"} {
		check(t.Errorf, text)
	}
	rapid.Check(t, func(rt *rapid.T) {
		check(rt.Errorf, rapid.StringMatching(`-?[0-9]{1,25}(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?`).Draw(rt, "text"))
	})
}

// After a page that was all new the next one is taken to be new as well; where it is not,
// it is written like any other.
func TestPageAfterANewOne(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	run := claim(t, s, "leads")
	plan := run.Module.Plan(crm.Metadata{Money: run.Money})
	w := run.Writer(plan)
	write := func(records ...string) Counts {
		t.Helper()
		counts, err := w.Page(t.Context(), plan.Map(values(records)), Checkpoint{Stream: crm.StreamModified, Watermark: noon})
		if err != nil {
			t.Fatal(err)
		}
		return counts
	}
	at, later := "2026-01-01T10:00:00Z", "2026-01-01T10:00:01Z"
	same(t, "new", Counts{Processed: 2, Inserted: 2, Pages: 1}, write(lead(1, at, ""), lead(2, at, "")))
	same(t, "new again", Counts{Processed: 2, Inserted: 2, Pages: 1}, write(lead(3, at, ""), lead(4, at, "")))
	same(t, "not new", Counts{Processed: 4, Inserted: 1, Updated: 1, Unchanged: 2, Pages: 1},
		write(lead(1, later, `,"Company":"A"`), lead(2, at, ""), lead(3, "2025-01-01T00:00:00Z", `,"Company":"X"`), lead(5, at, "")))
	same(t, "all new", Counts{Processed: 2, Inserted: 2, Pages: 1}, write(lead(6, at, ""), lead(7, at, "")))
	same(t, "new and bad", Counts{Processed: 3, Inserted: 2, Quarantined: 1, Pages: 1}, write(lead(8, at, ""), lead(9, at, `,"Rating":"Nine"`), lead(10, at, "")))
	var want []object
	for _, id := range []int{1, 2, 3, 4, 5, 6, 7, 8, 10} {
		row := object{"id": fmt.Sprint(id), "modified_time": "2026-01-01T10:00:00+00:00", "custom_fields": object{}, "run_id": run.ID.String()}
		if id == 1 {
			row["modified_time"], row["company"] = "2026-01-01T10:00:01+00:00", "A"
		}
		want = append(want, row)
	}
	same(t, "leads", want, stored(t, s, "leads"))
}

// A team may add columns of its own and change types that PostgreSQL can cast.
func TestTablesMayBeChanged(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	run(t, s.pool.Config().ConnString(), "DROP VIEW leads_live") // PostgreSQL lets nobody change a column that a view shows
	for _, change := range []string{
		"ALTER TABLE leads ADD own text DEFAULT 'mine', ADD page_ord int", "ALTER TABLE leads DROP fax; ALTER TABLE leads ADD fax text",
		"ALTER TABLE leads ALTER phone TYPE varchar(50)", "ALTER TABLE leads ALTER no_of_employees TYPE int",
	} {
		run(t, s.pool.Config().ConnString(), change)
		r := claim(t, s, "leads")
		id := 1000 + len(change) // another for each change
		mustPage(t, r, crm.Metadata{}, lead(id, "2026-01-01T10:00:00Z", `,"Phone":"1","Fax":"2","No_of_Employees":3,"Annual_Revenue":4.50`))
		same(t, change, []object{{"phone": "1", "fax": "2", "no_of_employees": 3.0, "annual_revenue": 4.5, "own": "mine"}},
			rows(t, s, "SELECT phone, fax, no_of_employees, annual_revenue, own FROM leads WHERE id = $1", fmt.Sprint(id)))
		if err := r.Close(t.Context(), Counts{}, Outcome{}); err != nil {
			t.Fatal(err)
		}
	}
}
