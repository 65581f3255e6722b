package mirror

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"zohomirror/internal/crm"
	"zohomirror/internal/postgres"
)

// A Request says what a run is to do.
type Request struct {
	Module  *crm.Module
	Mode    string    // one of those below; empty: sync, or since where Since is set
	Trigger string    // who called; empty: other
	RunID   uuid.UUID // chosen by the caller, who may repeat the call; zero: a new one
	Since   time.Time // mode since: where to begin
	IDs     []string  // mode replay: only these records; none: all that are open
	Deep    bool      // modes verify and repair: compare every column

	AcceptMassDelete bool // a person has looked: mark however many rows are listed as deleted
	AcceptUnlisted   bool // mode repair: mark rows too that Zoho neither shows nor lists as deleted

	// Progress is told after each page, and must not take long; nil: nobody is.
	Progress func(Progress)

	repeatable bool // RunID is the caller's
}

// Progress is how far a run has come.
type Progress struct {
	Rows     int64 // records read and written
	Compared int64 // by a verification, former runs included
}

func (r *run) tell(p Progress) {
	if r.request.Progress != nil {
		p.Rows = r.counts.Processed
		r.request.Progress(p)
	}
}

// Modes of a run.
const (
	ModeSync   = postgres.ModeSync
	ModeSince  = postgres.ModeSince
	ModeReplay = postgres.ModeReplay
	ModeVerify = postgres.ModeVerify
	ModeRepair = postgres.ModeRepair
)

// Triggers of a run: who called.
const (
	TriggerCLI       = postgres.TriggerCLI
	TriggerDashboard = postgres.TriggerDashboard
	TriggerVercel    = postgres.TriggerVercel
	TriggerGoogle    = postgres.TriggerGoogle
	TriggerPgNet     = postgres.TriggerPgNet
	TriggerCurl      = postgres.TriggerCurl
	TriggerTicker    = postgres.TriggerTicker
	TriggerOther     = postgres.TriggerOther
)

// Validate reports what no run could do.
func (r Request) Validate() error {
	_, err := r.completed()
	return err
}

// completed fills in what follows from the rest.
func (r Request) completed() (Request, error) {
	if r.Mode == "" {
		r.Mode = ModeSync
		if !r.Since.IsZero() {
			r.Mode = ModeSince
		}
	}
	if r.Trigger == "" {
		r.Trigger = TriggerOther
	}
	if r.Deep && r.Mode != ModeVerify && r.Mode != ModeRepair {
		return r, fmt.Errorf("deep goes with the modes %s and %s", ModeVerify, ModeRepair)
	}
	if r.AcceptUnlisted && r.Mode != ModeRepair {
		return r, fmt.Errorf("only the mode %s marks what is not listed", ModeRepair)
	}
	r.Since = r.Since.UTC().Truncate(time.Second) // the fineness of Zoho's times
	if (r.Mode == ModeSince) == r.Since.IsZero() {
		return r, fmt.Errorf("a run of mode %s with since %s: mode since, and it alone, begins at a point in time", r.Mode, r.Since)
	}
	r.repeatable = r.RunID != uuid.Nil
	if !r.repeatable {
		var err error
		if r.RunID, err = uuid.NewV7(); err != nil {
			return r, err
		}
	}
	return r, nil
}

// An OtherRun says that a caller has chosen the id of another module's run.
type OtherRun struct{ Module string }

func (e *OtherRun) Error() string { return "the run_id is that of a run of " + e.Module }

// Hint says what to do.
func (e *OtherRun) Hint() string { return "choose a new run_id for each run" }

// A recordedFailure is the error of a run that ended before.
type recordedFailure struct{ message, hint string }

func (e recordedFailure) Error() string { return e.message }
func (e recordedFailure) Hint() string  { return e.hint }

// repeated is the answer to a call whose run is recorded: what it came to, or that it is at work.
func repeated(request Request, run *postgres.Recorded) (Result, error) {
	result := Result{
		RunID: run.ID, Module: run.Module, Mode: run.Mode, Status: run.Status, Counts: run.Counts,
		Watermark: run.Outcome.Watermark, More: run.Outcome.More, Reason: run.Outcome.Reason,
		Err: run.Outcome.Err, Hint: run.Outcome.Hint, Duration: run.Duration,
	}
	if run.Module != request.Module.Name {
		err := &OtherRun{Module: run.Module}
		return Result{RunID: run.ID, Module: request.Module.Name, Mode: request.Mode, Status: StatusFailed, Err: err.Error(), Hint: err.Hint()}, err
	}
	if run.Status == StatusFailed {
		return result, recordedFailure{result.Err, result.Hint}
	}
	return result, nil
}

// ParseRunID reads the id that a caller has chosen for a run.
func ParseRunID(text string) (uuid.UUID, error) {
	const length = 36 // other forms of a UUID would be other spellings of one id
	id, err := uuid.Parse(text)
	if err != nil || len(text) != length || id == uuid.Nil {
		return uuid.Nil, fmt.Errorf("run_id %.40q is not a UUID: write it as 0192d5a1-7c3e-7b6f-8a41-5c2f9be31d07", text)
	}
	return id, nil
}

// ParseMode reads what a caller over HTTP may ask for.
func ParseMode(text string) (string, error) {
	switch text {
	case ModeSync, ModeVerify, ModeRepair:
		return text, nil
	}
	return "", fmt.Errorf("there is no mode %.40q; there are %s, %s and %s", text, ModeSync, ModeVerify, ModeRepair)
}

// ParseSince reads the point in time from which a module is to be read again.
func ParseSince(text string, now time.Time) (time.Time, error) {
	since, err := time.Parse(time.RFC3339, text)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("since %.40q is not a time: write it as 2026-01-31T08:00:00Z (a + in an address is written %%2B)", text)
	case since.After(now):
		return time.Time{}, fmt.Errorf("since %.40s lies in the future: it is now %s", text, now.UTC().Format(time.RFC3339))
	case since.Before(time.Unix(0, 0)):
		return time.Time{}, errors.New("since lies before 1970: leave it out to read what is new, or give a later time")
	}
	return since, nil
}
