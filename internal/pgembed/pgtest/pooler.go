package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Pooled reports whether tests are to reach their databases through a pooler: a transaction
// pooler, or with ZOHOMIRROR_POOLER=session one of sessions.
func Pooled() bool { return os.Getenv("ZOHOMIRROR_POOLER") != "" }

// Pooler puts PgBouncer before a database for as long as the test lasts, and returns the
// URL that leads through it. Without PgBouncer on the machine the test is skipped, unless
// Pooled asks for it, or CI does.
func Pooler(t testing.TB, database string) string {
	t.Helper()
	address, stop, err := StartPooler(database)
	if errors.Is(err, exec.ErrNotFound) && !Pooled() && os.Getenv("CI") != "true" {
		t.Skip("PgBouncer is not installed here (Debian, Ubuntu: apt-get install pgbouncer)")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return address
}

// poolerSettings make the harshest transaction pooler there is: few connections, each
// transaction on the one that rested longest, and nothing of a session is cleaned up. In session
// mode PgBouncer cleans up by itself.
const poolerSettings = `[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = %s
default_pool_size = %d
server_round_robin = 1
server_login_retry = 1
`

// mode is the pooler's, and how many connections it has for a database: a session holds
// one to its end.
func mode() (name string, connections int) {
	if os.Getenv("ZOHOMIRROR_POOLER") == "session" {
		return "session", 15 // as Supabase's smallest
	}
	return "transaction", 4
}

// StartPooler starts PgBouncer before a database, for its user alone.
func StartPooler(database string) (address string, stop func(), err error) {
	u, err := url.Parse(database)
	if err != nil {
		return "", nil, err
	}
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program = "/usr/sbin/pgbouncer"; !isFile(program) { // not in an ordinary user's PATH
			return "", nil, err
		}
	}
	folder, err := os.MkdirTemp("/tmp", "zohomirror-pooler-")
	if err != nil {
		return "", nil, err
	}
	remove := func() { _ = os.RemoveAll(folder) }
	for range 5 { // another program may take the port that was free
		var pooler *exec.Cmd
		if pooler, u.Host, err = startPooler(program, folder, u); err != nil {
			continue
		}
		return u.String(), func() {
			_ = pooler.Process.Kill() // it keeps nothing
			_ = pooler.Wait()
			remove()
		}, nil
	}
	remove()
	return "", nil, err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func startPooler(program, folder string, database *url.URL) (*exec.Cmd, string, error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	port := free.Addr().(*net.TCPAddr).Port
	if err := free.Close(); err != nil {
		return nil, "", err
	}
	password, _ := database.User.Password()
	users, settings := filepath.Join(folder, "users"), filepath.Join(folder, "pgbouncer.ini")
	pooling, connections := mode()
	err = errors.Join(
		os.Chmod(folder, 0o755),
		os.WriteFile(users, fmt.Appendf(nil, "%q %q\n", database.User.Username(), password), 0o644),
		os.WriteFile(settings, fmt.Appendf(nil, poolerSettings, database.Hostname(), database.Port(), port, users, pooling, connections), 0o644),
	)
	if err != nil {
		return nil, "", err
	}
	var log bytes.Buffer
	pooler := exec.Command(program, "-q", settings)
	pooler.Dir, pooler.Stderr = "/", &log
	if os.Geteuid() == 0 { // it refuses to run as root
		pooler.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := pooler.Start(); err != nil {
		return nil, "", err
	}
	host := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for range 200 {
		if conn, err := net.Dial("tcp", host); err == nil {
			return pooler, host, conn.Close()
		}
		time.Sleep(25 * time.Millisecond)
	}
	_ = pooler.Process.Kill() // it may have ended by itself
	_ = pooler.Wait()
	return nil, "", fmt.Errorf("PgBouncer does not answer: %s", log.String())
}
