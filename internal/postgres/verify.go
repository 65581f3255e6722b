package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"zohomirror/internal/crm"
)

// Verification is a comparison of a module with its mirror, which may go on over several runs.
type Verification struct {
	ID    string
	Mode  string // verify or repair
	Cause string // why it began, where nobody asked
	Deep  bool   // every column is compared

	AcceptUnlisted bool // a repair marks what Zoho neither shows nor lists as deleted

	AsOf    time.Time
	Verdict string // running, equal, different
	Swept   bool   // every id was compared; the suspects get a second look
	Cursor  string // the last id compared
	Checked int64

	Found    map[string]int64 // by finding, of what is confirmed
	Repaired int64
}

// Findings. Extra is a suspicion only: a second look tells what it is.
const (
	FoundMissing        = "missing"         // Zoho shows it, the mirror has no row
	FoundStale          = "stale"           // the row is not of the record's present time
	FoundDifferent      = "different"       // the same time, but other values
	FoundWronglyDeleted = "wrongly_deleted" // marked, but Zoho shows it
	FoundExtra          = "extra"           // a live row that Zoho does not show
	FoundWronglyLive    = "wrongly_live"    // a live row that is listed as deleted
	FoundUnlisted       = "unlisted"        // a live row that Zoho neither shows nor lists as deleted
	FoundQuarantined    = "quarantined"     // the record does not fit
)

// Verdicts of a Verification.
const (
	VerdictRunning   = "running"
	VerdictEqual     = "equal"
	VerdictDifferent = "different"
)

const verificationColumns = `id::text, mode, coalesce(cause, ''), deep, accept_unlisted, as_of, verdict, swept, cursor_id, checked, repaired`

func scanVerification(row pgx.Row) (*Verification, error) {
	v := &Verification{}
	return v, row.Scan(&v.ID, &v.Mode, &v.Cause, &v.Deep, &v.AcceptUnlisted, &v.AsOf, &v.Verdict, &v.Swept, &v.Cursor, &v.Checked, &v.Repaired)
}

const verificationRunning = `SELECT ` + verificationColumns + ` FROM sync_verifications WHERE module = $1 AND verdict = 'running'`

// RunningVerification returns the verification that is under way, or nil.
func (r *Run) RunningVerification(ctx context.Context) (*Verification, error) {
	if !r.verifying {
		return nil, nil
	}
	v, err := scanVerification(r.store.pool.QueryRow(ctx, verificationRunning, r.Module.Name))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the verification of %s: %w", r.Module.Name, conceal(err))
	}
	return v, nil
}

const verificationAbandon = `UPDATE sync_verifications SET verdict = 'abandoned', ended_at = clock_timestamp() WHERE module = $1 AND verdict = 'running'`

const verificationBegin = `
INSERT INTO sync_verifications (id, module, mode, deep, cause, as_of, accept_unlisted)
VALUES ($2::uuid, $1, $3, $4::boolean, $5, $6::timestamptz, $7::boolean)`

const findingsForget = `
DELETE FROM sync_findings f USING sync_verifications v
WHERE v.id = f.verification_id AND v.module = $1 AND v.started_at < clock_timestamp() - interval '90 days'`

// BeginVerification begins one, of which mode, flags, cause and point in time are given, in
// place of what was under way, and commits a checkpoint with it.
func (r *Run) BeginVerification(ctx context.Context, v Verification, checkpoints ...Checkpoint) (*Verification, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	steps := append([]statement{
		{sql: verificationAbandon, values: text(r.Module.Name)},
		{sql: findingsForget, values: text(r.Module.Name)},
		{sql: verificationBegin, values: [][]byte{[]byte(r.Module.Name), []byte(id.String()), []byte(v.Mode),
			strconv.AppendBool(nil, v.Deep), optional(v.Cause), instant(v.AsOf), strconv.AppendBool(nil, v.AcceptUnlisted)}},
	}, r.bookkeeping(checkpoints, 0)...)
	if err := r.fenced(ctx, steps); err != nil {
		return nil, fmt.Errorf("begin a verification of %s: %w", r.Module.Name, err)
	}
	r.verifying = true
	v.ID, v.Verdict = id.String(), VerdictRunning
	return &v, nil
}

// Swept is a part of the id order that was read from Zoho: all ids after From and up to To,
// which is empty at the end.
type Swept struct {
	From, To  string
	IDs       []string
	Modified  []time.Time
	Different []string  // found by a comparison of all columns
	At        time.Time // Zoho's time when it was read
}

