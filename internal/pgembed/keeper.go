package pgembed

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	startLimit = 60 * time.Second // for a server to answer
	stopLimit  = 5 * time.Second  // for a server to end
	startTries = 5                // another program may take the port that was free
)

// keep does a keeper's work and returns its exit status.
func keep(encoded string) int {
	// The server is told when the thread that started it ends: it must be the main one.
	runtime.LockOSThread()
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	k := keeper{tell: json.NewEncoder(os.Stdout), orders: make(chan struct{})}
	go func() {
		defer cancel()
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); { // ends with the parent, however that ended
			select {
			case k.orders <- struct{}{}:
			case <-ctx.Done():
			}
		}
	}()

	err := json.Unmarshal([]byte(encoded), &k.options)
	if err == nil {
		err = k.run(ctx)
	}
	if err != nil && ctx.Err() == nil {
		k.say(message{Error: err.Error()})
		return 1
	}
	return 0
}

type keeper struct {
	options  Options
	tell     *json.Encoder
	orders   chan struct{} // to halt a server that runs, to start one that was halted
	folder   string
	password string
}

func (k *keeper) say(m message) { _ = k.tell.Encode(m) } // a parent that is gone needs no answer

// run makes a cluster, keeps it until ctx ends, and removes it.
func (k *keeper) run(ctx context.Context) (err error) {
	k.folder, err = os.MkdirTemp("", "zohomirror-postgres-")
	if err != nil { // a TMPDIR of root's
		k.folder, err = os.MkdirTemp("/tmp", "zohomirror-postgres-")
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(k.folder)) }()

	programs, err := k.find(ctx)
	if err != nil {
		return err
	}
	if err := k.initialize(ctx, programs); err != nil {
		return err
	}
	for try := 1; ; try++ {
		port, err := freePort()
		if err != nil {
			return err
		}
		server, err := k.serve(ctx, programs, port)
		if err == nil {
			k.say(message{Port: port, Password: k.password, Folder: k.folder})
			return k.hold(ctx, programs, server, port)
		}
		if try == startTries || ctx.Err() != nil {
			return err
		}
	}
}

func (k *keeper) data() string { return filepath.Join(k.folder, "data") }

func (k *keeper) initialize(ctx context.Context, programs string) error {
	k.password = rand.Text()
	secret := filepath.Join(k.folder, "password")
	if err := os.WriteFile(secret, []byte(k.password), 0o600); err != nil {
		return err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(programs, "initdb"), "--pgdata", k.data(), "--username", "postgres",
		"--auth", "scram-sha-256", "--pwfile", secret, "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, tail(output))
	}
	return errors.Join(
		os.WriteFile(k.certificate(), []byte(k.options.Certificate), 0o600),
		os.WriteFile(k.key(), []byte(k.options.Key), 0o600),
	)
}

func (k *keeper) certificate() string { return filepath.Join(k.folder, "server.crt") }
func (k *keeper) key() string         { return filepath.Join(k.folder, "server.key") }

// A process is the server's; done is closed when it has ended.
type process struct {
	*exec.Cmd
	done chan struct{}
}

// serve starts the server and waits until it answers.
func (k *keeper) serve(ctx context.Context, programs string, port int) (*process, error) {
	log, err := os.Create(filepath.Join(k.folder, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	server := &process{Cmd: exec.Command(filepath.Join(programs, "postgres"), k.arguments(port)...), done: make(chan struct{})}
	server.Stdout, server.Stderr = log, log
	server.SysProcAttr = endWithParent()
	if err := server.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = server.Wait() // its log says why
		close(server.done)
	}()

	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := k.answers(ctx, server, port); err != nil {
		server.end(syscall.SIGQUIT)
		output, _ := os.ReadFile(log.Name()) // all that can be said is said below
		return nil, fmt.Errorf("postgres: %w: %s", err, tail(output))
	}
	return server, nil
}

func (k *keeper) arguments(port int) []string {
	settings := map[string]string{
		"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "timezone": "UTC", "log_timezone": "UTC",
		"max_connections": "100", "logging_collector": "off",
	}
	if k.options.Fast {
		maps.Copy(settings, map[string]string{"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
			"wal_init_zero": "off"}) // a cluster of minutes never gets to use a log file again
	}
	if k.options.Certificate != "" {
		maps.Copy(settings, map[string]string{"ssl": "on", "ssl_cert_file": k.certificate(), "ssl_key_file": k.key()})
	}
	maps.Copy(settings, k.options.Settings)
	arguments := []string{"-D", k.data(), "-p", strconv.Itoa(port)}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		arguments = append(arguments, "-c", name+"="+settings[name])
	}
	return arguments
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// answers waits until the server lets us in; our password proves that it is ours.
func (k *keeper) answers(ctx context.Context, server *process, port int) error {
	s := Server{port: port, password: k.password}
	for {
		conn, err := pgconn.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-server.done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// hold keeps the server until ctx ends.
func (k *keeper) hold(ctx context.Context, programs string, server *process, port int) (err error) {
	for {
		select {
		case <-ctx.Done():
			server.end(syscall.SIGQUIT) // nothing is saved: nobody will read it again
			return nil
		case <-server.done:
			return errors.New("postgres ended by itself")
		case <-k.orders:
		}
		server.end(syscall.SIGINT)
		k.say(message{Port: port})
		select {
		case <-ctx.Done():
			return nil
		case <-k.orders:
		}
		if server, err = k.serve(ctx, programs, port); err != nil {
			return err
		}
		k.say(message{Port: port})
	}
}

// end stops the server, by PostgreSQL's fast or immediate shutdown.
func (p *process) end(how syscall.Signal) {
	_ = p.Process.Signal(how) // it may be gone already
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		_ = p.Process.Kill()
		<-p.done
	}
}

// tail is the end of a program's output, short enough for an error.
func tail(output []byte) string {
	const enough = 2000
	return string(output[max(0, len(output)-enough):])
}
