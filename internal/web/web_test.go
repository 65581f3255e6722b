package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/mirror"
	"zohomirror/internal/mirror/mirrortest"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/web"
	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	os.Exit(pgtest.Main(m, mirrortest.Migrate))
}

const secret = "a-secret-of-many-letters"

// site is the whole service: router, mirror, simulated Zoho, real database.
type site struct {
	url      string
	database string
	zoho     *zohosim.Zoho
	mirror   *mirror.Mirror
}

func newSite(t *testing.T, database string, secret string) *site {
	t.Helper()
	s := &site{database: database, zoho: zohosim.New(zohosim.Config{})}
	crm := httptest.NewServer(s.zoho)
	t.Cleanup(crm.Close)
	source := zoho.Config{AccountsURL: crm.URL, APIURL: crm.URL, ClientID: zohosim.DefaultClientID,
		ClientSecret: zohosim.DefaultClientSecret, RefreshToken: zohosim.DefaultRefreshToken}
	m, err := mirror.Open(t.Context(), mirror.Config{Deadline: 20 * time.Second, Overlap: time.Minute, StaleAfter: time.Hour, PageSize: 2000, MassDelete: 5}, source, database, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	s.mirror = m
	server := httptest.NewServer(web.New(m, secret, quiet))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// call returns an answer's status and its JSON, having seen that it is JSON and not to be stored.
func call(t *testing.T, method, address, authorization string) (int, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var value map[string]any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatalf("%s %.100s: %d %.200q: %v", method, address, response.StatusCode, body, err)
	}
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %.100s: headers %v", method, address, response.Header)
	}
	return response.StatusCode, value
}

func keys(value map[string]any) map[string]bool {
	all := map[string]bool{}
	for k := range value {
		all[k] = true
	}
	return all
}

func members(names string) map[string]bool {
	all := map[string]bool{}
	for _, name := range strings.Fields(names) {
		all[name] = true
	}
	return all
}

func TestSync(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), secret)
	s.zoho.Insert("Leads", zohosim.Record{"Last_Name": "Boyle"})

	status, got := call(t, http.MethodGet, s.url+"/api/sync?module=leads", "bearer "+secret)
	if diff := cmp.Diff(members("run_id module status records_processed inserted updated unchanged quarantined deleted restored pages watermark more reason duration_ms"), keys(got)); diff != "" {
		t.Errorf("ok (-want +got):\n%s", diff)
	}
	if status != http.StatusOK || got["status"] != "ok" || got["module"] != "leads" || got["inserted"] != 1.0 || got["more"] != false || got["reason"] != "complete" {
		t.Errorf("%d %v", status, got)
	}

	// A run that holds the lock turns others away.
	conn, err := pgx.Connect(t.Context(), s.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "UPDATE sync_locks SET claimed_by = $1, claimed_at = clock_timestamp()", uuid.NewString()); err != nil {
		t.Fatal(err)
	}
	status, got = call(t, http.MethodGet, s.url+"/api/sync?module=leads", "Bearer "+secret)
	if diff := cmp.Diff(members("run_id module status skipped held_since"), keys(got)); diff != "" || status != http.StatusOK || got["skipped"] != "lock-held" || got["status"] != "skipped" {
		t.Errorf("skipped: %d %v", status, got)
	}

	s.zoho.FailTokens(`{"error":"invalid_code"}`)
	s.zoho.ExpireTokens()
	status, got = call(t, http.MethodGet, s.url+"/api/sync?module=deals", "Bearer "+secret)
	if diff := cmp.Diff(members("run_id module status error hint"), keys(got)); diff != "" || status != http.StatusInternalServerError || got["status"] != "failed" {
		t.Errorf("failed: %d %v", status, got)
	}
	if hint := got["hint"].(string); !strings.Contains(hint, "data centre") {
		t.Errorf("hint %q", hint)
	}
	var ended int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM sync_runs WHERE status IN ('ok', 'skipped', 'failed') AND ended_at IS NOT NULL").Scan(&ended); err != nil || ended != 3 {
		t.Errorf("%d run rows, %v", ended, err)
	}
}