// sweepStore compares a part with the rows of the same part. What was edited after the
// verification's point in time is nobody's fault.
const sweepStore = `
INSERT INTO sync_findings (verification_id, record_id, finding, seen_at)
SELECT $1::uuid, f.id, f.finding, $2::timestamptz
FROM (
	SELECT coalesce(s.id, t.id) AS id,
	       CASE WHEN t.id IS NULL THEN 'missing' WHEN s.id IS NULL THEN 'extra'
	            WHEN t.deleted_at IS NOT NULL THEN 'wrongly_deleted' ELSE 'stale' END AS finding
	FROM unnest($3, $4) AS s (id, modified_time)
	FULL JOIN (SELECT id, modified_time, deleted_at FROM %s WHERE %s) t ON t.id = s.id
	WHERE t.id IS NULL AND s.modified_time <= $5::timestamptz
	   OR s.id IS NULL AND t.deleted_at IS NULL
	   OR s.id IS NOT NULL AND t.deleted_at IS NOT NULL
	   OR s.modified_time <> t.modified_time AND s.modified_time <= $5::timestamptz
	UNION ALL
	SELECT id, 'different' FROM unnest($6) AS d (id)
) AS f
ON CONFLICT DO NOTHING`

// sweepByIndex keeps the planner, which takes a third of the table for what lies below a
// pair of values, from reading all of it.
const sweepByIndex = `SELECT set_config('enable_seqscan', 'off', true)`

const sweepMove = `UPDATE sync_verifications SET cursor_id = $2, swept = $3::boolean, checked = checked + $4::bigint WHERE id = $1::uuid`

// Sweep compares a part, stores whom it suspects, and moves the verification on.
func (r *Run) Sweep(ctx context.Context, v *Verification, part Swept) error {
	times := make([]int64, len(part.Modified))
	for i, t := range part.Modified {
		times[i] = micros(t)
	}
	values := [][]byte{[]byte(v.ID), instant(part.At), textArray(part.IDs), timeArray(times), instant(v.AsOf), textArray(part.Different)}
	oids := []uint32{0, 0, pgtype.TextArrayOID, pgtype.TimestamptzArrayOID, 0, pgtype.TextArrayOID}
	formats := []int16{0, 0, 1, 1, 0, 1}
	within := "true"
	for _, bound := range []struct{ id, is string }{{part.From, ">"}, {part.To, "<="}} {
		if bound.id == "" {
			continue
		}
		values, oids, formats = append(values, []byte(bound.id)), append(oids, pgtype.TextOID), append(formats, 0)
		within += fmt.Sprintf(" AND (length(id), id) %[1]s (length($%[2]d), $%[2]d)", bound.is, len(values))
	}
	swept := part.To == ""
	steps := []statement{
		{sql: sweepByIndex},
		{sql: fmt.Sprintf(sweepStore, quote(r.Module.Name), within), values: values, oids: oids, formats: formats},
		{sql: sweepMove, values: [][]byte{[]byte(v.ID), []byte(part.To), strconv.AppendBool(nil, swept), strconv.AppendInt(nil, int64(len(part.IDs)), 10)}},
	}
	if err := r.fenced(ctx, steps); err != nil {
		return fmt.Errorf("compare a part of %s: %w", r.Module.Name, err)
	}
	v.Cursor, v.Swept, v.Checked = part.To, swept, v.Checked+int64(len(part.IDs))
	return nil
}

// Compare returns, by id, in what the mirror's rows differ from the batch's: missing, stale,
// different or wrongly_deleted. Equal rows are not named.
func (w *Writer) Compare(ctx context.Context, batch crm.Batch) (map[string]string, error) {
	found := map[string]string{}
	if len(batch.Rows) == 0 {
		return found, nil
	}
	step := statement{
		late: func(s *statement) { w.upsert.bind(s, &w.arrays, batch.Rows, w.stamp(), taskCompare) },
		row:  func(row [][]byte) { found[string(row[0])] = string(row[1]) },
	}
	if _, err := w.run.store.execute(ctx, &w.run.buffer, []statement{step}); err != nil {
		return nil, fmt.Errorf("compare rows of %s: %w", w.run.Module.Name, err)
	}
	return found, nil
}

// Suspect is a row that a sweep suspects.
type Suspect struct {
	ID      string
	Finding string
	SeenAt  time.Time // Zoho's time

	Live        bool // the mirror has a row that is not marked
	Listed      bool // Zoho has listed it as deleted since it could last be read
	Watched     bool // its deletion is looked at within a day, as every one is
	Quarantined bool
}

const suspects = `
SELECT f.record_id, f.finding, f.seen_at, t.id IS NOT NULL AND t.deleted_at IS NULL, coalesce(d.state <> 'readable', false),
       coalesce(d.due_at > clock_timestamp() - interval '4 hours', false), q.record_id IS NOT NULL
FROM sync_findings f
LEFT JOIN %s t ON t.id = f.record_id
LEFT JOIN sync_deletions d ON d.module = $2 AND d.record_id = f.record_id
LEFT JOIN sync_quarantine q ON q.module = $2 AND q.record_id = f.record_id AND q.settled_at IS NULL
WHERE f.verification_id = $1::uuid AND f.state = 'suspected' AND f.record_id > $3
ORDER BY f.record_id
LIMIT $4`

