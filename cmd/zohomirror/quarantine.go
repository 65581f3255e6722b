package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
)

type quarantineCmd struct {
	List   quarantineListCmd   `cmd:"" help:"Print the records that do not fit, one a line."`
	Show   quarantineShowCmd   `cmd:"" help:"Print one record's entries whole, payload included."`
	Replay quarantineReplayCmd `cmd:"" help:"Read records again from Zoho and write those that fit now."`
}

type moduleFlag struct {
	Module string `help:"Only of this module, e.g. leads."`
}

// Validate implements kong's check of the flags.
func (f moduleFlag) Validate() error {
	if _, ok := crm.Find(f.Module); !ok && f.Module != "" {
		return fmt.Errorf("there is no module %.40q; there are %s", f.Module, strings.Join(crm.Modules(), ", "))
	}
	return nil
}

type quarantineListCmd struct {
	moduleFlag `embed:""`
	ID         []string `name:"id" help:"Only these records."`
	JSON       bool     `name:"json" help:"Print a JSON array."`
}

func (c quarantineListCmd) Run(ctx context.Context) error {
	return withStore(ctx, func(store *postgres.Store) error {
		entries, err := store.OpenEntries(ctx, c.Module, c.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(append([]postgres.Entry{}, entries...))
		}
		return printEntries(os.Stdout, entries)
	})
}

type quarantineShowCmd struct {
	moduleFlag `embed:""`
	ID         string `name:"id" required:"" help:"The record's id."`
	JSON       bool   `name:"json" help:"Print a JSON array, the open entry first."`
}

func (c quarantineShowCmd) Run(ctx context.Context) error {
	return withStore(ctx, func(store *postgres.Store) error {
		entries, err := store.Entries(ctx, c.Module, c.ID)
		switch {
		case err != nil:
			return err
		case len(entries) == 0:
			return fmt.Errorf("the quarantine knows nothing of %.80s", c.ID)
		case c.JSON:
			return printJSON(entries)
		}
		for _, e := range entries {
			if err := printEntry(os.Stdout, e); err != nil {
				return err
			}
		}
		return nil
	})
}

type quarantineReplayCmd struct {
	moduleFlag `embed:""`
	ID         []string `name:"id" help:"Only these records."`
	JSON       bool     `name:"json" help:"Print each run's result, a JSON object a line."`
}

func (c quarantineReplayCmd) Run(ctx context.Context) error {
	return withMirror(ctx, func(m *mirror.Mirror) error { return c.replayAll(ctx, m) })
}

func (c quarantineReplayCmd) replayAll(ctx context.Context, m *mirror.Mirror) error {
	entries, err := m.Quarantine(ctx, c.Module, c.ID)
	if err != nil {
		return err
	}
	for _, id := range c.ID {
		if !slices.ContainsFunc(entries, func(e postgres.Entry) bool { return e.ID == id }) {
			return fmt.Errorf("%.80s is not in the quarantine: zohomirror quarantine list prints what is", id)
		}
	}
	if len(entries) == 0 && !c.JSON {
		fmt.Println("The quarantine is empty.")
	}
	bad := 0
	for _, module := range crm.Modules() {
		var ids []string
		for _, e := range entries {
			if e.Module == module {
				ids = append(ids, e.ID)
			}
		}
		still, err := c.replay(ctx, m, module, ids)
		if err != nil {
			return err
		}
		bad += still
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d records are still bad", bad, len(entries))
	}
	return nil
}

