package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
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
func (w *world) command(ctx context.Context, t *testing.T, argument string, settings []string) *exec.Cmd {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, binary, strings.Fields(argument)...)
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
	return w.process(t, "sync leads", settings...)
}

func (w *world) process(t *testing.T, argument string, settings ...string) *process {
	t.Helper()
	p := &process{Cmd: w.command(t.Context(), t, argument, settings), world: w}
	p.Stdout, p.Stderr = &p.out, &p.errors
	return p
}

// wait waits for the process and returns its exit status and what it logged.
func (p *process) wait() outcome {
	_ = p.Wait() // judged by its status
	p.world.heard(p.out.String())
	p.world.readLog(p.errors.String())
	return outcome{exit: p.ProcessState.ExitCode(), log: p.errors.String()}
}

// end waits for the process and returns what it said.
func (p *process) end(t *testing.T) outcome {
	t.Helper()
	out := p.wait()
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
	p.struck(t, strike)
	return p.end(t)
}

// struck starts a process that a blow may signal as soon as it has begun.
func (p *process) struck(t *testing.T, strike func(signal func(syscall.Signal))) {
	t.Helper()
	begun := make(chan struct{})
	strike(func(s syscall.Signal) {
		<-begun
		_ = p.Process.Signal(s) // it may have ended
	})
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	close(begun)
}

// A deployment is a `zohomirror serve` at work, or the function on its platform.
type deployment struct {
	*exec.Cmd           // of the server alone
	platform  *platform // of the function alone
	world     *world
	address   string
	ended     chan struct{} // closed when the server has printed its last
}

// deployed is what the suite runs on.
func (w *world) deployed(t *testing.T, settings ...string) *deployment {
	t.Helper()
	if builtFunction != "" {
		return w.function(t, settings...)
	}
	return w.serve(t, settings...)
}

// serve starts a server that is asked to end with the test.
func (w *world) serve(t *testing.T, settings ...string) *deployment {
	t.Helper()
	for range 5 { // another program may take the port that was free
		d, up := w.deploy(t, settings)
		if up {
			t.Cleanup(func() { d.end() })
			return d
		}
	}
	t.Fatal("no port was free for long enough")
	return nil
}

func (w *world) deploy(t *testing.T, settings []string) (_ *deployment, up bool) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String()) // the listener made it
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	d := &deployment{world: w, address: "http://127.0.0.1:" + port, ended: make(chan struct{})}
	d.Cmd = w.command(context.Background(), t, "serve", append(settings, "PORT="+port))
	stderr, err := d.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	begun := make(chan bool, 1)
	go func() {
		defer close(d.ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			w.readLog(lines.Text() + "\n")
			if strings.Contains(lines.Text(), `:"listening"`) {
				begun <- true
			}
		}
		begun <- false
	}()
	if up = <-begun; !up {
		_ = d.Wait() // it has complained
	}
	return d, up
}

// end asks the deployment to end, if it has not been, and returns its exit status.
func (d *deployment) end() int {
	if d.ProcessState == nil {
		_ = d.Process.Signal(syscall.SIGCONT) // it may be frozen, or gone
		_ = d.Process.Signal(syscall.SIGTERM)
	}
	return d.wait()
}

func (d *deployment) wait() int {
	if d.ProcessState == nil {
		<-d.ended
		_ = d.Wait() // judged by its status
	}
	return d.ProcessState.ExitCode()
}

// tick is a scheduler's call.
func (d *deployment) tick(t *testing.T) outcome {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.address+"/api/sync?module=leads", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+cronSecret)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return outcome{}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	d.world.heard(string(text))
	out := outcome{exit: response.StatusCode}
	if err != nil || json.Unmarshal(text, &out) != nil {
		t.Errorf("%v: %s", err, text)
	}
	return out
}
