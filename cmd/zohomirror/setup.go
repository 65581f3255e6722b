package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"
	"golang.org/x/term"

	"zohomirror/internal/config"
	"zohomirror/internal/crm"
	"zohomirror/internal/doctor"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

type setupCmd struct {
	Code     string        `help:"A grant code of the API console: exchanged first, as it lives for minutes. Without it ZOHO_REFRESH_TOKEN must be set."`
	Platform string        `enum:",vercel,cloud-run,supabase,systemd,crontab,kubernetes,github" default:"" help:"Whose scheduler will call: vercel, cloud-run, supabase, systemd, crontab, kubernetes or github."`
	Yes      bool          `short:"y" help:"Ask nothing: for use without a terminal."`
	Folder   string        `default:"migrations/org" help:"Where the org's own migrations stand."`
	Progress time.Duration `default:"5s" help:"Pause between lines of progress."`
}

// Validate implements kong's check of the flags.
func (c setupCmd) Validate() error {
	if c.Progress <= 0 {
		return errors.New("the pause between lines of progress must be above zero")
	}
	return nil
}

// A setup is one pass of the command.
type setup struct {
	setupCmd
	in       io.Reader
	out      io.Writer
	from     envconfig.Lookuper
	settings *config.Config
	mirror   *mirror.Mirror
}

func (c setupCmd) Run(ctx context.Context) error {
	if !c.Yes && !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("there is no terminal to ask on: say --yes")
	}
	s := &setup{setupCmd: c, in: os.Stdin, out: os.Stdout, from: envconfig.OsLookuper()}
	return s.run(ctx)
}

// run is the order of things. Each step may be repeated: it finds what is done already.
func (s *setup) run(ctx context.Context) (err error) {
	if err := s.check(ctx); err != nil {
		return err
	}
	s.title("Examination")
	if err := s.examine(ctx); err != nil {
		return err
	}
	s.title("Tables")
	if err := s.migrate(ctx); err != nil {
		return err
	}
	if s.mirror, err = mirror.Open(ctx, s.settings.Mirror, s.settings.Zoho, s.settings.DatabaseURL, s.settings.Logger(os.Stderr)); err != nil {
		return err
	}
	defer s.mirror.Close()
	defer context.AfterFunc(ctx, s.mirror.Stop)() // Ctrl-C ends the run at its next page
	if err := s.align(ctx); err != nil {
		return err
	}
	s.title("First sync")
	for _, name := range crm.Modules() {
		module, _ := crm.Find(name)
		if err := s.load(ctx, module); err != nil {
			return err
		}
	}
	s.title("What is left to do")
	s.next()
	return nil
}

func (s *setup) title(text string) { fmt.Fprintf(s.out, "\n%s\n", text) }

func (s *setup) say(format string, args ...any) { fmt.Fprintf(s.out, "  "+format+"\n", args...) }

// check exchanges the code, if there is one, before anything else: it lives for minutes,
// and what other settings lack can be mended afterwards.
func (s *setup) check(ctx context.Context) (err error) {
	fmt.Fprintln(s.out, "Settings")
	if s.Code != "" {
		if err := s.consent(ctx); err != nil {
			return err
		}
	}
	if s.settings, err = config.Load(ctx, s.from); err != nil {
		return err
	}
	s.settings.Zoho.UserAgent = userAgent()
	if level, _ := s.from.Lookup("LOG_LEVEL"); level == "" {
		s.settings.LogLevel = slog.LevelWarn // the steps say what happens
	}
	s.say("complete.")
	return nil
}

