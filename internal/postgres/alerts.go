package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Kinds of an alert.
const (
	AlertFailing    = "failing"    // the last two finished runs failed
	AlertRecovered  = "recovered"  // a good run after a told failing
	AlertStale      = "stale"      // no good run for too long
	AlertQuarantine = "quarantine" // rows that were first quarantined by a run
	AlertDrift      = "drift"      // drift that was first noticed by a run
)

// States that a sender leaves an alert in.
const (
	AlertPending = "pending" // for the next sender
	AlertSent    = "sent"
	AlertRefused = "refused" // for a sender in an hour, when the webhook may have been replaced
	AlertUntried = "untried" // as it was before it was claimed; no row has this
	alertOff     = "off"     // nobody was to be told
)

// Alerting says whether people are told, and after how much silence.
type Alerting struct {
	On         bool
	StaleAfter time.Duration // a module without a good run for so long is told of; zero: never
}

func (a Alerting) state() string {
	if a.On {
		return AlertPending
	}
	return alertOff
}

func (a Alerting) staleAfter() *string {
	if a.StaleAfter <= 0 {
		return nil
	}
	text := fmt.Sprintf("%d microseconds", a.StaleAfter.Microseconds())
	return &text
}

// An Alert is what a person must know. It holds no record's values.
type Alert struct {
	ID       int64
	Module   string
	Kind     string
	RunID    uuid.UUID // zero: no run is the cause
	Count    int64     // failures in a row, rows, differences, whole days of silence
	Cause    string    // class of the last failure
	Detail   string    // its first line; or names of fields and rules
	Hint     string
	Since    time.Time // of a streak or a silence
	RaisedAt time.Time
}

// modesOfStreams are those whose runs tell how a module stands, as in sync_health: a replay or
// a re-read, which a person asks for, may succeed while each sync fails.
const modesOfStreams = `('` + ModeSync + `', '` + ModeVerify + `', '` + ModeRepair + `')`

