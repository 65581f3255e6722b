-- +goose Up

-- What it takes to prove that the mirror equals the CRM: deletions, verifications, drift,
-- and what a run was for.

-- Ids are digits, ordered by length and then byte by byte, as Zoho orders their numbers.
ALTER TABLE leads ALTER COLUMN id TYPE text COLLATE "C";
ALTER TABLE deals ALTER COLUMN id TYPE text COLLATE "C";

-- A verification reads ids in Zoho's order.
CREATE INDEX leads_id_order_idx ON leads (length(id), id);
CREATE INDEX deals_id_order_idx ON deals (length(id), id);

-- mode says what a run was for; calls and credits what it cost Zoho.
ALTER TABLE sync_runs
    ADD COLUMN mode text NOT NULL DEFAULT 'sync',
    ADD COLUMN deleted bigint NOT NULL DEFAULT 0,
    ADD COLUMN restored bigint NOT NULL DEFAULT 0,
    ADD COLUMN calls integer NOT NULL DEFAULT 0,
    ADD COLUMN credits integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT sync_runs_mode_check CHECK (mode IN ('sync', 'since', 'verify', 'repair', 'replay'));

-- state holds what a stream's checkpoint needs beyond a cursor.
ALTER TABLE sync_watermarks ADD COLUMN state jsonb;

-- Every id that Zoho ever listed as deleted, held by the mirror or not, until it is purged
-- or can no longer come back. listed: not looked at yet; confirmed: gone when last looked
-- at; readable: there when last looked at; reopened: a page has read it since it was confirmed.
CREATE TABLE sync_deletions (
    module text NOT NULL,
    record_id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    deleted_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'listed',
    listing bigint NOT NULL,
    listed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    checked_at timestamptz,
    due_at timestamptz,
    PRIMARY KEY (module, record_id),
    CONSTRAINT sync_deletions_kind_check CHECK (kind IN ('recycle', 'permanent')),
    CONSTRAINT sync_deletions_state_check CHECK (state IN ('listed', 'confirmed', 'readable', 'reopened'))
);
-- What is to be looked at next; entries that are settled for good have no due_at.
CREATE INDEX sync_deletions_due_idx ON sync_deletions (module, due_at) WHERE due_at IS NOT NULL;

-- One row a verification, which may go on over several runs: the sweep has come to
-- cursor_id, and is followed by a second look at every suspect. The counts are of what is
-- still found then; repaired of what was mended.
CREATE TABLE sync_verifications (
    id uuid PRIMARY KEY,
    module text NOT NULL,
    mode text NOT NULL,
    deep boolean NOT NULL DEFAULT false,
    accept_unlisted boolean NOT NULL DEFAULT false,
    cause text,
    as_of timestamptz NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    verdict text NOT NULL DEFAULT 'running',
    swept boolean NOT NULL DEFAULT false,
    cursor_id text COLLATE "C" NOT NULL DEFAULT '',
    checked bigint NOT NULL DEFAULT 0,
    missing bigint NOT NULL DEFAULT 0,
    stale bigint NOT NULL DEFAULT 0,
    different bigint NOT NULL DEFAULT 0,
    wrongly_deleted bigint NOT NULL DEFAULT 0,
    wrongly_live bigint NOT NULL DEFAULT 0,
    unlisted bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    repaired bigint NOT NULL DEFAULT 0,
    calls bigint NOT NULL DEFAULT 0,
    credits bigint NOT NULL DEFAULT 0,
    duration_ms bigint NOT NULL DEFAULT 0,
    CONSTRAINT sync_verifications_mode_check CHECK (mode IN ('verify', 'repair')),
    CONSTRAINT sync_verifications_verdict_check CHECK (verdict IN ('running', 'equal', 'different', 'abandoned'))
);
CREATE INDEX sync_verifications_module_started_at_idx ON sync_verifications (module, started_at DESC);
-- A module has one verification under way at a time.
CREATE UNIQUE INDEX sync_verifications_running_idx ON sync_verifications (module) WHERE verdict = 'running';

-- Rows that a verification suspected, and what became of each: a suspect is cleared by a
-- second look (it was edited meanwhile), or confirmed, or repaired.
CREATE TABLE sync_findings (
    verification_id uuid NOT NULL,
    record_id text COLLATE "C" NOT NULL,
    finding text NOT NULL,
    state text NOT NULL DEFAULT 'suspected',
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (verification_id, record_id),
    CONSTRAINT sync_findings_finding_check CHECK (finding IN
        ('missing', 'stale', 'different', 'wrongly_deleted', 'extra', 'wrongly_live', 'unlisted', 'quarantined')),
    CONSTRAINT sync_findings_state_check CHECK (state IN ('suspected', 'cleared', 'confirmed', 'repaired'))
);
CREATE INDEX sync_findings_suspected_idx ON sync_findings (verification_id) WHERE state = 'suspected';

-- What is at fault in a record, for programs; reason says the same for people. plan tells
-- with which catalogue and table the record was last tried.
ALTER TABLE sync_quarantine
    ADD COLUMN field text,
    ADD COLUMN value text,
    ADD COLUMN rule text,
    ADD COLUMN attempts integer NOT NULL DEFAULT 1,
    ADD COLUMN plan text NOT NULL DEFAULT '';
-- Finds, at each claim, whether entries were last tried with another plan. A record without
-- an id of Zoho's cannot be tried again.
CREATE INDEX sync_quarantine_plan_idx ON sync_quarantine (module, plan)
    WHERE settled_at IS NULL AND record_id NOT LIKE 'sha256:%';

-- What was noticed of the org's schema, once each.
CREATE TABLE sync_drift (
    module text NOT NULL,
    field text NOT NULL,
    kind text NOT NULL,
    was text NOT NULL DEFAULT '',
    is_now text NOT NULL DEFAULT '',
    run_id uuid,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (module, field, kind, was, is_now),
    CONSTRAINT sync_drift_kind_check CHECK (kind IN ('field_added', 'field_gone', 'type_changed', 'picklist_value'))
);

-- What analysts should read: records that are not deleted.
CREATE VIEW leads_live WITH (security_invoker = true) AS SELECT * FROM leads WHERE deleted_at IS NULL;
CREATE VIEW deals_live WITH (security_invoker = true) AS SELECT * FROM deals WHERE deleted_at IS NULL;

-- +goose StatementBegin
DO $$
DECLARE
    readable text[] := ARRAY['leads_live', 'deals_live'];
    state text[] := ARRAY['sync_deletions', 'sync_verifications', 'sync_findings', 'sync_drift'];
    name text;
    grantee text;
BEGIN
    FOREACH name IN ARRAY readable || state LOOP
        EXECUTE format('REVOKE ALL ON %I FROM public', name);
        FOREACH grantee IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = grantee) THEN
                EXECUTE format('REVOKE ALL ON %I FROM %I', name, grantee);
            END IF;
        END LOOP;
        IF name = ANY (readable) THEN
            FOREACH grantee IN ARRAY ARRAY['zohomirror_service', 'zohomirror_reader'] LOOP
                IF EXISTS (SELECT FROM pg_roles WHERE rolname = grantee) THEN
                    EXECUTE format('GRANT SELECT ON %I TO %I', name, grantee);
                END IF;
            END LOOP;
            CONTINUE;
        END IF;
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'zohomirror_service') THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO zohomirror_service', name);
            EXECUTE format('CREATE POLICY service_all ON %I TO zohomirror_service USING (true) WITH CHECK (true)', name);
        END IF;
    END LOOP;
END
$$;
-- +goose StatementEnd