// consent exchanges the code and uses what it brings for this pass. A code that was used
// does no harm where there is a refresh token already: the command was repeated.
func (s *setup) consent(ctx context.Context) error {
	lacking := envconfig.MultiLookuper(s.from, envconfig.MapLookuper(map[string]string{"ZOHO_REFRESH_TOKEN": "to come"}))
	if _, _, err := config.LoadClient(ctx, s.from); err != nil {
		_, all := config.Load(ctx, lacking)
		return all // names what the client lacks, and the rest too
	}
	given, err := exchange(ctx, s.from, s.Code)
	var refused *zoho.Error
	if token, _ := s.from.Lookup("ZOHO_REFRESH_TOKEN"); errors.As(err, &refused) && token != "" {
		s.say("the code was not exchanged (%s): going on with ZOHO_REFRESH_TOKEN.", refused.Code)
		return nil
	}
	if err != nil {
		return err
	}
	given.warn(s.out)
	s.say("the code is exchanged. Keep these settings, this pass uses them:")
	if err := given.print(s.out, "    "); err != nil {
		return err
	}
	s.from = envconfig.MultiLookuper(envconfig.MapLookuper(given.Settings), s.from)
	return nil
}

// stops are the checks without which no step can succeed. What the next steps mend is no
// reason to stop, nor is a module that the org withholds, nor a message that would not arrive.
var stops = []string{"settings", "database", "zoho token", "scope ZohoCRM.coql.READ"}

// examine makes the doctor's checks before anything is written.
func (s *setup) examine(ctx context.Context) error {
	patient := doctor.Patient{Environment: s.from, Folder: s.Folder, UserAgent: userAgent(), Log: slog.New(slog.DiscardHandler),
		Open: func(ctx context.Context, settings *config.Config) (*mirror.Mirror, error) {
			return open(ctx, settings, slog.New(slog.DiscardHandler))
		},
	}
	for _, name := range crm.Modules() {
		module, _ := crm.Find(name)
		patient.Modules = append(patient.Modules, module)
	}
	checks := doctor.Examine(ctx, patient, func(c doctor.Check) {
		if c.State == doctor.StateFailed && (c.Name == "migrations" || strings.HasPrefix(c.Name, "picklists of ")) {
			c.State, c.Advice = doctor.StateSkipped, "nothing: the next steps see to it"
		}
		printFinding(s.out, c)
	})
	for _, c := range checks {
		if c.State == doctor.StateFailed && slices.Contains(stops, c.Name) {
			return problem(c.Class)
		}
	}
	return nil
}

func (s *setup) migrate(ctx context.Context) error {
	if !s.Yes {
		fmt.Fprint(s.out, "  The mirror's tables are made in the database of DATABASE_URL, or brought up to this version. Go on? [y/N] ")
		answer, err := bufio.NewReader(s.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
			return errors.New("nothing was written")
		}
	}
	store, err := postgres.Open(ctx, s.settings.DatabaseURL, s.settings.Logger(os.Stderr))
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	if _, err := store.MigrateOrg(ctx, s.Folder); err != nil {
		return err
	}
	s.say("migrated to schema %d.", postgres.SchemaVersion)
	return nil
}

// align brings CHECKs and money in line with the org. A module that Zoho does not describe
// keeps its tables: its sync says what is wrong with it.
func (s *setup) align(ctx context.Context) error {
	var changes []postgres.Change
	for _, name := range crm.Modules() {
		module, _ := crm.Find(name)
		change, needed, err := s.mirror.SchemaChange(ctx, module)
		switch {
		case err != nil && (postgres.IsFault(err) || ctx.Err() != nil):
			return err
		case err != nil:
			s.say("%s: its picklists cannot be compared with the table: %v", name, err)
		case needed:
			changes = append(changes, change)
		}
	}
	if len(changes) == 0 {
		s.say("picklists and money are in line with the org.")
		return nil
	}
	file, err := writeChanges(s.Folder, changes)
	if err != nil {
		return fmt.Errorf("write the org's migration: %w", err)
	}
	if _, err := s.mirror.MigrateOrg(ctx, s.Folder); err != nil {
		return err
	}
	s.say("picklists and money brought in line with the org: keep %s.", file)
	return nil
}

