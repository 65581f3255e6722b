package postgres

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
)

const (
	benchRows = 20_000
	benchPage = 2000
)

// benchLeads are leads with most fields set and 20 custom ones, in pages.
func benchLeads(b *testing.B, run *Run) (*crm.Plan, [][]jsontext.Value) {
	b.Helper()
	var custom []string
	for i := range 20 {
		custom = append(custom, fmt.Sprintf("Custom_%d", i))
	}
	plan := run.Module.Plan(crm.Metadata{Fields: everyField(run.Module, custom...), Users: map[string]string{"5725767000000411001": "Patricia Boyle"}, Money: run.Money})
	pages := make([][]jsontext.Value, 0, benchRows/benchPage)
	for from := 0; from < benchRows; from += benchPage {
		page := make([]jsontext.Value, benchPage)
		for i := range page {
			page[i] = benchLead(b, from+i, custom)
		}
		pages = append(pages, page)
	}
	return plan, pages
}

func benchLead(b *testing.B, i int, custom []string) jsontext.Value {
	b.Helper()
	at := noon.Add(time.Duration(i) * time.Second).Format(time.RFC3339)
	record := map[string]any{
		"id": fmt.Sprintf("57257670000005%05d", i), "Created_Time": at, "Modified_Time": at, "Last_Activity_Time": at,
		"First_Name": fmt.Sprint("First", i), "Last_Name": fmt.Sprint("Last", i), "Full_Name": fmt.Sprintf("First%d Last%d", i, i),
		"Company": fmt.Sprint("Company ", i%700), "Designation": "Head of Purchasing", "Email": fmt.Sprintf("first%d@example.com", i),
		"Phone": "+1 555 0100", "Lead_Source": "Trade Show", "Lead_Status": "Contacted", "Industry": "Large Enterprise", "Rating": "Active",
		"No_of_Employees": i % 5000, "Annual_Revenue": json.Number(fmt.Sprintf("%d.25", i)), "Email_Opt_Out": false, "Converted__s": false,
		"Street": "1 Main Street", "City": "Springfield", "State": "IL", "Zip_Code": "62701", "Country": "United States",
		"Owner": map[string]string{"id": "5725767000000411001", "name": "Boyle"}, "Created_By": map[string]string{"id": "5725767000000411001"},
		"Modified_By": map[string]string{"id": "5725767000000411001"}, "Tag": []any{}, "Locked__s": false, "Record_Status__s": "Available",
	}
	for n, name := range custom {
		record[name] = fmt.Sprintf("value %d of %d", n, i%97)
	}
	text, err := json.Marshal(record)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// BenchmarkFirstLoad puts the same rows into the same table by COPY and by pages, in turns,
// since a shared machine is not equally fast for long. A share of 1 is as fast as COPY.
func BenchmarkFirstLoad(b *testing.B) {
	s := open(b, pgtest.Database(b))
	run := claim(b, s, "leads")
	plan, pages := benchLeads(b, run)
	batches := make([]crm.Batch, len(pages))
	for i, page := range pages {
		batches[i] = plan.Map(page)
	}
	writer := run.Writer(plan)
	load := func(each func(crm.Batch)) time.Duration {
		if _, err := s.pool.Exec(b.Context(), "TRUNCATE leads"); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for _, batch := range batches {
			each(batch)
		}
		return time.Since(began)
	}
	var copied, paged time.Duration
	for b.Loop() {
		copied += load(func(batch crm.Batch) { copyRows(b, s, run, plan, batch) })
		paged += load(func(batch crm.Batch) {
			if _, err := writer.Page(b.Context(), batch, Checkpoint{Stream: crm.StreamModified, Watermark: noon}); err != nil {
				b.Fatal(err)
			}
		})
	}
	rows := benchRows * float64(b.N)
	b.ReportMetric(rows/copied.Seconds(), "copied-rows/s")
	b.ReportMetric(rows/paged.Seconds(), "paged-rows/s")
	b.ReportMetric(copied.Seconds()/paged.Seconds(), "share-of-COPY")
}

// copyRows is what a loader without conflicts, fence or bookkeeping would do.
func copyRows(b *testing.B, s *Store, run *Run, plan *crm.Plan, batch crm.Batch) {
	b.Helper()
	columns := []string{"id"}
	for _, c := range plan.Columns {
		columns = append(columns, c.Name)
	}
	columns = append(columns, "custom_fields", "run_id")
	_, err := s.pool.CopyFrom(b.Context(), pgx.Identifier{"leads"}, columns, pgx.CopyFromSlice(len(batch.Rows), func(i int) ([]any, error) {
		row := batch.Rows[i]
		values := make([]any, 0, len(columns))
		values = append(values, row.ID)
		for c, column := range plan.Columns {
			values = append(values, native(column.Kind, row.Values[c]))
		}
		return append(values, row.CustomFields, run.ID.String()), nil
	}))
	if err != nil {
		b.Fatal(err)
	}
}

func native(kind crm.Kind, v crm.Value) any {
	switch {
	case !v.Valid:
		return nil
	case kind == crm.Boolean:
		return v.Int == 1
	case kind == crm.Integer:
		return v.Int
	case kind == crm.Time:
		return v.Time()
	case kind == crm.Date:
		return time.Unix(v.Int*86400, 0).UTC()
	default:
		return v.Text
	}
}

// BenchmarkEqualRows writes rows that are stored already, and reports what that leaves behind.
func BenchmarkEqualRows(b *testing.B) {
	s := open(b, pgtest.Database(b))
	run := claim(b, s, "leads")
	plan, pages := benchLeads(b, run)
	write := func() {
		writer := run.Writer(plan) // a run of its own
		for _, page := range pages {
			if _, err := writer.Page(b.Context(), plan.Map(page), Checkpoint{Stream: crm.StreamModified, Watermark: noon}); err != nil {
				b.Fatal(err)
			}
		}
	}
	write()
	const position = `SELECT (pg_current_wal_insert_lsn() - '0/0')::float8, (SELECT n_dead_tup + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'leads')::float8`
	figure := func() (wal, dead float64) {
		if _, err := s.pool.Exec(b.Context(), "VACUUM (ANALYZE) sync_locks"); err != nil {
			b.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond) // the statistics are flushed once a second
		if err := s.pool.QueryRow(b.Context(), position).Scan(&wal, &dead); err != nil {
			b.Fatal(err)
		}
		return wal, dead
	}
	walBefore, deadBefore := figure()
	for b.Loop() {
		write()
	}
	b.StopTimer()
	walAfter, deadAfter := figure()
	b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric((walAfter-walBefore)/float64(b.N*len(pages)), "WAL-bytes/page")
	b.ReportMetric(deadAfter-deadBefore, "dead-tuples")
}
