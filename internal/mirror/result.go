package mirror

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"zohomirror/internal/postgres"
)

// Result is what a run did. Its JSON form is the answer of the sync endpoint and has the
// members that belong to its status.
type Result struct {
	RunID     uuid.UUID
	Module    string
	Mode      string
	Status    string
	Counts    postgres.Counts
	Watermark time.Time // of the stream modified; zero before its first window is complete
	More      bool      // another run should follow at once
	Reason    string
	HeldSince time.Time // skipped: when the run at work last renewed its claim
	Err, Hint string    // failed
	Replay    *Replay   // mode replay, once it has the lock
	Duration  time.Duration

	Verification *postgres.Verification // what a verification has found so far; nil: there was none
}

func (r *run) result(outcome postgres.Outcome) Result {
	status := StatusOK
	if outcome.Err != "" {
		status = StatusFailed
	}
	return Result{
		RunID: r.claimed.ID, Module: r.claimed.Module.Name, Mode: r.claimed.Mode, Status: status, Counts: r.counts,
		Watermark: outcome.Watermark, More: outcome.More, Reason: outcome.Reason,
		Err: outcome.Err, Hint: outcome.Hint, Duration: time.Since(r.started),
		Replay: r.replays, Verification: r.verification,
	}
}

// MarshalJSON implements [json.Marshaler].
func (r Result) MarshalJSON() ([]byte, error) {
	type head struct {
		RunID  uuid.UUID `json:"run_id"`
		Module string    `json:"module"`
		Mode   string    `json:"mode,omitempty"` // of what is not an ordinary sync
		Status string    `json:"status"`
	}
	h := head{r.RunID, r.Module, r.Mode, r.Status}
	if h.Mode == ModeSync {
		h.Mode = ""
	}
	switch r.Status {
	case StatusRunning:
		return json.Marshal(h)
	case StatusSkipped:
		return json.Marshal(struct {
			head
			Skipped   string    `json:"skipped"`
			HeldSince time.Time `json:"held_since"`
		}{h, reasonLockHeld, r.HeldSince.UTC()})
	case StatusFailed:
		return json.Marshal(struct {
			head
			Error string `json:"error"`
			Hint  string `json:"hint"`
		}{h, r.Err, r.Hint})
	}
	var watermark *time.Time
	if !r.Watermark.IsZero() {
		utc := r.Watermark.UTC()
		watermark = &utc
	}
	return json.Marshal(struct {
		head
		Processed    int64      `json:"records_processed"`
		Inserted     int64      `json:"inserted"`
		Updated      int64      `json:"updated"`
		Unchanged    int64      `json:"unchanged"`
		Quarantined  int64      `json:"quarantined"`
		Deleted      int64      `json:"deleted"`
		Restored     int64      `json:"restored"`
		Pages        int        `json:"pages"`
		Watermark    *time.Time `json:"watermark"`
		More         bool       `json:"more"`
		Reason       string     `json:"reason"`
		DurationMS   int64      `json:"duration_ms"`
		Verification any        `json:"verification,omitempty"`
		*Replay
	}{
		h, r.Counts.Processed, r.Counts.Inserted, r.Counts.Updated, r.Counts.Unchanged, r.Counts.Quarantined, r.Counts.Deleted, r.Counts.Restored,
		r.Counts.Pages, watermark, r.More, r.Reason, r.Duration.Milliseconds(), verdict(r.Verification), r.Replay,
	})
}

// verdict is a verification in the form of the answer, or nil.
func verdict(v *postgres.Verification) any {
	if v == nil {
		return nil
	}
	return struct {
		ID       string           `json:"id"`
		Mode     string           `json:"mode"`
		Deep     bool             `json:"deep"`
		Verdict  string           `json:"verdict"`
		AsOf     time.Time        `json:"as_of"`
		Checked  int64            `json:"checked"`
		Found    map[string]int64 `json:"found"`
		Repaired int64            `json:"repaired"`
	}{v.ID, v.Mode, v.Deep, v.Verdict, v.AsOf.UTC(), v.Checked, v.Found, v.Repaired}
}
