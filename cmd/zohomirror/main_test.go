package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/mirror/mirrortest"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// asProgram makes this test binary the program itself.
const asProgram = "ZOHOMIRROR_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(pgtest.Main(m, mirrortest.Migrate))
}

// program is the program with these arguments and settings, and no others.
func program(t testing.TB, settings map[string]string, arguments ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), executable, arguments...)
	command.Env = []string{asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for name, value := range settings {
		command.Env = append(command.Env, name+"="+value)
	}
	return command
}

// output runs the program to its end and returns what it printed and its exit status.
func output(t *testing.T, settings map[string]string, arguments ...string) (stdout, stderr string, status int) {
	t.Helper()
	command := program(t, settings, arguments...)
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	_ = command.Run() // judged by its status
	return out.String(), complaints.String(), command.ProcessState.ExitCode()
}

// expect runs the program to its end and returns what it printed. It demands its exit status,
// and that some words are among what it said.
func expect(t *testing.T, settings map[string]string, arguments string, status int, says ...string) string {
	t.Helper()
	printed, complaints, got := output(t, settings, strings.Fields(arguments)...)
	for _, words := range says {
		if !strings.Contains(printed+complaints, words) {
			t.Errorf("%s does not say %q:\n%s%s", arguments, words, printed, complaints)
		}
	}
	if got != status {
		t.Errorf("%s: exit %d, want %d\n%s%s", arguments, got, status, printed, complaints)
	}
	return printed
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// settings for a simulated Zoho and a database.
func settingsFor(t *testing.T, zoho *zohosim.Zoho, databaseURL string) map[string]string {
	t.Helper()
	server := httptest.NewServer(zoho)
	t.Cleanup(server.Close)
	return map[string]string{
		"DATABASE_URL": databaseURL, "ZOHO_ACCOUNTS_URL": server.URL, "ZOHO_API_URL": server.URL, "ZOHO_CLIENT_ID": zohosim.DefaultClientID,
		"ZOHO_CLIENT_SECRET": zohosim.DefaultClientSecret, "ZOHO_REFRESH_TOKEN": zohosim.DefaultRefreshToken,
	}
}

func TestMigrateThenSync(t *testing.T) {
	t.Parallel()
	zoho := zohosim.New(zohosim.Config{})
	zoho.InsertMany("Deals", 2001, func(i int) zohosim.Record { return zohosim.Record{"Deal_Name": fmt.Sprint("Deal ", i)} })
	settings := settingsFor(t, zoho, pgtest.Empty(t))

	_, complaints, status := output(t, settings, "sync", "deals")
	if status != 1 || !strings.Contains(complaints, "what to do: run: zohomirror migrate") {
		t.Errorf("sync before migrate: %d %s", status, complaints)
	}
	for range 2 {
		if _, complaints, status = output(t, map[string]string{"DATABASE_URL": settings["DATABASE_URL"]}, "migrate"); status != 0 {
			t.Fatalf("migrate: %d %s", status, complaints)
		}
	}
	printed, complaints, status := output(t, settings, "sync", "deals")
	var result map[string]any
	if err := json.Unmarshal([]byte(printed), &result); err != nil || status != 0 || result["inserted"] != 2001.0 || result["status"] != "ok" {
		t.Errorf("sync: %d %s %s %v", status, printed, complaints, err)
	}
	for _, call := range zoho.Calls() {
		if call.Status >= 400 {
			t.Errorf("Zoho refused %+v", call)
		}
	}
}

func TestComplaints(t *testing.T) {
	t.Parallel()
	settings := settingsFor(t, zohosim.New(zohosim.Config{}), pgtest.Database(t))
	with := func(name, value string) map[string]string {
		changed := map[string]string{name: value}
		for n, v := range settings {
			if n != name {
				changed[n] = v
			}
		}
		return changed
	}
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)

	for _, c := range []struct {
		settings  map[string]string
		arguments string
		says      string
	}{
		{nil, "serve", "DATABASE_URL: is missing\n  ZOHO_CLIENT_ID: is missing"},
		{nil, "migrate", "DATABASE_URL: is missing"},
		{nil, "", "expected one of"},
		{nil, "nonsense", "unexpected argument nonsense"},
		{nil, "sync Leads", `there is no module "Leads"; there are leads, deals`},
		{with("PORT", port), "serve", "port " + port + " is taken by another program: set PORT"},
		{map[string]string{"PORT": port}, "demo", "port " + port + " is taken by another program: set PORT"},
		{with("ZOHO_CLIENT_ID", "1000.OTHER"), "sync leads", "what to do: the client id is unknown here: most often the data centre is wrong"},
		{with("ZOHO_REFRESH_TOKEN", "1000.other"), "sync leads", "what to do: the refresh token is not known here: most often the data centre is wrong"},
		{with("ZOHO_CLIENT_SECRET", "other"), "sync leads", "what to do: ZOHO_CLIENT_SECRET is wrong"},
		{with("DATABASE_URL", "postgres://u:p@127.0.0.1:1/db"), "sync leads", "does not answer at the address in DATABASE_URL"},
		{with("ZOHO_API_URL", "http://127.0.0.1:1"), "sync leads", "Zoho or the network is in trouble"},
	} {
		t.Run(c.arguments+" "+c.says, func(t *testing.T) { // one after another: they share a lock
			if strings.HasPrefix(c.arguments, "sync") && c.settings != nil {
				c.settings["SYNC_DEADLINE"] = "3s"
			}
			printed, complaints, status := output(t, c.settings, strings.Fields(c.arguments)...)
			if status == 0 || !strings.Contains(complaints, c.says) {
				t.Errorf("%d %s %s", status, printed, complaints)
			}
		})
	}
}

