package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/crm"
	"zohomirror/internal/doctor"
	"zohomirror/internal/logs"
	"zohomirror/internal/mirror"
	"zohomirror/internal/notify"
)

type doctorCmd struct {
	Modules []string `arg:"" optional:"" help:"The modules to be mirrored, e.g. leads; all that zohomirror knows if left out."`
	Folder  string   `default:"migrations/org" help:"Where the org's own migrations stand."`
	Notify  bool     `help:"Send a test message to Slack and a test event to Sentry."`
	JSON    bool     `name:"json" help:"Print JSON: ok, exit_status, and checks with name, state, detail, advice and class."`
}

func (doctorCmd) Help() string {
	return "A line a check, in the order in which one thing needs another: ✓ is fine, ✗ is a problem with what to do about it, – could not or need not be checked. " +
		"It only reads, takes one of the ten access tokens that Zoho mints in ten minutes, and a few API credits.\n\n" +
		"The exit status is the class of the first problem: 2 settings, 3 database, 4 Zoho, 5 schema, 6 notifications; 0 where there is none."
}

// sendTest sends what --notify asks for, by the code that runs use.
func sendTest(send func(*notify.Notifier, context.Context) error) func(context.Context, *config.Config) error {
	return func(ctx context.Context, settings *config.Config) error {
		n := notify.New(settings.Notify)
		defer n.Close()
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // a person waits
		defer cancel()
		return send(n, ctx)
	}
}

// A problem is told already; it gives the command its exit status.
type problem int

func (p problem) Error() string { return fmt.Sprintf("a problem of class %d", int(p)) }

// ExitCode implements kong's ExitCoder.
func (p problem) ExitCode() int { return int(p) }

func (c doctorCmd) Run(ctx context.Context) error {
	patient := doctor.Patient{
		Environment: envconfig.OsLookuper(), Folder: c.Folder, UserAgent: userAgent(),
		Log: logs.New(os.Stderr, logs.Options{Text: true, Plain: true, Level: slog.LevelError}), // a check says what is to be said
		Open: func(ctx context.Context, settings *config.Config) (*mirror.Mirror, error) {
			return open(ctx, settings, slog.New(slog.DiscardHandler))
		},
	}
	if c.Notify {
		patient.Slack, patient.Sentry = sendTest((*notify.Notifier).TestSlack), sendTest((*notify.Notifier).TestSentry)
	}
	names := c.Modules
	if len(names) == 0 {
		names = crm.Modules()
	}
	for _, name := range names {
		modules, err := selected(name)
		if err != nil {
			return err
		}
		patient.Modules = append(patient.Modules, modules...)
	}
	tell := func(check doctor.Check) { printFinding(os.Stdout, check) }
	if c.JSON {
		tell = func(doctor.Check) {}
	}
	checks := doctor.Examine(ctx, patient, tell)
	status := doctor.Status(checks)
	if c.JSON {
		if err := printJSON(struct {
			OK     bool           `json:"ok"`
			Status int            `json:"exit_status"`
			Checks []doctor.Check `json:"checks"`
		}{status == 0, status, checks}); err != nil {
			return err
		}
	}
	if status != 0 {
		return problem(status)
	}
	return nil
}

var marks = map[string]string{doctor.StateOK: "✓", doctor.StateFailed: "✗", doctor.StateSkipped: "–"}

func printFinding(to io.Writer, c doctor.Check) {
	fmt.Fprintf(to, "%s %s: %s\n", marks[c.State], c.Name, c.Detail)
	if c.Advice != "" {
		fmt.Fprintf(to, "    what to do: %s\n", c.Advice)
	}
}
