package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Health is how a module that ever ran stands: a row of the view sync_health.
type Health struct {
	Module         string
	LastStatus     string // of the last run that read the streams and ended, ok or failed; empty: none has
	LastRunAt      time.Time
	LastRunID      uuid.UUID
	LastOKAt       time.Time      // begin of the last good run that read the streams; zero: never
	Lag            *time.Duration // since every stream was last read to its end; nil: never
	Failures       int            // in a row, up to the last run
	FailingSince   time.Time      // the first of them
	Runs24h        int            // ok and failed
	Failures24h    int
	Skipped24h     int
	Mean24h        time.Duration // zero: no run
	P9524h         time.Duration
	Credits24h     int64
	OpenQuarantine int64
	LastVerdict    string // empty: never verified
	VerifiedAsOf   time.Time
	Rows           int64     // estimated
	AsOf           time.Time // the database's time of all this
}

// States of a module, the worst first.
const (
	StateFailing = "failing" // its last two runs, or more, failed
	StateNever   = "never"   // no run of it was good yet
	StateStale   = "stale"   // its last good run is too long ago
	StateOK      = "ok"
)

// State judges how the module stands; staleAfter is how old its last good run may be. The
// health check and the commands say what it says; the dashboard shows a first failure, too.
func (h Health) State(staleAfter time.Duration) string {
	switch {
	case h.Failures >= 2:
		return StateFailing
	case h.LastOKAt.IsZero():
		return StateNever
	case h.AsOf.Sub(h.LastOKAt) > staleAfter:
		return StateStale
	}
	return StateOK
}

// Named picks modules by name, in that order; one that never ran has nothing but its name.
func Named(all []Health, names []string) []Health {
	picked := make([]Health, len(names))
	for i, name := range names {
		picked[i] = Health{Module: name}
		for _, h := range all {
			if h.Module == name {
				picked[i] = h
			}
		}
	}
	return picked
}

const healthList = `
SELECT module, coalesce(last_status, ''), last_run_at, last_run_id, last_ok_at,
       (extract(epoch FROM lag) * 1000)::bigint, failures_in_a_row, failing_since,
       runs_24h, failures_24h, skipped_24h, coalesce(mean_ms_24h, 0), coalesce(p95_ms_24h, 0), credits_24h,
       open_quarantine, coalesce(last_verdict, ''), last_verified_as_of, rows, now()
FROM sync_health
ORDER BY module`

// Health returns every module that ever ran, by name.
func (s *Store) Health(ctx context.Context) ([]Health, error) {
	rows, err := s.pool.Query(ctx, healthList)
	if err != nil {
		return nil, fmt.Errorf("read sync_health: %w", conceal(err))
	}
	all, err := pgx.CollectRows(rows, healthOf)
	if err != nil {
		return nil, fmt.Errorf("read sync_health: %w", conceal(err))
	}
	return all, nil
}

func healthOf(row pgx.CollectableRow) (h Health, err error) {
	var lastRun, lastOK, failing, verified *time.Time
	var id *uuid.UUID
	var lag *int64
	var mean, p95 int64
	err = row.Scan(&h.Module, &h.LastStatus, &lastRun, &id, &lastOK, &lag, &h.Failures, &failing,
		&h.Runs24h, &h.Failures24h, &h.Skipped24h, &mean, &p95, &h.Credits24h,
		&h.OpenQuarantine, &h.LastVerdict, &verified, &h.Rows, &h.AsOf)
	h.LastRunAt, h.LastOKAt, h.FailingSince, h.VerifiedAsOf = deref(lastRun), deref(lastOK), deref(failing), deref(verified)
	h.LastRunID = deref(id)
	h.Mean24h, h.P9524h = time.Duration(mean)*time.Millisecond, time.Duration(p95)*time.Millisecond
	if lag != nil {
		d := time.Duration(*lag) * time.Millisecond
		h.Lag = &d
	}
	return h, err
}

// deref is what p points to, or the zero value.
func deref[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}

// Judged is a module's health with what is to be thought of it.
type Judged struct {
	Health
	State string
}

// MarshalJSON has the names of the view; what does not apply is null.
func (h Health) MarshalJSON() ([]byte, error) { return json.Marshal(h.form("")) }

// MarshalJSON has the names of the view, and state.
func (j Judged) MarshalJSON() ([]byte, error) { return json.Marshal(j.form(j.State)) }

// healthForm is a Health as JSON.
type healthForm struct {
	Module         string     `json:"module"`
	State          string     `json:"state,omitempty"`
	LastStatus     *string    `json:"last_status"`
	LastRunAt      *time.Time `json:"last_run_at"`
	LastRunID      *string    `json:"last_run_id"`
	LastOKAt       *time.Time `json:"last_ok_at"`
	Lag            *int64     `json:"lag_seconds"`
	Failures       int        `json:"failures_in_a_row"`
	FailingSince   *time.Time `json:"failing_since"`
	Runs           int        `json:"runs_24h"`
	Failures24h    int        `json:"failures_24h"`
	Skipped        int        `json:"skipped_24h"`
	MeanMS         int64      `json:"mean_ms_24h"`
	P95MS          int64      `json:"p95_ms_24h"`
	Credits        int64      `json:"credits_24h"`
	OpenQuarantine int64      `json:"open_quarantine"`
	LastVerdict    *string    `json:"last_verdict"`
	VerifiedAsOf   *time.Time `json:"last_verified_as_of"`
	Rows           int64      `json:"rows"`
}

func (h Health) form(state string) healthForm {
	form := healthForm{
		Module: h.Module, State: state, LastStatus: nullText(h.LastStatus), LastRunAt: utc(h.LastRunAt), LastOKAt: utc(h.LastOKAt),
		Failures: h.Failures, FailingSince: utc(h.FailingSince), Runs: h.Runs24h, Failures24h: h.Failures24h, Skipped: h.Skipped24h,
		MeanMS: h.Mean24h.Milliseconds(), P95MS: h.P9524h.Milliseconds(), Credits: h.Credits24h, OpenQuarantine: h.OpenQuarantine,
		LastVerdict: nullText(h.LastVerdict), VerifiedAsOf: utc(h.VerifiedAsOf), Rows: h.Rows,
	}
	if h.LastRunID != uuid.Nil {
		form.LastRunID = nullText(h.LastRunID.String())
	}
	if h.Lag != nil {
		seconds := int64(*h.Lag / time.Second)
		form.Lag = &seconds
	}
	return form
}

func utc(t time.Time) *time.Time { return nullTime(t.UTC()) }
