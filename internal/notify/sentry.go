package notify

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/getsentry/sentry-go"

	"zohomirror/internal/panics"
)

// A Run is what a report is about.
type Run struct {
	ID       string
	Module   string
	Mode     string
	Trigger  string
	Expected bool          // by the scheduler, so that Sentry is to notice if it does not come
	Deadline time.Duration // that it keeps
}

// A Report is what Sentry learns of one run: that it came and how it ended, and why where it
// failed. A nil one does nothing. Whoever opens it closes it.
type Report struct {
	run     Run
	began   time.Time
	courier *courier
	client  *sentry.Client
	scope   *sentry.Scope
	monitor *sentry.MonitorConfig
	checkIn sentry.EventID

	begun  chan struct{} // closed when what Begin sends is sent; nil: it sends nothing
	hurry  context.CancelFunc
	failed error // of it; read once it is sent
}

// Report opens the report of a run, or nil where there is no Sentry, or a DSN that cannot be
// used, which the settings' check refuses.
func (n *Notifier) Report(run Run) *Report {
	r := n.report()
	if r == nil {
		return nil
	}
	r.run = run
	for tag, value := range map[string]string{"module": run.Module, "run_id": run.ID, "mode": run.Mode, "trigger": run.Trigger} {
		if value != "" {
			r.scope.SetTag(tag, value)
		}
	}
	r.monitor = &sentry.MonitorConfig{
		Schedule:      sentry.CrontabSchedule(n.config.Schedule),
		CheckInMargin: 5, // minutes; schedulers are late
		MaxRuntime:    int64((run.Deadline + time.Minute - 1) / time.Minute),
		Timezone:      "UTC",
	}
	return r
}

func (n *Notifier) report() *Report {
	dsn, err := sentry.NewDsn(n.config.SentryDSN)
	if err != nil {
		return nil
	}
	r := &Report{began: time.Now(), scope: sentry.NewScope(), courier: &courier{notifier: n, dsn: dsn}}
	// What is not set here, sentry-go takes from the environment and the machine.
	r.client, err = sentry.NewClient(sentry.ClientOptions{
		Dsn:                  n.config.SentryDSN,
		Transport:            r.courier,
		Release:              cmp.Or(n.config.Release, "unknown"),
		Environment:          n.config.Environment,
		ServerName:           "zohomirror",
		Integrations:         func([]sentry.Integration) []sentry.Integration { return nil },
		BeforeSend:           stripped,
		DisableClientReports: true,
	})
	if err != nil {
		return nil
	}
	return r
}

// stripped takes out what nobody needs to find a fault.
func stripped(event *sentry.Event, _ *sentry.EventHint) *sentry.Event {
	event.ServerName, event.Request, event.User, event.Modules, event.Attachments = "", nil, sentry.User{}, nil, nil
	return event
}

// Begin says, in the background, that a run has begun.
func (r *Report) Begin(ctx context.Context) {
	if r == nil || !r.run.Expected {
		return
	}
	r.check(sentry.CheckInStatusInProgress)
	ctx, r.hurry = context.WithTimeout(ctx, Limit)
	r.begun = make(chan struct{})
	go func() {
		defer close(r.begun)
		r.failed = r.courier.deliver(ctx)
	}()
}

// End says how a run ended. A tick that another run made superfluous has come, too.
func (r *Report) End(ok bool) {
	if r == nil || !r.run.Expected {
		return
	}
	status := sentry.CheckInStatusOK
	if !ok {
		status = sentry.CheckInStatusError
	}
	r.check(status)
}

func (r *Report) check(status sentry.CheckInStatus) {
	checkIn := &sentry.CheckIn{ID: r.checkIn, MonitorSlug: "zohomirror-" + r.run.Module, Status: status}
	if status != sentry.CheckInStatusInProgress {
		checkIn.Duration = time.Since(r.began)
	}
	if id := r.client.CaptureCheckIn(checkIn, r.monitor, r.scope); id != nil {
		r.checkIn = *id
	}
}

// Fail says why a run failed. Failures of a module that have one cause are one issue.
func (r *Report) Fail(cause, hint string, failure error) {
	if r == nil {
		return
	}
	event := sentry.NewEvent()
	event.Level = sentry.LevelError
	event.Tags["cause"] = cause
	event.Fingerprint = []string{cmp.Or(r.run.Module, "zohomirror"), cause}
	if hint != "" {
		event.Contexts["advice"] = sentry.Context{"hint": hint}
	}
	// The chain below may show what the error itself conceals, such as a host: the text is enough.
	exception := sentry.Exception{Type: cause, Value: cut(failure.Error(), manyLines)}
	var p *panics.Error
	if errors.As(failure, &p) {
		event.Level = sentry.LevelFatal
		exception.Stacktrace = sentry.ExtractStacktrace(p)
		event.Fingerprint = append(event.Fingerprint, innermost(exception.Stacktrace))
	}
	event.Exception = []sentry.Exception{exception}
	r.client.CaptureEvent(event, nil, r.scope)
}

