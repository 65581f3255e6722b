package crm

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// A source is one JSON value: the raw bytes, valid until the next read, and the same
// as a part of the record's text, which stays.
type source struct {
	raw  jsontext.Value
	text string
}

func (s source) null() bool { return s.raw.Kind() == 'n' }

// excerpt shows the value in a fault, at a bearable length.
func (s source) excerpt() string {
	const limit = 60
	if len(s.text) > limit {
		return strings.ToValidUTF8(s.text[:limit], "") + "…"
	}
	return s.text
}

// scalar returns the text of a string or number. PostgreSQL cannot store NUL: it
// becomes U+FFFD.
func (s source) scalar() (string, bool) {
	switch s.raw.Kind() {
	case '0':
		return s.text, true
	case '"':
		if strings.IndexByte(s.text, '\\') < 0 {
			return s.text[1 : len(s.text)-1], true
		}
		unquoted, err := jsontext.AppendUnquote(nil, s.raw)
		if err != nil {
			// A lone surrogate: it has been replaced by U+FFFD in what was unquoted.
			unquoted = bytes.ToValidUTF8(unquoted, []byte("\uFFFD"))
		}
		return strings.ReplaceAll(string(unquoted), "\x00", "\uFFFD"), true
	default:
		return "", false
	}
}

// appendJSON appends the value in a form that jsonb accepts: NUL and lone surrogates,
// which can only occur as escapes, become U+FFFD.
func (s source) appendJSON(to []byte) []byte {
	if !strings.Contains(s.text, `\u`) {
		return append(to, s.raw...)
	}
	var out bytes.Buffer
	enc := jsontext.NewEncoder(&out, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	dec := jsontext.NewDecoder(strings.NewReader(s.text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		var err error
		switch dec.PeekKind() {
		case '"':
			value, _ := dec.ReadValue()
			clean, _ := source{raw: value, text: string(value)}.scalar()
			err = enc.WriteToken(jsontext.String(clean))
		case '0':
			value, _ := dec.ReadValue()
			err = enc.WriteValue(value)
		case 0:
			return append(to, bytes.TrimSpace(out.Bytes())...)
		default:
			token, _ := dec.ReadToken()
			err = enc.WriteToken(token)
		}
		if err != nil {
			return append(to, "null"...)
		}
	}
}

// reference reads a lookup's id and name.
func (s source) reference() (id, name Value, ok bool) {
	if bare, isScalar := s.scalar(); isScalar {
		if bare == "" {
			return Value{}, Value{}, true
		}
		return text(bare), Value{}, allDigits(bare)
	}
	if s.raw.Kind() != '{' {
		return Value{}, Value{}, false
	}
	dec := jsontext.NewDecoder(bytes.NewReader(s.raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadToken(); err != nil {
		return Value{}, Value{}, false
	}
	for dec.PeekKind() == '"' {
		key, _ := dec.ReadValue()
		to := &Value{}
		switch string(key) {
		case `"id"`:
			to = &id
		case `"name"`:
			to = &name
		}
		value, err := dec.ReadValue()
		if err != nil {
			return Value{}, Value{}, false
		}
		end := int(dec.InputOffset())
		part := source{raw: value, text: s.text[end-len(value) : end]}
		if content, isScalar := part.scalar(); isScalar {
			*to = text(content)
		}
	}
	return id, name, id.Valid || string(s.raw) == "{}"
}

// coerce reads a value that is not null. The fault is empty when it fits.
func coerce(to member, src source) (Value, string) {
	if to.kind == JSON {
		if !strings.Contains(src.text, `\u`) {
			return text(src.text), ""
		}
		return text(string(src.appendJSON(nil))), ""
	}
	if to.kind == Boolean {
		return coerceBoolean(src)
	}
	content, ok := src.scalar()
	if !ok {
		return Value{}, "where a single value belongs"
	}
	switch to.kind {
	case LongText:
		return text(content), ""
	case Text:
		return text(strings.TrimRight(content, " ")), ""
	}
	// An empty string is how some endpoints say that none of these is set.
	if content == "" {
		return Value{}, ""
	}
	switch to.kind {
	case Integer:
		return coerceInteger(content)
	case Money, Numeric:
		return coerceNumber(to, content)
	case Date:
		day, err := time.Parse(time.DateOnly, content)
		if err != nil {
			return Value{}, "not a date such as 2026-12-31"
		}
		return integer(day.Unix() / (24 * 60 * 60)), ""
	case Time:
		at, err := time.Parse(time.RFC3339, content)
		if err != nil {
			return Value{}, "not a datetime such as 2026-12-31T10:00:00+01:00"
		}
		return integer(at.UnixMicro()), ""
	default: // Picklist
		return text(content), ""
	}
}

func coerceBoolean(src source) (Value, string) {
	switch content, _ := src.scalar(); {
	case src.raw.Kind() == 't' || content == "true":
		return integer(1), ""
	case src.raw.Kind() == 'f' || content == "false":
		return integer(0), ""
	case src.text == `""`:
		return Value{}, ""
	default:
		return Value{}, "not true or false"
	}
}

func coerceInteger(content string) (Value, string) {
	if n, err := strconv.ParseInt(content, 10, 64); err == nil {
		return integer(n), ""
	}
	// 12.0 is a whole number too.
	whole, fraction, _ := strings.Cut(content, ".")
	if n, err := strconv.ParseInt(whole, 10, 64); err == nil && strings.Trim(fraction, "0") == "" {
		return integer(n), ""
	}
	return Value{}, "not a whole number of at most 64 bits"
}

func coerceNumber(to member, content string) (Value, string) {
	size, ok := parseDecimal(content)
	if !ok {
		return Value{}, "not a number"
	}
	w := to.width
	if to.kind == Money && w.Precision > 0 && !size.fits(w.Precision, w.Scale) {
		return Value{}, fmt.Sprintf("which numeric(%d,%d) cannot hold without rounding", w.Precision, w.Scale)
	}
	return text(content), ""
}
