package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/crm"
	"zohomirror/internal/doctor"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// An org with a picklist value and money that the tables do not allow by themselves.
func populated() *zohosim.Zoho {
	sim := zohosim.New(zohosim.Config{})
	values := append(slices.Clone(zohosim.LeadStatuses), "Only of this org")
	sim.RemoveField("Leads", "Lead_Status")
	sim.AddField("Leads", zohosim.Field{API: "Lead_Status", Type: "picklist", Values: values})
	sim.InsertMany("Leads", 450, func(i int) zohosim.Record {
		return zohosim.Record{"Last_Name": fmt.Sprint("Lead ", i), "Lead_Status": values[i%len(values)]}
	})
	sim.InsertMany("Deals", 120, func(i int) zohosim.Record { return zohosim.Record{"Deal_Name": fmt.Sprint("Deal ", i)} })
	return sim
}

// A new user's path: a client, a code and an empty database are all that it takes, and
// a second pass finds everything done.
func TestSetup(t *testing.T) {
	t.Parallel()
	sim := populated()
	settings := settingsFor(t, sim, pgtest.Empty(t))
	delete(settings, "ZOHO_REFRESH_TOKEN")
	folder := filepath.Join(t.TempDir(), "org")
	code := sim.GrantCode(3 * time.Minute)
	setup := func(more ...string) (string, string, int) {
		return output(t, settings, append([]string{"setup", "--yes", "--folder", folder, "--code", code}, more...)...)
	}

	printed, complaints, status := setup("--platform", "crontab", "--progress", "1ms")
	if status != 0 || complaints != "" {
		t.Fatalf("%d %s %s", status, printed, complaints)
	}
	for _, wanted := range []string{
		`(?m)^Settings\n  the code is exchanged\. Keep these settings, this pass uses them:\n    ZOHO_ACCOUNTS_URL=http://`,
		`(?m)^    ZOHO_REFRESH_TOKEN=1000\.\w+\.\w+$`,
		`(?m)^✓ zoho token: accepted`,
		`(?m)^Tables\n  migrated to schema \d+\.\n  picklists and money brought in line with the org: keep .*_org_picklists\.sql\.$`,
		`(?m)^  leads: \d+ of about 450 records \(\d+ %\)`,
		`(?m)^  leads: 450 records read in .*: 450 inserted, 0 updated, 0 unchanged, 0 quarantined\.$`,
		`(?m)^  deals: 120 records read in .*: 120 inserted`,
		`(?m)^    CRON_SECRET=\w{20,}$`,
		`(?m)^\*/15 \* \* \* \* curl .* "https://your-address\.example/api/sync\?module=deals"`,
		`(?m)^  Then have a look at https://your-address\.example/dashboard\.$`,
	} {
		if !regexp.MustCompile(wanted).MatchString(printed) {
			t.Errorf("not printed: %s\n%s", wanted, printed)
		}
	}
	if strings.Contains(printed, "run: zohomirror migrate") {
		t.Errorf("a person is asked to do what the command does:\n%s", printed)
	}
	if strings.Contains(printed, zohosim.DefaultClientSecret) || strings.Contains(printed, code) {
		t.Errorf("a secret is told:\n%s", printed)
	}

	_, complaints, status = setup() // the code is spent, and the token was not kept
	if status == 0 || !strings.Contains(complaints, "the code is too old") {
		t.Errorf("the same code: %d %s", status, complaints)
	}
	settings["ZOHO_REFRESH_TOKEN"] = regexp.MustCompile(`ZOHO_REFRESH_TOKEN=(\S+)`).FindStringSubmatch(printed)[1]
	printed, complaints, status = setup()
	if status != 0 || complaints != "" || !strings.Contains(printed, "not exchanged (invalid_code): going on with ZOHO_REFRESH_TOKEN") ||
		!strings.Contains(printed, "picklists and money are in line with the org.") || !regexp.MustCompile(`leads: \d+ records read in .*: 0 inserted, 0 updated, \d+ unchanged, 0 quarantined`).MatchString(printed) {
		t.Errorf("the second pass: %d %s %s", status, printed, complaints)
	}
	if files, _ := filepath.Glob(filepath.Join(folder, "*")); len(files) != 1 {
		t.Errorf("migrations of the org: %v", files)
	}
	if len(sim.Refused()) != 0 {
		t.Errorf("refused %v", sim.Refused())
	}
}

