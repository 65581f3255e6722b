package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
)

type verifyCmd struct {
	Module string `arg:"" help:"The module, e.g. leads."`
	Deep   bool   `help:"Compare every column, not only which records there are and of what time."`
	JSON   bool   `name:"json" help:"Print the last run's result as JSON."`
}

func (verifyCmd) Help() string {
	return "As many runs as it takes; Ctrl-C stops it, and the same command goes on where it stopped. Exit status 1 where the mirror differs from the CRM, or a run failed."
}

func (c verifyCmd) Run(ctx context.Context) error {
	return verify(ctx, c.Module, c.JSON, mirror.Request{Mode: mirror.ModeVerify, Deep: c.Deep})
}

type repairCmd struct {
	Module           string `arg:"" help:"The module, e.g. leads."`
	Deep             bool   `help:"Compare, and mend, every column."`
	AcceptUnlisted   bool   `help:"Mark rows as deleted that Zoho neither shows nor lists as deleted."`
	AcceptMassDelete bool   `help:"However many rows that are."`
	JSON             bool   `name:"json" help:"Print the last run's result as JSON."`
}

func (repairCmd) Help() string {
	return "As many runs as it takes; Ctrl-C stops it, and the same command goes on where it stopped. Exit status 1 where something is left to differ, or a run failed."
}

func (c repairCmd) Run(ctx context.Context) error {
	return verify(ctx, c.Module, c.JSON, mirror.Request{Mode: mirror.ModeRepair, Deep: c.Deep,
		AcceptUnlisted: c.AcceptUnlisted, AcceptMassDelete: c.AcceptMassDelete})
}

// errDifferent gives the command its exit status.
var errDifferent = errors.New("the mirror differs from the CRM")

// pause is how long to wait for another run to end, or for Zoho to list what it has just
// stopped showing.
const pause = 5 * time.Second

// verify runs a verification to its verdict, in as many runs as it takes.
func verify(ctx context.Context, module string, asJSON bool, request mirror.Request) error {
	var ok bool
	request.Trigger = mirror.TriggerCLI
	if request.Module, ok = crm.Find(module); !ok {
		return fmt.Errorf("there is no module %.40q; there are %s", module, strings.Join(crm.Modules(), ", "))
	}
	said := ""
	say := func(what string) {
		if what != said {
			fmt.Fprintf(stderr, "%s: %s\n", module, what)
		}
		said = what
	}
	return withMirror(ctx, func(m *mirror.Mirror) error {
		for {
			var result mirror.Result
			err := stderr.during(request.Mode+" of "+module, func(come func(string)) (err error) {
				request.Progress = func(p mirror.Progress) {
					if p.Compared > 0 {
						come(fmt.Sprintf("%d records compared", p.Compared))
					} else { // what has changed is read first
						come(fmt.Sprintf("%d records", p.Rows))
					}
				}
				result, err = m.Run(context.WithoutCancel(ctx), request)
				return err
			})
			wait := time.Duration(0)
			switch {
			case err != nil:
				return err
			case result.Status == mirror.StatusSkipped:
				wait = pause
				say("waiting for the run that is at work")
			case !result.More:
				return report(os.Stdout, result, asJSON)
			case result.Reason == mirror.ReasonSettling:
				wait = pause
				say("waiting for Zoho to list what it has just stopped showing")
			case result.Verification != nil:
				say(fmt.Sprintf("%d records compared so far", result.Verification.Checked))
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return errors.New("stopped; the same command goes on where it stopped")
			}
		}
	})
}

func report(out io.Writer, result mirror.Result, asJSON bool) error {
	v := result.Verification
	if v == nil {
		return errors.New("there is no verification to report")
	}
	if asJSON {
		if err := printJSON(result); err != nil {
			return err
		}
	} else if err := printVerdict(out, result.Module, v); err != nil {
		return err
	}
	if v.Verdict != postgres.VerdictEqual {
		return errDifferent
	}
	return nil
}

// meanings say what each finding is, and what becomes of it.
var meanings = []struct{ finding, meaning string }{
	{postgres.FoundMissing, "records without a row: repair writes them"},
	{postgres.FoundStale, "rows of another time than their records: repair writes them anew"},
	{postgres.FoundDifferent, "rows with other values (formulas and the like move no time): repair writes them anew"},
	{postgres.FoundWronglyDeleted, "rows marked as deleted whose records are there: repair takes the mark back"},
	{postgres.FoundWronglyLive, "rows of records that are listed as deleted: repair marks them"},
	{postgres.FoundUnlisted, "rows of records that Zoho neither shows nor lists as deleted: lost rights look like that; repair --accept-unlisted marks them"},
	{postgres.FoundQuarantined, "records that do not fit: see zohomirror quarantine list"},
}

func printVerdict(out io.Writer, module string, v *postgres.Verification) error {
	fmt.Fprintf(out, "%s: %s to the CRM up to %s, %d records compared", module, map[bool]string{true: "equal", false: "NOT equal"}[v.Verdict == postgres.VerdictEqual],
		v.AsOf.UTC().Format(time.RFC3339), v.Checked)
	if v.Repaired > 0 {
		fmt.Fprintf(out, ", %d mended", v.Repaired)
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range meanings {
		if n := v.Found[m.finding]; n > 0 {
			fmt.Fprintf(table, "  %d\t%s\t%s\n", n, strings.ReplaceAll(m.finding, "_", " "), m.meaning)
		}
	}
	return table.Flush()
}
