package docs

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

func TestReadCommands(t *testing.T) {
	t.Parallel()
	const text = "See `go test`, `leads`, `a: b` and `repair\n--deep`.\n\n    zohomirror a # why\n    b \\\n      c\n\n<!-- needs an account -->\n```sh\n# not this\ngcloud `d`\n```\n\n" +
		"```sql\nselect 1;\n```\n\n    ZohoCRM.a,ZohoCRM.b\n\nAnd `GET /healthz`, `npx a` (needs b).\n"
	want := []Command{
		{"p", 4, "zohomirror a # why", "", false},
		{"p", 6, "b c", "", false},
		{"p", 11, "gcloud `d`", "an account", false},
		{"p", 1, "go test", "", true},
		{"p", 1, "repair --deep", "", true},
		{"p", 20, "GET /healthz", "", true},
		{"p", 20, "npx a", "b", true},
	}
	if diff := gocmp.Diff(want, Commands("p", text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A place is a script of CI that runs a command, and the words by which it does so: the
// command's own, unless it is given.
type place struct{ file, words string }

// elsewhere are commands that take longer than a test of the pages should, or that are those
// of the tests themselves.
var elsewhere = map[string]place{
	"go run ./cmd/zohomirror demo":             {".ci/demo", ""},
	"go test ./...":                            {".ci/run", ""},
	"go test":                                  {".ci/run", "go test ./..."},
	"go generate ./docs":                       {".ci/run", ""},
	"go -C .ci/tools run ./mutate -root ../..": {".ci/run", ""},
	"go test -run '^$' -bench Sizes -benchtime 1x -v ./docs": {".ci/run", ""},
	"go test -run Proof -timeout 0 ./internal/mirror -rapid.checks 2500 -rapid.seed $RANDOM": {".ci/run",
		"go test -run Proof -timeout 0 ./internal/mirror -rapid.checks 5 -rapid.seed $RANDOM"}, // but fewer
}

// commandPages are those whose commands are for a reader to type.
func commandPages(t *testing.T) []string {
	t.Helper()
	pages, err := Pages(".")
	if err != nil {
		t.Fatal(err)
	}
	return append(pages, "../README.md", "../public/llms.txt")
}

// Each command of each page is run, or is run by a script of CI that names it, or needs what
// no test has and says so to the reader. Those of a page's blocks run one after another in one
// shell, as a reader would type them; those amid text each once, whichever pages have it.
func TestCommands(t *testing.T) {
	t.Parallel()
	var amid []Command
	used, seen := map[string]bool{}, map[string]bool{}
	run, needy := 0, 0
	for _, name := range commandPages(t) {
		text := page(t, name)
		var blocks []Command
		for _, c := range Commands(name, text) {
			bare, _, _ := strings.Cut(c.Text, " #")
			bare = strings.TrimSpace(bare)
			where, other := elsewhere[bare]
			switch {
			case c.Needs != "":
				needy++
				told(t, c, text)
			case other:
				used[bare] = true
				if words := cmp.Or(where.words, bare); !runs(t, where.file, words) {
					t.Errorf("%s:%d: %s does not run %q", c.Page, c.Line, where.file, words)
				}
			case !c.Inline:
				blocks = append(blocks, c)
			case !seen[bare]:
				seen[bare] = true
				amid = append(amid, c)
			}
		}
		run += len(blocks)
		if len(blocks) > 0 {
			t.Run(strings.TrimPrefix(name, "../"), func(t *testing.T) {
				r := newReader(t, fresh[name])
				r.bare = name == "../README.md"
				r.types(t, blocks)
			})
		}
	}
	for command := range elsewhere {
		if !used[command] {
			t.Errorf("no page has %q", command)
		}
	}
	for some := range slices.Chunk(amid, 6) { // Zoho gives out ten tokens in ten minutes
		t.Run("amid text", func(t *testing.T) {
			r := newReader(t, false)
			r.misfit = r.zoho.Insert("Deals", zohosim.Record{"Deal_Name": "Odd", "Closing_Date": "some day"})
			r.types(t, slices.Concat([]Command{{Page: "first", Text: "zohomirror setup"}}, some))
		})
	}
	t.Logf("%d commands of blocks and %d amid text run here, %d elsewhere; %d need what no test has", run, len(amid), len(elsewhere), needy)
	if run < 25 || len(amid) < 45 || needy < 15 {
		t.Error("too few commands were found")
	}
}

// runs reports whether a script has a command on a line, comments and headings aside; and
// whether .ci/run, which runs everything, runs that script.
func runs(t *testing.T, file, words string) bool {
	t.Helper()
	if file != ".ci/run" && !runs(t, ".ci/run", file) {
		return false
	}
	for line := range strings.Lines(page(t, "../"+file)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") && !strings.HasPrefix(line, "stage ") && strings.Contains(line, words) {
			return true
		}
	}
	return false
}

// told holds a command that needs what no test has against what its page lets the reader
// see, and against a shell's grammar.
func told(t *testing.T, c Command, text string) {
	t.Helper()
	above := strings.Join(strings.Split(text, "\n")[:c.Line-1], "\n")
	above = above[strings.LastIndex(above, "\n## ")+1:]
	if c.Inline { // the words stand behind it
		above = text
	}
	if visible := regexp.MustCompile(`<!--.*?-->`).ReplaceAllString(above, ""); !strings.Contains(visible, "needs "+c.Needs) {
		t.Errorf("%s:%d: under its heading no reader is told that %q needs %s", c.Page, c.Line, c.Text, c.Needs)
	}
	if output, err := exec.CommandContext(t.Context(), "sh", "-n", "-c", c.Text).CombinedOutput(); err != nil {
		t.Errorf("%s:%d: %v %s", c.Page, c.Line, err, output)
	}
}

// Nothing between backticks looks like a command and is not taken for one: its first word is
// a program of this machine. A laptop may have programs of any name.
func TestNoCommandIsOverlooked(t *testing.T) {
	t.Parallel()
	if os.Getenv("CI") != "true" {
		t.Skip("a laptop may have programs of any name: CI=true has this run")
	}
	for _, name := range commandPages(t) {
		for _, span := range Spans(name, page(t, name)) {
			first, rest, _ := strings.Cut(span.Text, " ")
			if _, err := exec.LookPath(first); err == nil && rest != "" && !typed.MatchString(span.Text) {
				t.Errorf("%s:%d: is %q a command? Then docs/commands.go must know %s", name, span.Line, span.Text, first)
			}
		}
	}
}

// fresh pages begin with a database that has no tables.
var fresh = map[string]bool{"../README.md": true, "deploy/box.md": true, "deploy/vercel.md": true}

// A reader sits before a shell in a checkout, with an org and a database.
type reader struct {
	zoho     *zohosim.Zoho
	folder   string
	misfit   string // id of a deal that no migration lets in
	settings map[string]string
	bare     bool // none of them is in the shell's environment: the page says how they get there
}

func newReader(t *testing.T, fresh bool) *reader {
	t.Helper()
	r := &reader{zoho: zohosim.New(zohosim.Config{}), folder: checkout(t)}
	server := httptest.NewServer(r.zoho)
	t.Cleanup(server.Close)
	r.zoho.AddField("Leads", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	r.zoho.RemoveField("Leads", "Lead_Status") // the org has a status of its own
	r.zoho.AddField("Leads", zohosim.Field{API: "Lead_Status", Type: "picklist", Values: []string{"-None-", "Met at the fair"}})
	r.zoho.Insert("Leads", zohosim.Record{"Last_Name": "Fair", "Lead_Status": "Met at the fair", "Shoe_Size": 43})
	r.zoho.Insert("Leads", zohosim.Record{"Last_Name": "Plain"})
	r.zoho.Insert("Deals", zohosim.Record{"Deal_Name": "A deal"})
	database := pgtest.Empty
	if !fresh {
		database = pgtest.Database
	}
	port := freePort(t)
	r.settings = map[string]string{
		"DATABASE_URL": database(t), "ZOHO_ACCOUNTS_URL": server.URL, "ZOHO_API_URL": server.URL, "ZOHO_CLIENT_ID": zohosim.DefaultClientID,
		"ZOHO_CLIENT_SECRET": zohosim.DefaultClientSecret, "ZOHO_REFRESH_TOKEN": zohosim.DefaultRefreshToken,
		"CRON_SECRET": "the-secret-of-the-docs-0123456789", "PORT": port,
		"URL": "http://127.0.0.1:" + port, "BYPASS": "x", // as docs/deploy names the server, and a secret of Vercel's
	}
	r.write(t)
	return r
}

// checkout is a copy of the source tree, which commands may write to.
func checkout(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"api", "cmd", "internal", "migrations"} {
		if err := os.CopyFS(filepath.Join(folder, name), os.DirFS("../"+name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", ".env.example"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(page(t, "../"+name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// freePort is one that nobody else takes meanwhile: systems give out higher ones by themselves.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		port := fmt.Sprint(20000 + rand.IntN(10000))
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
}

// program returns the folder of the built program, built once.
var program func() (string, error)

func buildProgram(folder string) (string, error) {
	output, err := exec.Command("go", "build", "-buildvcs=false", "-o", folder, "zohomirror/cmd/zohomirror").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, output)
	}
	return folder, nil
}

// prelude is what the reader's shell knows. A server runs until the next one, or the end, and
// must end well.
const prelude = `server=
up() { down; : >server.log; "$@" >>server.log 2>&1 & server=$!; until grep -q -e listening -e Ctrl-C server.log; do kill -0 $server || { cat server.log; exit 1; }; sleep 0.05; done; }
down() { [ -z "$server" ] || { kill -TERM $server; ended=$server; server=; wait $ended; }; }
trap 'status=$?; down || { status=1; cat server.log; }; exit $status' EXIT
says() { wanted=$1; words=$2; shift 2; status=0; "$@" >told 2>&1 || status=$?; cat told; [ $status = $wanted ] && grep -q "$words" told; }
answers() { "$@" >answer; cat answer; grep -q '"status":"ok"' answer; }
`

// types runs commands one after another in one shell, until one fails.
func (r *reader) types(t *testing.T, commands []Command) {
	t.Parallel()
	for _, needed := range []string{"sh", "curl", "openssl"} {
		if _, err := exec.LookPath(needed); err != nil && os.Getenv("CI") == "true" {
			t.Fatal(err)
		} else if err != nil {
			t.Skip(err)
		}
	}
	folder, err := program()
	if err != nil {
		t.Fatal(err)
	}
	script := prelude
	running := false
	for _, c := range commands {
		for _, line := range r.words(c) {
			if !known.MatchString(line) {
				t.Errorf("%s:%d: nothing tries %q: let a test or a script of CI run it, or say above it <!-- needs … -->, or behind it (needs …)", c.Page, c.Line, c.Text)
				continue
			}
			switch asks := strings.Contains(line, "curl ") || strings.HasSuffix(line, "healthcheck"); {
			case servers.MatchString(line):
				line, running = "up "+line, !strings.Contains(line, "demo")
			case !slow && builds.MatchString(line):
				line = "cp -f " + quoted(filepath.Join(folder, "zohomirror")) + " ."
			case asks && !running:
				script, running = script+"up zohomirror serve\n", true
			}
			script += fmt.Sprintf("echo '== %s:%d: '%s\n%s\n", c.Page, c.Line, quoted(line), line)
		}
	}
	shell := exec.CommandContext(t.Context(), "sh", "-euc", script)
	shell.Dir = r.folder
	shell.Env = []string{"PATH=.:" + folder + ":" + os.Getenv("PATH")}
	for _, setting := range os.Environ() {
		if regexp.MustCompile(`^(HOME|TMPDIR|XDG_CACHE_HOME|CC|CGO_|GO)`).MatchString(setting) {
			shell.Env = append(shell.Env, setting)
		}
	}
	if !r.bare {
		for name, value := range r.settings {
			shell.Env = append(shell.Env, name+"="+value)
		}
	}
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGTERM) }
	shell.WaitDelay = 10 * time.Second
	output, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v; the last of these failed:\n%s", err, output)
	}
	t.Logf("%s", output)
}