// replay runs until all records have been tried, and returns how many are still bad.
func (c quarantineReplayCmd) replay(ctx context.Context, m *mirror.Mirror, name string, ids []string) (bad int, err error) {
	module, _ := crm.Find(name)
	var read int64
	for len(ids) > 0 {
		var result mirror.Result
		before := read // by former runs
		err := stderr.during("replay of "+name, func(come func(string)) (err error) {
			result, err = m.Run(context.WithoutCancel(ctx), mirror.Request{
				Module: module, Mode: mirror.ModeReplay, IDs: ids, Trigger: mirror.TriggerCLI,
				Progress: func(p mirror.Progress) {
					read = before + p.Rows
					come(fmt.Sprintf("%d records", read))
				},
			})
			return err
		})
		if err != nil {
			return 0, err
		}
		if c.JSON {
			if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
				return 0, err
			}
		}
		if result.Status == mirror.StatusSkipped {
			return 0, fmt.Errorf("another run of %s has been at work since %s: try again when it has ended", name, result.HeldSince.UTC().Format(time.RFC3339))
		}
		did := result.Replay
		if !c.JSON {
			if err := printReplay(os.Stdout, name, did); err != nil {
				return 0, err
			}
		}
		bad += len(did.StillBad)
		if len(c.ID) > 0 {
			bad += len(did.NoID) // in a replay of all they are only named: nothing can be done for them
		}
		if ctx.Err() != nil && len(did.Untried) > 0 {
			return 0, fmt.Errorf("asked to end with %d records of %s untried", len(did.Untried), name)
		}
		ids = did.Untried
	}
	return bad, nil
}

func withStore(ctx context.Context, do func(*postgres.Store) error) error {
	settings, err := config.LoadDatabase(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	store, err := postgres.Open(ctx, settings.DatabaseURL, settings.Logger(os.Stderr))
	if err != nil {
		return err
	}
	defer store.Close()
	return do(store)
}

func printJSON(value any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func printEntries(to io.Writer, entries []postgres.Entry) error {
	if len(entries) == 0 {
		_, err := fmt.Fprintln(to, "The quarantine is empty.")
		return err
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MODULE\tRECORD\tFIELD\tVALUE\tRULE\tATTEMPTS\tFIRST SEEN\tLAST SEEN")
	noID := 0
	for _, e := range entries {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", e.Module, e.ID, cell(e.Field), cell(e.Value), cell(e.Rule), e.Attempts,
			e.FirstSeen.UTC().Format(time.DateTime), e.LastSeen.UTC().Format(time.DateTime))
		if e.NoID() {
			noID++
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if noID > 0 {
		fmt.Fprintf(to, "\n%d came without an id of Zoho's and cannot be replayed: quarantine show prints what came.\n", noID)
	}
	return nil
}

// cell fits text into a table; control characters could move a terminal's cursor.
func cell(text string) string {
	const most = 40
	if text == "" {
		return "-"
	}
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return strings.Trim(fmt.Sprintf("%q", text), `"`)
}

func printEntry(to io.Writer, e postgres.Entry) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	at := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.UTC().Format(time.RFC3339)
	}
	state := "open"
	if e.SettledAt != nil {
		state = "settled at " + at(e.SettledAt)
		if e.SettledBy != nil {
			state += " by run " + e.SettledBy.String()
		}
	}
	for _, line := range [][2]string{
		{"module", e.Module}, {"record", e.ID}, {"state", state}, {"reason", fmt.Sprintf("%q", e.Reason)}, {"field", cell(e.Field)},
		{"value", fmt.Sprintf("%q", e.Value)}, {"rule", cell(e.Rule)}, {"attempts", fmt.Sprint(e.Attempts)}, {"modified", at(e.ModifiedAt)},
		{"first seen", at(&e.FirstSeen)}, {"last seen", at(&e.LastSeen)}, {"run", e.RunID.String()}, {"payload", string(e.Payload)},
	} {
		fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
	}
	fmt.Fprintln(w)
	return w.Flush()
}

func printReplay(to io.Writer, module string, did *mirror.Replay) error {
	for _, id := range did.Settled {
		fmt.Fprintf(to, "%s %s: settled\n", module, id)
	}
	for _, id := range did.Gone {
		fmt.Fprintf(to, "%s %s: settled, for it is no longer in Zoho\n", module, id)
	}
	for _, e := range did.StillBad {
		fmt.Fprintf(to, "%s %s: still bad: %q\n", module, e.ID, e.Reason)
	}
	for _, id := range did.NoID {
		fmt.Fprintf(to, "%s %s: cannot be replayed, for it came without an id of Zoho's\n", module, id)
	}
	return nil
}
