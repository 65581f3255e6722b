package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// builtFunction names a bootstrap that Vercel's own builder made. With it the tests of the
// function run on that one, and so does whatever else asks for a deployment and does not
// name `zohomirror serve`.
var builtFunction = os.Getenv("ZOHOMIRROR_FUNCTION")

// buildFunction builds the function as Vercel's builder does: a main that the project does
// not have hands its Handler to the bridge.
func buildFunction(folder string) (string, error) {
	if builtFunction != "" {
		return filepath.Abs(builtFunction)
	}
	const source = `package main

import (
	"net/http"

	"github.com/vercel/go-bridge/go/bridge"

	function "zohomirror/api"
)

func main() { bridge.Start(http.HandlerFunc(function.Handler)) }
`
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	program, overlay, path := filepath.Join(folder, "main.go"), filepath.Join(folder, "overlay.json"), filepath.Join(folder, "bootstrap")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "cmd", "bootstrap", "main.go"): program}})
	if err != nil {
		return "", err
	}
	for name, text := range map[string]string{program: source, overlay: string(replace)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	output, err := exec.Command("go", "build", "-buildvcs=false", "-overlay", overlay, "-o", path, "zohomirror/cmd/bootstrap").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build of the function: %w: %s", err, output)
	}
	return path, nil
}

// platformLimit is how long vercel.json lets a call take.
const platformLimit = time.Minute

// A platform calls the function as Vercel does: an instance takes one call at a time,
// another is started when none is free, and an instance is frozen from its answer to its
// next call.
type platform struct {
	world    *world
	binary   string
	settings []string

	mu        sync.Mutex
	free      []*instance
	instances []*instance
	logs      sync.WaitGroup
}

// An instance is a process of the function, and the runtime that it asks for work.
type instance struct {
	*exec.Cmd
	runtime *httptest.Server
	work    chan []byte   // a call on its way to the process
	answers chan reply    // and back
	ended   chan struct{} // closed when the process is gone
	over    chan struct{} // closed when the test is
}

// A reply is what the function answered.
type reply struct {
	StatusCode int
	Headers    map[string][]string
	Encoding   string
	Body       string
}

// function deploys the function until the test ends.
func (w *world) function(t *testing.T, settings ...string) *deployment {
	t.Helper()
	binary, err := bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{world: w, binary: binary, settings: settings}
	server := httptest.NewServer(p)
	t.Cleanup(func() {
		p.end()
		server.Close()
	})
	return &deployment{world: w, address: server.URL, platform: p}
}

// ServeHTTP makes an invocation of a request, and an answer of what comes back.
func (p *platform) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller left
	}
	headers := map[string]any{"host": r.Host, "x-forwarded-for": "203.0.113.7", "x-real-ip": "203.0.113.7", "x-vercel-id": "fra1::iad1::e2e"}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = values
	}
	request, err := json.Marshal(map[string]any{
		"host": r.Host, "path": r.RequestURI, "method": r.Method, "headers": headers, "encoding": "base64", "body": base64.StdEncoding.EncodeToString(body),
	})
	if err != nil {
		panic(err) // strings
	}
	event, err := json.Marshal(map[string]string{"body": string(request)})
	if err != nil {
		panic(err) // a string
	}
	answer, err := p.invoke(event)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadGateway)
		return
	}
	for name, values := range answer.Headers {
		rw.Header()[http.CanonicalHeaderKey(name)] = values
	}
	text := []byte(answer.Body)
	if answer.Encoding == "base64" {
		if text, err = base64.StdEncoding.DecodeString(answer.Body); err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
	}
	rw.WriteHeader(answer.StatusCode)
	_, _ = rw.Write(text) // a caller that left needs no answer
}

// invoke lets a free instance take the call.
func (p *platform) invoke(event []byte) (reply, error) {
	i, err := p.thaw()
	if err != nil {
		return reply{}, err
	}
	limit := time.NewTimer(platformLimit)
	defer limit.Stop()
	work := i.work
	for {
		select {
		case work <- event:
			work = nil
		case answer := <-i.answers:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.free = append(p.free, i)
			return answer, nil
		case <-i.ended:
			return reply{}, fmt.Errorf("FUNCTION_INVOCATION_FAILED: the process ended")
		case <-limit.C:
			_ = i.Process.Kill() // as the platform does
			return reply{}, fmt.Errorf("FUNCTION_INVOCATION_TIMEOUT after %s", platformLimit)
		}
	}
}

// thaw wakes an instance, or starts one.
func (p *platform) thaw() (*instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		return i, i.Process.Signal(syscall.SIGCONT)
	}
	i := &instance{work: make(chan []byte), answers: make(chan reply), ended: make(chan struct{}), over: make(chan struct{})}
	i.runtime = httptest.NewServer(i)
	i.Cmd = exec.CommandContext(context.Background(), p.binary)
	i.Env = []string{"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(i.runtime.URL, "http://"), "AWS_LAMBDA_FUNCTION_NAME=f", "VERCEL=1", "VERCEL_ENV=production"}
	for name, value := range p.world.settings {
		i.Env = append(i.Env, name+"="+value)
	}
	i.Env = append(i.Env, p.settings...)
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	i.Stdout, i.Stderr = input, input
	err = i.Start()
	_ = input.Close() // the process has its own
	if err != nil {
		return nil, err
	}
	p.instances = append(p.instances, i)
	p.logs.Go(func() {
		defer output.Close()
		for lines := bufio.NewScanner(output); lines.Scan(); {
			p.world.readLog(lines.Text() + "\n")
		}
		_ = i.Wait() // judged by what it answered
		close(i.ended)
	})
	return i, nil
}

// ServeHTTP is the runtime's side of the process: it hands out calls and takes answers.
// Nothing that the process does after its answer can be relied on: it is frozen at once.
func (i *instance) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		select {
		case event := <-i.work:
			rw.Header().Set("Lambda-Runtime-Aws-Request-Id", "1")
			rw.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(platformLimit).UnixMilli(), 10))
			_, _ = rw.Write(event) // a process that is gone is noticed elsewhere
		case <-i.over:
		case <-r.Context().Done():
		}
		return
	}
	var answer reply
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		answer = reply{StatusCode: http.StatusBadGateway, Body: err.Error()}
	}
	_ = i.Process.Signal(syscall.SIGSTOP) // it is alive
	rw.WriteHeader(http.StatusAccepted)
	select {
	case i.answers <- answer:
	case <-i.over:
	}
}

// end kills every instance.
func (p *platform) end() {
	p.mu.Lock()
	instances := slices.Clone(p.instances)
	p.mu.Unlock()
	for _, i := range instances {
		close(i.over)
		_ = i.Process.Kill() // it may be gone
		i.runtime.Close()
	}
	p.logs.Wait()
}

// kill ends every instance, also one at work, as the platform does at its limit.
func (p *platform) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.instances {
		_ = i.Process.Kill() // it may be gone
	}
	p.free = nil
}

// restart kills the instances that are free, so that the next call starts a new one.
func (p *platform) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.free {
		_ = i.Process.Kill() // it may be gone
	}
	p.free = nil
}
