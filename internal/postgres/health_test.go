package postgres

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
)

// healthNamed is a module's health; it must be there.
func healthNamed(t *testing.T, s *Store, name string) Health {
	t.Helper()
	all, err := s.Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		if h.Module == name {
			return h
		}
	}
	t.Fatalf("%s is not among %v", name, all)
	return Health{}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	if all, err := s.Health(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("nothing ran, yet %v, %v", all, err)
	}

	first := claim(t, s, "leads")
	if h := healthNamed(t, s, "leads"); h.LastStatus != "" || h.LastRunID != uuid.Nil || !h.LastOKAt.IsZero() || h.Lag != nil || h.Runs24h != 0 {
		t.Errorf("at work: %+v", h)
	}
	mustPage(t, first, crm.Metadata{}, lead(1, "2026-11-23T11:00:00Z", ""))
	if err := first.Close(t.Context(), Counts{Processed: 1}, Outcome{CaughtUp: true, Credits: 4}); err != nil {
		t.Fatal(err)
	}
	good := healthNamed(t, s, "leads")
	if good.LastStatus != "ok" || good.LastRunID != first.ID || good.LastOKAt.IsZero() || good.LastRunAt != good.LastOKAt || good.Lag == nil || good.Failures != 0 || good.Runs24h != 1 || good.Credits24h != 4 {
		t.Errorf("ok: %+v", good)
	}

	for range 2 {
		if err := claim(t, s, "leads").Close(t.Context(), Counts{}, Outcome{Err: "no", Cause: "zoho", Credits: 1}); err != nil {
			t.Fatal(err)
		}
	}
	bad := healthNamed(t, s, "leads")
	if bad.LastStatus != "failed" || bad.Failures != 2 || bad.Failures24h != 2 || bad.FailingSince.IsZero() || bad.LastOKAt != good.LastOKAt || bad.Credits24h != 6 {
		t.Errorf("failing: %+v", bad)
	}

	// Two days ago: the interval has days of its own.
	if _, err := s.pool.Exec(t.Context(), "UPDATE sync_runs SET started_at = started_at - interval '49 hours', ended_at = ended_at - interval '49 hours'"); err != nil {
		t.Fatal(err)
	}
	if h := healthNamed(t, s, "leads"); h.Lag == nil || *h.Lag < 49*time.Hour || h.Runs24h != 0 || h.Mean24h != 0 {
		t.Errorf("two days later: %+v", h)
	}
}

// A program that reads either the view or the JSON finds the same names.
func TestHealthJSONHasTheViewsNames(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	text, err := json.Marshal(Health{})
	if err != nil {
		t.Fatal(err)
	}
	var value map[string]any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	view := map[string]bool{}
	for _, row := range rows(t, s, "SELECT attname FROM pg_attribute WHERE attrelid = 'sync_health'::regclass AND attnum > 0") {
		name := row["attname"].(string)
		if name == "lag" {
			name = "lag_seconds"
		}
		view[name] = true
	}
	got := map[string]bool{}
	for name, v := range value {
		got[name] = true
		if v != nil && v != 0.0 && name != "module" {
			t.Errorf("%s of nothing is %v", name, v)
		}
		if v == 0.0 && strings.HasSuffix(name, "_at") {
			t.Errorf("%s is a number", name)
		}
	}
	if diff := cmp.Diff(view, got); diff != "" {
		t.Errorf("(-view +JSON):\n%s", diff)
	}
}
