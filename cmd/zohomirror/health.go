package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/postgres"
)

type statusCmd struct {
	JSON bool `name:"json" help:"Print JSON, a list with an object a module."`
}

type checkCmd struct {
	Modules []string `arg:"" optional:"" help:"The modules, e.g. leads; all that ever ran if left out."`
	JSON    bool     `name:"json" help:"Print JSON, a list with an object a module."`
}

func (statusCmd) Help() string {
	return "A line a module that ever ran: its state (ok, failing, stale, never), how far it is behind Zoho, and the last 24 hours. " +
		"The same is in the view sync_health. It needs DATABASE_URL alone."
}

func (c statusCmd) Run(ctx context.Context) error {
	modules, err := readHealth(ctx, nil)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(modules)
	}
	return printStatus(os.Stdout, modules)
}

func (checkCmd) Help() string {
	return "Exit status 1 where a module's last two runs failed (failing), where none ever succeeded (never), or where none has for longer than " +
		"STALE_AFTER (stale); also where nothing ever ran, or the database cannot be asked. It needs DATABASE_URL alone."
}

func (c checkCmd) Run(ctx context.Context) error {
	for _, name := range c.Modules {
		if _, err := selected(name); err != nil {
			return err
		}
	}
	modules, err := readHealth(ctx, c.Modules)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(modules)
	} else {
		err = printCheck(os.Stdout, modules)
	}
	if err != nil {
		return err
	}
	return unhealthy(modules)
}

// unhealthy gives the command its exit status.
func unhealthy(modules []postgres.Judged) error {
	if len(modules) == 0 {
		return errors.New("no module has run yet")
	}
	for _, m := range modules {
		if m.State != postgres.StateOK {
			return errors.New("not every module is healthy: zohomirror status shows all figures, the last runs are in the view sync_recent")
		}
	}
	return nil
}

// readHealth reads the named modules, or all.
func readHealth(ctx context.Context, names []string) ([]postgres.Judged, error) {
	settings, err := config.LoadDatabase(ctx, envconfig.OsLookuper())
	if err != nil {
		return nil, err
	}
	store, err := postgres.Open(ctx, settings.DatabaseURL, settings.Logger(os.Stderr))
	if err != nil {
		return nil, err
	}
	defer store.Close()
	all, err := store.Health(ctx)
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		all = postgres.Named(all, names)
	}
	modules := make([]postgres.Judged, len(all))
	for i, h := range all {
		modules[i] = postgres.Judged{Health: h, State: h.State(settings.Notify.StaleAfter)}
	}
	return modules, nil
}

func printCheck(to io.Writer, modules []postgres.Judged) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, m := range modules {
		line := "last good run " + ago(m.AsOf, m.LastOKAt)
		if m.Failures > 0 {
			line += fmt.Sprintf(", %d failed since", m.Failures)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", m.Module, m.State, line)
	}
	return w.Flush()
}

func printStatus(to io.Writer, modules []postgres.Judged) error {
	if len(modules) == 0 {
		_, err := fmt.Fprintln(to, "No module has run yet. zohomirror sync leads runs one.")
		return err
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MODULE\tSTATE\tLAST RUN\tLAST OK\tLAG\tRUNS 24H\tFAILED\tSKIPPED\tMEAN\tP95\tCREDITS 24H\tQUARANTINE\tVERIFIED\tROWS")
	for _, m := range modules {
		lag, last, verified := "never caught up", "at work", "never"
		if m.Lag != nil {
			lag = brief(*m.Lag)
		}
		if m.LastStatus != "" {
			last = m.LastStatus + " " + ago(m.AsOf, m.LastRunAt)
		}
		if m.LastVerdict != "" {
			verified = m.LastVerdict + " " + ago(m.AsOf, m.VerifiedAsOf)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%d\t%d\t%s\t%d\n", m.Module, m.State, last, ago(m.AsOf, m.LastOKAt), lag,
			m.Runs24h, m.Failures24h, m.Skipped24h, m.Mean24h.Round(time.Millisecond), m.P9524h.Round(time.Millisecond),
			m.Credits24h, m.OpenQuarantine, verified, m.Rows)
	}
	return w.Flush()
}

func ago(now, then time.Time) string {
	if then.IsZero() {
		return "never"
	}
	return brief(now.Sub(then)) + " ago"
}

// brief is a duration in its largest unit.
func brief(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", max(d, 0)/time.Second)
}
