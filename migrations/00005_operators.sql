-- +goose Up

-- What lets an operator sleep: who called and why a run failed, health at a glance, alerts
-- that are told once, and the dashboard's log-ins.

-- trigger says who called; cause is the class of a failure, by which alerts are grouped;
-- caught_up, that the run read every stream to its end.
ALTER TABLE sync_runs
    ADD COLUMN trigger text NOT NULL DEFAULT 'other',
    ADD COLUMN cause text,
    ADD COLUMN caught_up boolean NOT NULL DEFAULT false,
    ADD COLUMN duration_ms bigint GENERATED ALWAYS AS ((extract(epoch FROM ended_at - started_at) * 1000)::bigint) STORED;

CREATE INDEX sync_runs_started_at_idx ON sync_runs (started_at DESC);
CREATE INDEX sync_runs_status_idx ON sync_runs (module, status, started_at DESC);
CREATE INDEX sync_runs_caught_up_idx ON sync_runs (module, started_at DESC) WHERE caught_up;

-- What a run's own page lists.
CREATE INDEX sync_quarantine_run_id_idx ON sync_quarantine (run_id);
CREATE INDEX sync_drift_run_id_idx ON sync_drift (run_id);

-- What a person is told, each once. It is raised in the transaction that closes a run and
-- sent afterwards: whoever sends it claims it first. off: no webhook was configured; refused:
-- Slack does not take it, and is asked again after an hour; expired: Slack did not take it for
-- a week, or until a later one said how the module stands.
CREATE TABLE sync_alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    module text NOT NULL,
    kind text NOT NULL,
    run_id uuid,
    count bigint NOT NULL DEFAULT 0,
    cause text,
    detail text,
    hint text,
    since timestamptz,
    raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state text NOT NULL DEFAULT 'pending',
    claimed_at timestamptz,
    not_before timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    sent_at timestamptz,
    CONSTRAINT sync_alerts_kind_check CHECK (kind IN ('failing', 'recovered', 'stale', 'quarantine', 'drift')),
    CONSTRAINT sync_alerts_state_check CHECK (state IN ('pending', 'sent', 'off', 'refused', 'expired'))
);
CREATE INDEX sync_alerts_module_kind_idx ON sync_alerts (module, kind, raised_at DESC);
CREATE INDEX sync_alerts_pending_idx ON sync_alerts (raised_at) WHERE state IN ('pending', 'refused');
-- A silence is told once a day (count is its whole days), whoever notices it.
CREATE UNIQUE INDEX sync_alerts_stale_idx ON sync_alerts (module, since, count, (state = 'off')) WHERE kind = 'stale';