// load reads a module until nothing is left to read.
func (s *setup) load(ctx context.Context, module *crm.Module) error {
	watch := s.watch(ctx, module)
	var total postgres.Counts
	started, waited := time.Now(), false
	for {
		result, err := s.mirror.Run(context.WithoutCancel(ctx), mirror.Request{Module: module, Trigger: mirror.TriggerCLI})
		total = total.Plus(result.Counts)
		switch {
		case mirror.Unavailable(err):
			watch()
			s.say("%s: %v\n    what to do: %s", module.Name, err, result.Hint)
			return nil
		case err != nil:
			watch()
			return fmt.Errorf("%s: %w", module.Name, err)
		case result.Status == mirror.StatusSkipped:
			if !waited {
				s.say("%s: waiting for the run that is at work; if it was killed, its lock is free %s after its last sign of life (LOCK_STALE_AFTER).",
					module.Name, s.settings.Mirror.StaleAfter)
			}
			waited = true
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				watch()
				return fmt.Errorf("%s: stopped; the same command goes on where this one ended", module.Name)
			}
		case result.More && ctx.Err() != nil:
			watch()
			return fmt.Errorf("%s: stopped; the same command goes on where this one ended", module.Name)
		case !result.More:
			watch()
			s.say("%s: %d records read in %s: %d inserted, %d updated, %d unchanged, %d quarantined.", module.Name, total.Processed,
				time.Since(started).Round(time.Second/10), total.Inserted, total.Updated, total.Unchanged, total.Quarantined)
			if total.Quarantined > 0 {
				s.say("    records that do not fit: zohomirror quarantine list")
			}
			return nil
		}
	}
}

// watch prints, until it is ended, how far a module's first load has come. What it cannot
// find out it leaves out: no load fails for it.
func (s *setup) watch(ctx context.Context, module *crm.Module) (end func()) {
	records, known, err := s.mirror.Records(ctx, module)
	before, uncounted := s.mirror.Rows(ctx, module)
	if err != nil || uncounted != nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(s.Progress)
		defer ticker.Stop()
		started := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if rows, err := s.mirror.Rows(ctx, module); err == nil {
				s.say("%s: %s", module.Name, progress(before, rows, records, known, time.Since(started)))
			}
		}
	}()
	return func() { cancel(); <-done }
}

// progress says how far a load has come that began with some rows.
func progress(before, rows, records int64, known bool, took time.Duration) string {
	if !known || records == 0 {
		return fmt.Sprintf("%d rows", rows)
	}
	text := fmt.Sprintf("%d of about %d records (%d %%)", rows, records, min(100*rows/records, 100))
	if fresh := rows - before; fresh > 0 && rows < records {
		left := time.Duration(float64(took) * float64(records-rows) / float64(fresh))
		text += fmt.Sprintf(", about %s left", max(left.Round(time.Second), time.Second))
	}
	return text
}

// next says what a person has to do now.
func (s *setup) next() {
	if s.settings.CronSecret == "" {
		s.say("The scheduler needs a secret; without one nobody is let in. A fresh one to keep:")
		s.say("  CRON_SECRET=%s", rand.Text())
	}
	if s.settings.Dashboard == "" {
		s.say("The dashboard needs a password. A fresh one to keep:")
		s.say("  DASHBOARD_PASSWORD=%s", rand.Text())
	}
	address := s.settings.Notify.PublicURL
	if address == "" {
		address = "https://your-address.example"
		s.say("%s stands for where the server will be reached; PUBLIC_URL fills it in.", address)
	}
	if s.Platform == "" {
		s.say("For the scheduler's lines say --platform: %s.", strings.Join(platforms(), ", "))
	} else {
		s.say("The scheduler, for %s:\n", s.Platform)
		fmt.Fprintln(s.out, schedulerLines(s.Platform, address, s.settings.Notify.Schedule))
	}
	s.say("Then have a look at %s/dashboard.", address)
}
