-- The mirror's two roles: what they may do, and how to let somebody in by them.
--
-- Run this once as the owner of the mirror's tables, after `zohomirror migrate`. It may be run
-- again at any time. The migrations have made the roles and most of these grants already if
-- their owner may create roles; this file holds for both cases, and adds what only it does: the
-- service owns the run history. The tables are found by the search path; for a schema of your
-- own, say `SET search_path = yours` first.
--
--   zohomirror_service   what `zohomirror serve` and `sync` need: to read and write rows. It can
--                        change no table, and owns nothing but sync_runs and its months, which
--                        it makes ahead and drops when they are old. For that alone it may
--                        create tables in the mirror's schema. It cannot migrate.
--   zohomirror_reader    for analysts and tools: reads the mirror tables and the views, deleted
--                        records included, and of the mirror's state what the views of its
--                        health are made of. No payload of a record that does not fit, no token.
--
-- Neither can log in. A login role is a member of one of them (on Supabase, through the pooler,
-- its user name is mirror.<project ref>):
--
--   CREATE ROLE mirror  LOGIN PASSWORD '…' IN ROLE zohomirror_service;
--   CREATE ROLE analyst LOGIN PASSWORD '…' IN ROLE zohomirror_reader;
--
-- Put `mirror` into DATABASE_URL, and keep the owner's for `zohomirror migrate`. With several
-- orgs in one database do not run this file: the roles belong to the whole server, and a member
-- would be let into each schema where it was run. There, each org's own role owns its schema.

BEGIN;

DO $$
DECLARE
    mirror text[] := ARRAY['leads', 'deals'];
    states text[] := ARRAY['sync_runs', 'sync_locks', 'sync_watermarks', 'sync_quarantine', 'sync_tokens', 'sync_metadata',
        'sync_deletions', 'sync_verifications', 'sync_findings', 'sync_drift', 'sync_alerts', 'sync_logins'];
    versions text[] := ARRAY['sync_migrations', 'sync_migrations_lock', 'sync_org_migrations'];
    views text[] := ARRAY['leads_live', 'deals_live', 'sync_health', 'sync_recent'];
    health text[] := ARRAY['sync_runs', 'sync_locks', 'sync_verifications', 'sync_quarantine'];
    home regnamespace := (SELECT relnamespace FROM pg_class WHERE oid = 'sync_runs'::regclass);
    months text[] := ARRAY(SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'sync_runs'::regclass);
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['zohomirror_service', 'zohomirror_reader'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- somebody has just made it
        END;
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', home, name);
    END LOOP;
    EXECUTE format('GRANT CREATE ON SCHEMA %s TO zohomirror_service', home);
    -- The owner goes on altering sync_runs, as the role that owns it from now on.
    IF NOT pg_has_role(current_user, 'zohomirror_service', 'USAGE') THEN
        EXECUTE format('GRANT zohomirror_service TO %I', current_user);
    END IF;

    FOREACH name IN ARRAY mirror || states || versions || months LOOP
        CONTINUE WHEN to_regclass(name) IS NULL; -- no migration of your own yet
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('DROP POLICY IF EXISTS service_all ON %s', name);
        EXECUTE format('CREATE POLICY service_all ON %s TO zohomirror_service USING (true) WITH CHECK (true)', name);
        IF name = ANY (versions) THEN
            EXECUTE format('REVOKE ALL ON %s FROM zohomirror_service', name);
            EXECUTE format('GRANT SELECT ON %s TO zohomirror_service', name);
        ELSE
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO zohomirror_service', name);
        END IF;
    END LOOP;
    FOREACH name IN ARRAY mirror || health LOOP
        EXECUTE format('DROP POLICY IF EXISTS reader_select ON %s', name);
        EXECUTE format('CREATE POLICY reader_select ON %s FOR SELECT TO zohomirror_reader USING (true)', name);
    END LOOP;
    FOREACH name IN ARRAY views LOOP
        EXECUTE format('GRANT SELECT ON %s TO zohomirror_service, zohomirror_reader', name);
    END LOOP;
    FOREACH name IN ARRAY mirror || ARRAY['sync_runs', 'sync_locks', 'sync_verifications'] LOOP
        EXECUTE format('GRANT SELECT ON %s TO zohomirror_reader', name);
    END LOOP;
    GRANT SELECT (module, settled_at) ON sync_quarantine TO zohomirror_reader;

    FOREACH name IN ARRAY ARRAY['sync_runs'] || months LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO zohomirror_service', name);
    END LOOP;
END
$$;

COMMIT;
