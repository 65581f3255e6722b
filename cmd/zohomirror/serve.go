package main

import (
	"context"
	"log/slog"
	"net"
	"os"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/mirror"
	"zohomirror/internal/web"
)

type serveCmd struct{}

func (serveCmd) Run(ctx context.Context) error {
	settings, err := config.Load(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	log := settings.Logger(os.Stderr)
	listener, err := web.Listen(settings.Port)
	if err != nil {
		return err
	}
	return serve(ctx, settings, listener, log)
}

// serve answers on the listener until ctx ends.
func serve(ctx context.Context, settings *config.Config, listener net.Listener, log *slog.Logger) error {
	settings.Zoho.UserAgent = userAgent()
	m, err := mirror.Open(ctx, settings.Mirror, settings.Zoho, settings.DatabaseURL, log)
	if err != nil {
		return err
	}
	defer m.Close()
	if settings.CronSecret == "" && settings.Google.Audience == "" {
		log.WarnContext(ctx, "CRON_SECRET is not set: every call will be refused")
	}
	log.InfoContext(ctx, "listening", "address", listener.Addr().String(), "version", versionText())
	handler := web.New(m, settings.CronSecret, log, web.WithGoogle(settings.Google), web.Preview(settings.Preview))
	return web.Serve(ctx, listener, handler, settings.Mirror.Deadline, m.Stop, log)
}

func userAgent() string { return "zohomirror/" + versionText() }