// alertsRaise begins with the runs that have just ended; all else depends on there being one.
// Whoever executes it holds the module's lock row, so no other raises the module's failures;
// a silence may be noticed by several, and its unique index keeps the first.
const alertsRaise = `,
latest AS (
	SELECT r.id, r.status, r.cause, r.error, r.hint, r.started_at
	FROM sync_runs r
	WHERE r.module = $1 AND r.status IN ('ok', 'failed') AND EXISTS (SELECT FROM ended) AND r.mode IN ` + modesOfStreams + `
	ORDER BY r.started_at DESC
	LIMIT 2
),
told AS (
	SELECT a.kind, a.state, a.raised_at, a.since, a.count
	FROM sync_alerts a
	WHERE a.module = $1 AND a.kind IN ('failing', 'recovered') AND (a.state <> 'off' OR $2::text = 'off')
	ORDER BY a.raised_at DESC, a.id DESC
	LIMIT 1
),
failing AS (
	SELECT l.id, s.count, l.cause, l.error, l.hint, s.since
	FROM latest l, LATERAL (
		SELECT count(*), min(r.started_at) AS since
		FROM sync_runs r
		WHERE r.module = $1 AND r.status = 'failed' AND r.mode IN ` + modesOfStreams + ` AND r.started_at > coalesce(
			(SELECT max(o.started_at) FROM sync_runs o WHERE o.module = $1 AND o.status = 'ok' AND o.mode IN ` + modesOfStreams + `), '-infinity')
	) s
	WHERE (SELECT count(*) FROM latest WHERE status = 'failed') = 2
	  AND NOT EXISTS (SELECT FROM told WHERE kind = 'failing' AND state <> 'refused' AND raised_at > now() - interval '1 hour')
	ORDER BY l.started_at DESC
	LIMIT 1
),
silent AS (
	SELECT l.module, coalesce(
		(SELECT r.started_at FROM sync_runs r
		 WHERE r.module = l.module AND r.status = 'ok' AND r.mode IN ` + modesOfStreams + `
		 ORDER BY r.started_at DESC LIMIT 1),
		(SELECT r.started_at FROM sync_runs r WHERE r.module = l.module ORDER BY r.started_at LIMIT 1)) AS since
	FROM sync_locks l
	WHERE $3::interval IS NOT NULL AND EXISTS (SELECT FROM ended)
),
raised AS (
	INSERT INTO sync_alerts (module, kind, run_id, count, cause, detail, hint, since, state)
	SELECT $1, 'failing', id, count, cause, left(split_part(error, E'\n', 1), 500), hint, since, $2::text FROM failing
	UNION ALL
	SELECT $1, 'recovered', l.id, t.count, NULL, NULL, NULL, t.since,
	       CASE WHEN t.state IN ('sent', 'pending', 'refused') THEN $2::text ELSE t.state END
	FROM (SELECT id, status FROM latest ORDER BY started_at DESC LIMIT 1) l, told t
	WHERE l.status = 'ok' AND t.kind = 'failing'
	UNION ALL
	SELECT $1, 'quarantine', f.id, sum(f.n), NULL, left(string_agg(f.name || ' (' || f.n || ')', ', ' ORDER BY f.n DESC, f.name), 500), NULL, NULL, $2::text
	FROM (
		SELECT e.id, coalesce(nullif(concat_ws(' ', q.field, q.rule), ''), 'the record') AS name, count(*) AS n
		FROM ended e JOIN sync_quarantine q ON q.run_id = e.id
		WHERE q.module = $1 AND q.settled_at IS NULL AND q.first_seen_at >= e.started_at
		GROUP BY 1, 2
	) f
	GROUP BY f.id
	UNION ALL
	SELECT $1, 'drift', f.id, sum(f.n), NULL, left(string_agg(f.name || ' (' || f.n || ')', ', ' ORDER BY f.name), 500), NULL, NULL, $2::text
	FROM (
		SELECT e.id, d.field || ' ' || replace(d.kind, '_', ' ') AS name, count(*) AS n
		FROM ended e JOIN sync_drift d ON d.run_id = e.id
		WHERE d.module = $1
		GROUP BY 1, 2
	) f
	GROUP BY f.id
	UNION ALL
	SELECT s.module, 'stale', NULL, extract(epoch FROM now() - s.since)::bigint / 86400, NULL, NULL, NULL, s.since, $2::text
	FROM silent s
	WHERE s.since < now() - $3::interval
	  AND NOT (s.module = $1 AND EXISTS (SELECT FROM failing))
	  AND NOT EXISTS (SELECT FROM sync_alerts a
		WHERE a.module = s.module AND a.kind = 'failing' AND a.raised_at > now() - interval '2 hours' AND (a.state <> 'off' OR $2::text = 'off'))
	ON CONFLICT DO NOTHING
	RETURNING state
)
SELECT $2::text <> 'off' AND (EXISTS (SELECT FROM raised WHERE state = 'pending') OR EXISTS (` + alertsDue + `))`

// alertsWaiting are those that were not sent. What a sender has claimed is left to it for a
// minute.
const alertsWaiting = `a.state IN ('pending', 'refused') AND (a.claimed_at IS NULL OR a.claimed_at < clock_timestamp() - interval '1 minute')`

// alertsDue are those that may be sent now. What Slack refused waits for itself; when Slack
// asks for patience, all wait.
const alertsDue = `
	SELECT a.id FROM sync_alerts a
	WHERE ` + alertsWaiting + ` AND (a.not_before > clock_timestamp()) IS NOT TRUE
	  AND NOT EXISTS (SELECT FROM sync_alerts w WHERE w.state = 'pending' AND w.not_before > clock_timestamp())`

// alertsOfRun is for the run $4 that began at $5, in the transaction that closes it.
const alertsOfRun = `
WITH ended AS (
	SELECT id, started_at FROM sync_runs WHERE id = $4::uuid AND started_at = $5
)` + alertsRaise

