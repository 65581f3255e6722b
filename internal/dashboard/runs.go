package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
)

var statuses = []string{mirror.StatusOK, mirror.StatusFailed, mirror.StatusSkipped, mirror.StatusRunning}

// filterOf reads what of the history an address asks for.
func filterOf(query url.Values) (f postgres.RunFilter, err error) {
	for name, given := range query {
		if len(given) != 1 {
			return f, fmt.Errorf("%.20q is given %d times", name, len(given))
		}
	}
	if f.Module = query.Get("module"); f.Module != "" {
		if _, ok := crm.Find(f.Module); !ok {
			return f, fmt.Errorf("there is no module %.40q", f.Module)
		}
	}
	if f.Status = query.Get("status"); f.Status != "" && !slices.Contains(statuses, f.Status) {
		return f, fmt.Errorf("there is no status %.40q", f.Status)
	}
	if before := query.Get("before"); before != "" {
		f.Before, err = positionOf(before)
	}
	return f, err
}

// positionOf reads a place in the history: microseconds since 1970, and an id.
func positionOf(text string) (p postgres.RunPosition, err error) {
	micros, id, _ := strings.Cut(text, "_")
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || n <= 0 || n > 1<<53 {
		return p, fmt.Errorf("%.60q is no place in the history", text)
	}
	p.At = time.UnixMicro(n)
	if p.ID, err = uuid.Parse(id); err != nil || len(id) != 36 {
		return p, fmt.Errorf("%.60q is no place in the history", text)
	}
	return p, nil
}

// A runList is a part of the history with its filters.
type runList struct {
	Groups []filterGroup
	Rows   []runLine
	Older  string // address of what comes before; empty: there is nothing
	Newest string // address of the newest; empty: these are
	Picked bool   // a filter is on
}

type filterGroup struct {
	Name  string
	Links []filterLink
}

type filterLink struct {
	Text, Href string
	On         bool
}

// A runLine is a run in the list.
type runLine struct {
	Href     string
	Module   string
	Class    string
	Status   string
	Begun    moment
	Ago      moment
	Mode     string // empty: an ordinary sync
	Rows     string
	Error    string // its first line
	Duration string // empty while it runs
	Bar      float64
	Trigger  string
}

func (d *dashboard) runList(base string, f postgres.RunFilter, runs []postgres.RunRow, now time.Time) runList {
	l := runList{Picked: f != postgres.RunFilter{}, Groups: []filterGroup{
		group(base, "Module", "module", f.Module, f, crm.Modules()),
		group(base, "Status", "status", f.Status, f, statuses),
	}}
	if len(runs) > pageRuns {
		runs = runs[:pageRuns]
		last := runs[pageRuns-1]
		l.Older = address("/dashboard/runs", f, fmt.Sprintf("%d_%s", last.StartedAt.UnixMicro(), last.ID))
	}
	if !f.Before.At.IsZero() {
		l.Newest = address("/dashboard/runs", f, "")
	}
	for _, r := range runs {
		l.Rows = append(l.Rows, d.runLine(r, now))
	}
	return l
}

func group(base, name, key, chosen string, f postgres.RunFilter, values []string) filterGroup {
	g := filterGroup{Name: name}
	for _, v := range append([]string{""}, values...) {
		to := f
		if key == "module" {
			to.Module = v
		} else {
			to.Status = v
		}
		text := "All"
		if v != "" {
			text = statusWord(v)
		}
		g.Links = append(g.Links, filterLink{text, address(base, to, "") + "#runs", v == chosen})
	}
	return g
}

func address(base string, f postgres.RunFilter, before string) string {
	query := url.Values{}
	for key, value := range map[string]string{"module": f.Module, "status": f.Status, "before": before} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if len(query) == 0 {
		return base
	}
	return base + "?" + query.Encode()
}

func (d *dashboard) runLine(r postgres.RunRow, now time.Time) runLine {
	l := runLine{
		Href: runAddress(r.ID), Module: title(r.Module), Class: r.Status, Status: statusWord(r.Status),
		Begun: clock(now, r.StartedAt), Ago: ago(now, r.StartedAt), Rows: rowsLine(r), Error: firstLine(r.Outcome.Err), Trigger: triggerWord(r.Trigger),
	}
	if r.Mode != mirror.ModeSync {
		l.Mode = r.Mode
	}
	if r.Ended && r.Status != mirror.StatusSkipped {
		l.Duration, l.Bar = short(r.Duration), barOf(r.Duration, d.Deadline)
	}
	return l
}

func statusWord(status string) string {
	if status == mirror.StatusOK {
		return "OK"
	}
	return title(status)
}

// triggerWord says who called.
func triggerWord(trigger string) string {
	words := map[string]string{"cli": "command line", "vercel-cron": "Vercel cron", "cloud-scheduler": "Cloud Scheduler", "ticker": "serve --every", "other": "another caller"}
	if word, ok := words[trigger]; ok {
		return word
	}
	return trigger
}