// innermost names the function that panicked.
func innermost(stack *sentry.Stacktrace) string {
	if stack == nil || len(stack.Frames) == 0 {
		return ""
	}
	frame := stack.Frames[len(stack.Frames)-1]
	return frame.Module + "." + frame.Function
}

// Send delivers what was said, in the time that ctx leaves.
func (r *Report) Send(ctx context.Context) error {
	if r == nil {
		return nil
	}
	if r.begun != nil {
		select {
		case <-r.begun: // the end must not arrive before the beginning
		case <-ctx.Done():
			return undelivered(errors.New("it does not answer in time"))
		}
	}
	return errors.Join(r.failed, r.courier.deliver(ctx))
}

// Close ends the report; what was not sent is dropped.
func (r *Report) Close() {
	if r == nil {
		return
	}
	if r.begun != nil {
		r.hurry()
		<-r.begun
	}
	r.client.Close()
}

// Panic reports a panic outside of any run.
func (n *Notifier) Panic(ctx context.Context, where string, p *panics.Error) error {
	r := n.report()
	if r == nil {
		return nil
	}
	defer r.Close()
	r.scope.SetTag("where", where)
	r.Fail("panic", p.Hint(), p)
	return r.Send(ctx)
}

// TestSentry sends an event that says it is a test.
func (n *Notifier) TestSentry(ctx context.Context) error {
	r := n.report()
	if r == nil {
		return errors.New("SENTRY_DSN is not set, or cannot be used")
	}
	defer r.Close()
	event := sentry.NewEvent()
	event.Level, event.Message, event.Fingerprint = sentry.LevelInfo, "zohomirror: this is a test", []string{"zohomirror", "test"}
	r.client.CaptureEvent(event, nil, r.scope)
	return r.Send(ctx)
}

// Handler returns a log handler that hands everything on to next and leaves a trace of each
// line, debug ones too, for an event to be read with.
func (r *Report) Handler(next slog.Handler) slog.Handler {
	if r == nil {
		return next
	}
	return trail{next, r}
}

type trail struct {
	next   slog.Handler
	report *Report
}

func (t trail) Enabled(context.Context, slog.Level) bool { return true }

func (t trail) WithAttrs(attrs []slog.Attr) slog.Handler {
	return trail{t.next.WithAttrs(attrs), t.report}
}

func (t trail) WithGroup(name string) slog.Handler { return trail{t.next.WithGroup(name), t.report} }

func (t trail) Handle(ctx context.Context, line slog.Record) error {
	t.report.trace(line)
	if !t.next.Enabled(ctx, line.Level) {
		return nil
	}
	return t.next.Handle(ctx, line)
}

// telling are the texts of a line that say what happened and never what a record holds.
var telling = map[string]bool{
	"call": true, "cause": true, "column": true, "filter": true, "key": true, "kind": true, "mode": true, "reason": true, "status": true, "stream": true,
}

const (
	manyTraces = 100
	manyLines  = 4000 // characters of an error
)

func (r *Report) trace(line slog.Record) {
	data := map[string]any{}
	line.Attrs(func(a slog.Attr) bool {
		switch v := a.Value.Resolve(); v.Kind() {
		case slog.KindBool, slog.KindInt64, slog.KindUint64, slog.KindFloat64:
			data[a.Key] = v.Any()
		case slog.KindDuration:
			data[a.Key] = v.Duration().String()
		case slog.KindTime:
			data[a.Key] = v.Time().UTC().Format(time.RFC3339)
		case slog.KindString:
			if telling[a.Key] {
				data[a.Key] = v.String()
			}
		case slog.KindAny:
			if err, ok := v.Any().(error); ok {
				data[a.Key] = firstLine(err.Error(), longest)
			}
		}
		return true
	})
	level := sentry.LevelInfo
	switch {
	case line.Level < slog.LevelInfo:
		level = sentry.LevelDebug
	case line.Level >= slog.LevelError:
		level = sentry.LevelError
	case line.Level >= slog.LevelWarn:
		level = sentry.LevelWarning
	}
	r.scope.AddBreadcrumb(&sentry.Breadcrumb{Category: "run", Message: line.Message, Level: level, Data: data, Timestamp: line.Time}, manyTraces)
}
