package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// What does not fit is listed, shown and replayed; the exit status says whether all is well.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	zoho := zohosim.New(zohosim.Config{})
	settings := settingsFor(t, zoho, pgtest.Database(t))
	database := map[string]string{"DATABASE_URL": settings["DATABASE_URL"]} // list and show need no more
	conn, err := pgx.Connect(t.Context(), settings["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	execute := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []string{"list", "replay"} {
		expect(t, settings, "quarantine "+c, 0, "The quarantine is empty.")
	}
	stage := zoho.Insert("Deals", zohosim.Record{"Deal_Name": "D", "Stage": "Nowhere\x1b[31m"})
	amount := zoho.Insert("Deals", zohosim.Record{"Deal_Name": "D", "Amount": json.Number("0.005")})
	number := zoho.Insert("Leads", zohosim.Record{"Last_Name": "L", "No_of_Employees": "many"})
	zoho.InsertBroken("Leads", zohosim.Record{"Last_Name": "without an id"})
	for _, module := range []string{"deals", "leads"} {
		expect(t, settings, "sync "+module, 0, `"quarantined": 2`)
	}

	listed := expect(t, database, "quarantine list", 0, "1 came without an id of Zoho's and cannot be replayed")
	var lines []string
	for line := range strings.Lines(listed) {
		if fields := strings.Fields(line); len(fields) > 6 && !strings.HasPrefix(fields[1], "sha256:") && fields[1] != "came" {
			lines = append(lines, strings.Join(fields[:6], " "))
		}
	}
	want := []string{"MODULE RECORD FIELD VALUE RULE ATTEMPTS", "deals " + stage + ` Stage Nowhere\x1b[31m deals_stage_check 1`,
		"deals " + amount + " Amount 0.005 numeric(14,2) 1", "leads " + number + " No_of_Employees many bigint 1"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	var entries []map[string]any
	if err := json.Unmarshal([]byte(expect(t, database, "quarantine list --json --module deals --id "+amount, 0)), &entries); err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", err, entries)
	}
	if e := entries[0]; e["record_id"] != amount || e["field"] != "Amount" || e["value"] != "0.005" || e["rule"] != "numeric(14,2)" || e["attempts"] != 1.0 || e["payload"] != nil {
		t.Errorf("list --json: %v", e)
	}
	entries = nil
	if err := json.Unmarshal([]byte(expect(t, database, "quarantine list --json --id 1", 0)), &entries); err != nil || len(entries) != 0 {
		t.Errorf("nothing found: %v, %v", err, entries)
	}
	expect(t, database, "quarantine show --id "+amount, 0, "open", "numeric(14,2)", `"Deal_Name":"D"`, "0.005")
	if err := json.Unmarshal([]byte(expect(t, database, "quarantine show --json --id "+amount, 0)), &entries); err != nil || entries[0]["payload"].(map[string]any)["id"] != amount {
		t.Errorf("show --json: %v, %v", err, entries)
	}
	expect(t, database, "quarantine show --id 1", 1, "the quarantine knows nothing of 1")
	expect(t, database, "quarantine list --module Deals", 80, `there is no module "Deals"; there are leads, deals`)

	expect(t, settings, "quarantine replay --id 1", 1, "1 is not in the quarantine")
	expect(t, settings, "quarantine replay", 1, "deals "+stage+": still bad", "deals "+amount+": still bad", "leads "+number+": still bad",
		"cannot be replayed, for it came without an id of Zoho's", "3 of 4 records are still bad")
	execute("ALTER TABLE deals DROP CONSTRAINT deals_stage_check")
	expect(t, settings, "quarantine replay --id "+stage, 0, "deals "+stage+": settled\n")
	zoho.Purge("Deals", amount)
	var result map[string]any
	if err := json.Unmarshal([]byte(expect(t, settings, "quarantine replay --json --module deals", 0)), &result); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{amount}, result["gone"]); diff != "" || result["mode"] != "replay" || result["status"] != "ok" {
		t.Errorf("replay --json: %v", result)
	}
	expect(t, database, "quarantine show --id "+amount, 0, "settled at ")
	if err := json.Unmarshal([]byte(expect(t, database, "quarantine list --json", 0)), &entries); err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", err, entries)
	}
	for _, e := range entries {
		if id := e["record_id"].(string); id != number {
			expect(t, settings, "quarantine replay --id "+id, 1, "cannot be replayed", "1 of 1 records are still bad")
		}
	}
	execute("UPDATE sync_locks SET claimed_by = gen_random_uuid(), claimed_at = clock_timestamp()")
	expect(t, settings, "quarantine replay --module leads", 1, "another run of leads has been at work since")
}

// The command repeats and reads again as the endpoint does.
func TestSyncAgain(t *testing.T) {
	t.Parallel()
	zoho := zohosim.New(zohosim.Config{})
	zoho.InsertMany("Deals", 20, func(int) zohosim.Record { return zohosim.Record{"Deal_Name": "D"} })
	settings := settingsFor(t, zoho, pgtest.Database(t))
	id := uuid.NewString()
	for range 2 {
		printed, complaints, status := output(t, settings, "sync", "deals", "--run-id", id)
		if status != 0 || !strings.Contains(printed, `"run_id": "`+id+`"`) || !strings.Contains(printed, `"inserted": 20`) {
			t.Errorf("%d %s %s", status, printed, complaints)
		}
	}
	printed, complaints, status := output(t, settings, "sync", "deals", "--since", "2026-01-31T08:00:00+02:00")
	if status != 0 || !strings.Contains(printed, `"mode": "since"`) || !strings.Contains(printed, `"unchanged": 20`) {
		t.Errorf("%d %s %s", status, printed, complaints)
	}
	for arguments, says := range map[string]string{
		"--run-id 7": "is not a UUID", "--since yesterday": "is not a time", "--since 2999-01-01T00:00:00Z": "lies in the future",
		"--run-id " + id: "the run_id is that of a run of deals\nwhat to do: choose a new run_id for each run",
	} {
		_, complaints, status := output(t, settings, append([]string{"sync", "leads"}, strings.Fields(arguments)...)...)
		if status != 1 || !strings.Contains(complaints, says) {
			t.Errorf("%s: %d %s", arguments, status, complaints)
		}
	}
}