// alertsOfOrphans is for what this transaction has closed for a process that ended.
const alertsOfOrphans = `
WITH ended AS (
	SELECT r.id, r.started_at
	FROM (SELECT id, started_at, ended_at, cause FROM sync_runs
	      WHERE module = $1 AND status = 'failed' ORDER BY started_at DESC LIMIT 10) r
	WHERE r.cause = 'killed' AND r.ended_at >= now()
)` + alertsRaise

// alertsOver are those that nobody needs any more: too old, or tried in vain until a later
// one said how the module stands. Each tick of a failing module raises one that is refused;
// told late, all of them would arrive at once, and after its recovery.
const alertsOver = `(a.raised_at < clock_timestamp() - interval '7 days'
	OR a.kind IN ('failing', 'recovered') AND a.attempts > 0 AND EXISTS (
		SELECT FROM sync_alerts l
		WHERE l.module = a.module AND l.kind IN ('failing', 'recovered') AND l.state <> 'off' AND l.id > a.id))`

const alertsClaim = `
WITH expired AS (
	UPDATE sync_alerts a SET state = 'expired'
	WHERE ` + alertsWaiting + ` AND ` + alertsOver + `
),
due AS (` + alertsDue + `
	  AND NOT ` + alertsOver + `
	ORDER BY a.attempts, a.id
	LIMIT $1
	FOR UPDATE OF a SKIP LOCKED
),
claimed AS (
	UPDATE sync_alerts a
	SET claimed_at = clock_timestamp(), attempts = a.attempts + 1
	FROM due
	WHERE a.id = due.id
	RETURNING a.*
)
SELECT id, module, kind, run_id, count, coalesce(cause, ''), coalesce(detail, ''), coalesce(hint, ''), since, raised_at
FROM claimed
ORDER BY attempts, id`

// ClaimAlerts takes alerts that are to be sent, at most n: those that were tried less often
// first, so that one that Slack never takes is overtaken, then the oldest. Nobody else gets
// them for a minute; then they count as unsent, so that each is sent at least once.
func (s *Store) ClaimAlerts(ctx context.Context, n int) ([]Alert, error) {
	rows, err := s.pool.Query(ctx, alertsClaim, n)
	if err != nil {
		return nil, fmt.Errorf("claim alerts: %w", conceal(err))
	}
	alerts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a Alert, err error) {
		var run *uuid.UUID
		var since *time.Time
		err = row.Scan(&a.ID, &a.Module, &a.Kind, &run, &a.Count, &a.Cause, &a.Detail, &a.Hint, &since, &a.RaisedAt)
		a.RunID, a.Since = deref(run), deref(since)
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("claim alerts: %w", conceal(err))
	}
	return alerts, nil
}

const alertsSettle = `
UPDATE sync_alerts a
SET state = CASE WHEN u.state = 'untried' THEN a.state ELSE u.state END,
    claimed_at = CASE WHEN u.state = 'sent' THEN a.claimed_at END,
    sent_at = CASE WHEN u.state = 'sent' THEN clock_timestamp() END,
    not_before = CASE u.state WHEN 'pending' THEN clock_timestamp() + $3::interval WHEN 'refused' THEN clock_timestamp() + interval '1 hour' END,
    attempts = a.attempts - (u.state = 'untried')::integer
FROM unnest($1::bigint[], $2::text[]) AS u (id, state)
WHERE a.id = u.id AND a.state IN ('pending', 'refused')`

// SettleAlerts says what became of claimed alerts, by id. No pending one is given out before
// wait has passed.
func (s *Store) SettleAlerts(ctx context.Context, states map[int64]string, wait time.Duration) error {
	ids, ends := make([]int64, 0, len(states)), make([]string, 0, len(states))
	for id, state := range states {
		ids, ends = append(ids, id), append(ends, state)
	}
	if _, err := s.pool.Exec(ctx, alertsSettle, ids, ends, fmt.Sprintf("%d milliseconds", wait.Milliseconds())); err != nil {
		return fmt.Errorf("settle alerts: %w", conceal(err))
	}
	return nil
}
