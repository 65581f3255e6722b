package config

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"zohomirror/internal/logs"
)

// Logger writes to out in the configured form: JSON lines for machines, coloured text for
// people; where nothing is configured, text on a terminal.
func (c *Config) Logger(out *os.File) *slog.Logger {
	return c.LoggerTo(out, term.IsTerminal(int(out.Fd())))
}

// LoggerTo is Logger for what is no file itself.
func (c *Config) LoggerTo(out io.Writer, terminal bool) *slog.Logger {
	return logs.New(out, logs.Options{
		Level: c.LogLevel, Text: c.LogFormat == "text" || c.LogFormat == "" && terminal, Plain: !terminal,
		Cloud: c.CloudRun, Project: c.CloudProject,
	})
}