// rowsLine is what a run did, in one short line.
func rowsLine(r postgres.RunRow) string {
	switch r.Status {
	case mirror.StatusSkipped:
		return "another run was at work"
	case mirror.StatusRunning:
		return "at work"
	}
	var parts []string
	for _, p := range []struct {
		n    int64
		word string
	}{
		{r.Counts.Inserted, "new"}, {r.Counts.Updated, "changed"}, {r.Counts.Deleted, "deleted"},
		{r.Counts.Restored, "restored"}, {r.Counts.Quarantined, "quarantined"},
	} {
		if p.n > 0 {
			parts = append(parts, figure(p.n)+" "+p.word)
		}
	}
	line := strings.Join(parts, ", ")
	if line == "" {
		line = "nothing new"
		if r.Mode == mirror.ModeVerify {
			line = "nothing written"
		}
	}
	if r.Outcome.More {
		line += "; more to come"
	}
	return line
}

// history is the run history beyond the first page.
func (d *dashboard) history(w http.ResponseWriter, r *http.Request) {
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		d.badRequest(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookLimit)
	defer cancel()
	runs, now, err := d.db.Runs(ctx, filter, pageRuns+1)
	if err != nil {
		d.broken(w, r, err)
		return
	}
	poll := 0
	if filter.Before.At.IsZero() {
		poll = pollIdle
	}
	d.render(w, r, http.StatusOK, "history", page{Title: "Runs", Header: "runs", Poll: poll, Data: d.runList("/dashboard/runs", filter, runs, now)})
}

// runPage is all that is shown of a run.
type runPage struct {
	ID            string
	Module, Name  string
	Class, Status string
	Sentence      []piece
	Figures       []runFigure
	Error         string
	Hint          string
	Meaning       string
	Streams       []streamLine
	Drift         []driftLine
	Entries       []entryLine
	MoreEntries   string
	Before, After string
	Token         string
	Running       bool
	Begun         moment
}

type runFigure struct {
	Name string
	Text string
	Time moment
}

type streamLine struct {
	Name      string
	Watermark moment
	Cursor    moment
	Updated   moment
}

type driftLine struct {
	Field, Text string
	At          moment
}