// All that is missing is named at once, nothing is written, and no code is spent.
func TestSetupComplaints(t *testing.T) {
	t.Parallel()
	sim := populated()
	database := pgtest.Empty(t)
	settings := settingsFor(t, sim, database)
	_, complaints, status := output(t, nil, "setup", "--yes", "--code", "1000.X")
	if status == 0 || !strings.Contains(complaints, "DATABASE_URL: is missing\n  ZOHO_CLIENT_ID: is missing\n  ZOHO_CLIENT_SECRET: is missing\n  ZOHO_DC: is missing") || strings.Contains(complaints, "REFRESH") {
		t.Errorf("nothing set: %d %s", status, complaints)
	}
	_, complaints, status = output(t, nil, "setup", "--yes")
	if status == 0 || !strings.Contains(complaints, "ZOHO_REFRESH_TOKEN: is missing") {
		t.Errorf("nothing set and no code: %d %s", status, complaints)
	}
	_, complaints, status = output(t, settings, "setup")
	if status == 0 || !strings.Contains(complaints, "there is no terminal to ask on: say --yes") {
		t.Errorf("no terminal: %d %s", status, complaints)
	}
	delete(settings, "ZOHO_REFRESH_TOKEN")
	delete(settings, "DATABASE_URL") // the code lives for minutes: its token is printed all the same
	printed, complaints, status := output(t, settings, "setup", "--yes", "--code", sim.GrantCode(time.Minute))
	if status == 0 || !strings.Contains(printed, "ZOHO_REFRESH_TOKEN=1000.") || !strings.Contains(complaints, "DATABASE_URL: is missing") {
		t.Errorf("no database: %d %s %s", status, printed, complaints)
	}
	if tables := list(t, connect(t, database), "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"); len(tables) != 0 {
		t.Errorf("tables were made: %v", tables)
	}
}

// What no step could do without ends it before anything is written, with the doctor's word
// and exit status.
func TestSetupStops(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set    map[string]string
		says   string
		status int
	}{
		"database": {map[string]string{"DATABASE_URL": "postgres://u:p@127.0.0.1:1/db"}, "✗ database: ", doctor.ClassDatabase},
		"token":    {map[string]string{"ZOHO_REFRESH_TOKEN": "1000.other"}, "✗ zoho token: ", doctor.ClassZoho},
		"scope":    {nil, "✗ scope ZohoCRM.coql.READ: ", doctor.ClassZoho},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, database := populated(), pgtest.Empty(t)
			if name == "scope" {
				sim.SetScopes("ZohoCRM.modules.READ")
			}
			settings := settingsFor(t, sim, database)
			maps.Copy(settings, c.set)
			printed, complaints, status := output(t, settings, "setup", "--yes", "--folder", t.TempDir())
			if status != c.status || !strings.Contains(printed, c.says) || strings.Contains(printed, "\nTables") {
				t.Errorf("%d %s %s", status, printed, complaints)
			}
			if tables := list(t, connect(t, database), "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"); len(tables) != 0 {
				t.Errorf("tables were made: %v", tables)
			}
		})
	}
}

// A first load that takes longer than one run goes on until nothing is left.
func TestSetupGoesOn(t *testing.T) {
	t.Parallel()
	sim := zohosim.New(zohosim.Config{Latency: 40 * time.Millisecond}) // 100 pages take four seconds
	sim.InsertMany("Deals", 100, func(i int) zohosim.Record { return zohosim.Record{"Deal_Name": fmt.Sprint("Deal ", i)} })
	settings := settingsFor(t, sim, pgtest.Empty(t))
	settings["SYNC_PAGE_SIZE"], settings["SYNC_DEADLINE"] = "1", "3s"
	printed := must(t, settings, "setup", "--yes", "--folder", t.TempDir())
	if !strings.Contains(printed, "100 inserted") {
		t.Errorf("printed:\n%s", printed)
	}
	runs := list(t, connect(t, settings["DATABASE_URL"]), "SELECT more::text FROM sync_runs WHERE module = 'deals' ORDER BY started_at")
	if len(runs) < 2 || runs[0] != "true" || runs[len(runs)-1] != "false" {
		t.Errorf("runs with more to come: %v", runs)
	}
}

