package web_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"zohomirror/internal/logs"
	"zohomirror/internal/mirror"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/web"
	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// On Cloud Run every line of a run, and of a refusal, names the request that called.
func TestLinesNameTheirRequest(t *testing.T) {
	t.Parallel()
	const trace = "105445aa7843bc8bf206b12000100000"
	org := httptest.NewServer(zohosim.New(zohosim.Config{}))
	t.Cleanup(org.Close)
	out := &buffer{}
	log := logs.New(out, logs.Options{Cloud: true, Project: "mirror-7", Level: -4})
	source := zoho.Config{AccountsURL: org.URL, APIURL: org.URL, ClientID: zohosim.DefaultClientID,
		ClientSecret: zohosim.DefaultClientSecret, RefreshToken: zohosim.DefaultRefreshToken}
	m, err := mirror.Open(t.Context(), mirror.Config{Deadline: 20 * time.Second, Overlap: time.Minute, StaleAfter: time.Hour, PageSize: 2000, MassDelete: 5}, source, pgtest.Database(t), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	server := httptest.NewServer(web.New(m, secret, log))
	t.Cleanup(server.Close)
	for _, authorization := range []string{"Bearer " + secret, "Bearer wrong"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/sync?module=leads", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", authorization)
		request.Header.Set("X-Cloud-Trace-Context", trace+"/2450465917091935019;o=1")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	lines := 0
	for line := range strings.Lines(out.String()) {
		var values map[string]any
		if err := json.Unmarshal([]byte(line), &values); err != nil {
			t.Fatal(err)
		}
		lines++
		if values["logging.googleapis.com/trace"] != "projects/mirror-7/traces/"+trace || values["severity"] == nil || values["message"] == nil {
			t.Errorf("%s", line)
		}
	}
	if lines < 4 {
		t.Errorf("%d lines:\n%s", lines, out.String())
	}
}