// The demo shows the whole thing with nothing configured, goes on while the CRM changes,
// and leaves nothing behind, however it ends.
func TestDemo(t *testing.T) {
	t.Parallel()
	for _, end := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(end.String(), func(t *testing.T) {
			t.Parallel()
			temporary := t.TempDir()
			if err := os.Chmod(temporary, 0o777); err != nil {
				t.Fatal(err)
			}
			port := freePort(t)
			command := program(t, map[string]string{"PORT": port, "TMPDIR": temporary}, "demo", "--tick", "1s", "--edits", "50ms", "--leads", "500", "--deals", "300")
			var complaints bytes.Buffer
			command.Stderr = &complaints
			lines, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			database := watchDemo(t, lines, port)
			if err := command.Process.Signal(end); err != nil {
				t.Fatal(err)
			}
			_ = command.Wait() // by a signal, or judged by what it leaves
			if end == syscall.SIGINT && (command.ProcessState.ExitCode() != 0 || complaints.Len() > 0) {
				t.Errorf("exit %d, %s", command.ProcessState.ExitCode(), complaints.String())
			}
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				left, err := filepath.Glob(filepath.Join(temporary, "*"))
				_, alive := pgx.Connect(t.Context(), database)
				if err == nil && len(left) == 0 && alive != nil {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("left behind: %v, database: %v", left, alive)
				}
			}
		})
	}
}

var (
	psqlLine = regexp.MustCompile(`psql '([^']+)'`)
	curlLine = regexp.MustCompile(`Authorization: Bearer (\S+)' '([^']+)'`)
)

// watchDemo follows a demo until its CRM's changes have come through, tries the curl line
// and the psql line, and returns the database's URL.
func watchDemo(t *testing.T, lines io.Reader, port string) (database string) {
	t.Helper()
	var told strings.Builder
	scanner := bufio.NewScanner(lines)
	changes := regexp.MustCompile(`leads +\d+ inserted, [1-9]\d* updated`)
	for scanner.Scan() && !changes.MatchString(scanner.Text()) {
		told.WriteString(scanner.Text() + "\n")
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }() // it must not block
	psql, curl := psqlLine.FindStringSubmatch(told.String()), curlLine.FindStringSubmatch(told.String())
	if psql == nil || curl == nil || curl[2] != "http://localhost:"+port+"/api/sync?module=leads" {
		t.Fatalf("the demo told:\n%s", told.String())
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, curl[2], nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+curl[1])
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the curl line: %s", response.Status)
	}
	conn, err := pgx.Connect(t.Context(), psql[1])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var leads, deals int
	if err := conn.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM leads), (SELECT count(*) FROM deals)").Scan(&leads, &deals); err != nil || leads < 500 || deals < 300 {
		t.Errorf("%d leads, %d deals, %v", leads, deals, err)
	}
	return psql[1]
}

func TestZohoAlone(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	command := program(t, map[string]string{"PORT": port}, "demo", "--zoho-only", "--leads", "100", "--deals", "100")
	lines, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{"DATABASE_URL": pgtest.Database(t)}
	scanner := bufio.NewScanner(lines)
	var code string
	for scanner.Scan() && !strings.Contains(scanner.Text(), "Ctrl-C") {
		if _, given, ok := strings.Cut(scanner.Text(), "A grant code, good once within ten minutes: "); ok {
			code = given
		}
		if line, ok := strings.CutPrefix(strings.TrimSpace(scanner.Text()), "export "); ok {
			name, value, _ := strings.Cut(line, "=")
			settings[name] = value
		}
	}
	printed, complaints, status := output(t, settings, "sync", "leads")
	if status != 0 || !strings.Contains(printed, `"status": "ok"`) {
		t.Errorf("a mirror of it: %d %s %s", status, printed, complaints)
	}
	if printed := must(t, settings, "auth", "exchange", "--code", code); !strings.Contains(printed, "ZOHO_REFRESH_TOKEN=1000.") {
		t.Errorf("its grant code: %s", printed)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
}
