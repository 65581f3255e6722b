package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/zoho"
)

// Notice is what a run has noticed of the org's schema, and what follows from it.
type Notice struct {
	Changes     []crm.Drift    // events
	Standing    []crm.Drift    // what is so at present, whenever it began
	Fields      []zoho.Field   // the module's, where they have just been read: what was noticed before may still hold
	Checkpoints []Checkpoint   // of a fill that becomes necessary
	Metadata    map[string]any // to be kept with it
}

// A standing difference that was noticed as a change of type needs no entry of its own.
const driftPut = `
INSERT INTO sync_drift AS d (module, field, kind, was, is_now, run_id)
SELECT $1, u.field, u.kind, u.was, u.is_now, $2::uuid
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[]) AS u (field, kind, was, is_now, standing)
WHERE NOT (u.standing AND u.kind = 'type_changed' AND EXISTS (
	SELECT FROM sync_drift o
	WHERE o.module = $1 AND o.field = u.field AND o.kind = u.kind AND o.was <> u.was AND o.is_now = u.is_now))
ON CONFLICT (module, field, kind, was, is_now) DO UPDATE SET last_seen_at = clock_timestamp()
RETURNING field, kind, was, is_now, xmax = 0`

// driftRenew says of earlier changes that they still hold.
const driftRenew = `
UPDATE sync_drift SET last_seen_at = clock_timestamp()
WHERE module = $1 AND CASE kind
	WHEN 'field_added' THEN field = ANY ($2::text[])
	WHEN 'field_gone' THEN field <> ALL ($2::text[])
	WHEN 'type_changed' THEN field || ' ' || is_now = ANY ($3::text[])
	ELSE false END`

