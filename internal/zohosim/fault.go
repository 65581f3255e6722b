package zohosim

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Fault spoils one answer. The zero Fault spoils nothing.
type Fault struct {
	Status       int    // answer this status with Body instead
	Body         string // as it stands: JSON, HTML or nothing
	ContentType  string // of Body; empty is application/json
	RetryAfter   string // header
	Cut          bool   // the body ends in the middle
	Reset        bool   // the connection breaks before any answer
	Hang         bool   // nothing comes until the caller leaves
	ExpireTokens bool   // every live token dies before this call
	Padding      int    // bytes of an unknown member that precede the data
}

type planned struct {
	match func(Call) bool
	fault Fault
	times int
}

// Plan makes the next times calls that match fail. A nil match is any call of the API.
func (z *Zoho) Plan(times int, match func(Call) bool, fault Fault) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.faults = append(z.faults, &planned{match: match, fault: fault, times: times})
}

// ClearPlans forgets what was planned.
func (z *Zoho) ClearPlans() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.faults = nil
}

func (z *Zoho) plannedFault(call Call) Fault {
	for _, p := range z.faults {
		if p.times > 0 && (p.match == nil || p.match(call)) {
			p.times--
			return p.fault
		}
	}
	return Fault{}
}

// A charge is what a call cost, and when.
type charge struct {
	at     time.Time
	amount int
}

// charge takes credits from the rolling 24 hours, if there are enough.
func (z *Zoho) charge(amount int) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	left, _ := z.creditsLeft()
	if left < amount {
		return false
	}
	z.credits = append(z.credits, charge{z.now(), amount})
	return true
}

// creditsLeft also says whether half are used: only then does Zoho show them.
func (z *Zoho) creditsLeft() (left int, low bool) {
	since := z.now().Add(-24 * time.Hour)
	for len(z.credits) > 0 && z.credits[0].at.Before(since) {
		z.credits = z.credits[1:]
	}
	used := 0
	for _, c := range z.credits {
		used += c.amount
	}
	return z.config.Credits - used, used*2 > z.config.Credits
}

func readBody(r *http.Request) []byte {
	const enough = 1 << 20
	body, err := io.ReadAll(io.LimitReader(r.Body, enough))
	if err != nil {
		return nil // judged as a body that is no JSON
	}
	return body
}

// write sends an answer, spoiled by the fault.
func write(w http.ResponseWriter, r *http.Request, got answer, fault Fault) {
	switch {
	case fault.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case fault.Reset:
		panic(http.ErrAbortHandler)
	}
	if fault.RetryAfter != "" {
		w.Header().Set("Retry-After", fault.RetryAfter)
	}
	if got.body == nil {
		w.WriteHeader(got.status)
		return
	}
	body, isRaw := got.body.(json.RawMessage)
	if !isRaw {
		var err error
		if body, err = json.Marshal(got.body); err != nil {
			panic(err) // values are made of JSON's own types
		}
	}
	if fault.Padding > 0 {
		body = pad(body, fault.Padding)
	}
	contentType := "application/json;charset=UTF-8"
	if fault.ContentType != "" {
		contentType = fault.ContentType
	}
	w.Header().Set("Content-Type", contentType)
	if fault.Cut {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(got.status)
		_, _ = w.Write(body[:len(body)/2]) // the caller sees the rest missing
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(got.status)
	_, _ = w.Write(body) // a caller that left needs no answer
}

func pad(body []byte, n int) []byte {
	padded := append(make([]byte, 0, len(body)+n+16), `{"padding":"`...)
	for range n {
		padded = append(padded, 'x')
	}
	return append(append(padded, `",`...), body[1:]...)
}
