package zohosim

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A statement is a parsed COQL query.
type statement struct {
	columns []column
	module  string
	where   *criterion
	order   []ordering
	limit   int
	offset  int
	count   int // of criteria
}

type column struct {
	name, alias string
	counts      bool   // COUNT(name)
	field       *Field // set when the query has been checked
}

type ordering struct {
	name string
	desc bool
}

// A criterion is a comparison, or two criteria joined by and, or.
type criterion struct {
	join        string // and, or; empty for a comparison
	left, right *criterion
	field, op   string
	values      []literal
	ids         []uint64 // the values, where the field is id and all are ids
}

// A literal is a value as it was written.
type literal struct {
	text   string
	quoted bool
}

// maxCriteria is what a WHERE may hold (zoho-api, "Grammar").
const maxCriteria = 25

// A syntaxError is answered as SYNTAX_ERROR, or as another code where one is set.
type syntaxError struct {
	code, message string
	details       map[string]any
}

func (e *syntaxError) Error() string { return e.message }

func missing(clause string) error {
	return &syntaxError{code: "SYNTAX_ERROR", message: "missing clause", details: map[string]any{"clause": clause}}
}

type lexeme struct {
	text   string
	quoted bool
	at     int
}

func (l lexeme) is(word string) bool { return !l.quoted && strings.EqualFold(l.text, word) }

// lex cuts a query into words, quoted strings (their quotes doubled inside) and signs.
func lex(query string) ([]lexeme, error) {
	var out []lexeme
	for i := 0; i < len(query); {
		r, size := utf8.DecodeRuneInString(query[i:])
		switch {
		case unicode.IsSpace(r):
			i += size
		case r == '\'' || r == '"':
			text, next, ok := unquote(query, i)
			if !ok {
				return nil, near(query[i:], i)
			}
			out = append(out, lexeme{text, true, i})
			i = next
		case strings.ContainsRune("(),", r):
			out = append(out, lexeme{string(r), false, i})
			i += size
		case strings.ContainsRune("<>=!", r):
			end := i + 1
			if end < len(query) && query[end] == '=' {
				end++
			}
			out = append(out, lexeme{query[i:end], false, i})
			i = end
		case isWord(r):
			end := i
			for end < len(query) {
				r, size := utf8.DecodeRuneInString(query[end:])
				if !isWord(r) {
					break
				}
				end += size
			}
			out = append(out, lexeme{query[i:end], false, i})
			i = end
		default:
			return nil, near(query[i:], i)
		}
	}
	return out, nil
}

func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_.$-+:", r)
}

func unquote(query string, from int) (text string, next int, ok bool) {
	quote := query[from]
	var b strings.Builder
	for i := from + 1; i < len(query); i++ {
		if query[i] != quote {
			b.WriteByte(query[i])
			continue
		}
		if i+1 < len(query) && query[i+1] == quote {
			b.WriteByte(quote)
			i++
			continue
		}
		return b.String(), i + 1, true
	}
	return "", 0, false
}

func near(text string, at int) error {
	const enough = 30
	if len(text) > enough {
		text = text[:enough]
	}
	return &syntaxError{code: "SYNTAX_ERROR", message: "error occured while parsing the query",
		details: map[string]any{"line": 1, "column": at + 1, "near": strings.ToValidUTF8(text, "")}}
}

type parser struct {
	query string
	all   []lexeme
	at    int
	count int
}

// parse reads a query of the documented grammar, joins and subqueries aside.
func parse(query string) (*statement, error) {
	all, err := lex(query)
	if err != nil {
		return nil, err
	}
	p := &parser{query: query, all: all}
	s := &statement{limit: 200}
	if !p.take("select") {
		return nil, &syntaxError{code: "SYNTAX_ERROR", message: "given operation is not supported", details: map[string]any{}}
	}
	if s.columns, err = p.columns(); err != nil {
		return nil, err
	}
	if !p.take("from") {
		return nil, missing("from")
	}
	module := p.next()
	if module.quoted || module.text != "" && !isName(module.text) {
		p.at--
		return nil, p.unexpected()
	}
	s.module = module.text
	if !p.take("where") {
		return nil, missing("where")
	}
	if s.where, err = p.criteria(); err != nil {
		return nil, err
	}
	s.count = p.count
	if err := p.tail(s); err != nil {
		return nil, err
	}
	return s, nil
}

func (p *parser) peek() lexeme {
	if p.at < len(p.all) {
		return p.all[p.at]
	}
	return lexeme{at: len(p.query)}
}

