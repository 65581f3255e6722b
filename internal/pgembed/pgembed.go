// Package pgembed runs a throw-away PostgreSQL, for the demo and for tests, on a machine
// that has nothing prepared: as root or not, with PostgreSQL installed or not.
//
// The server belongs to a keeper, a child process of the same binary that holds the read
// end of a pipe: when the pipe closes, however its parent ended, the keeper stops the
// server and removes its folder. So even SIGKILL leaves nothing behind. PostgreSQL refuses
// to run as root; a keeper of root's takes on an ordinary user.
package pgembed

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
)

// Options shape a server. The zero Options is a plain one on a free port.
type Options struct {
	Fast     bool              `json:"fast"`     // trade durability for speed: for tests and benchmarks
	Settings map[string]string `json:"settings"` // further server settings, by name

	// Certificate and its Key, in PEM, make the server speak TLS.
	Certificate string `json:"certificate"`
	Key         string `json:"key"`

	// Progress is told what takes long, such as a download.
	Progress func(message string) `json:"-"`

	// Search replaces the folders where PostgreSQL's programs are looked for, and
	// Repository the Maven repository they are fetched from.
	Search     []string `json:"search"`
	Repository string   `json:"repository"`
}

// Server is a running PostgreSQL that listens on the loopback address only.
type Server struct {
	port     int
	password string
	folder   string

	keeper *exec.Cmd
	pipe   io.WriteCloser
	lines  *bufio.Scanner
	stop   sync.Once
	exit   error
}

// keeperVariable holds the keeper's options, and marks a process as one.
const keeperVariable = "ZOHOMIRROR_POSTGRES_KEEPER"

// Main must be the first call in main and in TestMain: in a keeper's process it does the
// keeper's work and does not return.
func Main() {
	if options, marked := os.LookupEnv(keeperVariable); marked {
		os.Exit(keep(options))
	}
}

// message is a line that a keeper writes to its parent.
type message struct {
	Progress string `json:"progress,omitempty"`
	Error    string `json:"error,omitempty"`
	Port     int    `json:"port,omitempty"`
	Password string `json:"password,omitempty"`
	Folder   string `json:"folder,omitempty"`
}

// Start runs a server and returns when it answers. The program must have called Main.
func Start(ctx context.Context, options Options) (*Server, error) {
	server, err := start(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("start a throw-away PostgreSQL: %w", err)
	}
	return server, nil
}

func start(ctx context.Context, options Options) (*Server, error) {
	if _, marked := os.LookupEnv(keeperVariable); marked { // a keeper of a keeper, and so on, would fill the machine
		return nil, errors.New("this program has not called pgembed.Main before all else")
	}
	encoded, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	keeper, err := keeperCommand(string(encoded))
	if err != nil {
		return nil, err
	}
	pipe, err := keeper.StdinPipe()
	if err != nil {
		return nil, err
	}
	lines, err := keeper.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := keeper.Start(); err != nil {
		return nil, err
	}
	s := &Server{keeper: keeper, pipe: pipe, lines: bufio.NewScanner(lines)}
	giveUp := context.AfterFunc(ctx, func() { _ = keeper.Process.Kill() }) // it may hang in a download
	failure := s.await(options.Progress)
	if !giveUp() {
		failure = context.Cause(ctx)
	}
	if failure != nil {
		return nil, errors.Join(failure, s.Stop())
	}
	return s, nil
}

// await reads the keeper's messages until the server is there.
func (s *Server) await(progress func(string)) error {
	for s.lines.Scan() {
		var m message
		if err := json.Unmarshal(s.lines.Bytes(), &m); err != nil {
			return fmt.Errorf("main must call pgembed.Main first: its keeper wrote %.60q", s.lines.Text())
		}
		switch {
		case m.Error != "":
			return errors.New(m.Error)
		case m.Port != 0 && s.port != 0: // an order is carried out
			return nil
		case m.Port != 0:
			s.port, s.password, s.folder = m.Port, m.Password, m.Folder
			return nil
		case progress != nil:
			progress(m.Progress)
		}
	}
	return errors.Join(errors.New("the keeper ended without a word"), s.lines.Err())
}

// keeperCommand is this program once more, as an ordinary user where this one is root's,
// and out of reach of the terminal's Ctrl-C.
func keeperCommand(options string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if runtime.GOOS == "linux" {
		// The ordinary user may not enter the folder of the program; this leads past it.
		program = "/proc/self/exe"
	}
	keeper := exec.Command(program)
	keeper.Env = append(os.Environ(), keeperVariable+"="+options)
	keeper.Dir = "/"
	keeper.SysProcAttr, err = ordinaryUser()
	return keeper, err
}

// URL is the address of a database on the server, for PostgreSQL's own tools as well.
func (s *Server) URL(database string) string {
	address := url.URL{
		Scheme: "postgres", Host: "127.0.0.1:" + strconv.Itoa(s.port), Path: "/" + database,
		User: url.UserPassword("postgres", s.password), RawQuery: "sslmode=disable",
	}
	return address.String()
}

// Halt shuts the server down, as for a restart, and keeps its data; Resume starts it again, at
// the same address. They take turns.
func (s *Server) Halt() error { return s.order("halt") }

// Resume starts the server that was halted.
func (s *Server) Resume() error { return s.order("resume") }

func (s *Server) order(what string) error {
	_, err := fmt.Fprintln(s.pipe, what)
	if err == nil {
		err = s.await(nil)
	}
	if err != nil {
		return fmt.Errorf("%s the throw-away PostgreSQL: %w", what, err)
	}
	return nil
}

// Stop ends the server and removes what it kept. It may be called more than once.
func (s *Server) Stop() error {
	s.stop.Do(func() {
		s.exit = errors.Join(s.pipe.Close(), s.keeper.Wait())
		var ended *exec.ExitError
		if errors.As(s.exit, &ended) {
			s.exit = fmt.Errorf("the keeper of the throw-away PostgreSQL: %w", ended)
		}
	})
	return s.exit
}
