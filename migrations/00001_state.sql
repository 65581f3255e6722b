-- +goose Up

-- One row an invocation, refused ones included. Partitioned by month, so that old
-- months are dropped and never vacuumed. Partitions are made ahead by the runs
-- themselves; the default one keeps a run from failing where that was not possible.
CREATE TABLE sync_runs (
    id uuid NOT NULL,
    module text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    status text NOT NULL,
    records_processed bigint NOT NULL DEFAULT 0,
    inserted bigint NOT NULL DEFAULT 0,
    updated bigint NOT NULL DEFAULT 0,
    unchanged bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    pages integer NOT NULL DEFAULT 0,
    watermark timestamptz,
    more boolean NOT NULL DEFAULT false,
    reason text,
    error text,
    hint text,
    PRIMARY KEY (id, started_at),
    CONSTRAINT sync_runs_status_check CHECK (status IN ('running', 'ok', 'failed', 'skipped'))
) PARTITION BY RANGE (started_at);

CREATE INDEX sync_runs_module_started_at_idx ON sync_runs (module, started_at DESC);
-- Finds the run that a killed process left open.
CREATE INDEX sync_runs_running_idx ON sync_runs (module) WHERE status = 'running';

CREATE TABLE sync_runs_default PARTITION OF sync_runs DEFAULT;

-- The lease of a module. A free lock keeps its row, with claimed_by null.
CREATE TABLE sync_locks (
    module text PRIMARY KEY,
    claimed_by uuid,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The checkpoint of each stream. Between two windows only watermark is set; while a
-- window is open, cursor_time and cursor_id say where the next page begins, and
-- window_as_of is Zoho's time up to which the window is known to be complete.
CREATE TABLE sync_watermarks (
    module text NOT NULL,
    stream text NOT NULL,
    watermark timestamptz,
    cursor_time timestamptz,
    cursor_id text,
    window_as_of timestamptz,
    window_zoho_clock boolean NOT NULL DEFAULT false,
    window_young boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (module, stream)
);

-- Records that do not fit, as Zoho sent them. One open entry a record: a newer fault
-- of the same record replaces it, a newer good version settles it. The payload is
-- json, not jsonb, because jsonb refuses some of what makes a record bad.
CREATE TABLE sync_quarantine (
    module text NOT NULL,
    record_id text NOT NULL,
    modified_time timestamptz,
    reason text NOT NULL,
    payload json NOT NULL,
    run_id uuid NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at timestamptz,
    settled_by uuid
);

CREATE UNIQUE INDEX sync_quarantine_open_idx ON sync_quarantine (module, record_id) WHERE settled_at IS NULL;

-- Access tokens, sealed with a key that is not in this database.
CREATE TABLE sync_tokens (
    fingerprint text PRIMARY KEY,
    sealed bytea,
    expires_at timestamptz,
    not_before timestamptz,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What Zoho said about itself (fields, users, refused columns), for every process.
CREATE TABLE sync_metadata (
    key text PRIMARY KEY,
    body jsonb NOT NULL,
    fetched_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
