package mirror

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"zohomirror/internal/notify"
	"zohomirror/internal/panics"
	"zohomirror/internal/postgres"
)

// alerting is what a run raises alerts by.
func (m *Mirror) alerting() postgres.Alerting {
	return postgres.Alerting{On: m.config.Notify.SlackWebhook != "", StaleAfter: m.staleAfter()}
}

// staleAfter is how long a module may be without a good run.
func (m *Mirror) staleAfter() time.Duration { return cmp.Or(m.config.Notify.StaleAfter, time.Hour) }

// report opens what Sentry learns of a run. People who call do not keep to a schedule.
func (m *Mirror) report(request Request) *notify.Report {
	return m.notifier.Report(notify.Run{
		ID: request.RunID.String(), Module: request.Module.Name, Mode: request.Mode, Trigger: request.Trigger,
		Expected: request.Mode == ModeSync && request.Trigger != TriggerCLI && request.Trigger != TriggerDashboard,
		Deadline: m.config.Deadline,
	})
}

// ReportPanic tells Sentry of a panic outside of any run. Without a mirror nobody is told.
func (m *Mirror) ReportPanic(ctx context.Context, where string, p *panics.Error) {
	if m == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), notify.Limit)
	defer cancel()
	m.warnUntold(ctx, m.log, m.notifier.Panic(ctx, where, p))
}

// A word is what people are told of one run. Slack and Sentry are told side by side, and
// never for longer than notify.Limit: neither may fail a run, nor hold it up.
type word struct {
	*Mirror
	db      *postgres.Store
	log     *slog.Logger
	report  *notify.Report
	started time.Time

	early sync.WaitGroup // sending what the claim has raised
}

// unclaimed is the result of a run that did not get the lock.
func (w *word) unclaimed(ctx context.Context, request Request, err error) (Result, error) {
	result := Result{RunID: request.RunID, Module: request.Module.Name, Mode: request.Mode, Duration: time.Since(w.started)}
	var recorded *postgres.Recorded
	if errors.As(err, &recorded) {
		result.Status = recorded.Status
		about(w.log, request, result).InfoContext(ctx, "run not repeated: its outcome is recorded")
		return repeated(request, recorded)
	}
	var held *postgres.Held
	if errors.As(err, &held) {
		result.Status, result.HeldSince = StatusSkipped, held.Since
		about(w.log, request, result).InfoContext(ctx, "run skipped", "reason", reasonLockHeld, "held_since", held.Since)
		w.report.End(true)
		w.tell(ctx, nil)
		return result, nil
	}
	class := cause(err)
	if class == CauseInternal {
		class = CauseDatabase // a claim asks nobody else
	}
	result.Status, result.Err, result.Hint = StatusFailed, err.Error(), hint(err)
	about(w.log, request, result).ErrorContext(ctx, "run failed", "cause", class, "error", err, "hint", result.Hint)
	w.failed(ctx, result, class, err, true, false)
	return result, err
}

// begin says that a run is at work, and that its claim has found others dead: this one may
// end like them.
func (w *word) begin(ctx context.Context, claimed *postgres.Run) {
	w.report.Begin(ctx)
	if claimed.Pending {
		w.early.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), notify.Limit)
			defer cancel()
			w.apart(ctx, w.sendAlerts)
		})
	}
}

// end tells how a run that had the lock has ended.
func (w *word) end(ctx context.Context, r *run, result Result, err error) {
	pending := r.claimed.Pending && !r.unrecorded
	if err != nil {
		w.failed(ctx, result, r.cause, err, r.unrecorded, pending)
		return
	}
	w.report.End(true)
	w.tell(ctx, w.pending(pending))
}

