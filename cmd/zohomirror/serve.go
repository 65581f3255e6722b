package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/dashboard"
	"zohomirror/internal/mirror"
	"zohomirror/internal/web"
)

type serveCmd struct {
	Every time.Duration `help:"Run every module this often by itself, on a box without a scheduler: e.g. 15m."`
}

// Validate implements kong's check of the flags.
func (c serveCmd) Validate() error {
	if c.Every != 0 && c.Every < time.Second {
		return errors.New("--every takes a duration of at least 1s, such as 15m")
	}
	return nil
}

func (c serveCmd) Run(ctx context.Context) error {
	settings, err := config.Load(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	log := settings.Logger(os.Stderr)
	listener, err := web.Listen(settings.Port)
	if err != nil {
		return err
	}
	return serve(ctx, settings, listener, log, c.Every)
}

// serve answers on the listener until ctx ends. With every above zero it ticks as well.
func serve(ctx context.Context, settings *config.Config, listener net.Listener, log *slog.Logger, every time.Duration) error {
	identify(settings)
	m, err := mirror.Open(ctx, settings.Mirror, settings.Zoho, settings.DatabaseURL, log)
	if err != nil {
		return err
	}
	defer m.Close()
	if every > 0 {
		ticking, cancel := context.WithCancel(ctx)
		wait := ticker{every, m.Run, m.ReportPanic, log}.start(ticking)
		defer func() {
			cancel()
			m.Stop() // unless the server's end has done so
			wait()
		}()
	} else if settings.CronSecret == "" && settings.Google.Audience == "" {
		log.WarnContext(ctx, "CRON_SECRET is not set: every call will be refused")
	}
	board, err := dashboard.For(settings, m, false, log)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "listening", "address", listener.Addr().String(), "version", versionText())
	handler := web.New(m, settings.CronSecret, log, web.WithGoogle(settings.Google), web.Preview(settings.Preview), web.WithDashboard(board))
	return web.Serve(ctx, listener, handler, settings.Mirror.Deadline, m.Stop, log)
}

// identify lets Zoho and Sentry know which program this is.
func identify(settings *config.Config) {
	settings.Zoho.UserAgent, settings.Mirror.Notify.Release = userAgent(), versionText()
}

func userAgent() string { return "zohomirror/" + versionText() }
