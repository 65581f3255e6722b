// Package mirror is the heart: one bounded run that brings a module's table up to what
// Zoho shows now. It knows the order of things and does no I/O of its own.
//
// The life of a run: claim the module's lock and open the run row; for each stream read
// pages by keyset, mapping and writing one while the next is fetched, until the stream is
// exhausted or the time is spent; close the run row and free the lock.
package mirror

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"zohomirror/internal/crm"
	"zohomirror/internal/notify"
	"zohomirror/internal/panics"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// Config bounds a run.
type Config struct {
	Deadline   time.Duration // a run has ended by itself before this
	Overlap    time.Duration // how late Zoho may show an edit
	StaleAfter time.Duration // a lock not renewed for so long is taken over
	PageSize   int           // records a page may ask for, at most 2000
	MassDelete int           // percent of a module's rows that may be listed as deleted at once
	Retention  time.Duration // how long the run history is kept
	Notify     notify.Config // who is told what a person must know
}

// Mirror runs modules. It is safe for concurrent use.
type Mirror struct {
	config   Config
	zoho     *zoho.Client
	db       *postgres.Store
	notifier *notify.Notifier
	log      *slog.Logger

	stop     sync.Once
	stopping chan struct{}
}

// Open returns a mirror of what source shows in the database. It connects to neither yet,
// and fails only for a URL that cannot be used.
func Open(ctx context.Context, config Config, source zoho.Config, databaseURL string, log *slog.Logger) (*Mirror, error) {
	db, err := postgres.Open(ctx, databaseURL, log)
	if err != nil {
		return nil, err
	}
	return &Mirror{
		config: config, zoho: zoho.New(source, db, log), db: db, notifier: notify.New(config.Notify), log: log, stopping: make(chan struct{}),
	}, nil
}

// Ping reports whether the database answers.
func (m *Mirror) Ping(ctx context.Context) error { return m.db.Ping(ctx) }

// Rest ends all connections, for a process that may be frozen from now on. It goes on
// working: the next run connects anew.
func (m *Mirror) Rest() {
	m.db.Rest()
	m.zoho.Close()
	m.notifier.Close()
}

// Store is the mirror's database, for those who only look.
func (m *Mirror) Store() *postgres.Store { return m.db }

// Close ends all connections. No run may be under way.
func (m *Mirror) Close() {
	m.db.Close()
	m.zoho.Close()
	m.notifier.Close()
}

// Stop makes all runs end at their next page boundary, each with its checkpoint. One that
// waits for Zoho does so for no longer than stopWithin.
func (m *Mirror) Stop() {
	m.stop.Do(func() { close(m.stopping) })
}

// stopWithin leaves time to close the run: Cloud Run kills ten seconds after it has asked.
const stopWithin = 5 * time.Second

// hurry cancels a run that has not ended by itself when it was asked to.
func (m *Mirror) hurry(ctx context.Context, cancel context.CancelFunc) {
	select {
	case <-ctx.Done():
		return
	case <-m.stopping:
	}
	select {
	case <-ctx.Done():
	case <-time.After(stopWithin):
		cancel()
	}
}

// Statuses of a Result.
const (
	StatusOK      = "ok"
	StatusSkipped = "skipped"
	StatusFailed  = "failed"
	StatusRunning = "running" // of a repeated call whose first is still at work
)

// Why a run ended.
const (
	reasonComplete   = "complete"    // every stream is exhausted
	reasonTimeBudget = "time-budget" // the next run goes on where this one stopped
	reasonStopping   = "stopping"    // the process was asked to end
	reasonLockHeld   = "lock-held"
)

