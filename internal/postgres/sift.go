package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"zohomirror/internal/crm"
)

// sift writes a page of which the database refuses some rows: the guilty ones go to the
// quarantine, the others are written, all in one transaction.
func (w *Writer) sift(ctx context.Context, batch crm.Batch, checkpoints []Checkpoint) (counts Counts, err error) {
	err = w.run.store.inTx(ctx, func(tx pgx.Tx) error {
		conn := tx.Conn().PgConn()
		held := statement{sql: fence, values: text(w.run.Module.Name, w.run.ID.String())}
		if _, err := runPipeline(ctx, conn, []statement{held}); err != nil {
			if sqlState(err) == codeDivisionByZero {
				return ErrLockLost
			}
			return err
		}
		s := &sieve{writer: w, conn: conn, problems: batch.Problems}
		if err := s.start(ctx, batch.Rows); err != nil {
			return err
		}
		counts = Counts{
			Processed: int64(len(batch.Rows) + len(batch.Problems)), Inserted: s.counts.Inserted, Updated: s.counts.Updated,
			Unchanged: s.counts.Unchanged, Quarantined: int64(len(s.problems)), Pages: 1,
		}
		last := w.quarantine(crm.Batch{Rows: s.written, Problems: s.problems})
		_, err := runPipeline(ctx, conn, append(last, w.bookkeeping(checkpoints, &counts)...))
		return err
	})
	return counts, err
}

// A sieve tells the rows that the database takes from those it refuses.
type sieve struct {
	writer   *Writer
	conn     *pgconn.PgConn
	counts   Counts
	written  []crm.Row
	problems []crm.Problem
}

// start takes out, in one statement, all rows that a CHECK refuses: a picklist value that
// nobody expected comes in hundreds of rows at once. Halving finds whatever is left.
func (s *sieve) start(ctx context.Context, rows []crm.Row) error {
	refused, err := s.checked(ctx, rows)
	if err != nil {
		return err
	}
	passed := make([]crm.Row, 0, len(rows))
	for i := range rows {
		if reason, bad := refused[i]; bad {
			s.problems = append(s.problems, *rows[i].Problem(reason))
		} else {
			passed = append(passed, rows[i])
		}
	}
	return s.write(ctx, passed)
}

// write upserts rows, halving them until each refused row stands alone.
func (s *sieve) write(ctx context.Context, rows []crm.Row) error {
	if len(rows) == 0 {
		return nil
	}
	var counts Counts
	err := s.attempt(ctx, func() []statement { return []statement{s.writer.rowsStatement(rows, &counts)} })
	switch {
	case err == nil:
		s.counts = s.counts.Plus(counts)
		s.written = append(s.written, rows...)
		return nil
	case !rowFault(err):
		return err
	case len(rows) == 1:
		s.problems = append(s.problems, *rows[0].Problem("the database refuses it: " + err.Error()))
		return nil
	}
	half := len(rows) / 2
	if err := s.write(ctx, rows[:half]); err != nil {
		return err
	}
	return s.write(ctx, rows[half:])
}

// attempt runs steps and undoes them alone when they fail.
func (s *sieve) attempt(ctx context.Context, steps func() []statement) error {
	all := append([]statement{{sql: "SAVEPOINT attempt"}}, steps()...)
	done, err := runPipeline(ctx, s.conn, append(all, statement{sql: "RELEASE SAVEPOINT attempt"}))
	if err != nil && done > 0 && rowFault(err) {
		if _, undo := runPipeline(ctx, s.conn, []statement{{sql: "ROLLBACK TO SAVEPOINT attempt"}}); undo != nil {
			return undo
		}
	}
	return err
}

// tableChecks lists the CHECKs that read only columns the run writes.
const tableChecks = `
SELECT c.conname, pg_get_expr(c.conbin, c.conrelid)
FROM pg_constraint c
WHERE c.conrelid = to_regclass($1) AND c.contype = 'c'
  AND NOT EXISTS (
	SELECT FROM pg_attribute a
	WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND a.attname <> ALL ($2::text[]))
ORDER BY c.conname`

// checked evaluates the table's CHECKs over the rows and returns, by the row's place, which
// of them refuse it. Where that itself fails on a row, it returns none.
func (s *sieve) checked(ctx context.Context, rows []crm.Row) (map[int]string, error) {
	u := s.writer.upsert
	columns := []string{"id"}
	for _, c := range u.columns {
		columns = append(columns, c.Name)
	}
	var names, failures []string
	list := statement{
		sql: tableChecks, values: [][]byte{[]byte(u.module), textArray(columns)},
		oids: []uint32{0, arrayOID(crm.Text)}, formats: []int16{0, 1},
		read: func(result *pgconn.ResultReader) {
			for result.NextRow() {
				names = append(names, string(result.Values()[0]))
				failures = append(failures, "NOT ("+string(result.Values()[1])+")")
			}
		},
	}
	if _, err := runPipeline(ctx, s.conn, []statement{list}); err != nil || len(names) == 0 {
		return nil, err
	}

	refused := map[int]string{}
	err := s.attempt(ctx, func() []statement {
		values, oids, formats := s.writer.arraysFor(rows)
		return []statement{{
			sql:    checkSQL(u.page, names, failures),
			values: values, oids: oids, formats: formats,
			read: func(result *pgconn.ResultReader) {
				for result.NextRow() {
					refused[int(number(result.Values()[0]))-1] = "refused by the table's " + string(result.Values()[1])
				}
			},
		}}
	})
	if rowFault(err) {
		return nil, nil
	}
	return refused, err
}

func checkSQL(page string, names, failures []string) string {
	cases := make([]string, len(names))
	for i, name := range names {
		cases[i] = fmt.Sprintf("CASE WHEN %s THEN '%s' END", failures[i], strings.ReplaceAll(name, "'", "''"))
	}
	return fmt.Sprintf("SELECT ord, concat_ws(', ', %s) FROM (%s) page WHERE %s",
		strings.Join(cases, ", "), page, strings.Join(failures, " OR "))
}

// arraysFor encodes the page alone, without the run's parameters.
func (w *Writer) arraysFor(rows []crm.Row) ([][]byte, []uint32, []int16) {
	values, oids, formats := w.upsert.params(&w.arrays, rows, "")
	n := len(w.upsert.oids)
	return values[:n], oids[:n], formats[:n]
}
