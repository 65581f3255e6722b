package dashboard

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"zohomirror/internal/crm"
)

// How often an open page asks again, in seconds.
const (
	pollIdle    = 15
	pollRunning = 2
)

// frontPage is what the first page shows.
type frontPage struct {
	Headline headline
	Cards    []card
	Runs     runList
	Curl     string
	AsOf     moment
}

// A card is a module's.
type card struct {
	Name, Title string
	Class, Word string
	Never       bool
	Lag         string
	Rows        int64
	Running     string // address of the run at work
	Failed      string // address of the last failed run, where the module fails
	Since       moment

	Runs, Good, Bad, Skipped int64
	Strip                    strip
	Mean, P95, Deadline      string // empty: no run
	Spark                    spark

	Open     int64
	Credits  int64
	Verdict  string
	Verified moment
	Token    string // of its form
	Curl     string
}

func (d *dashboard) front(w http.ResponseWriter, r *http.Request) {
	filter, err := filterOf(r.URL.Query())
	if err != nil {
		d.badRequest(w, r, err)
		return
	}
	if !filter.Before.At.IsZero() {
		http.Redirect(w, r, "/dashboard/runs?"+r.URL.RawQuery, http.StatusSeeOther)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookLimit)
	defer cancel()
	found, err := d.db.Front(ctx, filter, pageRuns+1)
	if err != nil {
		d.broken(w, r, err)
		return
	}
	var modules []module
	shown := frontPage{AsOf: clock(found.Now, found.Now), Runs: d.runList("/dashboard", filter, found.Runs, found.Now)}
	for _, name := range crm.Modules() {
		m := moduleOf(name, found, d.StaleAfter)
		modules = append(modules, m)
		c := d.card(m, dayOf(name, found.Quarters, found.Now), found.Now)
		c.Token, c.Curl = who(r).token, d.curl(r, name)
		shown.Cards = append(shown.Cards, c)
	}
	shown.Headline = headlineOf(modules, found.Now)
	shown.Curl = d.curl(r, crm.Modules()[0])
	poll := pollIdle
	if len(found.Running) > 0 {
		poll = pollRunning
	}
	d.render(w, r, http.StatusOK, "front", page{Title: "Overview", Header: "overview", Poll: poll, Data: shown})
}

// curl is the line that makes a module's run.
func (d *dashboard) curl(r *http.Request, name string) string {
	return `curl -H "Authorization: Bearer $CRON_SECRET" '` + d.base(r) + `/api/sync?module=` + name + `'`
}

func (d *dashboard) card(m module, of day, now time.Time) card {
	stand := standings[m.standing]
	c := card{
		Name: m.Module, Title: title(m.Module), Class: stand.class, Word: stand.word, Never: m.standing == never,
		Rows: m.Rows, Runs: int64(m.Runs24h), Good: int64(m.Runs24h - m.Failures24h), Bad: int64(m.Failures24h), Skipped: int64(m.Skipped24h),
		Strip: of.strip(), Spark: of.spark(d.Deadline), Deadline: short(d.Deadline),
		Open: m.OpenQuarantine, Credits: m.Credits24h, Verdict: m.LastVerdict,
	}
	if m.Lag != nil {
		c.Lag = span(*m.Lag) + " behind Zoho"
	}
	if m.running != uuid.Nil {
		c.Running = runAddress(m.running)
	}
	if m.standing == failing {
		c.Failed, c.Since = runAddress(m.failed.ID), clock(now, m.FailingSince)
	}
	if m.Runs24h > 0 {
		c.Mean, c.P95 = short(m.Mean24h), short(m.P9524h)
	}
	if !m.VerifiedAsOf.IsZero() {
		c.Verified = clock(now, m.VerifiedAsOf)
	}
	return c
}
