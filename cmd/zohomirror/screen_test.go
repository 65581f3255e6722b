package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// slow are the settings for a Zoho that takes its time for each answer, and three deals there,
// one of which waits in the quarantine.
func slow(t *testing.T, latency time.Duration) map[string]string {
	zoho := zohosim.New(zohosim.Config{Latency: latency})
	zoho.InsertMany("Deals", 2, func(i int) zohosim.Record { return zohosim.Record{"Deal_Name": fmt.Sprint("Deal ", i)} })
	settings := settingsFor(t, zoho, pgtest.Database(t))
	settings["TERM"] = "xterm"
	conn, err := pgx.Connect(t.Context(), settings["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), `INSERT INTO sync_quarantine (module, record_id, reason, payload, run_id) VALUES ('deals', $1, 'did not fit', '{}', gen_random_uuid())`,
		zoho.Insert("Deals", zohosim.Record{"Deal_Name": "Deal 3"}))
	if err != nil {
		t.Fatal(err)
	}
	return settings
}

// On a terminal a line says how far a long command has come. It is gone when the command
// ends, and what is logged meanwhile stands on lines of its own.
func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	const few, many = 2200 * time.Millisecond, 700 * time.Millisecond // calls
	settings := map[time.Duration]map[string]string{few: slow(t, few), many: slow(t, many)}
	for _, c := range []struct {
		latency         time.Duration
		arguments, line string
		logged          string
	}{
		{many, "sync deals", `sync of deals … (?:\d+ records, )?\d+ s`, "run ended"},
		{many, "verify deals", `verify of deals … (?:\d+ records(?: compared)?, )?\d+ s`, "run ended"},
		{many, "probe deals", `probing deals … \d+ s`, ""},
		{few, "quarantine replay", `replay of deals … (?:\d+ records, )?\d+ s`, "run ended"},
		{few, "schema migration deals --folder " + t.TempDir(), `comparing with the org … deals, \d+ s`, ""},
	} {
		command := program(t, settings[c.latency], strings.Fields(c.arguments)...)
		var printed bytes.Buffer
		command.Stdout = &printed
		terminal := attach(t, command)
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		seen := terminal()
		if err := command.Wait(); err != nil {
			t.Errorf("%s: %v\n%q", c.arguments, err, seen)
		}
		if !regexp.MustCompile(c.line).MatchString(seen) {
			t.Errorf("%s shows no progress: %q", c.arguments, seen)
		}
		lines := strings.Split(seen, "\n")
		for i, line := range lines { // as the terminal shows it in the end
			lines[i] = strings.TrimSpace(line[strings.LastIndex(line, "\x1b[K")+1:])
			if strings.Contains(lines[i], "…") {
				t.Errorf("%s: the line is left: %q", c.arguments, seen)
			}
		}
		if !strings.Contains(seen, c.logged) || strings.Contains(printed.String(), "\x1b") {
			t.Errorf("%s: %q\n%s", c.arguments, seen, printed.String())
		}
	}
}

func TestNoProgressInAPipe(t *testing.T) {
	t.Parallel()
	printed, complaints, status := output(t, slow(t, 700*time.Millisecond), "sync", "deals")
	if status != 0 || !json.Valid([]byte(printed)) {
		t.Errorf("%d %s", status, printed)
	}
	for line := range strings.Lines(complaints) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a line of the log: %q", line)
		}
	}
}

func TestMigrateJSON(t *testing.T) {
	t.Parallel()
	printed, complaints, status := output(t, map[string]string{"DATABASE_URL": pgtest.Empty(t)}, "migrate", "--json")
	var result struct {
		Schema  int       `json:"schema"`
		Applied *[]string `json:"applied"`
	}
	if err := json.Unmarshal([]byte(printed), &result); err != nil || status != 0 || result.Schema == 0 || result.Applied == nil {
		t.Errorf("%d %v %s %s", status, err, printed, complaints)
	}
}

// Every command, argument and flag explains itself.
func TestHelp(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&cli{}, kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(false) {
		if leaf.Help == "" || !strings.HasSuffix(leaf.Help, ".") {
			t.Errorf("%s: help %q", leaf.FullPath(), leaf.Help)
		}
		for _, argument := range leaf.Positional {
			if argument.Help == "" {
				t.Errorf("%s: the argument %s has no help", leaf.FullPath(), argument.Name)
			}
		}
		for _, group := range leaf.AllFlags(false) {
			for _, flag := range group {
				if flag.Help == "" {
					t.Errorf("%s: the flag %s has no help", leaf.FullPath(), flag.Name)
				}
			}
		}
	}
	for arguments, words := range map[string]string{"--help": "Exit status: 0 done", "doctor --help": "2 settings, 3 database", "check --help": "Exit status 1", "sync --help": "skipped"} {
		printed, complaints, status := output(t, nil, strings.Fields(arguments)...)
		if status != 0 || complaints != "" || !strings.Contains(strings.Join(strings.Fields(printed), " "), words) {
			t.Errorf("%s: %d %s%s", arguments, status, printed, complaints)
		}
	}
	if _, complaints, status := output(t, nil, "sync"); status != 80 || !strings.Contains(complaints, "<module>") {
		t.Errorf("a wrong command line: %d %s", status, complaints)
	}
}