// Run does what is requested: in mode sync it reads one module's changes and writes them.
// The error is non-nil exactly when the result's status is failed; whatever was committed
// before stays, with its checkpoint. It ends by itself within Config.Deadline, and has then
// told whoever must know; that takes notify.Limit at most.
func (m *Mirror) Run(ctx context.Context, request Request) (Result, error) {
	request, err := request.completed()
	if err != nil {
		return Result{}, err
	}
	started := time.Now()
	module, id := request.Module, request.RunID
	ctx, cancel := context.WithDeadline(ctx, started.Add(m.config.Deadline-m.reserve()))
	defer cancel()
	go m.hurry(ctx, cancel)
	report := m.report(request)
	defer report.Close()
	log := slog.New(report.Handler(m.log.Handler()))
	log = log.With("run_id", id.String(), "module", module.Name)

	db := m.db.WithLog(log)
	claim := db.Claim
	if request.repeatable {
		claim = db.ClaimOnce
	}
	word := &word{Mirror: m, db: db, log: log, report: report, started: started}
	intent := postgres.Intent{Module: module, ID: id, Mode: request.Mode, Trigger: request.Trigger, Alerting: m.alerting()}
	claimed, err := claim(ctx, intent, m.config.StaleAfter)
	if err != nil {
		return word.unclaimed(ctx, request, err)
	}
	word.begin(ctx, claimed)
	r := &run{Mirror: m, request: request, zoho: m.zoho.ForRun(log), db: db, log: log, claimed: claimed, started: started, reason: reasonComplete}
	err = panics.Catch(func() error { return r.readAll(ctx) }) // its row is closed and its lock freed as any other's
	result, err := r.close(ctx, err)
	word.end(ctx, r, result, err)
	r.tidy(ctx)
	return result, err
}

// reserve is the part of the deadline kept for closing a run.
func (m *Mirror) reserve() time.Duration { return m.config.Deadline / 10 }

// A run is one bounded pass over a module that holds its lock.
type run struct {
	*Mirror
	request Request
	zoho    *zoho.Client
	db      *postgres.Store
	log     *slog.Logger
	claimed *postgres.Run
	started time.Time

	meta         metadata
	plan         *crm.Plan
	writer       *postgres.Writer
	noticed      map[crm.Drift]bool // in this run
	counts       postgres.Counts
	replays      *Replay       // mode replay
	slowest      time.Duration // the longest that Zoho took for a page
	more         bool
	reason       string
	caughtUp     bool      // every stream was read to its end
	listedAt     time.Time // Zoho's time up to which its list of deleted records is known; zero while it is not
	zohoNow      time.Time // the same, if Zoho told it; zero: only our own clock is known
	verification *postgres.Verification
	cause        string // class of the error
	unrecorded   bool   // it has failed, and its row does not say so
}

// readAll reads every stream of the module to its end, or until the run must stop.
func (r *run) readAll(ctx context.Context) error {
	if err := r.readMetadata(ctx); err != nil {
		return r.cutShort(ctx, err)
	}
	if err := r.noticeCatalogue(ctx); err != nil {
		return err
	}
	r.replan()
	switch r.claimed.Mode {
	case ModeSince:
		return r.readSince(ctx)
	case ModeReplay:
		return r.replay(ctx)
	}
	for _, stream := range r.claimed.Module.Streams {
		if err := r.readStream(ctx, stream); err != nil {
			return err
		}
		if r.more {
			break
		}
	}
	r.caughtUp = !r.more
	return r.cutShort(ctx, r.readOn(ctx))
}

// readOn does what comes after the streams, whose pages are committed: deletions first, and
// then, if there is time and nothing else to be read, what mends older rows.
func (r *run) readOn(ctx context.Context) error {
	if r.isStopping() {
		r.more, r.reason = true, reasonStopping
		return nil
	}
	asked, err := r.carryDeletions(ctx)
	for _, pass := range []func(context.Context) error{r.retry, r.fill, r.verifyModule} {
		if err != nil || r.more {
			break
		}
		err = pass(ctx)
	}
	if err == nil && asked != nil && !r.verifies() {
		return asked
	}
	return err
}

// cutShort takes an error that only says that the run's time has ended for what it is: the
// next run goes on from the checkpoints. A run that got nowhere in all its time has failed.
func (r *run) cutShort(ctx context.Context, err error) error {
	stopped := r.isStopping()
	if err == nil || ctx.Err() == nil || r.counts.Pages == 0 && !stopped || errors.Is(err, postgres.ErrLockLost) {
		return err
	}
	r.more, r.reason = true, reasonTimeBudget
	if stopped {
		r.reason = reasonStopping
	}
	r.log.WarnContext(ctx, "the run's time ended; the next run goes on", "error", err)
	return nil
}

