package docs

const schemaHead = `# Schema

Written by ` + "`go generate ./docs`" + ` from the catalogue and a migrated database; edit ` + "`docs/meaning_test.go`" + ` or the migrations instead.

The mirror tables (%s) have a column for each field that the catalogue names; every other readable field of the org is in
` + "`custom_fields`" + ` under its API name. There are no foreign keys between them: rows arrive in any order. All tables have row level
security. ` + "`zohomirror_reader`" + ` may read the mirror tables and the views, and no payload of a record elsewhere.

A column's name is its field's in lower case, without Zoho's ` + "`__s`" + `; a lookup has two, for id and name. Money is ` + "`numeric(14,2)`" + ` and
never rounded: what does not fit is quarantined, until ` + "`zohomirror schema migration --apply`" + ` widens the column. Times are instants. Ids are
text, since nineteen digits do not fit a double.

`

const viewsHead = "## Views\n\nViews run with the rights of who asks (`security_invoker`).\n\n"

const stateHead = "## State tables\n\nWhat runs need to know of each other. Read them freely; the mirror alone writes them.\n\n"

// bookkeeping are the columns of mirror tables that are no field's.
var bookkeeping = map[string]string{
	"custom_fields": "fields that have no column, by API name, nulls left out",
	"synced_at":     "when the row was last written",
	"run_id":        "the run that did so: `sync_runs.id`",
	"deleted_at":    "when Zoho deleted the record; null for a living one",
}

// everywhere are columns that mean the same in each state table.
var everywhere = map[string]string{
	"module":        "as in `leads`",
	"record_id":     "Zoho's id",
	"run_id":        "`sync_runs.id`",
	"updated_at":    "when the row was last written",
	"first_seen_at": "when it was first noticed",
	"last_seen_at":  "when it was last noticed",
	"started_at":    "when it began",
	"ended_at":      "when it ended; null while it is at work",
}

type meaning struct {
	table   string
	columns map[string]string
}

