package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

func TestStatusAndCheck(t *testing.T) {
	t.Parallel()
	zoho := zohosim.New(zohosim.Config{})
	zoho.Insert("Leads", zohosim.Record{"Last_Name": "Boyle"})
	settings := settingsFor(t, zoho, pgtest.Database(t))
	database := map[string]string{"DATABASE_URL": settings["DATABASE_URL"]} // they need no more
	expect := func(arguments string, status int, says ...string) string {
		t.Helper()
		return expect(t, database, arguments, status, says...)
	}
	states := func(arguments string, status int) map[string]string {
		t.Helper()
		var list []map[string]any
		if err := json.Unmarshal([]byte(expect(arguments, status)), &list); err != nil {
			t.Fatalf("%s: %v", arguments, err)
		}
		got := map[string]string{}
		for _, m := range list {
			got[m["module"].(string)], _ = m["state"].(string)
			if keys := slices.Collect(maps.Keys(m)); len(keys) != 19 {
				t.Errorf("%s: members %v", arguments, keys)
			}
		}
		return got
	}
	expect("status", 0, "No module has run yet")
	expect("check", 1, "no module has run yet")
	if diff := cmp.Diff(map[string]string{}, states("status --json", 0)); diff != "" {
		t.Error(diff)
	}

	if _, complaints, status := output(t, settings, "sync", "leads"); status != 0 {
		t.Fatal(complaints)
	}
	lines := strings.Split(strings.TrimSpace(expect("status", 0)), "\n")
	if len(lines) != 2 || len(lines[0]) < 80 || strings.Index(lines[0], "STATE") != strings.Index(lines[1], "ok") {
		t.Errorf("not a table:\n%s", strings.Join(lines, "\n"))
	}
	expect("check", 0, "leads  ok  last good run ", "s ago")
	expect("check leads", 0)
	expect("check leads deals", 1, "deals  never", "leads  ok", "zohomirror status")
	expect("check nonsense", 1, `there is no module "nonsense"`)
	want := map[string]string{"deals": "never", "leads": "ok"}
	if diff := cmp.Diff(want, states("check --json leads deals", 1)); diff != "" {
		t.Error(diff)
	}

	zoho.SetScopes("ZohoCRM.modules.READ")
	for range 2 {
		output(t, settings, "sync", "leads")
	}
	expect("check", 1, "leads  failing", "2 failed since")
	expect("status", 0, "failing")

	database["DATABASE_URL"] = "postgres://u:p@127.0.0.1:1/db"
	expect("check", 1, "DATABASE_URL")
}

// How long a good run may be ago is a setting.
func TestCheckObeysStaleAfter(t *testing.T) {
	t.Parallel()
	settings := settingsFor(t, zohosim.New(zohosim.Config{}), pgtest.Database(t))
	output(t, settings, "sync", "leads")
	executeAt(t, settings["DATABASE_URL"], "UPDATE sync_runs SET started_at = started_at - interval '3 hours', ended_at = ended_at - interval '3 hours'")
	for after, status := range map[string]int{"": 1, "2h": 1, "4h": 0} {
		printed, _, got := output(t, map[string]string{"DATABASE_URL": settings["DATABASE_URL"], "STALE_AFTER": after}, "check")
		if got != status || strings.Contains(printed, "stale") != (status == 1) || !strings.Contains(printed, "3h ago") {
			t.Errorf("STALE_AFTER=%s: exit %d\n%s", after, got, printed)
		}
	}
}

func executeAt(t *testing.T, databaseURL, sql string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}
