-- +goose Up

-- Who may do what, said once more for all there is: Supabase's service_role, which passes
-- row level security but has no rights on new tables since 2026, gets them; and
-- zohomirror_service loses what only a migration does. docs/roles.sql grants the rest.

-- An entry is known by its record and by when it was first seen.
ALTER TABLE sync_quarantine ADD PRIMARY KEY (module, record_id, first_seen_at);

-- +goose StatementBegin
DO $$
DECLARE
    states text[] := ARRAY['sync_runs', 'sync_locks', 'sync_watermarks', 'sync_quarantine', 'sync_tokens', 'sync_metadata',
        'sync_deletions', 'sync_verifications', 'sync_findings', 'sync_drift', 'sync_alerts', 'sync_logins'];
    versions text[] := ARRAY['sync_migrations', 'sync_migrations_lock'];
    views text[] := ARRAY['leads_live', 'deals_live', 'sync_health', 'sync_recent'];
    parts text[] := ARRAY(SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'sync_runs'::regclass);
    name text;
    service boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = 'zohomirror_service');
    platform boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role');
BEGIN
    IF platform THEN
        FOREACH name IN ARRAY ARRAY['leads', 'deals'] || states || parts LOOP
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO service_role', name);
        END LOOP;
        FOREACH name IN ARRAY views || versions LOOP
            EXECUTE format('GRANT SELECT ON %s TO service_role', name);
        END LOOP;
    END IF;
    IF NOT service THEN
        RETURN;
    END IF;
    FOREACH name IN ARRAY versions LOOP
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %s FROM zohomirror_service', name);
    END LOOP;
    -- Rows are read and written by their table's policy; that of a month says so for itself.
    FOREACH name IN ARRAY parts LOOP
        IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = name::regclass) THEN
            EXECUTE format('CREATE POLICY service_all ON %s TO zohomirror_service USING (true) WITH CHECK (true)', name);
        END IF;
    END LOOP;
END
$$;
-- +goose StatementEnd
