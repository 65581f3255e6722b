package web_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed/pgtest"
)

// deep asks for the deep health and returns the status and the state of each module.
func deep(t *testing.T, s *site, parameters string) (status int, states map[string]any, whole map[string]any) {
	t.Helper()
	status, whole = call(t, http.MethodGet, s.url+"/healthz?deep=1"+parameters, "")
	states = map[string]any{}
	list, _ := whole["modules"].([]any)
	for _, m := range list {
		m := m.(map[string]any)
		states[m["module"].(string)] = m["state"]
	}
	return status, states, whole
}

// Monitors ask with HEAD: as GET, without a body. Of what changes anything it runs nothing.
func TestHead(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), secret)
	for path, status := range map[string]int{
		"/healthz": 200, "/healthz?deep=true": 503, "/healthz?deep=x": 400, "/api/sync?module=leads": 405,
	} {
		var sizes []int64
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+secret)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || response.StatusCode != status || method == http.MethodHead && len(body) > 0 {
				t.Errorf("%s %s: %d %q, %v", method, path, response.StatusCode, body, err)
			}
			sizes = append(sizes, response.ContentLength)
			if status == 405 {
				break // GET would run it
			}
		}
		if len(sizes) == 2 && sizes[0] != sizes[1] {
			t.Errorf("%s: HEAD says %d bytes, GET %d", path, sizes[0], sizes[1])
		}
	}
	conn, err := pgx.Connect(t.Context(), s.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var runs int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM sync_runs").Scan(&runs); err != nil || runs != 0 {
		t.Errorf("%d runs, %v", runs, err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != 405 || response.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", response.StatusCode, response.Header)
	}
}

func TestDeepHealth(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), secret)
	conn, err := pgx.Connect(t.Context(), s.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	execute := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when, parameters string, status int, want map[string]any) map[string]any {
		t.Helper()
		got, states, whole := deep(t, s, parameters)
		if diff := cmp.Diff(want, states); diff != "" || got != status || (whole["status"] == "ok") != (status == http.StatusOK) {
			t.Errorf("%s: %d, want %d: %v\n%s", when, got, status, whole, diff)
		}
		return whole
	}
	// ended adds a run of so many minutes ago; an error belongs to a failed one.
	ended := func(module, status, errorText string, minutes int) {
		t.Helper()
		execute(`INSERT INTO sync_runs (id, module, started_at, ended_at, status, mode, error) VALUES ($1, $2, now() - $3::interval, now(), $4, 'sync', nullif($5, ''))`,
			uuid.NewString(), module, fmt.Sprintf("%d minutes", minutes), status, errorText)
	}
	sync := func(module string) { call(t, http.MethodGet, s.url+"/api/sync?module="+module, "Bearer "+secret) }

	expect("before anything ran", "", 503, map[string]any{})
	expect("asked for by name", "&module=deals", 503, map[string]any{"deals": "never"})
	sync("leads")
	whole := expect("after a good run", "", 200, map[string]any{"leads": "ok"})
	if diff := cmp.Diff(members("module state last_ok_at lag_seconds failures_in_a_row"), keys(whole["modules"].([]any)[0].(map[string]any))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	expect("the named one alone", "&module=leads", 200, map[string]any{"leads": "ok"})

	ended("leads", "failed", "token 1000.secret", 0)
	expect("one failure", "", 200, map[string]any{"leads": "ok"})
	ended("leads", "skipped", "", 0)
	ended("leads", "failed", "token 1000.secret", 0)
	whole = expect("two failures, a skipped run between", "", 503, map[string]any{"leads": "failing"})
	if text := fmt.Sprint(whole); strings.Contains(text, "token") {
		t.Errorf("an error is told to anyone: %s", text)
	}
	sync("leads")
	expect("mended", "", 200, map[string]any{"leads": "ok"})

	execute("UPDATE sync_runs SET started_at = started_at - interval '61 minutes', ended_at = ended_at - interval '61 minutes'")
	expect("silent for an hour", "", 503, map[string]any{"leads": "stale"})
	ended("leads", "skipped", "", 0)
	ended("leads", "failed", "", 0)
	expect("silent, and only skipped or failed", "", 503, map[string]any{"leads": "stale"})
	sync("leads")
	execute("INSERT INTO sync_locks (module) VALUES ('deals')")
	ended("deals", "failed", "", 0)
	expect("deals ran and never succeeded", "", 503, map[string]any{"leads": "ok", "deals": "never"})
	expect("but leads alone are fine", "&module=leads", 200, map[string]any{"leads": "ok"})
	sync("deals")
	expect("both", "", 200, map[string]any{"leads": "ok", "deals": "ok"})

	for _, bad := range []string{"/healthz?deep=perhaps", "/healthz?deep=1&module=nonsense"} {
		if status, got := call(t, http.MethodGet, s.url+bad, ""); status != http.StatusBadRequest || got["error"] == "" {
			t.Errorf("%s: %d %v", bad, status, got)
		}
	}
	// Not deep: the database alone.
	ended("leads", "failed", "", 0)
	ended("leads", "failed", "", 0)
	if status, got := call(t, http.MethodGet, s.url+"/healthz", ""); status != http.StatusOK || got["modules"] != nil {
		t.Errorf("shallow: %d %v", status, got)
	}
}

func TestDeepHealthWithoutItsTables(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Empty(t), secret)
	if status, _, whole := deep(t, s, ""); status != http.StatusServiceUnavailable || whole["database"] != "unreadable" || whole["status"] != "failing" {
		t.Errorf("%d %v", status, whole)
	}
}
