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
	LastStatus     string // of the last run that ended, ok or failed; empty: none has
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
	Rows           int64 // estimated
}

const healthList = `
SELECT module, coalesce(last_status, ''), last_run_at, last_run_id, last_ok_at,
       (extract(epoch FROM lag) * 1000)::bigint, failures_in_a_row, failing_since,
       runs_24h, failures_24h, skipped_24h, coalesce(mean_ms_24h, 0), coalesce(p95_ms_24h, 0), credits_24h,
       open_quarantine, coalesce(last_verdict, ''), last_verified_as_of, rows
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
		&h.OpenQuarantine, &h.LastVerdict, &verified, &h.Rows)
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

// MarshalJSON has the names of the view; what does not apply is null.
func (h Health) MarshalJSON() ([]byte, error) {
	var id *string
	if h.LastRunID != uuid.Nil {
		text := h.LastRunID.String()
		id = &text
	}
	var lag *int64
	if h.Lag != nil {
		seconds := int64(*h.Lag / time.Second)
		lag = &seconds
	}
	return json.Marshal(struct {
		Module         string     `json:"module"`
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
	}{
		h.Module, nullText(h.LastStatus), utc(h.LastRunAt), id, utc(h.LastOKAt), lag, h.Failures, utc(h.FailingSince),
		h.Runs24h, h.Failures24h, h.Skipped24h, h.Mean24h.Milliseconds(), h.P9524h.Milliseconds(), h.Credits24h,
		h.OpenQuarantine, nullText(h.LastVerdict), utc(h.VerifiedAsOf), h.Rows,
	})
}

func utc(t time.Time) *time.Time { return nullTime(t.UTC()) }