// readStream reads a stream's window page by page: while one is written, the next is fetched.
func (r *run) readStream(ctx context.Context, stream crm.Stream) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	reader := r.newReader(stream)
	next := reader.fetch(ctx)
	for {
		page, err := r.await(ctx, reader, next)
		if err != nil || page == nil {
			return err
		}
		end, err := reader.endOf(page)
		if err != nil {
			return err
		}
		proceed := end.more && r.mayGoOn()
		if proceed {
			reader.advance(page, end)
			next = reader.fetch(ctx)
		}
		if err := r.write(ctx, reader, page, end); err != nil {
			err = r.cutShort(ctx, err)
			drain(cancel, next, proceed)
			return err
		}
		if !proceed {
			r.more = end.more
			return nil
		}
	}
}

// write maps a page and commits it with the checkpoint that it brings.
func (r *run) write(ctx context.Context, reader *reader, page *zoho.Page, end pageEnd) error {
	checkpoints := reader.checkpoints(r.claimed.Checkpoints, end)
	batch := r.plan.Map(page.Records)
	counts, err := r.writer.Page(ctx, batch, checkpoints...)
	if err != nil {
		return err
	}
	for _, c := range checkpoints {
		r.claimed.Checkpoints[c.Stream] = c
	}
	if err := r.noticeRefusedRows(ctx, batch, counts); err != nil {
		return err
	}
	r.counts = r.counts.Plus(counts)
	r.tell(Progress{})
	r.log.DebugContext(ctx, "page written", "stream", reader.stream.Name, "rows", counts.Processed,
		"inserted", counts.Inserted, "updated", counts.Updated, "unchanged", counts.Unchanged,
		"quarantined", counts.Quarantined, "more", end.more)
	return nil
}

func (r *run) isStopping() bool {
	select {
	case <-r.stopping:
		return true
	default:
		return false
	}
}

// mayGoOn reports whether there is time for one more page; if not, it notes why.
func (r *run) mayGoOn() bool {
	if r.isStopping() {
		r.reason = reasonStopping
		return false
	}
	if time.Since(r.started)+r.slowest+2*r.reserve() > r.config.Deadline {
		r.reason = reasonTimeBudget
		return false
	}
	return true
}

// close ends the run: its row is closed and its lock freed in one transaction, which has
// a limit of its own since the run's time may be spent.
func (r *run) close(ctx context.Context, failure error) (Result, error) {
	failure = judged(r.claimed.Module, failure)
	outcome := postgres.Outcome{
		Watermark: r.claimed.Checkpoints[crm.StreamModified].Watermark,
		CaughtUp:  r.caughtUp,
		Calls:     r.zoho.Usage().Calls(),
		Credits:   r.zoho.Usage().Credits(),
		More:      r.more,
		Reason:    r.reason,
	}
	if failure != nil {
		outcome.Reason, outcome.Err, outcome.Hint, outcome.Cause = "", failure.Error(), hint(failure), cause(failure)
	}
	closing, cancel := r.closingContext(ctx)
	defer cancel()
	if err := r.claimed.Close(closing, r.counts, outcome); err != nil && !errors.Is(failure, postgres.ErrLockLost) {
		failure = errors.Join(failure, err)
		outcome.Err, outcome.Hint, outcome.Cause = failure.Error(), hint(failure), cause(failure)
		r.unrecorded = !errors.Is(err, postgres.ErrLockLost) // else whoever took it over has recorded it
	}
	r.cause = outcome.Cause

	result := r.result(outcome)
	r.summarize(ctx, result, outcome)
	var p *panics.Error
	if errors.As(failure, &p) {
		r.log.ErrorContext(ctx, "a run ended in a panic", "panic", p.Error(), "stack", p.Stack())
	}
	return result, failure
}

// tidy looks after the run history once a day, and never when the run was a long one.
func (r *run) tidy(ctx context.Context) {
	if !r.claimed.Untidy() || r.isStopping() || time.Since(r.started) > r.config.Deadline/2 {
		return
	}
	if err := r.db.Tidy(ctx, r.config.Retention); err != nil {
		r.log.WarnContext(ctx, "the run history was not tidied; rows without a partition go to sync_runs_default", "error", err,
			"hint", "if it happens daily, run zohomirror migrate once a quarter as the owner of the tables")
	}
}

// closingContext has a limit of its own: the run's time may be spent.
func (r *run) closingContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), max(r.reserve(), time.Second))
}

// hint says what the operator should do about an error.
func hint(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return postgres.Hint(err)
}
