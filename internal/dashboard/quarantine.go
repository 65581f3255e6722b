package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
)

// An entryLine is a quarantined record: what does not fit, and nothing else of it.
type entryLine struct {
	Module, Name       string
	ID                 string
	Field, Value, Rule string
	Reason             string
	Attempts           int64
	First, Last        moment
	Run                string
	Settled            moment
	Replay             bool
}

func entryLines(entries []postgres.Entry, now time.Time) []entryLine {
	var lines []entryLine
	for _, e := range entries {
		l := entryLine{
			Module: e.Module, Name: title(e.Module), ID: e.ID, Field: e.Field, Value: cut(e.Value, 200), Rule: e.Rule, Reason: cut(e.Reason, 300),
			Attempts: int64(e.Attempts), First: ago(now, e.FirstSeen), Last: ago(now, e.LastSeen), Run: runAddress(e.RunID),
			Replay: e.SettledAt == nil && !e.NoID(),
		}
		if e.NoID() {
			l.ID = "came without an id"
		}
		if e.SettledAt != nil {
			l.Settled = ago(now, *e.SettledAt)
		}
		lines = append(lines, l)
	}
	return lines
}

func cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + " …"
	}
	return text
}

// quarantinePage is a part of the open entries.
type quarantinePage struct {
	Total   int64
	Group   filterGroup
	Entries []entryLine
	Next    string
	First   string
	Token   string
}

// recordID is what an entry may be named by: Zoho's digits, or a digest of the payload.
var recordID = regexp.MustCompile(`^([0-9]{1,40}|sha256:[0-9a-f]{32,64})$`)

func afterOf(query url.Values) (after postgres.EntryPosition, err error) {
	text := query.Get("after")
	if text == "" {
		return after, nil
	}
	name, id, _ := strings.Cut(text, ".")
	if _, ok := crm.Find(name); !ok || !recordID.MatchString(id) {
		return after, fmt.Errorf("%.60q is no place in the quarantine", text)
	}
	return postgres.EntryPosition{Module: name, ID: id}, nil
}

func (d *dashboard) quarantine(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	after, err := afterOf(query)
	name := query.Get("module")
	if _, ok := crm.Find(name); name != "" && !ok {
		err = fmt.Errorf("there is no module %.40q", name)
	}
	if err != nil {
		d.badRequest(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookLimit)
	defer cancel()
	found, err := d.db.OpenAfter(ctx, name, after, pageOpen+1)
	if err != nil {
		d.broken(w, r, err)
		return
	}
	shown := quarantinePage{Group: filterGroup{Name: "Module"}, Token: who(r).token}
	for _, m := range append([]string{""}, crm.Modules()...) {
		shown.Total += found.Open[m]
		link := filterLink{"All", quarantineAddress(m, ""), m == name}
		if m != "" {
			link.Text = title(m) + " (" + figure(found.Open[m]) + ")"
		}
		shown.Group.Links = append(shown.Group.Links, link)
	}
	if len(found.Entries) > pageOpen {
		found.Entries = found.Entries[:pageOpen]
		last := found.Entries[pageOpen-1]
		shown.Next = quarantineAddress(name, last.Module+"."+last.ID)
	}
	if after.ID != "" {
		shown.First = quarantineAddress(name, "")
	}
	shown.Entries = entryLines(found.Entries, found.Now)
	d.render(w, r, http.StatusOK, "quarantine", page{Title: "Quarantine", Header: "quarantine", Poll: pollIdle, Data: shown})
}

func quarantineAddress(module, after string) string {
	query := url.Values{}
	if module != "" {
		query.Set("module", module)
	}
	if after != "" {
		query.Set("after", after)
	}
	if len(query) == 0 {
		return "/dashboard/quarantine"
	}
	return "/dashboard/quarantine?" + query.Encode()
}

// replay tries one quarantined record again and goes to the page of the run that did.
func (d *dashboard) replay(w http.ResponseWriter, r *http.Request) {
	m, ok := crm.Find(r.PostForm.Get("module"))
	id := r.PostForm.Get("id")
	if !ok || !recordID.MatchString(id) || strings.HasPrefix(id, "sha256:") {
		d.badRequest(w, r, errors.New("there is no such record"))
		return
	}
	d.perform(w, r, mirror.Request{Module: m, Mode: mirror.ModeReplay, IDs: []string{id}, Trigger: postgres.TriggerDashboard})
}