// Suspects returns up to n rows that need a second look, after an id in the order of text.
func (r *Run) Suspects(ctx context.Context, v *Verification, after string, n int) ([]Suspect, error) {
	rows, err := r.store.pool.Query(ctx, fmt.Sprintf(suspects, quote(r.Module.Name)), v.ID, r.Module.Name, after, n)
	if err == nil {
		var all []Suspect
		if all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Suspect]); err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("read the suspects of %s: %w", r.Module.Name, conceal(err))
}

const listedAsDeleted = `EXISTS (
	SELECT FROM sync_deletions d WHERE d.module = $2 AND d.record_id = f.record_id AND d.state <> 'readable')`

const suspectedExtras = `
SELECT count(*), (SELECT count(*) FROM %s WHERE deleted_at IS NULL),
       max(f.seen_at) FILTER (WHERE NOT ` + listedAsDeleted + `)
FROM sync_findings f
WHERE f.verification_id = $1::uuid AND f.finding IN ('extra', 'unlisted') AND f.state IN ('suspected', 'confirmed')`

// Extras are a verification's rows that Zoho does not show, before anything is marked.
type Extras struct {
	Rows, Live int64     // these, and all live rows of the module
	Unlisted   time.Time // when the last one that Zoho does not list as deleted either was missed; zero: it lists all
}

// Extras counts them.
func (r *Run) Extras(ctx context.Context, v *Verification) (e Extras, err error) {
	var unlisted *time.Time
	err = r.store.pool.QueryRow(ctx, fmt.Sprintf(suspectedExtras, quote(r.Module.Name)), v.ID, r.Module.Name).Scan(&e.Rows, &e.Live, &unlisted)
	if err != nil {
		return e, fmt.Errorf("count the suspects of %s: %w", r.Module.Name, conceal(err))
	}
	if unlisted != nil {
		e.Unlisted = *unlisted
	}
	return e, nil
}

const extrasConfirm = `
UPDATE sync_findings f
SET state = 'confirmed', finding = CASE WHEN ` + listedAsDeleted + ` THEN 'wrongly_live' ELSE 'unlisted' END
WHERE f.verification_id = $1::uuid AND f.finding = 'extra' AND f.state = 'suspected'`

// ConfirmExtras takes all rows that Zoho does not show for what the list of deletions says of
// them, without a second look.
func (r *Run) ConfirmExtras(ctx context.Context, v *Verification) error {
	if err := r.fenced(ctx, []statement{{sql: extrasConfirm, values: text(v.ID, r.Module.Name)}}); err != nil {
		return fmt.Errorf("settle the suspects of %s: %w", r.Module.Name, err)
	}
	return nil
}

// AbandonVerification ends what is under way without a verdict.
func (r *Run) AbandonVerification(ctx context.Context) error {
	r.verifying = false
	return r.fenced(ctx, []statement{{sql: verificationAbandon, values: text(r.Module.Name)}})
}

// Finding is what became of a suspect.
type Finding struct {
	ID, Finding string
	State       string // cleared, confirmed or repaired
}

// States of a Finding.
const (
	FindingCleared   = "cleared"
	FindingConfirmed = "confirmed"
	FindingRepaired  = "repaired"
)

const findingsPut = `
UPDATE sync_findings f SET finding = u.finding, state = u.state
FROM unnest($2, $3, $4) AS u (record_id, finding, state)
WHERE f.verification_id = $1::uuid AND f.record_id = u.record_id`

// An unlisted row is watched like every deletion, in case its record comes back.
const unlistedMark = `
WITH gone AS (
	INSERT INTO sync_deletions AS d (module, record_id, kind, deleted_at, state, listing, checked_at, due_at)
	SELECT $1, u.id, 'recycle', $3::timestamptz, 'confirmed', 0, clock_timestamp(), clock_timestamp() + $5::interval
	FROM unnest($4) AS u (id)
	ON CONFLICT (module, record_id) DO NOTHING
)
UPDATE %s SET deleted_at = $3::timestamptz, synced_at = clock_timestamp(), run_id = $2::uuid
WHERE id = ANY ($4) AND deleted_at IS NULL`

