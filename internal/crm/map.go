package crm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Batch is a page of records, mapped.
type Batch struct {
	Rows     []Row
	Problems []Problem
}

// IDs names all records of the batch, those that do not fit included.
func (b Batch) IDs() []string {
	ids := make([]string, 0, len(b.Rows)+len(b.Problems))
	for i := range b.Rows {
		ids = append(ids, b.Rows[i].ID)
	}
	for i := range b.Problems {
		ids = append(ids, b.Problems[i].ID)
	}
	return ids
}

// Map turns a page of records, JSON objects as Zoho sent them, into rows and problems.
// A record given twice is kept once, in its newest version: one statement cannot
// write the same row twice.
func (p *Plan) Map(records []jsontext.Value) Batch {
	batch := Batch{Rows: make([]Row, 0, len(records))}
	values := make([]Value, len(records)*len(p.Columns))
	seen := make(map[string]int, len(records))
	m := mapper{plan: p, dec: jsontext.NewDecoder(bytes.NewReader(nil))}
	for i, record := range records {
		width := len(p.Columns)
		row, problem := m.record(record, values[i*width:(i+1)*width:(i+1)*width])
		if problem != nil {
			batch.Problems = append(batch.Problems, *problem)
			continue
		}
		at, twice := seen[row.ID]
		if !twice {
			seen[row.ID] = len(batch.Rows)
			batch.Rows = append(batch.Rows, row)
		} else if !row.Modified.Before(batch.Rows[at].Modified) {
			batch.Rows[at] = row
		}
	}
	return batch
}

// A mapper maps one record after another, with buffers of its own.
type mapper struct {
	plan   *Plan
	dec    *jsontext.Decoder
	src    bytes.Buffer
	custom []byte
	faults []string
	first  Fault // of faults
}

func (m *mapper) record(raw jsontext.Value, values []Value) (Row, *Problem) {
	record := string(raw)
	if !utf8.ValidString(record) {
		record = strings.ToValidUTF8(record, "\uFFFD")
	}
	m.custom, m.faults = append(m.custom[:0], '{'), m.faults[:0]
	row := Row{Values: values, Record: record}
	m.members(&row)

	modified := values[m.plan.modified]
	if modified.Valid {
		row.Modified = modified.Time()
	} else {
		m.fault(Fault{Field: fieldModifiedTime, Rule: ruleRequired}, "is missing")
	}
	if row.ID == "" {
		m.fault(Fault{Field: fieldID, Rule: ruleRequired}, "is missing")
	}
	if len(m.faults) > 0 {
		return Row{}, row.Problem(strings.Join(m.faults, "; "), m.first)
	}
	if m.plan.CustomFields {
		row.CustomFields = string(append(m.custom, '}'))
	}
	return row, nil
}

// Problem says of a mapped row why it cannot be written.
func (r *Row) Problem(reason string, fault Fault) *Problem {
	id := r.ID
	if id == "" {
		digest := sha256.Sum256([]byte(r.Record))
		id = "sha256:" + hex.EncodeToString(digest[:16])
	}
	return &Problem{ID: id, Modified: r.Modified, Reason: reason, Record: r.Record, Fault: fault}
}

// members reads each member of the record into its place.
func (m *mapper) members(row *Row) {
	m.src.Reset()
	m.src.WriteString(row.Record)
	m.dec.Reset(&m.src, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if open, err := m.dec.ReadToken(); err != nil || open.Kind() != '{' {
		m.fault(Fault{Rule: ruleObject}, "record is not a JSON object")
		return
	}
	for m.dec.PeekKind() == '"' {
		name, err := m.dec.ReadValue()
		if err != nil {
			break
		}
		to, known := m.plan.members[string(name[1:len(name)-1])]
		isID := string(name) == `"id"`
		custom := len(m.custom)
		if known && to.custom {
			m.custom = append(append(m.custom, name...), ':')
		}
		value, err := m.dec.ReadValue()
		if err != nil {
			break
		}
		end := int(m.dec.InputOffset())
		src := source{raw: value, text: row.Record[end-len(value) : end]}
		switch {
		case isID:
			row.ID = m.id(src)
		case !known:
		case !to.custom:
			m.standard(to, src, row.Values)
		case src.null():
			m.custom = m.custom[:custom]
		default:
			m.custom = append(src.appendJSON(m.custom), ',')
		}
	}
	m.custom = bytes.TrimSuffix(m.custom, []byte{','})
	if end, err := m.dec.ReadToken(); err != nil || end.Kind() != '}' {
		m.fault(Fault{Rule: ruleObject}, "record is not a whole JSON object")
	}
}

// Rules that are not a column's type.
const (
	ruleObject    = "json object"
	ruleRequired  = "required"
	ruleID        = "record id"
	ruleReference = "reference"
	ruleSingle    = "single value"
)

func (m *mapper) fault(f Fault, what string) {
	if len(m.faults) == 0 {
		m.first = f
	}
	m.faults = append(m.faults, strings.TrimPrefix(f.Field+" "+what, " "))
}

// id accepts digits only: ids stand bare in COQL.
func (m *mapper) id(src source) string {
	id, ok := src.scalar()
	if !ok || id == "" || !allDigits(id) {
		m.fault(Fault{fieldID, src.content(), ruleID}, "is "+src.excerpt()+", not a record id")
		return ""
	}
	return id
}

// standard reads a value of a field of the catalogue.
func (m *mapper) standard(to member, src source, values []Value) {
	if src.null() {
		values[to.column] = Value{}
		if to.named {
			values[to.column+1] = Value{}
		}
		return
	}
	if to.kind == Lookup || to.kind == User {
		m.lookup(to, src, values)
		return
	}
	value, fault := coerce(to, src)
	if fault != "" {
		f := Fault{m.plan.fieldOf(to.column), src.content(), to.rule()}
		if _, single := src.scalar(); !single && to.kind != Boolean {
			f.Rule = ruleSingle
		}
		m.fault(f, fmt.Sprintf("is %s, %s", src.excerpt(), fault))
	}
	values[to.column] = value
}

// lookup accepts the shapes that occur: {id, name}, {id}, {} for unset, a bare id.
func (m *mapper) lookup(to member, src source, values []Value) {
	id, name, ok := src.reference()
	if !ok {
		m.fault(Fault{m.plan.fieldOf(to.column), src.content(), ruleReference}, "is "+src.excerpt()+", not a reference to a record")
		return
	}
	values[to.column] = id
	if !to.named {
		return
	}
	if to.kind == User {
		name = Value{}
		if full, known := m.plan.users[id.Text]; known && id.Valid {
			name = text(full)
		}
	}
	values[to.column+1] = name
}
