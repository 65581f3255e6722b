package pgembed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// hostVariable makes this test binary a program that starts a server and waits.
const hostVariable = "ZOHOMIRROR_TEST_HOST"

func TestMain(m *testing.M) {
	Main()
	if _, ok := os.LookupEnv(hostVariable); ok {
		host()
	}
	os.Exit(m.Run())
}

func host() {
	server, err := Start(context.Background(), Options{Fast: true})
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println(server.folder, server.URL("postgres"))
	select {}
}

func answers(ctx context.Context, address string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var one int
	return conn.QueryRow(ctx, "SELECT 1").Scan(&one)
}

func goneSoon(t *testing.T, folder, address string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := os.Stat(folder)
		if errors.Is(err, os.ErrNotExist) && answers(t.Context(), address) != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %s (%v)", folder, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestTwoServersSideBySide(t *testing.T) {
	var servers []*Server
	for range 2 {
		server, err := Start(t.Context(), Options{Fast: true, Settings: map[string]string{"work_mem": "7MB"}})
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, server)
	}
	for _, server := range servers {
		conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		var fsync, zone, encoding, memory string
		err = conn.QueryRow(t.Context(), `SELECT current_setting('fsync'), current_setting('timezone'),
			current_setting('server_encoding'), current_setting('work_mem')`).Scan(&fsync, &zone, &encoding, &memory)
		if got := strings.Join([]string{fsync, zone, encoding, memory}, " "); err != nil || got != "off UTC UTF8 7MB" {
			t.Errorf("settings %s, %v", got, err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := errors.Join(server.Stop(), server.Stop()); err != nil {
			t.Error(err)
		}
		goneSoon(t, server.folder, server.URL("postgres"))
	}
}

// Whoever starts a server and however it ends, nothing is left behind; Ctrl-C in its
// terminal does not take the keeper along before it has cleaned up.
func TestNothingIsLeftBehind(t *testing.T) {
	users := map[string]*syscall.Credential{"this user": nil}
	if os.Geteuid() == 0 {
		users["an ordinary user"] = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	for name, user := range users {
		for _, end := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(fmt.Sprintf("%s, %s", name, end), func(t *testing.T) {
				t.Parallel()
				program := exec.Command("/proc/self/exe")
				if _, err := os.Stat(program.Path); err != nil {
					program.Path = os.Args[0]
				}
				program.Env = append(os.Environ(), hostVariable+"=1")
				program.Dir = "/"
				program.SysProcAttr = &syscall.SysProcAttr{Credential: user, Setpgid: true}
				output, err := program.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := program.Start(); err != nil {
					t.Fatal(err)
				}
				line, err := bufio.NewReader(output).ReadString('\n')
				folder, address, _ := strings.Cut(strings.TrimSpace(line), " ")
				if err == nil {
					err = answers(t.Context(), address)
				}
				if err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				if err := syscall.Kill(-program.Process.Pid, end); err != nil {
					t.Fatal(err)
				}
				_ = program.Wait() // it was killed
				goneSoon(t, folder, address)
			})
		}
	}
}

func TestNoPrograms(t *testing.T) {
	_, err := Start(t.Context(), Options{Search: []string{t.TempDir()}, Repository: "http://127.0.0.1:1"})
	if err == nil {
		t.Fatal("started without programs")
	}
	for _, want := range []string{"PostgreSQL is not installed here", "could not be fetched", "install"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

func TestGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestNewestPrograms(t *testing.T) {
	root := t.TempDir()
	for _, folder := range []string{"9/bin", "17/bin", "16/bin", "18/bin"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"initdb", "postgres"} {
			if folder == "18/bin" && name == "initdb" {
				continue // a client's package
			}
			if err := os.WriteFile(filepath.Join(root, folder, name), nil, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	root += "/"
	if got := strings.TrimPrefix(newest([]string{"[", root + "*/bin"}), root); got != "17/bin" {
		t.Errorf("newest %s", got)
	}
}

// A server that was halted comes back at the same address, with its data.
func TestHaltAndResume(t *testing.T) {
	t.Parallel()
	server, err := Start(t.Context(), Options{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	address := server.URL("postgres")
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 1 AS one"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := server.Halt(); err != nil {
			t.Fatal(err)
		}
		if err := answers(t.Context(), address); err == nil {
			t.Error("a halted server answers")
		}
		if err := server.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	again, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(context.Background())
	var one int
	if err := again.QueryRow(t.Context(), "SELECT one FROM kept").Scan(&one); err != nil || one != 1 {
		t.Errorf("%d, %v", one, err)
	}
}

// A program that forgot Main starts no server: its keeper would be the whole program again.
func TestKeeperStartsNoKeeper(t *testing.T) {
	t.Setenv(keeperVariable, "{}")
	if server, err := Start(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "pgembed.Main") {
		t.Errorf("%v, %v", server, err)
	}
}