-- Failed log-ins of the dashboard, counted over all processes. source is a digest of the
-- caller's address, or '*' for all callers.
CREATE TABLE sync_logins (
    source text PRIMARY KEY,
    failures integer NOT NULL,
    window_started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A row a module that ever ran. Only runs that read the streams tell how it stands: a replay
-- may succeed while each sync fails. rows is the statistics' estimate, since counting a large
-- table takes seconds.
CREATE VIEW sync_health WITH (security_invoker = true) AS
SELECT l.module,
       last.status AS last_status,
       last.started_at AS last_run_at,
       last.id AS last_run_id,
       ok.started_at AS last_ok_at,
       now() - current.started_at AS lag,
       coalesce(streak.failures, 0) AS failures_in_a_row,
       streak.since AS failing_since,
       day.runs AS runs_24h,
       day.failures AS failures_24h,
       day.skipped AS skipped_24h,
       day.mean_ms AS mean_ms_24h,
       day.p95_ms AS p95_ms_24h,
       day.credits AS credits_24h,
       (SELECT count(*) FROM sync_quarantine q WHERE q.module = l.module AND q.settled_at IS NULL) AS open_quarantine,
       verified.verdict AS last_verdict,
       verified.as_of AS last_verified_as_of,
       greatest(size.live, size.estimate, 0)::bigint AS rows
FROM sync_locks l
LEFT JOIN LATERAL (
    SELECT r.id, r.status, r.started_at FROM sync_runs r
    WHERE r.module = l.module AND r.status IN ('ok', 'failed') AND r.mode IN ('sync', 'verify', 'repair')
    ORDER BY r.started_at DESC LIMIT 1
) last ON true
LEFT JOIN LATERAL (
    SELECT r.started_at FROM sync_runs r
    WHERE r.module = l.module AND r.status = 'ok' AND r.mode IN ('sync', 'verify', 'repair')
    ORDER BY r.started_at DESC LIMIT 1
) ok ON true
LEFT JOIN LATERAL (
    SELECT r.started_at FROM sync_runs r
    WHERE r.module = l.module AND r.caught_up
    ORDER BY r.started_at DESC LIMIT 1
) current ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS failures, min(r.started_at) AS since FROM sync_runs r
    WHERE r.module = l.module AND r.status = 'failed' AND r.mode IN ('sync', 'verify', 'repair')
      AND r.started_at > coalesce((SELECT max(o.started_at) FROM sync_runs o
          WHERE o.module = l.module AND o.status = 'ok' AND o.mode IN ('sync', 'verify', 'repair')), '-infinity')
) streak ON true
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE r.status IN ('ok', 'failed')) AS runs,
           count(*) FILTER (WHERE r.status = 'failed') AS failures,
           count(*) FILTER (WHERE r.status = 'skipped') AS skipped,
           round(avg(r.duration_ms) FILTER (WHERE r.status IN ('ok', 'failed')))::bigint AS mean_ms,
           round(percentile_cont(0.95) WITHIN GROUP (ORDER BY r.duration_ms) FILTER (WHERE r.status IN ('ok', 'failed')))::bigint AS p95_ms,
           coalesce(sum(r.credits), 0)::bigint AS credits
    FROM sync_runs r
    WHERE r.module = l.module AND r.started_at > now() - interval '24 hours'
) day ON true
LEFT JOIN LATERAL (
    SELECT v.verdict, v.as_of FROM sync_verifications v
    WHERE v.module = l.module AND v.verdict IN ('equal', 'different')
    ORDER BY v.started_at DESC LIMIT 1
) verified ON true
LEFT JOIN LATERAL (
    SELECT c.reltuples AS estimate, pg_catalog.pg_stat_get_live_tuples(c.oid) AS live
    FROM pg_catalog.pg_class c WHERE c.oid = to_regclass(quote_ident(l.module))
) size ON true;

-- The last week's runs, newest first, as a person reads them.
CREATE VIEW sync_recent WITH (security_invoker = true) AS
SELECT started_at, module, mode, status, trigger, duration_ms, records_processed, inserted, updated, unchanged,
       deleted, restored, quarantined, pages, calls, credits, more, reason, cause, error, hint, id
FROM sync_runs
WHERE started_at > now() - interval '7 days'
ORDER BY started_at DESC;

-- zohomirror_reader may read what the views are made of, and no payload of a record.
-- +goose StatementBegin
DO $$
DECLARE
    name text;
    grantee text;
    service boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = 'zohomirror_service');
    reader boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = 'zohomirror_reader');
BEGIN
    FOREACH name IN ARRAY ARRAY['sync_alerts', 'sync_logins', 'sync_health', 'sync_recent'] LOOP
        EXECUTE format('REVOKE ALL ON %I FROM public', name);
        FOREACH grantee IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = grantee) THEN
                EXECUTE format('REVOKE ALL ON %I FROM %I', name, grantee);
            END IF;
        END LOOP;
    END LOOP;
    FOREACH name IN ARRAY ARRAY['sync_alerts', 'sync_logins'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        IF service THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO zohomirror_service', name);
            EXECUTE format('CREATE POLICY service_all ON %I TO zohomirror_service USING (true) WITH CHECK (true)', name);
        END IF;
    END LOOP;
    FOREACH grantee IN ARRAY ARRAY['anon', 'authenticated'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = grantee) THEN
            EXECUTE format('REVOKE ALL ON SEQUENCE sync_alerts_id_seq FROM %I', grantee);
        END IF;
    END LOOP;
    FOREACH name IN ARRAY ARRAY['sync_health', 'sync_recent'] LOOP
        IF service THEN
            EXECUTE format('GRANT SELECT ON %I TO zohomirror_service', name);
        END IF;
        IF reader THEN
            EXECUTE format('GRANT SELECT ON %I TO zohomirror_reader', name);
        END IF;
    END LOOP;
    IF reader THEN
        FOREACH name IN ARRAY ARRAY['sync_runs', 'sync_locks', 'sync_verifications', 'sync_quarantine'] LOOP
            EXECUTE format('CREATE POLICY reader_select ON %I FOR SELECT TO zohomirror_reader USING (true)', name);
        END LOOP;
        GRANT SELECT ON sync_runs, sync_locks, sync_verifications TO zohomirror_reader;
        GRANT SELECT (module, settled_at) ON sync_quarantine TO zohomirror_reader;
    END IF;
END
$$;
-- +goose StatementEnd