// failed tells of a failure. One that the database does not know of is told at once, without
// any state: nobody could be told of it later.
func (w *word) failed(ctx context.Context, result Result, class string, err error, unrecorded, pending bool) {
	w.report.Fail(class, result.Hint, err)
	w.report.End(false)
	slack := w.pending(pending)
	if unrecorded && w.alerting().On {
		meaning := MeaningOf(class)
		slack = func(ctx context.Context) {
			w.warnUntold(ctx, w.log, w.notifier.Slack(ctx, notify.Alert{
				Kind: notify.Unrecorded, Module: result.Module, RunID: result.RunID.String(), Cause: meaning.Title, Detail: result.Err, Hint: cmp.Or(result.Hint, meaning.ToDo),
			}))
		}
	}
	w.tell(ctx, slack)
}

func (w *word) pending(any bool) func(context.Context) {
	if !any {
		return nil
	}
	return w.sendAlerts
}

// tell sends what is to be sent. Whatever remains of the run's deadline, there is a second for it.
func (w *word) tell(ctx context.Context, slack func(context.Context)) {
	left := w.config.Deadline - time.Since(w.started)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(max(left, time.Second), notify.Limit))
	defer cancel()
	var beside sync.WaitGroup
	if slack != nil {
		beside.Go(func() { w.apart(ctx, slack) })
	}
	w.warnUntold(ctx, w.log, w.report.Send(ctx))
	beside.Wait()
	w.early.Wait()
}

// apart does what tells people beside the run. A panic of it fails no run either: it is in
// the log, and Sentry has it.
func (w *word) apart(ctx context.Context, do func(context.Context)) {
	err := panics.Catch(func() error { do(ctx); return nil })
	w.warnUntold(ctx, w.log, err)
	var p *panics.Error
	if errors.As(err, &p) {
		w.warnUntold(ctx, w.log, w.notifier.Panic(ctx, "alerts", p))
	}
}

const (
	alertsAtOnce = 10                     // Slack takes short bursts of messages
	settleTime   = 500 * time.Millisecond // kept for saying what became of them
)

// sendAlerts sends what waits. What Slack does not take now is left for the next run.
func (w *word) sendAlerts(ctx context.Context) {
	alerts, err := w.db.ClaimAlerts(ctx, alertsAtOnce)
	if err != nil || len(alerts) == 0 {
		w.warnUntold(ctx, w.log, err)
		return
	}
	posting := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		posting, cancel = context.WithDeadline(ctx, deadline.Add(-settleTime))
		defer cancel()
	}
	states, wait := map[int64]string{}, time.Duration(0)
	for _, a := range alerts {
		states[a.ID] = postgres.AlertUntried
	}
	for _, a := range alerts {
		err := w.notifier.Slack(posting, alertOf(a))
		var refused *notify.RefusedError
		var busy *notify.BusyError
		switch {
		case err == nil:
			states[a.ID] = postgres.AlertSent
			continue
		case errors.As(err, &refused):
			states[a.ID] = postgres.AlertRefused
			w.warnUntold(ctx, w.log, err)
			continue
		case errors.As(err, &busy):
			wait = busy.Wait
		}
		states[a.ID] = postgres.AlertPending
		w.warnUntold(ctx, w.log, err)
		break
	}
	w.warnUntold(ctx, w.log, w.db.SettleAlerts(ctx, states, wait))
}

// warnUntold says that somebody could not be told.
func (m *Mirror) warnUntold(ctx context.Context, log *slog.Logger, err error) {
	if err == nil {
		return
	}
	var p *panics.Error
	if errors.As(err, &p) {
		log.ErrorContext(ctx, "telling people ended in a panic", "panic", p.Error(), "stack", p.Stack())
	}
	log.WarnContext(ctx, "people could not be told", "error", err,
		"hint", cmp.Or(hint(err), "what waits in sync_alerts is sent by a later run"))
}

func alertOf(a postgres.Alert) notify.Alert {
	told := notify.Alert{Kind: a.Kind, Module: a.Module, Count: a.Count, Detail: a.Detail, Hint: a.Hint, Since: a.Since}
	if a.Kind == postgres.AlertFailing {
		meaning := MeaningOf(a.Cause)
		told.Cause, told.Hint = meaning.Title, cmp.Or(a.Hint, meaning.ToDo)
	}
	if a.RunID != uuid.Nil {
		told.RunID = a.RunID.String()
	}
	return told
}
