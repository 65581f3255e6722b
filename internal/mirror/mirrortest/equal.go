// Package mirrortest holds a mirror against the CRM that it mirrors, for tests.
package mirrortest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"zohomirror/internal/crm"
	"zohomirror/internal/zohosim"
)

// Row is a row as a JSON object by column, numbers as they stand.
type Row = map[string]any

// Diff compares the table's live rows with all records of the CRM, row by row and column by
// column, and says where they differ; where they do not, it is empty.
func Diff(ctx context.Context, db *pgxpool.Pool, zoho *zohosim.Zoho, table string) (string, error) {
	want, err := Expected(ctx, db, zoho, table)
	if err != nil {
		return "", err
	}
	got, err := Rows(ctx, db, table+"_live")
	if err != nil {
		return "", err
	}
	return cmp.Diff(want, got, SameNumber), nil
}

// bookkeeping says which run wrote a row, not what the CRM holds.
var bookkeeping = []string{"synced_at", "run_id"}

// Rows returns the rows of a mirror table, or of a view of it, by id, bookkeeping left out.
func Rows(ctx context.Context, db *pgxpool.Pool, relation string) (map[string]Row, error) {
	rows, err := db.Query(ctx, fmt.Sprintf("SELECT id, to_jsonb(t) - $1::text[] FROM %s t", relation), bookkeeping)
	if err != nil {
		return nil, err
	}
	all := map[string]Row{}
	var id string
	var body []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &body}, func() error {
		var row Row
		err := decode(body, &row)
		all[id] = row
		return err
	})
	return all, err
}

func decode(text []byte, into any) error {
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// SameNumber compares exact values: 7.5 and 7.50 are one.
var SameNumber = cmp.Comparer(func(a, b json.Number) bool {
	x, _ := new(big.Rat).SetString(a.String())
	y, _ := new(big.Rat).SetString(b.String())
	return x != nil && y != nil && x.Cmp(y) == 0
})

// Expected returns the CRM's records as rows by id. The rules are written down here a second
// time, so that a mistake of the mapping does not confirm itself.
func Expected(ctx context.Context, db *pgxpool.Pool, zoho *zohosim.Zoho, table string) (map[string]Row, error) {
	module, ok := crm.Find(table)
	if !ok {
		return nil, fmt.Errorf("there is no module %s", table)
	}
	want := map[string]Row{}
	form, err := newForm(ctx, db, zoho, table)
	for id, record := range zoho.Truth(module.API) {
		if err != nil {
			break
		}
		want[id], err = form.row(record)
	}
	return want, err
}

// ExpectedRow is a record, as it is or once was, as its row.
func ExpectedRow(ctx context.Context, db *pgxpool.Pool, zoho *zohosim.Zoho, table string, record zohosim.Record) (Row, error) {
	form, err := newForm(ctx, db, zoho, table)
	if err != nil {
		return nil, err
	}
	return form.row(record)
}

// A form is what all rows of a table are made by.
type form struct {
	blank Row
	users map[string]string
}

func newForm(ctx context.Context, db *pgxpool.Pool, zoho *zohosim.Zoho, table string) (form, error) {
	columns, err := columns(ctx, db, table)
	users := map[string]string{}
	for _, u := range zoho.Users() {
		users[u.ID] = u.FullName()
	}
	return form{blank(columns, table), users}, err
}

func (f form) row(record zohosim.Record) (Row, error) {
	row := maps.Clone(f.blank)
	return row, fill(row, record, f.users)
}

func fill(row Row, record zohosim.Record, users map[string]string) error {
	custom := map[string]any{}
	for api, value := range record {
		column := strings.ToLower(strings.TrimSuffix(api, "__s"))
		switch v := value.(type) {
		case zohosim.Ref:
			column = strings.TrimSuffix(column, "_name")
			name := v.Name
			if api == "Owner" || api == "Created_By" || api == "Modified_By" {
				name = users[v.ID]
			}
			row[column+"_id"], row[column+"_name"] = v.ID, nil
			if name != "" {
				row[column+"_name"] = name
			}
			continue
		case time.Time:
			value = v.UTC().Format("2006-01-02T15:04:05+00:00")
		case int:
			value = json.Number(fmt.Sprint(v))
		case json.RawMessage:
			if err := decode(v, &value); err != nil {
				return err
			}
		}
		if _, known := row[column]; known {
			row[column] = value
		} else if value != nil {
			custom[api] = value
		}
	}
	row["custom_fields"] = custom
	return nil
}

// blank is a row of nulls with the table's columns.
func blank(columns []string, table string) Row {
	row := Row{}
	for _, c := range columns {
		row[c] = nil
	}
	for _, c := range bookkeeping {
		delete(row, c)
	}
	if table == "leads" {
		row["converted"] = false // COQL never leaves it out
	}
	return row
}

func columns(ctx context.Context, db *pgxpool.Pool, table string) ([]string, error) {
	rows, err := db.Query(ctx, "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped", table)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
