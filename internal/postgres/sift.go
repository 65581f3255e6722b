package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"zohomirror/internal/crm"
)

// sift writes a page of which the database refuses some rows: the guilty ones go to the
// quarantine, the others are written. Who is guilty is found out by dry runs, so that the
// page itself is one short transaction like any other.
func (w *Writer) sift(ctx context.Context, batch crm.Batch, checkpoints []Checkpoint) (Counts, error) {
	s := &sieve{writer: w, problems: slices.Clone(batch.Problems)}
	rows, err := s.takeRefused(ctx, batch.Rows)
	if err != nil {
		return Counts{}, err
	}
	if err := s.halve(ctx, rows); err != nil {
		return Counts{}, err
	}
	for {
		counts, err := w.write(ctx, crm.Batch{Rows: s.good, Problems: s.problems}, checkpoints, false)
		if !rowFault(err) {
			return counts, err
		}
		// Each row is good alone, but not beside the others.
		if err := s.takeFirst(ctx); err != nil {
			return Counts{}, err
		}
	}
}

// A sieve tells the rows that the database takes from those it refuses.
type sieve struct {
	writer   *Writer
	good     []crm.Row
	problems []crm.Problem
	checks   []check
}

// A check is a CHECK of the table. Only where it reads one column can a value be blamed.
type check struct{ name, column, failure string }

// A refusal is what the table's CHECKs say of a row.
type refusal struct {
	all   string // names of those it breaks
	first string
}

// take puts a row aside that the rule refuses; column is empty where the rule may mean several.
func (s *sieve) take(row *crm.Row, reason, column, rule string) {
	s.problems = append(s.problems, *row.Problem(reason, s.writer.upsert.plan.Fault(row, column, rule)))
}

// takeFor puts a row aside that the database has refused to write.
func (s *sieve) takeFor(row *crm.Row, refused error) {
	var pgErr *pgconn.PgError
	errors.As(refused, &pgErr) // a row's fault always is one
	column, rule := pgErr.ColumnName, pgErr.ConstraintName
	if rule == "" {
		rule = pgErr.Code
	}
	if column == "" {
		column = s.columnOf(rule)
	}
	s.take(row, "the database refuses it: "+refused.Error(), column, rule)
}

func (s *sieve) columnOf(name string) string {
	for _, c := range s.checks {
		if c.name == name {
			return c.column
		}
	}
	return ""
}

// takeRefused takes out, in one statement, all rows that a CHECK refuses: a picklist value
// that nobody expected comes in hundreds of rows at once.
func (s *sieve) takeRefused(ctx context.Context, rows []crm.Row) ([]crm.Row, error) {
	refused, err := s.refused(ctx, rows)
	if err != nil {
		return nil, err
	}
	passed := make([]crm.Row, 0, len(rows))
	for i := range rows {
		if by, bad := refused[i]; bad {
			s.take(&rows[i], "refused by the table's "+by.all, s.columnOf(by.first), by.first)
		} else {
			passed = append(passed, rows[i])
		}
	}
	return passed, nil
}

// halve tries rows in ever smaller parts until each that is refused stands alone.
func (s *sieve) halve(ctx context.Context, rows []crm.Row) error {
	err := s.try(ctx, rows)
	switch {
	case err == nil:
		s.good = append(s.good, rows...)
		return nil
	case !rowFault(err):
		return err
	case len(rows) == 1:
		s.takeFor(&rows[0], err)
		return nil
	}
	half := len(rows) / 2
	if err := s.halve(ctx, rows[:half]); err != nil {
		return err
	}
	return s.halve(ctx, rows[half:])
}

// takeFirst takes out the first row that the database refuses beside those before it.
func (s *sieve) takeFirst(ctx context.Context) error {
	var broken, refused error
	n := sort.Search(len(s.good), func(n int) bool {
		err := s.try(ctx, s.good[:n+1])
		if rowFault(err) {
			refused = err
			return true
		}
		broken = err
		return broken != nil
	})
	if broken != nil {
		return broken
	}
	if n == len(s.good) {
		return fmt.Errorf("the database refuses a page of which it takes every row: another program changes %s at the same time", s.writer.run.Module.Name)
	}
	s.takeFor(&s.good[n], refused)
	s.good = slices.Delete(s.good, n, n+1)
	return nil
}

// try writes rows and takes it back.
func (s *sieve) try(ctx context.Context, rows []crm.Row) error {
	if len(rows) == 0 {
		return nil
	}
	var counts Counts
	return s.writer.run.fenced(ctx, append(s.writer.rowsStatements(rows, &counts, false), statement{sql: "ROLLBACK"}))
}

// tableChecks lists the CHECKs that read only columns the run writes.
const tableChecks = `
SELECT c.conname, pg_get_expr(c.conbin, c.conrelid),
       (SELECT CASE WHEN count(*) = 1 THEN min(a.attname::text) ELSE '' END
          FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey))
FROM pg_constraint c
WHERE c.conrelid = to_regclass($1) AND c.contype = 'c'
  AND NOT EXISTS (
	SELECT FROM pg_attribute a
	WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND a.attname <> ALL ($2::text[]))
ORDER BY c.conname`

// refused evaluates the table's CHECKs over the rows and returns, by the row's place, which
// of them refuse it. Where that itself fails on a row, it returns none.
func (s *sieve) refused(ctx context.Context, rows []crm.Row) (map[int]refusal, error) {
	u, store := s.writer.upsert, s.writer.run.store
	columns := []string{"id"}
	for _, c := range u.columns {
		columns = append(columns, c.Name)
	}
	s.checks = nil
	list := statement{
		sql: tableChecks, values: [][]byte{[]byte(u.module), textArray(columns)},
		oids: []uint32{0, arrayOID(crm.Text)}, formats: []int16{0, 1},
		row: func(row [][]byte) {
			s.checks = append(s.checks, check{name: string(row[0]), failure: "NOT (" + string(row[1]) + ")", column: string(row[2])})
		},
	}
	if _, err := store.execute(ctx, &s.writer.run.buffer, []statement{list}); err != nil || len(s.checks) == 0 {
		return nil, err
	}

	refused := map[int]refusal{}
	source, values := u.page(&s.writer.arrays, rows, s.writer.stamp())
	_, err := store.execute(ctx, &s.writer.run.buffer, []statement{{
		sql:    checkSQL(source.placed, s.checks),
		values: values, oids: source.oids, formats: source.formats(),
		row: func(row [][]byte) {
			refused[int(number(row[0]))-1] = refusal{all: string(row[1]), first: string(row[2])}
		},
	}})
	if rowFault(err) {
		return nil, nil
	}
	return refused, err
}

func checkSQL(page string, checks []check) string {
	cases, failures := make([]string, len(checks)), make([]string, len(checks))
	for i, c := range checks {
		failures[i] = c.failure
		cases[i] = fmt.Sprintf("CASE WHEN %s THEN '%s' END", c.failure, strings.ReplaceAll(c.name, "'", "''"))
	}
	broken := strings.Join(cases, ", ")
	return fmt.Sprintf("SELECT page_ord, concat_ws(', ', %s), coalesce(%s) FROM (%s) page WHERE %s",
		broken, broken, page, strings.Join(failures, " OR "))
}