// MarkUnlisted marks rows that Zoho neither shows nor lists as deleted, with the time of a
// second look, on a person's word.
func (r *Run) MarkUnlisted(ctx context.Context, ids []string, at time.Time) (Counts, error) {
	var counts Counts
	step := statement{
		sql:     fmt.Sprintf(unlistedMark, quote(r.Module.Name)),
		values:  [][]byte{[]byte(r.Module.Name), []byte(r.ID.String()), instant(at), textArray(ids), []byte(recheck.String())},
		oids:    []uint32{pgtype.TextOID, 0, 0, pgtype.TextArrayOID, 0},
		formats: []int16{0, 0, 0, 1, 0},
		done:    func(n int64) { counts.Deleted = n },
	}
	if err := r.fenced(ctx, []statement{step}); err != nil {
		return counts, fmt.Errorf("mark rows of %s: %w", r.Module.Name, err)
	}
	r.confirmed = true
	return counts, nil
}

// SettleFindings records what became of suspects.
func (r *Run) SettleFindings(ctx context.Context, v *Verification, findings []Finding) error {
	ids, names, states := make([]string, len(findings)), make([]string, len(findings)), make([]string, len(findings))
	for i, f := range findings {
		ids[i], names[i], states[i] = f.ID, f.Finding, f.State
	}
	step := statement{
		sql:     findingsPut,
		values:  [][]byte{[]byte(v.ID), textArray(ids), textArray(names), textArray(states)},
		oids:    []uint32{0, pgtype.TextArrayOID, pgtype.TextArrayOID, pgtype.TextArrayOID},
		formats: []int16{0, 1, 1, 1},
	}
	if err := r.fenced(ctx, []statement{step}); err != nil {
		return fmt.Errorf("settle the suspects of %s: %w", r.Module.Name, err)
	}
	return nil
}

// verificationClose counts what was found, and gives the verdict once no suspect is left.
const verificationClose = `
WITH f AS (
	SELECT count(*) FILTER (WHERE state = 'suspected') AS suspected, count(*) FILTER (WHERE state = 'repaired') AS repaired,
	       count(*) FILTER (WHERE state = 'confirmed') AS confirmed,
	       count(*) FILTER (WHERE state = 'confirmed' AND finding = 'missing') AS missing,
	       count(*) FILTER (WHERE state = 'confirmed' AND finding = 'stale') AS stale,
	       count(*) FILTER (WHERE state = 'confirmed' AND finding = 'different') AS different,
	       count(*) FILTER (WHERE state = 'confirmed' AND finding = 'wrongly_deleted') AS wrongly_deleted,
	       count(*) FILTER (WHERE state = 'confirmed' AND finding = 'wrongly_live') AS wrongly_live,
	       count(*) FILTER (WHERE state = 'confirmed' AND finding = 'unlisted') AS unlisted,
	       count(*) FILTER (WHERE state = 'confirmed' AND finding = 'quarantined') AS quarantined
	FROM sync_findings WHERE verification_id = $1::uuid
)
UPDATE sync_verifications v
SET missing = f.missing, stale = f.stale, different = f.different, wrongly_deleted = f.wrongly_deleted,
    wrongly_live = f.wrongly_live, unlisted = f.unlisted, quarantined = f.quarantined, repaired = f.repaired,
    calls = v.calls + $2::bigint, credits = v.credits + $3::bigint, duration_ms = v.duration_ms + $4::bigint,
    verdict = CASE WHEN NOT v.swept OR f.suspected > 0 THEN 'running' WHEN f.confirmed > 0 THEN 'different' ELSE 'equal' END,
    ended_at = CASE WHEN v.swept AND f.suspected = 0 THEN clock_timestamp() END
FROM f
WHERE v.id = $1::uuid
RETURNING v.verdict, v.repaired, v.missing, v.stale, v.different, v.wrongly_deleted, v.wrongly_live, v.unlisted, v.quarantined`

// CloseVerification adds up what a run did for the verification, and completes it where it has
// come to its end.
func (r *Run) CloseVerification(ctx context.Context, v *Verification, calls, credits int64, took time.Duration) error {
	names := []string{FoundMissing, FoundStale, FoundDifferent, FoundWronglyDeleted, FoundWronglyLive, FoundUnlisted, FoundQuarantined}
	step := statement{
		sql:    verificationClose,
		values: [][]byte{[]byte(v.ID), strconv.AppendInt(nil, calls, 10), strconv.AppendInt(nil, credits, 10), strconv.AppendInt(nil, took.Milliseconds(), 10)},
		row: func(row [][]byte) {
			v.Verdict, v.Repaired, v.Found = string(row[0]), number(row[1]), map[string]int64{}
			for i, name := range names {
				v.Found[name] = number(row[i+2])
			}
		},
	}
	if err := r.fenced(ctx, []statement{step}); err != nil {
		return fmt.Errorf("close the verification of %s: %w", r.Module.Name, err)
	}
	return nil
}
