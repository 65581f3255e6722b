package crm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// rules is the version of how values are read. Whoever changes what fits raises it, so that
// what is in the quarantine is tried again.
const rules = 1

// Fingerprint tells apart plans by what fits them: the columns of the fields read, and their types.
func (p *Plan) Fingerprint() string {
	digest := sha256.New()
	fmt.Fprintln(digest, rules)
	for _, c := range p.Columns {
		if c.Pair == "" { // a name always fits
			fmt.Fprintln(digest, c.Name, c.Kind)
		}
	}
	return hex.EncodeToString(digest.Sum(nil)[:6])
}

// fieldOf names the field that a column belongs to; empty where it is none of the plan's.
func (p *Plan) fieldOf(column int) string {
	for name, to := range p.members {
		if !to.custom && (to.column == column || to.named && to.column+1 == column) {
			return name
		}
	}
	return ""
}

// Fault says which of a row's values the database refuses by a rule on a column.
func (p *Plan) Fault(row *Row, column, rule string) Fault {
	for i, c := range p.Columns {
		if c.Name == column {
			return Fault{Field: p.fieldOf(i), Value: row.Values[i].text(c.Kind), Rule: rule}
		}
	}
	return Fault{Rule: rule}
}

// rule names the type that a value of the field must have.
func (m member) rule() string {
	if m.kind == Money && m.width.Precision > 0 {
		return fmt.Sprintf("numeric(%d,%d)", m.width.Precision, m.width.Scale)
	}
	if m.kind == Money {
		return "numeric"
	}
	return Column{Kind: m.kind}.SQLType()
}

// content is the value for programs: a string's content, or the JSON of what is none.
func (s source) content() string {
	if content, ok := s.scalar(); ok {
		return content
	}
	return s.text
}

// text writes the value as PostgreSQL would.
func (v Value) text(kind Kind) string {
	switch {
	case !v.Valid:
		return ""
	case kind == Boolean:
		return strconv.FormatBool(v.Int == 1)
	case kind == Integer:
		return strconv.FormatInt(v.Int, 10)
	case kind == Date:
		return time.Unix(v.Int*24*60*60, 0).UTC().Format(time.DateOnly)
	case kind == Time:
		return v.Time().Format(time.RFC3339Nano)
	default:
		return v.Text
	}
}
