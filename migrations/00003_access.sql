-- +goose Up

-- Row level security on every table. The owner, who migrates, is not bound by it; two
-- roles of our own are let in by policy, and Supabase's anon and authenticated, which
-- get rights on new tables by default, are turned away twice: no policy, no grant.
-- Where the migrating role may not create roles, the policies are left out and only the
-- owner can read and write.

-- +goose StatementBegin
DO $$
DECLARE
    mirror text[] := ARRAY['leads', 'deals'];
    state text[] := ARRAY['sync_runs', 'sync_runs_default', 'sync_locks', 'sync_watermarks',
        'sync_quarantine', 'sync_tokens', 'sync_metadata', 'sync_migrations', 'sync_migrations_lock'];
    name text;
    grantee text;
BEGIN
    FOREACH name IN ARRAY ARRAY['zohomirror_service', 'zohomirror_reader'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            END IF;
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'role % is missing and could not be created: its policies are left out', name;
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- another process has just made it
        END;
    END LOOP;

    FOREACH name IN ARRAY mirror || state LOOP
        CONTINUE WHEN to_regclass(name) IS NULL;
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('REVOKE ALL ON %I FROM public', name);
        FOREACH grantee IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = grantee) THEN
                EXECUTE format('REVOKE ALL ON %I FROM %I', name, grantee);
            END IF;
        END LOOP;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'zohomirror_service') THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO zohomirror_service', name);
            EXECUTE format('CREATE POLICY service_all ON %I TO zohomirror_service USING (true) WITH CHECK (true)', name);
        END IF;
        IF name = ANY (mirror) AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'zohomirror_reader') THEN
            EXECUTE format('GRANT SELECT ON %I TO zohomirror_reader', name);
            EXECUTE format('CREATE POLICY reader_select ON %I FOR SELECT TO zohomirror_reader USING (true)', name);
        END IF;
    END LOOP;
END
$$;
-- +goose StatementEnd
