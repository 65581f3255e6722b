-- The scheduler inside Supabase: pg_cron decides when, pg_net calls the mirror's endpoint, and
-- the secret lies in Vault. For whoever has no other scheduler, such as a Vercel Hobby project,
-- whose own crons run once a day.
--
-- Replace the two values below, then run this in the SQL editor. It may be run again: a job of
-- the same name is replaced, a secret that is there is kept.

create extension if not exists pg_cron with schema pg_catalog;
create extension if not exists pg_net with schema extensions;

do $secrets$
declare
    address text := 'https://zohomirror.example.com';  -- where the mirror answers, without a path
    secret  text := 'the CRON_SECRET of the mirror';
begin
    if not exists (select from vault.decrypted_secrets where name = 'zohomirror_url') then
        perform vault.create_secret(rtrim(address, '/'), 'zohomirror_url');
    end if;
    if not exists (select from vault.decrypted_secrets where name = 'zohomirror_cron_secret') then
        perform vault.create_secret(secret, 'zohomirror_cron_secret');
    end if;
end
$secrets$;

-- If Vercel's Deployment Protection guards the address, a bypass secret of the project goes
-- with each call:
--   select vault.create_secret('…', 'zohomirror_bypass') where not exists (select from vault.secrets where name = 'zohomirror_bypass');

-- A job a module, some minutes apart, and once a week a repair of each. The secrets are read
-- at each call and stand in no job. Times are UTC.
select cron.schedule(
    'zohomirror-' || job.name,
    job.schedule,
    format($call$
select net.http_get(
    url := (select decrypted_secret from vault.decrypted_secrets where name = 'zohomirror_url') || %L,
    headers := (
        select jsonb_object_agg(header, value)
        from (
            select 'Authorization' as header, 'Bearer ' || decrypted_secret as value
            from vault.decrypted_secrets where name = 'zohomirror_cron_secret'
            union all
            select 'x-vercel-protection-bypass', decrypted_secret
            from vault.decrypted_secrets where name = 'zohomirror_bypass'
        ) as sent),
    timeout_milliseconds := 60000);
$call$, job.path))
from (values
    ('leads',        '*/15 * * * *',    '/api/sync?module=leads'),
    ('deals',        '5-59/15 * * * *', '/api/sync?module=deals'),
    ('leads-repair', '10 5 * * 0',      '/api/sync?module=leads&mode=repair&deep=true'),
    ('deals-repair', '40 5 * * 0',      '/api/sync?module=deals&mode=repair&deep=true')
) as job (name, schedule, path);

-- pg_cron keeps a row of each call for ever. Ours go after a week; those of other jobs are not ours.
select cron.schedule('zohomirror-history', '20 4 * * *',
    $$delete from cron.job_run_details where end_time < now() - interval '7 days'
    and jobid in (select jobid from cron.job where jobname like 'zohomirror-%')$$);

select jobname, schedule, active from cron.job where jobname like 'zohomirror-%' order by jobname;

-- To know:
--
-- pg_cron says "succeeded" as soon as the call is queued. What the mirror answered is in pg_net's
-- answers, for six hours; what it did is in sync_runs, for RUN_RETENTION:
--   select status_code, timed_out, error_msg, left(content, 200) as answer, created from net._http_response order by id desc limit 10;
--   select * from sync_recent limit 10;
--
-- Nothing is repeated: a call that fails is followed by the next one, which goes on from the
-- checkpoint. An answer that comes after 60 s is lost, and the run ends by itself all the same.
--
-- While a call waits in net.http_request_queue, for a second or so, its headers can be read
-- there by every role that may log in to the database, and that cannot be taken away from them.
-- Who has read it can start runs and read no record.
--
-- A free project that is paused calls nobody. The mirror's own alert on silence (STALE_AFTER)
-- is sent by a run, so nothing would tell: Sentry's cron monitors would.
--
-- A new secret:  select vault.update_secret((select id from vault.secrets where name = 'zohomirror_cron_secret'), '…');
-- More often:    select cron.alter_job((select jobid from cron.job where jobname = 'zohomirror-leads'), schedule := '*/5 * * * *');
-- No more:       select cron.unschedule(jobname) from cron.job where jobname like 'zohomirror-%';
