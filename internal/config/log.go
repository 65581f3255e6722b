package config

import (
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// Logger writes to out in the configured form: JSON lines for machines, coloured text for
// people; where nothing is configured, text on a terminal.
func (c *Config) Logger(out *os.File) *slog.Logger {
	terminal := term.IsTerminal(int(out.Fd()))
	if c.LogFormat == "text" || c.LogFormat == "" && terminal {
		return slog.New(tint.NewTextHandler(out, &tint.Options{Level: c.LogLevel, TimeFormat: time.TimeOnly, NoColor: !terminal}))
	}
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: c.LogLevel}))
}