// write leaves the settings in a file for a person to copy from, all but the token, which setup
// prints.
func (r *reader) write(t *testing.T) {
	t.Helper()
	var file strings.Builder
	for name, value := range r.settings {
		if name != "ZOHO_REFRESH_TOKEN" {
			fmt.Fprintf(&file, "%s=%s\n", name, quoted(value))
		}
	}
	if err := os.WriteFile(filepath.Join(r.folder, "settings"), []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What the files beside the pages have a scheduler run is run too. Units and YAML are read by
// .ci/deploy, pg_cron.sql is run by internal/e2e.
func TestDeployedFiles(t *testing.T) {
	r := newReader(t, false)
	entries, err := os.ReadDir("deploy")
	if err != nil {
		t.Fatal(err)
	}
	var commands []Command
	all := func(name, text, pattern string, command func(m []string) []string) {
		found := regexp.MustCompile(`(?m)`+pattern).FindAllStringSubmatch(text, -1)
		if len(found) == 0 {
			t.Errorf("deploy/%s: no command was found", name)
		}
		for _, m := range found {
			for _, line := range command(m) {
				commands = append(commands, Command{Page: "deploy/" + name, Text: line})
			}
		}
	}
	needs := regexp.MustCompile(`(?m)^#.*\b(kubectl|systemctl|docker) [a-z]`)
	for _, entry := range entries {
		name := entry.Name()
		text := page(t, "deploy/"+name)
		switch {
		case name == "crontab": // by cron's own shell, which knows no settings
			all(name, text, `^\*\S* (?:\S+ ){4}(.*)$`, func(m []string) []string {
				return []string{`env -i PATH="$PATH" /bin/sh -c ` + quoted(strings.ReplaceAll(m[1], "/etc/zohomirror.env", "./settings"))}
			})
		case strings.HasSuffix(name, ".yml"):
			all(name, text, `^ +(curl .*)$`, func(m []string) []string { return []string{"export MODULE=leads", m[1], "export MODULE=deals", m[1]} })
		case strings.HasSuffix(name, ".yaml"):
			all(name, text, `args: \["(.*)", "(.*)"\]`, func(m []string) []string { return []string{"zohomirror " + m[1] + " " + m[2]} })
		case strings.HasSuffix(name, ".service"):
			all(name, text, `^ExecStart=/usr/local/bin/(.*)$`, func(m []string) []string { return []string{strings.ReplaceAll(m[1], "%i", "leads")} })
		case name == "pg_cron.sql":
			if !strings.Contains(page(t, "../internal/e2e/cron_test.go"), "docs/deploy/"+name) {
				t.Errorf("internal/e2e does not run %s", name)
			}
		case !strings.HasSuffix(name, ".md") && !strings.HasSuffix(name, ".timer"):
			t.Errorf("nothing tries deploy/%s", name)
		}
		if !strings.HasSuffix(name, ".md") && needs.MatchString(text) && !strings.Contains(text, "needs ") {
			t.Errorf("deploy/%s does not say what its commands need", name)
		}
	}
	r.types(t, commands)
	if n := number(t, connect(t, r.settings["DATABASE_URL"]), "SELECT count(*) FROM sync_runs WHERE trigger = 'curl' AND status = 'ok'"); n != 4 {
		t.Errorf("%d runs were called for by the crontab and the workflow, want one a module of each", n)
	}
}

// known are commands that may be run on the machine of whoever runs the tests.
var known = regexp.MustCompile(`^((says 1 '.*' )?(\./)?zohomirror |answers curl .*["'](\$URL/|http://localhost:)|openssl rand -hex \d+$|(CGO_ENABLED=0 )?go build (-buildvcs=false )?-trimpath |cp \.env\.example \.env;|set -a; \. \./\.env; set \+a$|env -i PATH="\$PATH" /bin/sh -c '\. \./settings;|export MODULE=)`)

// builds are commands that build the program. Their flags have everything compiled anew,
// which takes minutes where it was not done before: without ZOHOMIRROR_SLOW=1, which .ci/run
// has, the program that is there is taken instead.
var builds = regexp.MustCompile(`^(CGO_ENABLED=0 )?go build `)

var slow = os.Getenv("ZOHOMIRROR_SLOW") != ""

// servers run until they are asked to end.
var servers = regexp.MustCompile(`zohomirror (serve|demo)\b`)

func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// words are a command as a reader types it: what stands for something is filled in, what may
// be left out is once left out and once not.
func (r *reader) words(c Command) (lines []string) {
	bare, _, _ := strings.Cut(c.Text, " #")
	lines = []string{strings.TrimSpace(bare)}
	if c.Inline {
		lines = variants(lines[0])
	}
	for i, line := range lines {
		for _, f := range fill {
			line = f.what.ReplaceAllString(line, f.with)
		}
		if r.misfit != "" && strings.HasPrefix(line, "zohomirror quarantine replay") {
			line = "says 1 'still bad' " + line
		}
		lines[i] = strings.NewReplacer("CODE", r.zoho.GrantCode(10*time.Minute), "MISFIT", r.misfit, "LISTENS", r.settings["PORT"]).Replace(line)
	}
	return lines
}

var (
	optional = regexp.MustCompile(`( ?)\[([^\]]+)\]`)
	either   = regexp.MustCompile(`(\w+)\|(\w+)`)
)

// variants are a command without and with what is in brackets, and with each of what a bar
// is between.
func variants(text string) []string {
	if m := optional.FindStringSubmatchIndex(text); m != nil {
		before, inner, after := text[:m[0]], text[m[2]:m[3]]+text[m[4]:m[5]], text[m[1]:]
		return slices.Concat(variants(before+after), variants(before+inner+after))
	}
	if m := either.FindStringSubmatchIndex(text); m != nil {
		return slices.Concat(variants(text[:m[3]]+text[m[1]:]), variants(text[:m[0]]+text[m[4]:]))
	}
	return []string{text}
}

// fill makes a page's words a command, in this order.
var fill = []struct {
	what *regexp.Regexp
	with string
}{
	// What stands for something.
	{regexp.MustCompile(`1000\.(…|x)|(--code )…`), "${2}CODE"},
	{regexp.MustCompile(`(--id )…`), "${1}MISFIT"},
	{regexp.MustCompile(` module…`), " leads deals"},
	{regexp.MustCompile(` (<module>|module)( |$)`), " leads$2"},
	{regexp.MustCompile(`<Field>`), "Shoe_Size"},
	{regexp.MustCompile(`(localhost|127\.0\.0\.1):8080`), "$1:LISTENS"},
	// What text says in short.
	{regexp.MustCompile(`^(show|replay)( |$)`), "quarantine $1$2"},
	{regexp.MustCompile(`^serve --every$`), "serve --every 15m"},
	{regexp.MustCompile(`^(serve|sync|verify|repair|quarantine|migrate) `), "zohomirror ${0}"},
	{regexp.MustCompile(`^(zohomirror (?:sync|verify|repair))( --|$)`), "$1 leads$2"},
	{regexp.MustCompile(`^(?:GET )?/(.*)`), `curl -H "Authorization: Bearer $$CRON_SECRET" "$$URL/$1"`},
	// What a person does besides: answer yes, keep the token that is printed, migrate, fill in the
	// settings, read the answer.
	{regexp.MustCompile(`zohomirror setup`), "zohomirror setup --yes"},
	{regexp.MustCompile(`^\./zohomirror setup.*`), `$0 >told; cat told; grep -o "ZOHO_REFRESH_TOKEN=.*" told >>.env`},
	{regexp.MustCompile(`^zohomirror schema promote .*`), "$0; zohomirror migrate"},
	{regexp.MustCompile(`^cp \.env\.example \.env$`), "$0; cat settings >>.env"},
	{regexp.MustCompile(`^curl (.*)`), "answers curl -fsS $1"},
}
