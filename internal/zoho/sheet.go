package zoho

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// A sheet is a page that is put together from slices.
type sheet struct {
	page *Page // the first slice's
	rows []row // one for each of its places
	size int   // of all that is held, in bytes
	took time.Duration
}

// A row is one record of a sheet.
type row struct {
	part
	record jsontext.Value // of the first slice
	rests  [][]byte       // of the others, in their order
	torn   bool           // the slices show different states of it
	gone   bool           // it was not there any more when it was read again
}

// A part is a record of one slice, taken apart.
type part struct {
	id       string // empty: it has none that could be asked for, and cannot be written either
	modified stamp
	rest     []byte // the other members, each behind a comma
}

// A stamp is an instant, or the JSON text of what is none. Offsets do not count.
type stamp struct {
	micros int64
	text   string
}

func newSheet(first *Page) *sheet {
	s := &sheet{page: first, rows: make([]row, len(first.Records))}
	var d dissector
	for i, record := range first.Records {
		s.rows[i] = row{part: d.part(record), record: record}
		s.size += len(record)
	}
	return s
}

// add lays a further slice beside the page. Zoho may show less than it was asked for and
// say that there is more: what such a slice did not reach is left to the next page.
func (s *sheet) add(slice *Page, q Query) {
	if slice.AsOf.Before(s.page.AsOf) {
		s.page.AsOf = slice.AsOf
	}
	s.page.ZohoClock = s.page.ZohoClock && slice.ZohoClock
	parts, d := make(map[string]part, len(slice.Records)), dissector{keep: true}
	for _, record := range slice.Records {
		p := d.part(record)
		parts[p.id] = p
	}
	reached := 0
	for i := range s.rows {
		r := &s.rows[i]
		if r.id == "" {
			continue
		}
		p, there := parts[r.id]
		if there {
			reached = i + 1
		}
		if !there || p.modified != r.modified {
			r.torn = true
		} else {
			r.rests = append(r.rests, p.rest)
			s.size += len(p.rest)
		}
	}
	if short := slice.More && len(slice.Records) < q.Limit; short && q.IDs == nil && reached > 0 {
		s.cut(reached)
	}
}

// cut ends the page after n records: whatever follows them comes with the next one.
func (s *sheet) cut(n int) {
	if n < len(s.rows) {
		s.rows, s.page.Places, s.page.More = s.rows[:n], s.page.Places[:n], true
	}
}

// torn lists the ids of the records that must be read again.
func (s *sheet) torn() []string {
	var ids []string
	for _, r := range s.rows {
		if r.torn {
			ids = append(ids, r.id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// cheaperAnew reports whether the whole page costs fewer credits than its torn records by id.
func (s *sheet) cheaperAnew(q Query) bool {
	return len(s.torn()) > int(q.price())*MaxIDs
}

// timely reports whether ctx leaves the time to read as much once more, and some to spare.
func (s *sheet) timely(ctx context.Context) bool {
	end, bounded := ctx.Deadline()
	return !bounded || time.Until(end) > 2*s.took
}

// cutTorn ends a page that is torn in too many places to read them all by id.
func (s *sheet) cutTorn(q Query) {
	left := int(q.price()) * MaxIDs
	for i, r := range s.rows {
		if r.torn {
			left--
		}
		if left < 0 {
			s.cut(i)
			return
		}
	}
}

// mend replaces torn records by what was found when they were asked for by their ids.
func (s *sheet) mend(again *sheet, ids []string) {
	found := make(map[string]row, len(again.rows))
	for _, r := range again.rows {
		found[r.id] = r
	}
	for i := range s.rows {
		r := &s.rows[i]
		if !r.torn || !slices.Contains(ids, r.id) {
			continue
		}
		if now, there := found[r.id]; there {
			*r = now
		} else if !again.page.More {
			r.torn, r.gone = false, true
		}
	}
}

// joined returns the page with its records whole; what is torn or gone is left out.
func (s *sheet) joined() *Page {
	buffer, ends := make([]byte, 0, s.size+len(s.rows)), make([]int, 0, len(s.rows))
	for _, r := range s.rows {
		if r.torn || r.gone {
			continue
		}
		if len(r.rests) == 0 {
			buffer = append(buffer, r.record...)
		} else {
			buffer = append(buffer, r.record[:len(r.record)-1]...)
			for _, rest := range r.rests {
				buffer = append(buffer, rest...)
			}
			buffer = append(buffer, '}')
		}
		ends = append(ends, len(buffer))
	}
	s.page.Records = parted(buffer, ends)
	return s.page
}

// A dissector takes records apart, with buffers of its own.
type dissector struct {
	keep bool // the members beside id and Modified_Time
	dec  *jsontext.Decoder
	src  bytes.Buffer
	rest []byte
}

func (d *dissector) part(record jsontext.Value) part {
	d.src.Reset()
	d.src.Write(record)
	if d.dec == nil {
		d.dec = jsontext.NewDecoder(&d.src, lenient...)
	} else {
		d.dec.Reset(&d.src, lenient...)
	}
	p := part{modified: stamp{text: "missing"}}
	if open, err := d.dec.ReadToken(); err != nil || open.Kind() != '{' {
		return p
	}
	start := len(d.rest)
	for d.dec.PeekKind() == '"' {
		name, err := d.dec.ReadValue()
		if err != nil {
			return part{}
		}
		begin := int(d.dec.InputOffset()) - len(name)
		isID, isModified := string(name) == `"id"`, string(name) == `"`+modifiedTime+`"`
		value, err := d.dec.ReadValue()
		if err != nil {
			return part{}
		}
		switch {
		case isID:
			p.id = recordID(value)
		case isModified:
			p.modified = stampOf(value)
		case d.keep:
			d.rest = append(append(d.rest, ','), record[begin:d.dec.InputOffset()]...)
		}
	}
	p.rest = d.rest[start:len(d.rest):len(d.rest)]
	return p
}

// recordID reads an id, or nothing where the value is none.
func recordID(value jsontext.Value) string {
	id := plain(value)
	if strings.Trim(id, "0123456789") != "" {
		return ""
	}
	return id
}

func stampOf(value jsontext.Value) stamp {
	if at, err := time.Parse(time.RFC3339, plain(value)); err == nil {
		return stamp{micros: at.UnixMicro()}
	}
	return stamp{text: string(value)}
}

// plain is a string's content, or the text of what is no string.
func plain(value jsontext.Value) string {
	if value.Kind() != '"' {
		return string(value)
	}
	content, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return ""
	}
	return string(content)
}
