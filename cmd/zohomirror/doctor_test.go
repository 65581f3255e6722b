package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// The exit status is the class of the first problem, for scripts; the lines are for people.
func TestDoctor(t *testing.T) {
	t.Parallel()
	zoho := zohosim.New(zohosim.Config{})
	settings := settingsFor(t, zoho, pgtest.Database(t))
	expect := func(status int, arguments string, says ...string) string {
		t.Helper()
		printed, complaints, got := output(t, settings, strings.Fields(arguments)...)
		if got != status || complaints != "" {
			t.Errorf("%s: exit %d, want %d: %s\n%s", arguments, got, status, complaints, printed)
		}
		for _, words := range says {
			if !strings.Contains(printed, words) {
				t.Errorf("%s does not say %q:\n%s", arguments, words, printed)
			}
		}
		return printed
	}
	report := func(status int) (checks []map[string]any) {
		t.Helper()
		var whole struct {
			OK     *bool            `json:"ok"`
			Status *int             `json:"exit_status"`
			Checks []map[string]any `json:"checks"`
		}
		if err := json.Unmarshal([]byte(expect(status, "doctor --json")), &whole); err != nil || whole.OK == nil || whole.Status == nil || *whole.OK != (status == 0) || *whole.Status != status {
			t.Errorf("%v: %+v", err, whole)
		}
		return whole.Checks
	}
	expect(0, "doctor", "✓ settings: ", "✓ zoho token: ", "✓ scope ZohoCRM.coql.READ: granted\n", "– slack: SLACK_WEBHOOK_URL is not set")
	if printed := expect(0, "doctor leads"); strings.Contains(printed, "deals") {
		t.Errorf("of leads alone:\n%s", printed)
	}
	for _, check := range report(0) {
		for _, key := range []string{"name", "state", "detail", "class"} {
			if check[key] == nil {
				t.Errorf("%v has no %s", check, key)
			}
		}
	}

	executeAt(t, settings["DATABASE_URL"], "ALTER TABLE deals DROP CONSTRAINT deals_stage_check, ADD CONSTRAINT deals_stage_check CHECK (stage IN ('Qualification'))")
	expect(5, "doctor", "✗ picklists of deals: ", "    what to do: ", "zohomirror schema migration deals --apply")
	zoho.SetScopes("ZohoCRM.modules.READ", "ZohoCRM.coql.READ", "ZohoCRM.settings.fields.READ")
	expect(4, "doctor", "✗ scope ZohoCRM.users.READ: ", "✗ picklists of deals: ")
	report(4)
	well := settings["DATABASE_URL"]
	settings["DATABASE_URL"] = "postgres://u:canary@127.0.0.1:1/db"
	if printed := expect(3, "doctor", "✗ database: ", "– migrations: needs: database"); strings.Contains(printed, "canary") {
		t.Errorf("a secret is told:\n%s", printed)
	}
	settings["SYNC_OVERLAP"] = "1s"
	expect(2, "doctor", "✗ settings: SYNC_OVERLAP: must be at least 2s", "✗ database: ")
	settings["DATABASE_URL"], settings["SYNC_OVERLAP"] = well, ""

	if _, complaints, status := output(t, settings, "doctor", "nonsense"); status != 1 || !strings.Contains(complaints, `there is no module "nonsense"`) {
		t.Errorf("%d %s", status, complaints)
	}
}

// With --notify a test arrives at both ends, and what they refuse is a problem.
func TestDoctorNotifies(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards what the server sees
	var arrived []string
	status := http.StatusOK
	people := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		arrived = append(arrived, r.URL.Path)
		w.WriteHeader(status)
	}))
	t.Cleanup(people.Close)
	settings := settingsFor(t, zohosim.New(zohosim.Config{}), pgtest.Database(t))
	settings["SLACK_WEBHOOK_URL"] = people.URL + "/services/T/B/canary"
	settings["SENTRY_DSN"] = strings.Replace(people.URL, "://", "://canary@", 1) + "/1"
	sent := func(answer int, args ...string) (printed string, exit int, paths []string) {
		mu.Lock()
		status, arrived = answer, nil
		mu.Unlock()
		printed, _, exit = output(t, settings, args...)
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(arrived)
		return printed, exit, arrived
	}
	for want, answer := range map[int]int{0: http.StatusOK, 6: http.StatusForbidden} {
		printed, got, arrived := sent(answer, "doctor", "--notify")
		if got != want || strings.Contains(printed, "canary") || want == 6 && !strings.Contains(printed, "✗ sentry: ") {
			t.Errorf("exit %d, want %d\n%s", got, want, printed)
		}
		if !slices.Equal(arrived, []string{"/api/1/envelope/", "/services/T/B/canary"}) {
			t.Errorf("arrived %q", arrived)
		}
	}
	if _, _, arrived := sent(http.StatusOK, "doctor"); arrived != nil {
		t.Errorf("sent without being asked: %q", arrived)
	}
}
