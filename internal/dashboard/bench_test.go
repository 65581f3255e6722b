package dashboard_test

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"zohomirror/internal/pgembed/pgtest"
)

// BenchmarkPages measures each page's time on the server, over HTTP on this machine, with
// 90 days of runs of two modules (34,560, a tenth of them failed or skipped), 1,000 entries
// of the quarantine, and with BENCH_ROWS=1000000 so many mirrored leads. It reports the
// median, the 99th percentile, and the bytes of a page.
func BenchmarkPages(b *testing.B) {
	rows := os.Getenv("BENCH_ROWS")
	if rows == "" {
		rows = "20000"
	}
	s := newSite(b, pgtest.Database(b))
	s.execute(b,
		`INSERT INTO sync_locks (module) VALUES ('leads'), ('deals')`,
		`DO $$ BEGIN FOR n IN 0..3 LOOP EXECUTE format('CREATE TABLE IF NOT EXISTS sync_runs_%s PARTITION OF sync_runs FOR VALUES FROM (%L) TO (%L)',
			to_char(date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => n), 'YYYY_MM'),
			to_char(date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => n), 'YYYY-MM-DD HH24:MI:SS') || '+00',
			to_char(date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => n - 1), 'YYYY-MM-DD HH24:MI:SS') || '+00'); END LOOP; END $$`,
		`INSERT INTO sync_runs (id, module, status, started_at, ended_at, records_processed, inserted, updated, unchanged, pages, calls, credits, caught_up, reason, trigger, watermark, error, hint, cause)
		 SELECT gen_random_uuid(), m, CASE WHEN g % 20 = 7 THEN 'failed' WHEN g % 20 = 13 THEN 'skipped' ELSE 'ok' END, at, at + make_interval(secs => 0.5 + random() * 3),
		        100, 5, 20, 75, 3, 6, 4, g % 20 NOT IN (7, 13), 'complete', 'vercel-cron', at,
		        CASE WHEN g % 20 = 7 THEN 'read Leads: zoho answered 503: ' || repeat('something is wrong ', 20) END, CASE WHEN g % 20 = 7 THEN 'nothing: the next run goes on' END, CASE WHEN g % 20 = 7 THEN 'zoho' END
		 FROM unnest(ARRAY['leads', 'deals']) m, generate_series(0, 17279) g, LATERAL (SELECT now() - g * interval '7.5 minutes' - interval '1 minute' AS at) x`,
		`INSERT INTO leads (id, created_time, modified_time, last_name, custom_fields, synced_at, run_id)
		 SELECT (4876876000000000000 + g)::text, now(), now(), 'Person ' || g, '{}', now(), gen_random_uuid() FROM generate_series(1, `+rows+`) g`,
		`INSERT INTO sync_quarantine (module, record_id, reason, payload, run_id, field, value, rule)
		 SELECT 'leads', (4876876000000000000 + g)::text, 'does not fit', '{"Last_Name":"x"}', gen_random_uuid(), 'Lead_Status', 'Podcast', 'leads_lead_status_check' FROM generate_series(1, 1000) g`)
	s.execute(b, "VACUUM ANALYZE")
	v := s.operator(b)
	failed := value[string](b, s, "SELECT id::text FROM sync_runs WHERE status = 'failed' ORDER BY started_at LIMIT 1 OFFSET 500")
	older := regexp.MustCompile(`before=[^"]+`).FindString(v.get("/dashboard").body)
	for _, page := range []struct{ name, path string }{
		{"front", "/dashboard"}, {"front-failed", "/dashboard?status=failed"}, {"front-none", "/dashboard?status=running&module=deals"},
		{"older", "/dashboard/runs?" + older}, {"run", "/dashboard/runs/" + failed},
		{"quarantine", "/dashboard/quarantine"}, {"quarantine-late", "/dashboard/quarantine?after=leads.4876876000000000900"},
	} {
		b.Run(page.name, func(b *testing.B) {
			var took []time.Duration
			bytes := 0
			for b.Loop() {
				begun := time.Now()
				a := v.get(page.path)
				took = append(took, time.Since(begun))
				if bytes = len(a.body); a.status != http.StatusOK {
					b.Fatalf("%s: %d\n%s", page.path, a.status, a.text())
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(bytes), "bytes/page")
		})
	}
}
