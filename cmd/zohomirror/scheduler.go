package main

import (
	"fmt"
	"slices"
	"strings"

	"zohomirror/internal/crm"
)

// platforms are those whose scheduler setup knows.
func platforms() []string {
	names := make([]string, 0, len(schedulers))
	for name := range schedulers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// schedulers say, for each platform, what makes its scheduler call: head, then a part a
// module, then tail. {address}, {schedule}, {module} and {comma} are filled in. The secret
// is never among it: the lines end up in terminals' histories.
var schedulers = map[string]struct{ head, module, tail string }{
	"vercel": {
		"In vercel.json (Vercel sends CRON_SECRET by itself; the Hobby plan refuses more than one call a day):\n\n" + `"crons": [`,
		`  { "path": "/api/sync?module={module}", "schedule": "{schedule}" }{comma}`,
		`]`,
	},
	"cloud-run": {
		"In a shell with CRON_SECRET, in the region of the service:\n",
		`gcloud scheduler jobs create http zohomirror-{module} --location="$REGION" --schedule='{schedule}' --time-zone=Etc/UTC \
  --uri='{address}/api/sync?module={module}' --http-method=GET --headers="Authorization=Bearer $CRON_SECRET" \
  --attempt-deadline=180s --max-retry-attempts=0`,
		"",
	},
	"supabase": {
		"In the SQL editor, with your CRON_SECRET in place of the word SECRET (a secret that is there is kept):\n" + `
create extension if not exists pg_cron with schema pg_catalog;
create extension if not exists pg_net with schema extensions;
select vault.create_secret('SECRET', 'zohomirror_cron_secret')
  where not exists (select from vault.secrets where name = 'zohomirror_cron_secret');`,
		`select cron.schedule('zohomirror-{module}', '{schedule}', $$
  select net.http_get(
    url := '{address}/api/sync?module={module}',
    headers := jsonb_build_object('Authorization', 'Bearer ' || (
      select decrypted_secret from vault.decrypted_secrets where name = 'zohomirror_cron_secret')),
    timeout_milliseconds := 60000) $$);`,
		"",
	},
	"systemd": {
		"In /etc/systemd/system (CRON_SECRET in /etc/zohomirror.env, readable by root alone), then systemctl enable --now zohomirror-tick.timer:\n" + `
# zohomirror-tick.timer
[Timer]
OnCalendar=*:0/15
Persistent=true
[Install]
WantedBy=timers.target

# zohomirror-tick.service
[Service]
Type=oneshot
EnvironmentFile=/etc/zohomirror.env`,
		`ExecStart=-/usr/bin/curl -fsS --max-time 75 -H "Authorization: Bearer ${CRON_SECRET}" "{address}/api/sync?module={module}"`,
		"",
	},
	"crontab": {
		"In the crontab (crontab -e), with your CRON_SECRET on the first line:\n\nCRON_SECRET=",
		`{schedule} curl -fsS --max-time 75 -H "Authorization: Bearer $CRON_SECRET" "{address}/api/sync?module={module}" >/dev/null`,
		"",
	},
	"kubernetes": {
		"With CRON_SECRET in a secret of the name zohomirror:\n",
		`apiVersion: batch/v1
kind: CronJob
metadata: { name: zohomirror-{module} }
spec:
  schedule: "{schedule}"
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 300
  jobTemplate:
    spec:
      backoffLimit: 0
      activeDeadlineSeconds: 90
      template:
        spec:
          restartPolicy: Never
          containers:
            - name: tick
              image: curlimages/curl
              command: [sh, -c, 'curl -fsS --max-time 75 -H "Authorization: Bearer $CRON_SECRET" "{address}/api/sync?module={module}"']
              env:
                - { name: CRON_SECRET, valueFrom: { secretKeyRef: { name: zohomirror, key: CRON_SECRET } } }
---`,
		"",
	},
	"github": {
		"In .github/workflows/zohomirror.yml, with CRON_SECRET among the repository's secrets (GitHub delays and drops ticks; the next one catches up):\n" + `
on:
  schedule:
    - cron: "{schedule}"
jobs:
  tick:
    runs-on: ubuntu-latest
    env:
      CRON_SECRET: ${{ secrets.CRON_SECRET }}
    steps:`,
		`      - run: curl -fsS --max-time 75 -H "Authorization: Bearer $CRON_SECRET" "{address}/api/sync?module={module}"
        if: always()`,
		"",
	},
}

// schedulerLines is what makes a platform's scheduler call each module's sync.
func schedulerLines(platform, address, schedule string) string {
	s, ok := schedulers[platform]
	if !ok {
		return fmt.Sprintf("no scheduler is called %s", platform) // kong lets none through
	}
	parts := []string{s.head}
	names := crm.Modules()
	for i, name := range names {
		comma := ","
		if i == len(names)-1 {
			comma = ""
		}
		parts = append(parts, strings.NewReplacer("{module}", name, "{comma}", comma).Replace(s.module))
	}
	if s.tail != "" {
		parts = append(parts, s.tail)
	}
	return strings.NewReplacer("{address}", address, "{schedule}", schedule).Replace(strings.Join(parts, "\n"))
}