func TestOnlyTheSecretOpens(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Empty(t), secret)
	closed := newSite(t, pgtest.Empty(t), "")
	for _, given := range []string{"", "Bearer", "Bearer ", secret, "Basic " + secret, "Bearer " + secret[:len(secret)-1], "Bearer " + secret + "x",
		"Bearer " + strings.ToUpper(secret), "Bearer x " + secret} {
		for _, path := range []string{"/api/sync?module=leads", "/api/sync?module=nonsense", "/api/sync",
			"/api/sync?module=leads&run_id=7", "/api/sync?module=leads&since=2026-01-31T08:00:00Z"} {
			if status, got := call(t, http.MethodGet, s.url+path, given); status != http.StatusForbidden || got["error"] == "" {
				t.Errorf("%q %s: %d %v", given, path, status, got)
			}
		}
	}
	for _, given := range []string{"", "Bearer ", "Bearer", "Bearer " + secret} {
		if status, _ := call(t, http.MethodGet, closed.url+"/api/sync?module=leads", given); status != http.StatusForbidden {
			t.Errorf("without a configured secret %q: %d", given, status)
		}
	}
	if calls := len(s.zoho.Calls()) + len(closed.zoho.Calls()); calls != 0 {
		t.Errorf("%d calls to Zoho for callers who were refused", calls)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Empty(t), secret)
	const id = "0192d5a1-7c3e-7b6f-8a41-5c2f9be31d07"
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{http.MethodGet, "/api/sync", 400, "missing"},
		{http.MethodGet, "/api/sync?modul=leads", 400, "missing"},
		{http.MethodGet, "/api/sync?module=", 400, `no module ""`},
		{http.MethodGet, "/api/sync?module=Leads", 400, `no module "Leads"`},
		{http.MethodGet, "/api/sync?module=leads;drop", 400, "cannot be read"},
		{http.MethodGet, "/api/sync?module=leads%3Bdrop", 400, `no module "leads;drop"`},
		{http.MethodGet, "/api/sync?module=leads&module=deals", 400, "given 2 times"},
		{http.MethodGet, "/api/sync?module=leads&module=leads", 400, "given 2 times"},
		{http.MethodGet, "/api/sync?module=%zz", 400, "cannot be read"},
		{http.MethodGet, "/api/sync?module=" + strings.Repeat("x", 100_000), 400, "too long"},
		{http.MethodGet, "/api/sync?module=" + strings.Repeat("x", 1000), 400, `no module "xxxx`},
		{http.MethodGet, "/api/sync?module=leads&run_id=", 400, `run_id "" is not a UUID`},
		{http.MethodGet, "/api/sync?module=leads&run_id=7", 400, `run_id "7" is not a UUID`},
		{http.MethodGet, "/api/sync?module=leads&run_id=00000000-0000-0000-0000-000000000000", 400, "is not a UUID"},
		{http.MethodGet, "/api/sync?module=leads&run_id=0192d5a17c3e7b6f8a415c2f9be31d07", 400, "is not a UUID"},
		{http.MethodGet, "/api/sync?module=leads&run_id=urn:uuid:0192d5a1-7c3e-7b6f-8a41-5c2f9be31d07", 400, "is not a UUID"},
		{http.MethodGet, "/api/sync?module=leads&run_id=0192d5a1-7c3e-7b6f-8a41-5c2f9be31d0'", 400, "is not a UUID"},
		{http.MethodGet, "/api/sync?module=leads&run_id=" + strings.Repeat("7", 3000), 400, "is not a UUID"},
		{http.MethodGet, "/api/sync?module=leads&run_id=" + id + "&run_id=" + id, 400, "run_id is given 2 times"},
		{http.MethodGet, "/api/sync?run_id=" + id, 400, "module is missing"},
		{http.MethodGet, "/api/sync?module=leads&since=", 400, `since "" is not a time`},
		{http.MethodGet, "/api/sync?module=leads&since=yesterday", 400, "is not a time"},
		{http.MethodGet, "/api/sync?module=leads&since=2026-01-31", 400, "is not a time"},
		{http.MethodGet, "/api/sync?module=leads&since=2026-01-31T08:00:00", 400, "is not a time"},
		{http.MethodGet, "/api/sync?module=leads&since=2026-01-31T08:00:00+02:00", 400, "%2B"},
		{http.MethodGet, "/api/sync?module=leads&since=2999-01-31T08:00:00Z", 400, "lies in the future"},
		{http.MethodGet, "/api/sync?module=leads&since=0001-01-01T00:00:00Z", 400, "lies before 1970"},
		{http.MethodGet, "/api/sync?module=leads&since=2026-01-31T08:00:00Z&since=2026-01-31T08:00:00Z", 400, "since is given 2 times"},
		{http.MethodPost, "/api/sync?module=leads", 405, "only GET"},
		{http.MethodPut, "/healthz", 405, "only GET"},
		{http.MethodGet, "/", 404, "nothing here"},
		{http.MethodGet, "/api/sync/leads", 404, "nothing here"},
	} {
		status, got := call(t, c.method, s.url+c.path, "Bearer "+secret)
		text, _ := got["error"].(string)
		if status != c.status || !strings.Contains(text, c.says) || len(text) > 200 {
			t.Errorf("%s %.60s: %d %v", c.method, c.path, status, got)
		}
		if c.status == 400 {
			if diff := cmp.Diff([]any{"leads", "deals"}, got["modules"]); diff != "" {
				t.Errorf("%.60s names the modules (-want +got):\n%s", c.path, diff)
			}
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	up := newSite(t, pgtest.Empty(t), secret)
	down := newSite(t, "postgres://u:p@127.0.0.1:1/db", secret)
	status, got := call(t, http.MethodGet, up.url+"/healthz", "")
	if diff := cmp.Diff(map[string]any{"status": "ok", "database": "ok"}, got); status != 200 || diff != "" {
		t.Errorf("up: %d\n%s", status, diff)
	}
	status, got = call(t, http.MethodGet, down.url+"/healthz", "")
	if diff := cmp.Diff(map[string]any{"status": "failing", "database": "unreachable"}, got); status != 503 || diff != "" {
		t.Errorf("down: %d\n%s", status, diff)
	}
	status, got = call(t, http.MethodGet, down.url+"/api/sync?module=leads", "Bearer "+secret)
	if hint, _ := got["hint"].(string); status != 500 || !strings.Contains(hint, "DATABASE_URL") {
		t.Errorf("sync without a database: %d %v", status, got)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(web.New(nil, secret, quiet))
	defer server.Close()
	status, got := call(t, http.MethodGet, server.URL+"/api/sync?module=leads", "Bearer "+secret)
	if status != 500 || got["error"] != "an internal error" {
		t.Errorf("%d %v", status, got)
	}
}

// When the caller hangs up, the run still finishes.
func TestRunOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), secret)
	s.zoho.InsertMany("Deals", 1000, func(i int) zohosim.Record { return zohosim.Record{"Deal_Name": "D", "Stage": "Qualification"} })
	ctx, hangUp := context.WithCancel(t.Context())
	var once sync.Once
	s.zoho.OnCall(func(c zohosim.Call) {
		if c.Path == "/crm/v8/coql" {
			once.Do(hangUp)
		}
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/sync?module=deals", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	if _, err := http.DefaultClient.Do(request); !errors.Is(err, context.Canceled) {
		t.Fatalf("the caller got %v", err)
	}
	conn, err := pgx.Connect(t.Context(), s.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var status string
		var rows int
		if err := conn.QueryRow(t.Context(), "SELECT status, (SELECT count(*) FROM deals) FROM sync_runs").Scan(&status, &rows); err != nil {
			t.Fatal(err)
		}
		if status == "ok" && rows == 1000 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the run is %s with %d rows", status, rows)
		}
	}
}