// Notice stores what a run has noticed, once each, in one fenced transaction, and returns
// what was not known before.
func (r *Run) Notice(ctx context.Context, n Notice) (fresh []crm.Drift, err error) {
	batch := &pgx.Batch{}
	batch.Queue(setLimits, limit.String())
	batch.Queue(fence, r.Module.Name, r.ID.String())
	plain := 0
	queue := func(sql string, args ...any) { batch.Queue(sql, args...); plain++ }
	if n.Fields != nil {
		names, types := make([]string, len(n.Fields)), make([]string, len(n.Fields))
		for i, f := range n.Fields {
			names[i], types[i] = f.APIName, f.APIName+" "+crm.TypeOf(f)
		}
		queue(driftRenew, r.Module.Name, names, types)
	}
	for _, c := range n.Checkpoints {
		queue(checkpointPut, r.Module.Name, c.Stream, nullTime(c.Watermark), nullTime(c.CursorTime), nullText(c.CursorID),
			nullTime(c.WindowAsOf), c.ZohoClock, c.Young, nullText(string(c.State)))
	}
	for key, value := range n.Metadata {
		body, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("encode metadata %s: %w", key, err)
		}
		queue(metadataPut, key, string(body))
	}
	put := n.queue(batch, r)
	err = r.store.send(ctx, batch, func(results pgx.BatchResults) error {
		if _, err := results.Exec(); err != nil {
			return err
		}
		if _, err := results.Exec(); sqlState(err) == codeDivisionByZero {
			return ErrLockLost
		} else if err != nil {
			return err
		}
		for range plain {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		if put {
			fresh, err = readFresh(results)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store what was noticed of %s: %w", r.Module.Name, err)
	}
	return fresh, nil
}

// queue adds the statement that stores the drift, where there is any.
func (n Notice) queue(batch *pgx.Batch, r *Run) bool {
	var fields, kinds, was, isNow []string
	var standing []bool
	seen := map[crm.Drift]bool{}
	add := func(all []crm.Drift, stands bool) {
		for _, d := range all {
			event := crm.Drift{Field: d.Field, Kind: d.Kind, IsNow: d.IsNow}
			if seen[d] || stands && d.Kind == crm.TypeChanged && seen[event] || len(d.IsNow) > maxNoted {
				continue
			}
			seen[d], seen[event] = true, true
			fields, kinds, was, isNow = append(fields, d.Field), append(kinds, d.Kind), append(was, d.Was), append(isNow, d.IsNow)
			standing = append(standing, stands)
		}
	}
	add(n.Changes, false)
	add(n.Standing, true)
	if len(fields) > 0 {
		batch.Queue(driftPut, r.Module.Name, r.ID.String(), fields, kinds, was, isNow, standing)
	}
	return len(fields) > 0
}

// maxNoted bounds, in bytes, a value that is stored: an index entry holds it, and no
// picklist of Zoho's has one as long.
const maxNoted = 1000

func readFresh(results pgx.BatchResults) (fresh []crm.Drift, err error) {
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	var d crm.Drift
	var inserted bool
	_, err = pgx.ForEachRow(rows, []any{&d.Field, &d.Kind, &d.Was, &d.IsNow, &inserted}, func() error {
		if inserted {
			fresh = append(fresh, d)
		}
		return nil
	})
	return fresh, err
}

// Drift is one thing noticed of a module's schema.
type Drift struct {
	crm.Drift
	FirstSeen time.Time `json:"first_seen_at"`
	LastSeen  time.Time `json:"last_seen_at"`
}

const driftList = `
SELECT field, kind, was, is_now, first_seen_at, last_seen_at
FROM sync_drift
WHERE module = $1
ORDER BY first_seen_at, field, kind, was, is_now`

// Drift lists what was noticed of a module's schema, the oldest first.
func (s *Store) Drift(ctx context.Context, module *crm.Module) ([]Drift, error) {
	rows, err := s.pool.Query(ctx, driftList, module.Name)
	if err != nil {
		return nil, conceal(err)
	}
	all, err := pgx.CollectRows(rows, driftOf)
	return all, conceal(err)
}

func driftOf(row pgx.CollectableRow) (d Drift, err error) {
	return d, row.Scan(&d.Field, &d.Kind, &d.Was, &d.IsNow, &d.FirstSeen, &d.LastSeen)
}

// columnChecks are the CHECKs that read one column alone.
const columnChecks = `
SELECT a.attname::text, c.conname::text, pg_get_expr(c.conbin, c.conrelid)
FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.conrelid = to_regclass($1) AND c.contype = 'c' AND cardinality(c.conkey) = 1
ORDER BY a.attname, c.conname`

type columnCheck struct{ column, name, expression string }

func (s *Store) columnChecks(ctx context.Context, module *crm.Module) ([]columnCheck, error) {
	rows, err := s.pool.Query(ctx, columnChecks, module.Name)
	if err != nil {
		return nil, conceal(err)
	}
	checks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c columnCheck, err error) {
		return c, row.Scan(&c.column, &c.name, &c.expression)
	})
	return checks, conceal(err)
}

// Outside returns those of the values, given by column, that the table's CHECKs refuse.
func (s *Store) Outside(ctx context.Context, module *crm.Module, values map[string][]string) (map[string][]string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	checks, err := s.columnChecks(ctx, module)
	if err != nil {
		return nil, err
	}
	var parts []string
	var args []any
	for _, c := range checks {
		if len(values[c.column]) > 0 {
			args = append(args, values[c.column])
			parts = append(parts, fmt.Sprintf("SELECT %[1]s, u.%[2]s FROM unnest($%[3]d::text[]) AS u (%[2]s) WHERE NOT (%[4]s)",
				literal(c.column), quote(c.column), len(args), c.expression))
		}
	}
	if parts == nil {
		return nil, nil
	}
	outside := map[string][]string{}
	rows, err := s.pool.Query(ctx, strings.Join(parts, " UNION ALL "), args...)
	if err == nil {
		var column, value string
		_, err = pgx.ForEachRow(rows, []any{&column, &value}, func() error {
			if !slices.Contains(outside[column], value) {
				outside[column] = append(outside[column], value)
			}
			return nil
		})
	}
	if code := sqlState(err); strings.HasPrefix(code, "22") || strings.HasPrefix(code, "42") {
		return nil, nil // a CHECK of a team's own that no bare value can be put to
	}
	return outside, conceal(err)
}

// literal writes a text as a constant of SQL that stands on one line.
func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == '\\' }) {
		return quoted
	}
	escaped := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\b", `\b`, "\f", `\f`).Replace(quoted)
	return "E" + escaped
}
