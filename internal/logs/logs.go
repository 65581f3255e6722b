// Package logs makes the logger: JSON lines for machines, each one write, with the names
// that the platform understands; coloured text for people. docs/logs.md describes every
// message and every key.
package logs

import (
	"context"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/lmittmann/tint"
)

// Options say in which form to write.
type Options struct {
	Level slog.Level

	Text  bool // for people, else JSON
	Plain bool // text without colours

	// Google Cloud's names are used in JSON: severity for level, message for msg, and the
	// trace of the request, where the project is known.
	Cloud   bool
	Project string
}

// New returns a logger that writes to out.
func New(out io.Writer, o Options) *slog.Logger {
	if o.Text {
		return slog.New(tint.NewTextHandler(out, &tint.Options{Level: o.Level, TimeFormat: time.TimeOnly, NoColor: o.Plain}))
	}
	names := plainNames
	if o.Cloud {
		names = cloudNames
	}
	var handler slog.Handler = slog.NewJSONHandler(out, &slog.HandlerOptions{Level: o.Level, ReplaceAttr: names})
	if o.Cloud && o.Project != "" {
		handler = &tracing{handler, o.Project}
	}
	return slog.New(handler)
}

// plainNames write the level in lower case, as Vercel's own examples have it.
func plainNames(groups []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && len(groups) == 0 && a.Key == slog.LevelKey {
		a.Value = slog.StringValue(strings.ToLower(level.String()))
	}
	return a
}

// cloudNames are what Cloud Logging takes out of a line
// (https://cloud.google.com/logging/docs/structured-logging).
func cloudNames(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.LevelKey:
		if level, ok := a.Value.Any().(slog.Level); ok {
			a.Key = "severity"
			a.Value = slog.StringValue(level.String())
			if level == slog.LevelWarn {
				a.Value = slog.StringValue("WARNING")
			}
		}
	case slog.MessageKey:
		a.Key = "message"
	}
	return a
}

// tracing adds the request's trace to each line that is written with its context.
type tracing struct {
	slog.Handler
	project string
}

func (h *tracing) Handle(ctx context.Context, record slog.Record) error {
	if trace, ok := ctx.Value(traceKey{}).(string); ok {
		record = record.Clone()
		record.AddAttrs(slog.String("logging.googleapis.com/trace", "projects/"+h.project+"/traces/"+trace))
	}
	return h.Handler.Handle(ctx, record)
}

func (h *tracing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &tracing{h.Handler.WithAttrs(attrs), h.project}
}

func (h *tracing) WithGroup(name string) slog.Handler {
	return &tracing{h.Handler.WithGroup(name), h.project}
}

type traceKey struct{}

var traceForm = regexp.MustCompile(`^[0-9a-f]{32}(/|$)`)

// WithTrace keeps the trace that a request's X-Cloud-Trace-Context names. A header of
// another form is not kept: anyone may send one.
func WithTrace(ctx context.Context, header string) context.Context {
	if !traceForm.MatchString(header) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, header[:32])
}