func (p *parser) next() lexeme {
	l := p.peek()
	p.at++
	return l
}

func (p *parser) take(word string) bool {
	if p.peek().is(word) {
		p.at++
		return true
	}
	return false
}

func (p *parser) unexpected() error {
	at := min(p.peek().at, len(p.query))
	return near(p.query[at:], at)
}

func (p *parser) columns() ([]column, error) {
	var list []column
	for {
		l := p.next()
		c := column{name: l.text}
		if !l.quoted && (l.text == "" || !isName(l.text)) {
			p.at--
			return nil, p.unexpected()
		}
		if l.text == "COUNT" && p.take("(") {
			c = column{name: p.next().text, counts: true}
			if !p.take(")") {
				return nil, p.unexpected()
			}
		}
		if p.take("as") {
			c.alias = p.next().text
		}
		list = append(list, c)
		if !p.take(",") {
			return list, nil
		}
	}
}

func isName(s string) bool {
	for i, r := range s {
		if r != '_' && r != '.' && r != '$' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return s != ""
}

// criteria reads one criterion, or two joined: a third must be bracketed with its neighbour.
func (p *parser) criteria() (*criterion, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	if !p.peek().is("and") && !p.peek().is("or") {
		return left, nil
	}
	join := strings.ToLower(p.next().text)
	right, err := p.operand()
	if err != nil {
		return nil, err
	}
	if p.peek().is("and") || p.peek().is("or") {
		return nil, p.unexpected()
	}
	return &criterion{join: join, left: left, right: right}, nil
}

func (p *parser) operand() (*criterion, error) {
	if !p.take("(") {
		return p.comparison()
	}
	inner, err := p.criteria()
	if err != nil {
		return nil, err
	}
	if !p.take(")") {
		return nil, p.unexpected()
	}
	return inner, nil
}

func (p *parser) comparison() (*criterion, error) {
	field := p.next()
	if !isName(field.text) {
		p.at--
		return nil, p.unexpected()
	}
	p.count++
	c := &criterion{field: field.text}
	negated := p.take("not")
	op := p.next()
	c.op = strings.ToLower(op.text)
	if op.is("is") {
		if c.op = "is null"; p.take("not") {
			c.op = "is not null"
		}
		if !p.take("null") {
			return nil, p.unexpected()
		}
		return c, nil
	}
	if negated {
		c.op = "not " + c.op
	}
	return c, p.operandsOf(c)
}

func (p *parser) operandsOf(c *criterion) error {
	value := func() bool {
		l := p.peek()
		if l.text == "" && !l.quoted || !l.quoted && strings.Contains("(),", l.text) {
			return false
		}
		p.at++
		c.values = append(c.values, literal{l.text, l.quoted})
		return true
	}
	switch c.op {
	case "=", "!=", ">", ">=", "<", "<=", "like", "not like":
		if !value() {
			return p.unexpected()
		}
	case "between", "not between":
		if !value() || !p.take("and") || !value() {
			return p.unexpected()
		}
	case "in", "not in":
		if !p.take("(") {
			return p.unexpected()
		}
		for value() && p.take(",") {
			continue
		}
		if !p.take(")") || len(c.values) == 0 {
			return p.unexpected()
		}
	default:
		return &syntaxError{code: "SYNTAX_ERROR", message: "invalid operator found", details: map[string]any{"operator": c.op}}
	}
	return nil
}

// tail reads order by, limit and offset.
func (p *parser) tail(s *statement) error {
	if p.take("order") {
		if !p.take("by") {
			return p.unexpected()
		}
		for {
			o := ordering{name: p.next().text}
			if !p.take("asc") {
				o.desc = p.take("desc")
			}
			s.order = append(s.order, o)
			if !p.take(",") {
				break
			}
		}
	}
	if p.take("limit") {
		first, err := p.number("limit")
		if err != nil {
			return err
		}
		s.limit = first
		if p.take(",") { // limit offset, count
			s.offset = first
			if s.limit, err = p.number("limit"); err != nil {
				return err
			}
		}
	}
	if p.take("offset") {
		var err error
		if s.offset, err = p.number("offset"); err != nil {
			return err
		}
	}
	if p.at < len(p.all) {
		return p.unexpected()
	}
	return nil
}

func (p *parser) number(clause string) (int, error) {
	l := p.next()
	n, err := strconv.Atoi(l.text)
	if err != nil || n < 0 || l.quoted {
		return 0, &syntaxError{code: "INVALID_QUERY", message: fmt.Sprintf("invalid %s", clause), details: map[string]any{clause: l.text}}
	}
	return n, nil
}