// What a killed pass left of a lock, the next one waits out, and loads the rest; it says so
// once, and Ctrl-C ends the waiting.
func TestSetupWaits(t *testing.T) {
	t.Parallel()
	sim := zohosim.New(zohosim.Config{})
	settings := settingsFor(t, sim, pgtest.Empty(t))
	settings["SYNC_DEADLINE"], settings["LOCK_STALE_AFTER"] = "2s", "7s"
	arguments := []string{"setup", "--yes", "--folder", t.TempDir()}
	must(t, settings, arguments...)
	sim.Insert("Leads", zohosim.Record{"Last_Name": "L"})
	conn := connect(t, settings["DATABASE_URL"])
	const taken = "UPDATE sync_locks SET claimed_by = gen_random_uuid(), claimed_at = clock_timestamp() WHERE module = 'leads'"
	execute(t, conn, taken)
	printed := must(t, settings, arguments...)
	const says = "leads: waiting for the run that is at work; if it was killed, its lock is free 7s after its last sign of life (LOCK_STALE_AFTER)."
	if strings.Count(printed, says) != 1 || !strings.Contains(printed, " 1 inserted") {
		t.Errorf("printed:\n%s", printed)
	}

	settings["LOCK_STALE_AFTER"] = "1h"
	execute(t, conn, taken)
	command := program(t, settings, arguments...)
	var complaints strings.Builder
	command.Stderr = &complaints
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	waits := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "waiting for the run") {
			waits = true
			_ = command.Process.Signal(os.Interrupt) // it is alive
		}
	}
	_ = command.Wait() // judged by its status
	if !waits || command.ProcessState.ExitCode() != 1 || !strings.Contains(complaints.String(), "leads: stopped; the same command goes on") {
		t.Errorf("waited %v, exit status %d, %s", waits, command.ProcessState.ExitCode(), complaints.String())
	}
}

// On a terminal nothing is written before a person has agreed.
func TestSetupAsks(t *testing.T) {
	t.Parallel()
	database := pgtest.Empty(t)
	settings := settingsFor(t, populated(), database)
	for _, answer := range []string{"\n", "no\n", ""} {
		var out strings.Builder
		s := &setup{setupCmd: setupCmd{Folder: t.TempDir(), Progress: time.Second}, in: strings.NewReader(answer), out: &out, from: envconfig.MapLookuper(settings)}
		if err := s.run(t.Context()); err == nil || err.Error() != "nothing was written" || !strings.Contains(out.String(), "Go on? [y/N]") {
			t.Errorf("answer %q: %v\n%s", answer, err, out.String())
		}
	}
	if tables := list(t, connect(t, database), "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"); len(tables) != 0 {
		t.Errorf("tables were made: %v", tables)
	}
}