func (d *dashboard) run(w http.ResponseWriter, r *http.Request) {
	id, err := mirror.ParseRunID(chi.URLParam(r, "id"))
	if err != nil {
		d.badRequest(w, r, errors.New("a run's id is a UUID"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookLimit)
	defer cancel()
	detail, err := d.db.Run(ctx, id, pageOpen)
	switch {
	case errors.Is(err, postgres.ErrNoRun):
		d.notFound(w, r, "There is no run with this id. The history goes back a limited time (RUN_RETENTION, 90 days by itself), and the run may be older.")
		return
	case err != nil:
		d.broken(w, r, err)
		return
	}
	shown := d.runPage(detail)
	shown.Token = who(r).token
	poll := 0
	if shown.Running {
		poll = pollRunning
	}
	d.render(w, r, http.StatusOK, "run", page{Title: title(detail.Module) + ", run of " + detail.StartedAt.UTC().Format("2 Jan 15:04"), Header: "runs", Poll: poll, Data: shown})
}

func (d *dashboard) runPage(detail *postgres.RunDetail) runPage {
	r := detail.RunRow
	p := runPage{
		ID: r.ID.String(), Module: r.Module, Name: title(r.Module), Class: r.Status, Status: statusWord(r.Status),
		Sentence: runSentence(r, detail.Now), Figures: d.figures(r), Error: r.Outcome.Err, Hint: r.Outcome.Hint,
		Running: r.Status == mirror.StatusRunning, Begun: date(r.StartedAt),
	}
	if p.Error != "" {
		meaning := mirror.MeaningOf(r.Outcome.Cause)
		p.Meaning, p.Hint = meaning.Text, cmp.Or(p.Hint, meaning.ToDo)
	}
	if detail.Before != uuid.Nil {
		p.Before = runAddress(detail.Before)
	}
	if detail.After != uuid.Nil {
		p.After = runAddress(detail.After)
	}
	for _, c := range detail.Checkpoints {
		l := streamLine{Name: strings.ReplaceAll(c.Stream, "_", " "), Updated: ago(detail.Now, c.UpdatedAt)}
		if !c.Watermark.IsZero() {
			l.Watermark = clock(detail.Now, c.Watermark)
		}
		if !c.CursorTime.IsZero() {
			l.Cursor = clock(detail.Now, c.CursorTime)
		}
		p.Streams = append(p.Streams, l)
	}
	for _, n := range detail.Drift {
		p.Drift = append(p.Drift, driftLine{n.Field, driftText(n), ago(detail.Now, n.FirstSeen)})
	}
	p.Entries = entryLines(detail.Quarantined, detail.Now)
	for i := range p.Entries {
		if detail.Quarantined[i].RunID == r.ID {
			p.Entries[i].Run = "" // this one
		}
	}
	if detail.More {
		p.MoreEntries = "/dashboard/quarantine?module=" + r.Module
	}
	return p
}

func driftText(n postgres.Drift) string {
	switch n.Kind {
	case crm.FieldAdded:
		return "a new field (" + n.IsNow + "): mirrored to custom_fields"
	case crm.FieldGone:
		return "gone from the org: its stored values stay"
	case crm.TypeChanged:
		return "changed from " + n.Was + " to " + n.IsNow
	}
	return "has a value that the table does not know: " + n.IsNow
}

// runSentence says what happened.
func runSentence(r postgres.RunRow, now time.Time) []piece {
	began := piece{Time: clock(now, r.StartedAt)}
	by := " (" + triggerWord(r.Trigger) + ")"
	what := map[string]string{
		mirror.ModeSync: "The run of ", mirror.ModeSince: "The reading anew of ", mirror.ModeVerify: "The verification of ",
		mirror.ModeRepair: "The repair of ", mirror.ModeReplay: "The replay of quarantined records of ",
	}[r.Mode] + title(r.Module) + " at "
	switch r.Status {
	case mirror.StatusRunning:
		return []piece{{Text: what}, began, {Text: by + " is at work, for " + short(now.Sub(r.StartedAt)) + " so far."}}
	case mirror.StatusSkipped:
		return []piece{{Text: what}, began, {Text: by + " did nothing: another run of the module was at work."}}
	case mirror.StatusFailed:
		return []piece{{Text: what}, began, {Text: by + " failed after " + short(r.Duration) + ": " + mirror.MeaningOf(r.Outcome.Cause).Title + "."}}
	}
	end := " and read all that was new"
	switch {
	case r.Outcome.More:
		end = " and left more to the next run"
	case r.Mode == mirror.ModeReplay:
		end = ""
	case r.Mode == mirror.ModeVerify || r.Mode == mirror.ModeRepair:
		end = " and compared what was due"
	}
	return []piece{{Text: what}, began, {Text: by + " took " + short(r.Duration) + end + ": " + strings.TrimSuffix(rowsLine(r), "; more to come") + "."}}
}

// figures are all numbers of a run, with those first that people look for.
func (d *dashboard) figures(r postgres.RunRow) []runFigure {
	c := r.Counts
	all := []runFigure{{Name: "Began", Time: date(r.StartedAt)}}
	if r.Ended {
		all = append(all, runFigure{Name: "Ended", Time: date(r.StartedAt.Add(r.Duration))}, runFigure{Name: "Duration", Text: short(r.Duration) + " of " + short(d.Deadline)})
	}
	if r.Status == mirror.StatusSkipped {
		return append(all, runFigure{Name: "Called by", Text: triggerWord(r.Trigger)})
	}
	for _, f := range []struct {
		name string
		n    int64
	}{
		{"Records read", c.Processed}, {"New", c.Inserted}, {"Changed", c.Updated}, {"Unchanged", c.Unchanged}, {"Deleted", c.Deleted},
		{"Restored", c.Restored}, {"Quarantined", c.Quarantined}, {"Pages", int64(c.Pages)}, {"Calls to Zoho", r.Outcome.Calls}, {"API credits", r.Outcome.Credits},
	} {
		all = append(all, runFigure{Name: f.name, Text: figure(f.n)})
	}
	if !r.Outcome.Watermark.IsZero() {
		all = append(all, runFigure{Name: "Watermark", Time: date(r.Outcome.Watermark)})
	}
	if r.Outcome.Reason != "" {
		all = append(all, runFigure{Name: "Ended because", Text: reasonWord(r.Outcome.Reason)})
	}
	return append(all, runFigure{Name: "Mode", Text: r.Mode}, runFigure{Name: "Called by", Text: triggerWord(r.Trigger)})
}

func reasonWord(reason string) string {
	words := map[string]string{"complete": "all was read", "time-budget": "its time was spent", "stopping": "the process was asked to end",
		mirror.ReasonSettling: "Zoho may still list what it has just stopped showing"}
	if word, ok := words[reason]; ok {
		return word
	}
	return reason
}

// runAgain runs a module and goes to the page of that run. It ends with the run, since some
// platforms stop a process once it has answered.
func (d *dashboard) runAgain(w http.ResponseWriter, r *http.Request) {
	m, ok := crm.Find(r.PostForm.Get("module"))
	if !ok {
		d.badRequest(w, r, errors.New("there is no such module"))
		return
	}
	d.perform(w, r, mirror.Request{Module: m, Trigger: postgres.TriggerDashboard})
}

// perform runs what is requested, to its end even where the caller leaves.
func (d *dashboard) perform(w http.ResponseWriter, r *http.Request, request mirror.Request) {
	if d.Preview {
		d.trouble(w, r, http.StatusForbidden, trouble{Title: "Refused", Text: "This is a preview deployment, which does not sync. Nothing was done.",
			Hint: "Use the production deployment's dashboard, or set SYNC_PREVIEW=true and a DATABASE_URL of its own for previews."})
		return
	}
	ctx := context.WithoutCancel(r.Context())
	result, failure := d.Mirror.Run(ctx, request)
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	if _, err := d.db.Run(ctx, result.RunID, 1); err != nil {
		if failure == nil {
			failure = err
		}
		d.broken(w, r, failure) // a run that the database never heard of has no page
		return
	}
	http.Redirect(w, r, runAddress(result.RunID), http.StatusSeeOther)
}
