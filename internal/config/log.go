package config

import (
	"log/slog"
	"os"

	"golang.org/x/term"

	"zohomirror/internal/logs"
)

// Logger writes to out in the configured form: JSON lines for machines, coloured text for
// people; where nothing is configured, text on a terminal.
func (c *Config) Logger(out *os.File) *slog.Logger {
	terminal := term.IsTerminal(int(out.Fd()))
	return logs.New(out, logs.Options{
		Level: c.LogLevel, Text: c.LogFormat == "text" || c.LogFormat == "" && terminal, Plain: !terminal,
		Cloud: c.CloudRun, Project: c.CloudProject,
	})
}
