package web_test

import (
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed/pgtest"
)

// Who called is told by the user agent, as the schedulers send it.
func TestTriggers(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), secret)
	conn, err := pgx.Connect(t.Context(), s.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for agent, want := range map[string]string{
		"vercel-cron/1.0":        "vercel-cron",
		"Google-Cloud-Scheduler": "cloud-scheduler",
		"pg_net/0.19.5":          "pg_net",
		"curl/8.14.1":            "curl",
		"GitHub-Hookshot/044aad": "other",
		"zohomirror/v1.0.0":      "other",
		"Mozilla/5.0 curl/8":     "other",
		"dashboard":              "other", // an agent is the caller's word: nobody is taken for a person by it
		"":                       "other",
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/sync?module=leads", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+secret)
		request.Header.Set("User-Agent", agent) // empty: none is sent
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		var got string
		if err := conn.QueryRow(t.Context(), "SELECT trigger FROM sync_runs ORDER BY started_at DESC LIMIT 1").Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%q: trigger %q, want %q", agent, got, want)
		}
	}
}
