package crm

import "time"

// Value is one typed column value. Which member holds it follows from the column's
// Kind: Int for Boolean (0, 1), Integer, Date (days since 1970-01-01) and Time
// (microseconds since 1970-01-01 UTC), Text for all others. The zero Value is null.
type Value struct {
	Text  string
	Int   int64
	Valid bool
}

func text(s string) Value   { return Value{Text: s, Valid: true} }
func integer(n int64) Value { return Value{Int: n, Valid: true} }

// Time returns the instant of a Time value, in UTC.
func (v Value) Time() time.Time { return time.UnixMicro(v.Int).UTC() }

// Row is one record, ready to be written.
type Row struct {
	ID           string
	Modified     time.Time
	Values       []Value // one for each of Plan.Columns
	CustomFields string  // a JSON object; empty where the plan does not read it
	Record       string  // the record as Zoho sent it
}

// Problem is a record that does not fit, with what is needed to look into it and to
// replay it later.
type Problem struct {
	ID       string    // Zoho's id, or a digest of the record where it has none
	Modified time.Time // zero where it could not be read
	Reason   string    // for people; names every fault
	Record   string    // as Zoho sent it
	Fault              // the first one, for programs
}

// Fault says what does not fit. Each part is empty where it cannot be told.
type Fault struct {
	Field string // its API name
	Value string // a string's content, or another value's JSON
	Rule  string // what the value breaks: a type, or the name or SQLSTATE of a database's refusal
}