// meanings say what state tables and views are for.
var meanings = map[string]meaning{
	"sync_runs": {"A row an invocation, refused ones included. Partitioned by month; whole months are dropped after `RUN_RETENTION`.", map[string]string{
		"id": "the `run_id` of answers, logs and rows", "status": "`skipped`: another run was at work", "records_processed": "records read",
		"inserted": "new rows", "updated": "rows that differed", "unchanged": "rows that were equal, and not written", "quarantined": "records that do not fit",
		"pages": "of records, of all streams", "watermark": "of the stream `modified`, when the run ended", "more": "the run ended before everything was read",
		"reason": "why it ended: `complete`, `time-budget`, `stopping`, `lock-held`", "error": "what failed", "hint": "what to do about it",
		"mode": "what it was for", "deleted": "rows marked as deleted", "restored": "rows whose mark was taken back", "calls": "answered by Zoho",
		"credits": "what these cost the org", "trigger": "who called", "cause": "the class of a failure: see the [runbook](runbook.md)",
		"caught_up": "every stream was read to its end", "duration_ms": "from begin to end",
	}},
	"sync_locks": {"The lease of each module. A free lock keeps its row.", map[string]string{
		"claimed_by": "the run that holds it; null: it is free", "claimed_at": "when it was claimed, or last renewed by progress"}},
	"sync_watermarks": {"The checkpoint of each stream. Between two windows only `watermark` is set; while one is open, the cursor says where its next page begins.", map[string]string{
		"stream": "see the streams above; `deleted` is the list of deleted records", "watermark": "up to where everything was read",
		"cursor_time": "time of the last row of the open window", "cursor_id": "its id", "window_as_of": "Zoho's time up to which the window will be complete",
		"window_zoho_clock": "that time is Zoho's own, not ours", "window_young": "a page of the window was young: see the guarantees", "state": "what a stream needs beyond a cursor"}},
	"sync_deletions": {"Every id that Zoho ever listed as deleted, held by the mirror or not, until it is purged or can no longer come back (65 days).", map[string]string{
		"kind": "in the bin, or gone for good", "deleted_at": "by Zoho's list", "state": "`listed`: not looked at yet; `confirmed`: gone when last looked at; `readable`: there; `reopened`: read since",
		"listing": "the pass that listed it", "listed_at": "when it was listed", "checked_at": "when it was last looked at", "due_at": "when it is looked at next; null: settled"}},
	"sync_quarantine": {"Records that do not fit, with what Zoho sent. One open entry a record; a later good version settles it. **Holds personal data**: see [erasure](erasure.md).", map[string]string{
		"record_id": "Zoho's id; of a record without one, a digest", "modified_time": "of the record", "reason": "what is wrong, for people", "payload": "the record as Zoho sent it",
		"settled_at": "when a good version was written; null: open", "settled_by": "the run that did so", "field": "what is at fault", "value": "its value", "rule": "the rule that it breaks",
		"attempts": "how often it was tried", "plan": "with which catalogue and table it was last tried"}},
	"sync_drift": {"What was noticed of the org's schema, once each.", map[string]string{
		"field": "its API name", "kind": "what happened", "was": "before", "is_now": "after"}},
	"sync_verifications": {"A row a verification, which may go on over several runs.", map[string]string{
		"id": "", "mode": "whether it mends", "deep": "every column is compared", "accept_unlisted": "a person's word that what is unlisted is to be marked", "cause": "why the mirror began it by itself",
		"as_of": "the mirror was compared as of then", "verdict": "`equal` or `different`, once it has ended", "swept": "the ids are compared; suspects get a second look", "cursor_id": "up to where the ids are compared",
		"checked": "records compared", "missing": "Zoho shows it, there is no row", "stale": "the row has another time", "different": "same time, other values",
		"wrongly_deleted": "marked, but shown", "wrongly_live": "listed as deleted, not marked", "unlisted": "neither shown nor listed", "quarantined": "does not fit", "repaired": "mended",
		"calls": "answered by Zoho", "credits": "what these cost the org", "duration_ms": "at work"}},
	"sync_findings": {"What a verification suspects, and what became of it.", map[string]string{
		"verification_id": "`sync_verifications.id`", "finding": "see the guarantees", "state": "`cleared`: it was edited meanwhile", "seen_at": "when"}},
	"sync_tokens": {"Access tokens, sealed with a key that is not in this database.", map[string]string{
		"fingerprint": "of the hosts, the client and the refresh token", "sealed": "the token", "expires_at": "its end", "not_before": "Zoho minted too many: none is asked for before"}},
	"sync_metadata": {"What Zoho said of itself, for every process.", map[string]string{
		"key": "fields, users or refused columns, and of which module", "body": "what it said", "fetched_at": "when"}},
	"sync_alerts": {"What a person is told, each once. Raised with the run that found it, sent afterwards.", map[string]string{
		"id": "", "kind": "see the [runbook](runbook.md)", "count": "failures in a row, records, or fields", "cause": "the class of the failure", "detail": "in words", "hint": "what to do", "since": "since when",
		"raised_at": "when it was raised", "state": "`off`: there was no webhook; `refused`: Slack did not take it, and is asked again after an hour; `expired`: it did not for a week, or until a later one said how the module stands", "claimed_at": "when a process took it to send it", "not_before": "it is not sent again before", "attempts": "how often it was sent", "sent_at": "when that succeeded"}},
	"sync_logins": {"Failed log-ins of the dashboard, counted over all processes.", map[string]string{
		"source": "a digest of the caller's address, or `*` for all callers", "failures": "in the window", "window_started_at": "its begin"}},
	"sync_health": {"A row a module that ever ran. `lag` is null as long as no run has read all of it.", map[string]string{
		"last_status": "of the last run that reads the streams and was not skipped", "last_run_at": "when that began", "last_run_id": "`sync_runs.id`", "last_ok_at": "when the last good run that reads the streams began",
		"lag": "how far behind Zoho the mirror is", "failures_in_a_row": "of runs that read the streams, since the last good one", "failing_since": "the first of them", "runs_24h": "in the last 24 hours, skipped ones aside", "failures_24h": "of these",
		"skipped_24h": "that met another run at work", "mean_ms_24h": "mean duration", "p95_ms_24h": "95 of 100 were faster", "credits_24h": "what they cost the org", "open_quarantine": "records that do not fit",
		"last_verdict": "of the last verification that ended", "last_verified_as_of": "up to when it compared", "rows": "of the table, by the statistics: counting a large one takes seconds"}},
	"sync_recent": {"The runs of the last seven days, newest first.", nil},
}
