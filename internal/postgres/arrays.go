package postgres

import (
	"encoding/binary"

	"github.com/jackc/pgx/v5/pgtype"

	"zohomirror/internal/crm"
)

// PostgreSQL counts days and microseconds from 2000-01-01, Go from 1970-01-01.
const (
	epochDays   = 10_957
	epochMicros = epochDays * 24 * 60 * 60 * 1_000_000
)

// oids are the types that a kind's values travel in: one value, and an array of them.
func oids(kind crm.Kind) (element, array uint32) {
	switch kind {
	case crm.Boolean:
		return pgtype.BoolOID, pgtype.BoolArrayOID
	case crm.Integer:
		return pgtype.Int8OID, pgtype.Int8ArrayOID
	case crm.Date:
		return pgtype.DateOID, pgtype.DateArrayOID
	case crm.Time:
		return pgtype.TimestamptzOID, pgtype.TimestamptzArrayOID
	case crm.JSON:
		return pgtype.JSONBOID, pgtype.JSONBArrayOID
	default:
		return pgtype.TextOID, pgtype.TextArrayOID
	}
}

func elementOID(kind crm.Kind) uint32 { element, _ := oids(kind); return element }

func arrayOID(kind crm.Kind) uint32 { _, array := oids(kind); return array }

// arrays encodes rows as binary arrays, a column each, in one buffer that is used again
// from page to page.
type arrays struct {
	buf []byte
}

// columns returns the arrays of id, the plan's columns and custom_fields. They are valid
// until the next call.
func (a *arrays) columns(u *upsert, rows []crm.Row) [][]byte {
	a.buf = a.buf[:0]
	ends := make([]int, 0, len(u.byColumn.oids))
	a.header(pgtype.TextOID, len(rows))
	for i := range rows {
		a.text(rows[i].ID)
	}
	ends = append(ends, len(a.buf))
	for c, column := range u.plan.Columns {
		a.header(elementOID(column.Kind), len(rows))
		for i := range rows {
			a.value(column.Kind, &rows[i].Values[c])
		}
		ends = append(ends, len(a.buf))
	}
	if u.plan.CustomFields {
		a.header(pgtype.JSONBOID, len(rows))
		for i := range rows {
			a.json(rows[i].CustomFields)
		}
		ends = append(ends, len(a.buf))
	}
	// Cut only now: the buffer may have moved while it grew.
	columns := make([][]byte, len(ends), len(ends)+2)
	start := 0
	for i, end := range ends {
		columns[i] = a.buf[start:end:end]
		start = end
	}
	return columns
}

// header begins a one-dimensional array that may hold nulls, counted from 1.
func (a *arrays) header(element uint32, n int) {
	a.int32(1)
	a.int32(1)
	a.buf = binary.BigEndian.AppendUint32(a.buf, element)
	a.int32(n)
	a.int32(1)
}

func (a *arrays) value(kind crm.Kind, v *crm.Value) {
	if !v.Valid {
		a.int32(-1)
		return
	}
	switch kind {
	case crm.Boolean:
		a.int32(1)
		a.buf = append(a.buf, byte(v.Int))
	case crm.Integer:
		a.int64(v.Int)
	case crm.Time:
		a.int64(v.Int - epochMicros)
	case crm.Date:
		a.int32(4)
		a.int32(int(v.Int - epochDays))
	case crm.JSON:
		a.json(v.Text)
	default:
		a.text(v.Text)
	}
}

func (a *arrays) text(s string) {
	a.int32(len(s))
	a.buf = append(a.buf, s...)
}

// json precedes the text with the version that jsonb's binary form asks for.
func (a *arrays) json(s string) {
	a.int32(len(s) + 1)
	a.buf = append(append(a.buf, 1), s...)
}

func (a *arrays) int32(n int) {
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(int32(n)))
}

func (a *arrays) int64(n int64) {
	a.int32(8)
	a.buf = binary.BigEndian.AppendUint64(a.buf, uint64(n))
}

// textArray is a text[] of its own.
func textArray(values []string) []byte {
	var a arrays
	a.header(pgtype.TextOID, len(values))
	for _, v := range values {
		a.text(v)
	}
	return a.buf
}

// timeArray is a timestamptz[] of its own, in microseconds since 1970; zero is null.
func timeArray(micros []int64) []byte {
	var a arrays
	a.header(pgtype.TimestamptzOID, len(micros))
	for _, m := range micros {
		a.value(crm.Time, &crm.Value{Int: m, Valid: m != 0})
	}
	return a.buf
}
