package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// An outcome is what one run said for itself.
type outcome struct {
	RunID     string `json:"run_id"`
	Status    string
	Error     string
	Hint      string
	Processed int `json:"records_processed"`
	Inserted  int
	More      bool
	Reason    string

	exit int    // of the process, -1 where a signal ended it; or the HTTP status
	log  string // what it printed besides
}

func (o outcome) String() string {
	log := o.log
	if most := 3000; len(log) > most {
		log = log[len(log)-most:]
	}
	return fmt.Sprintf("%d %s %q %q more=%v %s\n%s", o.exit, o.Status, o.Error, o.Hint, o.More, o.Reason, log)
}

// command is the binary with the world's settings, and those given here as name=value.
func (w *world) command(t *testing.T, argument string, settings []string) *exec.Cmd {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), binary, strings.Fields(argument)...)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for name, value := range w.settings {
		command.Env = append(command.Env, name+"="+value)
	}
	command.Env = append(command.Env, settings...)
	return command
}

// A process is a run in a process of its own.
type process struct {
	*exec.Cmd
	world       *world
	out, errors bytes.Buffer
}

// start begins `zohomirror sync leads`.
func (w *world) start(t *testing.T, settings ...string) *process {
	t.Helper()
	p := w.prepare(t, settings...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *world) prepare(t *testing.T, settings ...string) *process {
	t.Helper()
	p := &process{Cmd: w.command(t, "sync leads", settings), world: w}
	p.Stdout, p.Stderr = &p.out, &p.errors
	return p
}

// end waits for the process and returns what it said.
func (p *process) end(t *testing.T) outcome {
	t.Helper()
	_ = p.Wait() // judged by its status
	out := outcome{exit: p.ProcessState.ExitCode(), log: p.errors.String()}
	p.world.heard(p.out.String() + p.errors.String())
	if text := p.out.Bytes(); len(text) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			t.Errorf("the result is no JSON: %v: %s", err, text)
		}
	}
	return out
}

// sync is one tick in a process of its own.
func (w *world) sync(t *testing.T, settings ...string) outcome {
	t.Helper()
	return w.start(t, settings...).end(t)
}

// victim is a tick that a blow may signal as soon as it has begun.
func (w *world) victim(t *testing.T, strike func(signal func(syscall.Signal)), settings ...string) outcome {
	t.Helper()
	p := w.prepare(t, settings...)
	begun := make(chan struct{})
	strike(func(s syscall.Signal) {
		<-begun
		_ = p.Process.Signal(s) // it may have ended
	})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	close(begun)
	return p.end(t)
}
