package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"zohomirror/internal/pgembed"
	"zohomirror/internal/zohosim"
)

// standIns are as much of Supabase's Vault and of pg_net as docs/deploy/pg_cron.sql uses, since
// they are no packages of Debian's: secrets in the open, and calls that wait for the test.
const standIns = `
CREATE SCHEMA vault;
CREATE TABLE vault.secrets (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text UNIQUE, secret text);
CREATE VIEW vault.decrypted_secrets AS SELECT id, name, secret AS decrypted_secret FROM vault.secrets;
CREATE FUNCTION vault.create_secret(new_secret text, new_name text) RETURNS uuid LANGUAGE sql AS
	'INSERT INTO vault.secrets (name, secret) VALUES (new_name, new_secret) RETURNING id';
CREATE FUNCTION vault.update_secret(secret_id uuid, new_secret text) RETURNS void LANGUAGE sql AS
	'UPDATE vault.secrets SET secret = new_secret WHERE id = secret_id';
CREATE SCHEMA net;
CREATE TABLE net.http_request_queue (id bigint GENERATED ALWAYS AS IDENTITY, url text, headers jsonb, timeout_milliseconds int);
CREATE TABLE net._http_response (id bigint, status_code int, content text, timed_out bool, error_msg text, created timestamptz DEFAULT now());
CREATE FUNCTION net.http_get(url text, params jsonb DEFAULT '{}', headers jsonb DEFAULT '{}', timeout_milliseconds int DEFAULT 5000) RETURNS bigint LANGUAGE sql AS
	'INSERT INTO net.http_request_queue (url, headers, timeout_milliseconds) VALUES (url, headers, timeout_milliseconds) RETURNING id'`