// A module that the org withholds is named, and the others are set up.
func TestSetupWithoutAModule(t *testing.T) {
	t.Parallel()
	sim := populated()
	sim.Forbid("Leads", true)
	settings := settingsFor(t, sim, pgtest.Empty(t))
	settings["CRON_SECRET"], settings["PUBLIC_URL"], settings["SYNC_SCHEDULE"] = "canary of a secret", "https://mirror.example.com", "*/5 * * * *"
	for _, platform := range []string{"vercel", "kubernetes"} {
		printed, complaints, status := output(t, settings, "setup", "--yes", "--folder", filepath.Join(t.TempDir(), "org"), "--platform", platform)
		if status != 0 || !strings.Contains(printed, "leads: unavailable: ") || !strings.Contains(printed, "what to do: ") || !strings.Contains(printed, "deals: ") ||
			!strings.Contains(printed, "*/5 * * * *") || !strings.Contains(printed, "https://mirror.example.com/dashboard") || strings.Contains(printed+complaints, "canary") {
			t.Errorf("%d %s %s", status, printed, complaints)
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"7 rows":                      progress(0, 7, 0, false, time.Second),
		"0 of about 10 records (0 %)": progress(0, 0, 10, true, time.Second),
		"60 of about 100 records (60 %), about 40s left": progress(20, 60, 100, true, 40*time.Second),
		"12 of about 10 records (100 %)":                 progress(0, 12, 10, true, time.Second),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// What is printed for each platform calls every module, and is what its scheduler reads.
func TestSchedulerLines(t *testing.T) {
	t.Parallel()
	for _, platform := range platforms() {
		lines := schedulerLines(platform, "https://m.example.com", "*/10 * * * *")
		for _, module := range crm.Modules() {
			if !strings.Contains(lines, "/api/sync?module="+module) {
				t.Errorf("%s does not call %s:\n%s", platform, module, lines)
			}
		}
		if left := regexp.MustCompile(`\{(address|schedule|module|comma)\}`).FindString(lines); left != "" {
			t.Errorf("%s: %s is not filled in", platform, left)
		}
	}
	var crons map[string][]map[string]string
	_, block, _ := strings.Cut(schedulerLines("vercel", "", "*/10 * * * *"), "\n\n")
	if err := json.Unmarshal([]byte("{"+block+"}"), &crons); err != nil || len(crons["crons"]) != len(crm.Modules()) {
		t.Errorf("vercel: %v %v", crons, err)
	}
	_, shell, _ := strings.Cut(schedulerLines("cloud-run", "https://m.example.com", "*/10 * * * *"), "\n\n")
	check := exec.CommandContext(t.Context(), "sh", "-n")
	check.Stdin = strings.NewReader(shell)
	if told, err := check.CombinedOutput(); err != nil {
		t.Errorf("cloud-run: %s", told)
	}
}

// The SQL for Supabase runs, with stand-ins for what only Supabase has, and the scheduled
// statement asks for the right address with the right header.
func TestSchedulerSQL(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.Empty(t))
	run := func(sql string) {
		t.Helper()
		if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%v in %s", err, sql)
		}
	}
	run(`CREATE SCHEMA cron; CREATE SCHEMA net; CREATE SCHEMA vault;
		CREATE TABLE vault.secrets (secret text, name text UNIQUE);
		CREATE VIEW vault.decrypted_secrets AS SELECT secret AS decrypted_secret, name FROM vault.secrets;
		CREATE TABLE jobs (name text PRIMARY KEY, schedule text, command text);
		CREATE TABLE asked (url text, headers jsonb, timeout integer);
		CREATE FUNCTION vault.create_secret(secret text, name text) RETURNS void LANGUAGE sql AS 'INSERT INTO vault.secrets VALUES (secret, name)';
		CREATE FUNCTION cron.schedule(name text, schedule text, command text) RETURNS void LANGUAGE sql AS
			'INSERT INTO jobs VALUES (name, schedule, command) ON CONFLICT ON CONSTRAINT jobs_pkey DO UPDATE SET schedule = excluded.schedule, command = excluded.command';
		CREATE FUNCTION net.http_get(url text, params jsonb DEFAULT '{}', headers jsonb DEFAULT '{}', timeout_milliseconds int DEFAULT 5000) RETURNS bigint
			LANGUAGE sql AS 'INSERT INTO asked VALUES (url, headers, timeout_milliseconds); SELECT 1::bigint'`)
	_, sql, _ := strings.Cut(schedulerLines("supabase", "https://m.example.com", "*/10 * * * *"), "\n\n")
	for range 2 { // whoever changes the schedule pastes all of it again
		run(regexp.MustCompile(`(?m)^create extension.*$`).ReplaceAllString(sql, ""))
	}
	commands := list(t, conn, "SELECT command FROM jobs WHERE schedule = '*/10 * * * *' ORDER BY name")
	if len(commands) != len(crm.Modules()) {
		t.Fatalf("%d jobs", len(commands))
	}
	for _, command := range commands {
		run(command)
	}
	var good int
	const asked = `SELECT count(*) FROM asked WHERE url LIKE 'https://m.example.com/api/sync?module=%' AND headers = '{"Authorization": "Bearer SECRET"}' AND timeout = 60000`
	if err := conn.QueryRow(t.Context(), asked).Scan(&good); err != nil || good != len(commands) {
		t.Errorf("%d good calls, %v", good, err)
	}
}