// On a signal the server answers what is under way, takes nothing new, and ends.
func TestServeEndsGracefully(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), secret)
	s.zoho.InsertMany("Deals", 5000, func(i int) zohosim.Record { return zohosim.Record{"Deal_Name": "D"} })
	ctx, signal := context.WithCancel(t.Context())
	pages := 0
	s.zoho.OnCall(func(c zohosim.Call) {
		if c.Path == "/crm/v8/coql" {
			if pages++; pages == 2 {
				signal()
				time.Sleep(100 * time.Millisecond) // the signal arrives while this page is on its way
			}
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- web.Serve(ctx, listener, web.New(s.mirror, secret, quiet), 20*time.Second, s.mirror.Stop, quiet)
	}()
	status, got := call(t, http.MethodGet, "http://"+listener.Addr().String()+"/api/sync?module=deals", "Bearer "+secret)
	if status != 200 || got["status"] != "ok" || got["more"] != true || got["reason"] != "stopping" || got["inserted"].(float64) >= 5000 {
		t.Errorf("%d %v", status, got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// Without a password there is no dashboard, and the answer says how to have one.
func TestNoDashboard(t *testing.T) {
	server := httptest.NewServer(web.New(nil, secret, quiet))
	defer server.Close()
	for _, path := range []string{"/dashboard", "/dashboard/", "/dashboard/runs/x", "/dashboard/login"} {
		status, got := call(t, http.MethodGet, server.URL+path, "")
		hint, _ := got["hint"].(string)
		if status != http.StatusNotFound || got["error"] != "there is no dashboard" || !strings.Contains(hint, "DASHBOARD_PASSWORD") {
			t.Errorf("%s: %d %v", path, status, got)
		}
	}
	if status, got := call(t, http.MethodGet, server.URL+"/", ""); status != http.StatusNotFound {
		t.Errorf("/: %d %v", status, got)
	}
}

func TestPortTaken(t *testing.T) {
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, err = web.Listen(listener.Addr().(*net.TCPAddr).Port)
	if err == nil || !strings.Contains(err.Error(), "is taken by another program: set PORT") {
		t.Errorf("error %v", err)
	}
}

// A repeated call has the answer of the first, status and body; an id of another module's
// run is refused; since reads again.
func TestRunAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), secret)
	s.zoho.InsertMany("Deals", 20, func(int) zohosim.Record { return zohosim.Record{"Deal_Name": "D"} })
	get := func(query string) (int, map[string]any) {
		t.Helper()
		return call(t, http.MethodGet, s.url+"/api/sync?"+query, "Bearer "+secret)
	}
	good, bad := uuid.NewString(), uuid.NewString()
	ok, first := get("module=deals&run_id=" + good)
	again, repeated := get("module=deals&run_id=" + strings.ToUpper(good))
	delete(first, "duration_ms")
	delete(repeated, "duration_ms")
	if diff := cmp.Diff(first, repeated); diff != "" || ok != 200 || again != 200 || first["run_id"] != good || first["inserted"] != 20.0 {
		t.Errorf("%d, %d (-first +repeated):\n%s", ok, again, diff)
	}
	s.zoho.FailTokens(`{"error":"invalid_code"}`)
	s.zoho.ExpireTokens()
	failed, first := get("module=deals&run_id=" + bad)
	again, repeated = get("module=deals&run_id=" + bad)
	if diff := cmp.Diff(first, repeated); diff != "" || failed != 500 || again != 500 || first["status"] != "failed" {
		t.Errorf("%d, %d (-first +repeated):\n%s", failed, again, diff)
	}
	status, got := get("module=leads&run_id=" + good)
	want := map[string]any{"run_id": good, "module": "leads", "status": "failed", "error": "the run_id is that of a run of deals", "hint": "choose a new run_id for each run"}
	if diff := cmp.Diff(want, got); diff != "" || status != http.StatusConflict {
		t.Errorf("%d (-want +got):\n%s", status, diff)
	}
	s.zoho.FailTokens()
	status, got = get("module=deals&since=2026-01-31T08:00:00%2B02:00")
	if status != 200 || got["mode"] != "since" || got["unchanged"] != 20.0 || got["more"] != false {
		t.Errorf("%d %v", status, got)
	}
}

func TestVerifyOverHTTP(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), secret)
	s.zoho.Insert("Leads", zohosim.Record{"Last_Name": "Boyle"})
	status, got := call(t, http.MethodGet, s.url+"/api/sync?module=leads&mode=verify&deep=true", "Bearer "+secret)
	verification, _ := got["verification"].(map[string]any)
	if status != http.StatusOK || got["mode"] != "verify" || verification["verdict"] != "equal" || verification["checked"] != 1.0 || verification["deep"] != true {
		t.Errorf("%d %v", status, got)
	}
	for query, says := range map[string]string{
		"mode=replay": `there is no mode "replay"`, "mode=": `there is no mode ""`, "deep=perhaps": "write true or false", "mode=verify&mode=repair": "given 2 times",
		"mode=verify&since=2026-01-01T00:00:00Z": "mode since",
	} {
		status, got := call(t, http.MethodGet, s.url+"/api/sync?module=leads&"+query, "Bearer "+secret)
		if text, _ := got["error"].(string); status != http.StatusBadRequest || !strings.Contains(text, says) {
			t.Errorf("%s: %d %v", query, status, got)
		}
	}
}