// docs/deploy/pg_cron.sql, run as it stands but for its two values and pg_net: the real pg_cron
// fires its jobs, and what they call is the real endpoint.
func TestCalledFromInsideSupabase(t *testing.T) {
	if os.Getenv("ZOHOMIRROR_CRON") == "" {
		t.Skip("with ZOHOMIRROR_CRON=1 and pg_cron (Debian: apt-get install postgresql-15-cron); it takes two minutes")
	}
	t.Parallel()
	server, err := pgembed.Start(t.Context(), pgembed.Options{Fast: true, Settings: map[string]string{
		"shared_preload_libraries": "pg_cron", "cron.database_name": "postgres", "cron.use_background_workers": "on", "max_worker_processes": "20",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	w := migrated(t, server.URL("postgres"))
	d := w.serve(t)
	w.Insert("Deals", zohosim.Record{"Deal_Name": "Big", "Stage": "Qualification"})

	text, err := os.ReadFile("../../docs/deploy/pg_cron.sql")
	if err != nil {
		t.Fatal(err)
	}
	file := string(text)
	for old, with := range map[string]string{
		"create extension if not exists pg_net with schema extensions;": "", "https://zohomirror.example.com": d.address + "/", "the CRON_SECRET of the mirror": "mistyped",
	} {
		if strings.Count(file, old) != 1 {
			t.Fatalf("%q is not in the file", old)
		}
		file = strings.ReplaceAll(file, old, with)
	}
	w.execAll(t, standIns)
	for range 2 {
		w.execAll(t, file)
	}
	jobs := "SELECT string_agg(jobname || ' ' || schedule, ', ' ORDER BY jobname) FROM cron.job WHERE active"
	if got, want := value[string](t, w, jobs), "zohomirror-deals 5-59/15 * * * *, zohomirror-deals-repair 40 5 * * 0, zohomirror-history 20 4 * * *, zohomirror-leads */15 * * * *, zohomirror-leads-repair 10 5 * * 0"; got != want {
		t.Errorf("jobs: %s", got)
	}
	if value[int](t, w, "SELECT count(*)::int FROM cron.job WHERE command LIKE '%mistyped%'") > 0 {
		t.Error("a job holds the secret")
	}

	// The history of other jobs of the database is not ours to delete. Rows of the test's own
	// have a runid below zero.
	w.exec(t, "SELECT cron.schedule('of-somebody-else', '0 0 1 1 *', 'SELECT 1')")
	w.exec(t, `INSERT INTO cron.job_run_details (jobid, runid, status, end_time)
		SELECT jobid, -row_number() OVER (), 'succeeded', now() - age FROM cron.job, (VALUES (interval '8 days'), (interval '1 day')) AS ages (age)
		WHERE jobname IN ('zohomirror-leads', 'of-somebody-else') AND (jobname <> 'of-somebody-else' OR age > interval '2 days')`)
	w.execAll(t, value[string](t, w, "SELECT command FROM cron.job WHERE jobname = 'zohomirror-history'"))
	const left = "SELECT string_agg(jobname || ' ' || (now()::date - end_time::date), ', ' ORDER BY jobname) FROM cron.job_run_details JOIN cron.job USING (jobid) WHERE runid < 0"
	if got := value[string](t, w, left); got != "of-somebody-else 8, zohomirror-leads 1" {
		t.Errorf("left of the history: %s", got)
	}
	w.exec(t, "SELECT cron.unschedule('of-somebody-else')")

	w.exec(t, "SELECT cron.alter_job(jobid, schedule := '* * * * *') FROM cron.job WHERE jobname <> 'zohomirror-deals'")
	for name, status := range w.fired(t, 3) { // the repairs as well
		if status != http.StatusForbidden {
			t.Errorf("%s, with a wrong secret: %d", name, status)
		}
	}
	// What the file's comments tell a person to run, each as it stands.
	told := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^--.*?(select .*;)$`).FindAllStringSubmatch(file, -1) {
		told[m[1]] = true
	}
	tell := func(look, value string) {
		t.Helper()
		if !told[look] {
			t.Fatalf("not in the file: %s", look)
		}
		delete(told, look)
		w.exec(t, strings.ReplaceAll(look, "…", value))
	}
	tell("select vault.update_secret((select id from vault.secrets where name = 'zohomirror_cron_secret'), '…');", cronSecret)
	const bypass = "select vault.create_secret('…', 'zohomirror_bypass') where not exists (select from vault.secrets where name = 'zohomirror_bypass');"
	tell(bypass, "bypass-secret")
	w.exec(t, bypass) // once more, as all of the file
	w.exec(t, "SELECT cron.alter_job(jobid, schedule := '* * * * *') FROM cron.job WHERE jobname = 'zohomirror-deals'")
	for name, status := range w.fired(t, 4) {
		if status != http.StatusOK {
			t.Errorf("%s: %d", name, status)
		}
	}
	w.equal(t)
	if modes := value[string](t, w, "SELECT string_agg(DISTINCT module || ' ' || mode, ', ' ORDER BY module || ' ' || mode) FROM sync_runs WHERE status = 'ok'"); modes != "deals repair, deals sync, leads repair, leads sync" {
		t.Errorf("ran: %s", modes)
	}
	for _, look := range []string{
		"select status_code, timed_out, error_msg, left(content, 200) as answer, created from net._http_response order by id desc limit 10;",
		"select * from sync_recent limit 10;",
		"select cron.alter_job((select jobid from cron.job where jobname = 'zohomirror-leads'), schedule := '*/5 * * * *');",
		"select cron.unschedule(jobname) from cron.job where jobname like 'zohomirror-%';",
	} {
		tell(look, "")
	}
	if len(told) > 0 {
		t.Errorf("nothing runs %v", slices.Collect(maps.Keys(told)))
	}
	if left := value[int](t, w, "SELECT count(*)::int FROM cron.job"); left != 0 {
		t.Errorf("%d jobs are left", left)
	}
}

// fired waits until pg_cron has fired so many different jobs, makes their calls one after
// another, as pg_net would, and returns the statuses of the answers.
func (w *world) fired(t *testing.T, jobs int) map[string]int {
	t.Helper()
	w.exec(t, "DELETE FROM net.http_request_queue")
	for value[int](t, w, "SELECT count(DISTINCT url)::int FROM net.http_request_queue") < jobs {
		select {
		case <-t.Context().Done():
			t.Fatal("pg_cron does not fire")
		case <-time.After(200 * time.Millisecond):
		}
	}
	var calls []struct {
		URL     string            `json:"url"`
		Headers map[string]string `json:"headers"`
		Limit   int               `json:"timeout_milliseconds"`
	}
	text := value[string](t, w, "SELECT jsonb_agg(to_jsonb(q))::text FROM (SELECT DISTINCT ON (url) url, headers, timeout_milliseconds FROM net.http_request_queue) q")
	if err := json.Unmarshal([]byte(text), &calls); err != nil {
		t.Fatal(err)
	}
	statuses := map[string]int{}
	for _, c := range calls {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range c.Headers {
			request.Header.Set(name, text)
		}
		if _, bypass := c.Headers["x-vercel-protection-bypass"]; c.Limit != 60000 || bypass != (jobs == 4) {
			t.Errorf("%+v", c)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		w.heard(string(body))
		w.exec(t, "INSERT INTO net._http_response (status_code, content) VALUES ($1, $2)", response.StatusCode, string(body))
		statuses[fmt.Sprint(c.URL)] = response.StatusCode
	}
	return statuses
}
