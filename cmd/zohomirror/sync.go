package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
)

type syncCmd struct {
	Module           string `arg:"" help:"The module, e.g. leads."`
	AcceptMassDelete bool   `help:"Mark as deleted what Zoho lists, however many rows that are."`
	Since            string `help:"Read again from this point in time on, e.g. 2026-01-31T08:00:00Z; the same call goes on where the last one stopped."`
	RunID            string `name:"run-id" help:"A UUID for the run. Repeated with the same id, the command prints the recorded outcome and does no work."`
}

func (syncCmd) Help() string {
	return "Prints the run's result as JSON, in the form of GET /api/sync. Exit status 0 also where another run holds the module's lock (status skipped), " +
		"and where more is left to read (more: true; run it again); 1 where the run failed."
}

func (c syncCmd) request() (request mirror.Request, err error) {
	request.AcceptMassDelete, request.Trigger = c.AcceptMassDelete, mirror.TriggerCLI
	var ok bool
	if request.Module, ok = crm.Find(c.Module); !ok {
		return request, fmt.Errorf("there is no module %.40q; there are %s", c.Module, strings.Join(crm.Modules(), ", "))
	}
	if c.RunID != "" {
		if request.RunID, err = mirror.ParseRunID(c.RunID); err != nil {
			return request, err
		}
	}
	if c.Since != "" {
		request.Since, err = mirror.ParseSince(c.Since, time.Now())
	}
	return request, err
}

func (c syncCmd) Run(ctx context.Context) error {
	request, err := c.request()
	if err != nil {
		return err
	}
	return withMirror(ctx, func(m *mirror.Mirror) error {
		var result mirror.Result
		err := stderr.during("sync of "+c.Module, func(come func(string)) (err error) {
			request.Progress = func(p mirror.Progress) { come(fmt.Sprintf("%d records", p.Rows)) }
			result, err = m.Run(context.WithoutCancel(ctx), request)
			for request.AcceptMassDelete && err == nil && result.More && ctx.Err() == nil {
				result, err = m.Run(context.WithoutCancel(ctx), request) // the word is given once, for all that is listed
			}
			return err
		})
		if printed := printJSON(result); printed != nil && err == nil {
			err = printed
		}
		return err
	})
}

// withMirror opens what the settings name for as long as do takes. Ctrl-C ends runs at
// their next page.
func withMirror(ctx context.Context, do func(*mirror.Mirror) error) error {
	m, err := openMirror(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	defer context.AfterFunc(ctx, m.Stop)()
	return do(m)
}

// openMirror opens what the settings name.
func openMirror(ctx context.Context) (*mirror.Mirror, error) {
	settings, err := config.Load(ctx, envconfig.OsLookuper())
	if err != nil {
		return nil, err
	}
	return open(ctx, settings, settings.LoggerTo(stderr, stderr.terminal))
}

func open(ctx context.Context, settings *config.Config, log *slog.Logger) (*mirror.Mirror, error) {
	identify(settings)
	return mirror.Open(ctx, settings.Mirror, settings.Zoho, settings.DatabaseURL, log)
}
