package main

const (
	inCommands  = "./cmd/zohomirror"
	inDashboard = "./internal/dashboard"
	inMirror    = "./internal/mirror"
	inNotify    = "./internal/notify"
	inPostgres  = "./internal/postgres"
	inWeb       = "./internal/web"
	inZoho      = "./internal/zoho"
)

var mutations = []mutation{
	{"no overlap", []change{{"internal/mirror/window.go", "Time: c.Watermark.Add(-overlap).Truncate", "Time: c.Watermark.Truncate"}}, inMirror, "Promise1WindowsMissNothing|Pain03"},
	{"the watermark follows our clock, not the first young page", []change{{"internal/mirror/window.go", "if !c.Young {", "if true {"}}, inMirror, "Promise1WindowsMissNothing"},
	{"a short page ends a window", []change{{"internal/mirror/reader.go", "end := pageEnd{more: page.More, asOf", "end := pageEnd{more: page.More && len(page.Places) >= r.size(), asOf"}}, inMirror, "ShortPage"},
	{"strictly later, without the id", []change{{"internal/zoho/query.go", `"(%[1]s > '%[2]s' or (%[1]s = '%[2]s' and id > %[3]s))"`, `"(%[1]s > '%[2]s' or (%[1]s > '%[2]s' and id > %[3]s))"`}}, inMirror, "Pain01"},
	{"an edit of the same second is not written", []change{{"internal/postgres/upsert.go", "OR p.modified_time = t.modified_time\n", "OR p.modified_time < t.modified_time AND p.modified_time = t.modified_time\n"}}, inMirror, "Pain02"},
	{"equal rows are written", []change{{"internal/postgres/upsert.go", "AND (t.deleted_at IS NOT NULL OR ROW(%[6]s) IS DISTINCT FROM ROW(%[7]s))", "AND (true OR ROW(%[6]s) IS DISTINCT FROM ROW(%[7]s))"}}, inPostgres, "Page"},
	{"older wins", []change{{"internal/postgres/upsert.go", "OR p.modified_time > t.modified_time\n", "OR p.modified_time <> t.modified_time\n"}, {"internal/postgres/upsert.go", "	WHERE t.modified_time <= excluded.modified_time\n", ""}}, inPostgres, "Page"},
	{"what was not read is overwritten", []change{{"internal/crm/plan.go", "p.KeptKeys = append(p.KeptKeys, f.APIName)", "_ = p.KeptKeys"}}, inMirror, "RefusedColumn"},
	{"no fence", []change{{"internal/postgres/page.go", "{sql: fence, values: text(r.Module.Name, r.ID.String())},", `{sql: "SELECT $1::text, $2::text", values: text(r.Module.Name, r.ID.String())},`}}, inMirror, "Promise04"},
	{"page and checkpoint apart", []change{{"internal/postgres/page.go", "steps = append(steps, w.run.bookkeeping(checkpoints, counts.Processed)...)", "steps = append(steps, w.run.bookkeeping(nil, counts.Processed)...)"}}, inMirror, "Promise05"},
	{"one bad row fails the page", []change{{"internal/postgres/errors.go", `return strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23") || strings.HasPrefix(code, "54")`, `return code == "none" && strings.HasPrefix(code, "22")`}}, inMirror, "Pain22"},
	{"faults of the call fill the quarantine", []change{{"internal/postgres/errors.go", `return strings.HasPrefix(code, "22")`, `return code != "" || strings.HasPrefix(code, "22")`}}, inPostgres, "Fault|Errors|Quarantine|Page"},
	{"no confirmation of a deletion", []change{{"internal/mirror/deletions.go", "if there[id] {", "if there[id] && id == \"\" {"}}, inMirror, "ListedButReadable"},
	{"a marked row is never looked at again", []change{{"internal/postgres/deletions.go", "due_at = CASE WHEN kind = 'recycle' THEN clock_timestamp() + $4::interval END", "due_at = CASE WHEN kind = 'recycle' THEN NULL::timestamptz + $4::interval END"}}, inMirror, "Promise07"},
	{"a restored record that does not fit stays deleted", []change{{"internal/postgres/deletions.go", "if len(found) > 0 {", "if false {"}}, inMirror, "RestoredMisfit"},
	{"a late page keeps a deleted row alive", []change{{"internal/postgres/deletions.go", "if !r.confirmed || len(ids) == 0 {", "if true {"}}, inMirror, "LatePageAfterDelete"},
	{"one list of several pages is enough", []change{{"internal/mirror/deletions.go", "case before != nil && before.Digest == digest:", "case before == nil:\n\t\tr.moveWindow(checkpoint, list, list.reading)\n\t\tsame = true\n\tcase before.Digest == digest:"}}, inMirror, "ListOfSeveralPages"},
	{"a list that shifts is believed to its end", []change{{"internal/mirror/deletions.go", "r.moveWindow(checkpoint, list, *list.First)", "r.moveWindow(checkpoint, list, list.Before.reading)"}}, inMirror, "ListThatShifts"},
	{"a verification does not wait for a list that shifts", []change{{"internal/mirror/deletions.go", "whole := list.Page == 1 && !page.More", "r.listedAt = list.AsOf\n\t\twhole := list.Page == 1 && !page.More"}}, inMirror, "VerifyWhileTheListShifts"},
	{"a person's word is spent on a list that shifts", []change{{"internal/mirror/deletions.go", "lists == listsARun && !r.request.AcceptMassDelete", "lists == listsARun"}}, inMirror, "MassDeleteAccepted"},
	{"deletions are forgotten by the database's clock", []change{{"internal/mirror/deletions.go", "ForgetDeletions(ctx, r.zohoNow)", "ForgetDeletions(ctx, time.Time{})"}}, inMirror, "ForgottenByZohosClock"},
	{"no guard against a mass delete", []change{{"internal/mirror/deletions.go", "return rows > few &&", "return false && rows > few &&"}}, inMirror, "MassDelete"},
	{"a lost right deletes what came back", []change{{"internal/postgres/deletions.go", "AND state <> 'readable'\n	RETURNING", "\n	RETURNING"}}, inMirror, "RestoredAndHidden"},
	{"a long outage is forgotten", []change{{"internal/mirror/deletions.go", `json:"sweep,omitempty"`, `json:"-"`}}, inMirror, "LongOutageIsNot"},
	{"no stream of converted leads", []change{{"internal/crm/catalogue.go", `{Name: StreamConverted, OrderBy: fieldModifiedTime, Filter: "Converted__s = true"},`, ""}}, inMirror, "Pain05"},
	{"no stream of the newly converted", []change{{"internal/crm/catalogue.go", `{Name: StreamNewlyConverted, OrderBy: fieldConvertedAt, Filter: "Converted__s = true"},`, ""}}, inMirror, "Pain05"},
	{"no deadline", []change{{"internal/mirror/mirror.go", "> r.config.Deadline {", "> 1000*r.config.Deadline {"}, {"internal/mirror/mirror.go", "started.Add(m.config.Deadline-m.reserve())", "started.Add(time.Hour)"}}, inMirror, "Pain24EverySetting"},
	{"the token is stored open", []change{{"internal/zoho/token.go", "Sealed: b.close(b.current)", "Sealed: []byte(b.current)"}}, inMirror, "Promise09"},
	{"a stored token that is dead too ends the run", []change{{"internal/zoho/client.go", "own && tokens > 1 ||", "tokens > 1 || own &&"}}, inZoho, "RejectedStoredToken"},
	{"tokens follow redirects", []change{{"internal/zoho/client.go", "return http.ErrUseLastResponse", "return nil"}}, inZoho, "Redirect"},
	{"rows do not name their run", []change{{"internal/postgres/rowwise.go", "a.buf = append(a.buf, by.run[:]...)", "a.buf = append(a.buf, make([]byte, 16)...)"}}, inMirror, "Promise10"},
	{"edits during a verification are taken for faults", []change{{"internal/mirror/lookagain.go", "newer := j.modified[s.ID].After(j.verification.AsOf)", "newer := false"}, {"internal/postgres/verify.go", "	   OR s.modified_time <> t.modified_time AND s.modified_time <= $5::timestamptz\n", "	   OR s.modified_time <> t.modified_time\n"}}, inMirror, "VerifyWhileEdited"},
	{"what is not shown is taken for unlisted at once", []change{{"internal/mirror/lookagain.go", "!s.Listed && j.mayStillBeListed(s.SeenAt):", "false:"}}, inMirror, "VerifyWhileEdited|VerifyAnd"},
	{"so many hidden rows are judged by a list of before", []change{{"internal/mirror/lookagain.go", "if r.mayStillBeListed(extras.Unlisted) {", "if r.listedAt.IsZero() {"}}, inMirror, "VerifyManyAndOneJustDeleted"},
	{"a repair marks what is not listed without a person's word", []change{{"internal/mirror/lookagain.go", "f.Finding == postgres.FoundUnlisted && j.verification.AcceptUnlisted", "f.Finding == postgres.FoundUnlisted"}}, inMirror, "VerifyAndRepair"},

	// What an operator relies on.
	{"an alert is claimed without a mark", []change{{"internal/postgres/alerts.go", "SET claimed_at = clock_timestamp(), attempts", "SET claimed_at = NULL, attempts"}}, inPostgres, "ClaimedAlerts"},
	{"a skipped run ends a streak of failures", []change{{"internal/postgres/alerts.go", "r.module = $1 AND r.status IN ('ok', 'failed') AND EXISTS", "r.module = $1 AND r.status IN ('ok', 'failed', 'skipped') AND EXISTS"}}, inPostgres, "AlertOfAFailingModule"},
	{"a recovery is not told", []change{{"internal/postgres/alerts.go", "WHERE l.status = 'ok' AND t.kind = 'failing'", "WHERE l.status = 'ok' AND t.kind = 'recovered'"}}, inPostgres, "AlertOfAFailingModule"},
	{"a replay ends a streak of failures", []change{{"internal/postgres/alerts.go", "`', '` + ModeRepair + `')`", "`', '` + ModeRepair + `', '` + ModeReplay + `')`"}}, inPostgres, "AlertsCountRunsThatReadTheStreams"},
	{"an alert that Slack refused is lost", []change{{"internal/postgres/alerts.go", "`a.state IN ('pending', 'refused') AND", "`a.state = 'pending' AND"}}, inPostgres, "RefusedAlertIsDueAgain"},
	{"one alert that Slack never takes holds up the others", []change{{"internal/postgres/alerts.go", "ORDER BY a.attempts, a.id", "ORDER BY a.id"}}, inPostgres, "PoisonousAlertIsOvertaken"},
	{"an alert shows a record's value", []change{{"internal/postgres/alerts.go", "concat_ws(' ', q.field, q.rule)", "concat_ws(' ', q.field, q.value, q.rule)"}}, inPostgres, "AlertsOfQuarantineAndDrift"},
	{"an event in Sentry shows a record's value", []change{{"internal/notify/sentry.go", "if telling[a.Key] {", "if true {"}}, inNotify, "SentryEvent"},
	{"a slow Slack holds a run up", []change{{"internal/mirror/tell.go", "min(max(left, time.Second), notify.Limit)", "max(left, time.Second)"}}, inMirror, "SlackInTrouble/slow"},
	{"what the database cannot record is told to nobody", []change{{"internal/mirror/tell.go", "if unrecorded && w.alerting().On {", "if false {"}}, inMirror, "FailureToCloseIsTold"},
	{"silence is healthy", []change{{"internal/postgres/health.go", "case h.AsOf.Sub(h.LastOKAt) > staleAfter:", "case h.AsOf.Sub(h.LastOKAt) > 1000*staleAfter:"}}, inWeb, "DeepHealth$"},
	{"check finds fault and exits with 0", []change{{"cmd/zohomirror/health.go", "if m.State != postgres.StateOK {", "if m.State == \"\" {"}}, inCommands, "StatusAndCheck"},
	{"a page's script reads the session's cookie", []change{{"internal/dashboard/session.go", "HttpOnly: true", "HttpOnly: false"}}, inDashboard, "Login$"},
	{"another site's form is taken", []change{{"internal/dashboard/dashboard.go", "if err := d.origin.Check(r); err != nil {", "if err := d.origin.Check(r); false && err != nil {"}}, inDashboard, "Forms"},
	{"passwords may be tried without end", []change{{"internal/dashboard/login.go", "case !attempt.Allowed:", "case false:"}}, inDashboard, "Throttle$"},
	{"the pages' policy allows inline script", []change{{"internal/dashboard/dashboard.go", "script-src 'self';", "script-src 'self' 'unsafe-inline';"}}, inDashboard, "Headers"},
	{"the dashboard counts failures as good runs", []change{{"internal/dashboard/front.go", "Good: int64(m.Runs24h - m.Failures24h), Bad: int64(m.Failures24h)", "Good: int64(m.Runs24h), Bad: 0"}}, inDashboard, "Front$"},
	{"the history is dropped before its time", []change{{"internal/postgres/tidy.go", "month.AddDate(0, 1, 0).After(before)", "month.After(before)"}}, inPostgres, "Tidy$"},
	{"a log line does not name its run", []change{{"internal/mirror/mirror.go", "log = log.With(\"run_id\", id.String(), \"module\", module.Name)", "log = log.With(\"module\", module.Name)"}}, inMirror, "RetriesAreWarnings"},
	{"what Zoho repeats of a secret is shown", []change{{"internal/zoho/errors.go", "*text = conceal(*text, secrets...)", "*text = conceal(*text)"}}, inZoho, "ServerThatRepeats"},
	{"an error shows where the database is", []change{{"internal/postgres/errors.go", "return unreachable{err}", "return err"}}, inPostgres, "UnusableDatabases"},
}
