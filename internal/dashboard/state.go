package dashboard

import (
	"time"

	"github.com/google/uuid"

	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
)

// Classes of what is shown; each has a colour, a shape and a word.
const (
	classOK      = "ok"
	classFailed  = "failed"
	classWarning = "warning"
	classSkipped = "skipped"
	classRunning = "running"
	classNone    = "none"
)

// How a module stands, from what needs a person first to what needs nobody.
type standing int

const (
	failing standing = iota
	silent           // no good run for too long
	behind           // good runs, but none has come to the end of what is new for too long
	loading          // none has come to the end yet
	never            // no run has ended
	current
)

var standings = map[standing]struct{ class, word string }{
	failing: {classFailed, "Failing"},
	silent:  {classWarning, "Silent"},
	behind:  {classWarning, "Behind"},
	loading: {classRunning, "First load"},
	never:   {classNone, "Never run"},
	current: {classOK, "Current"},
}

// A module is one module as the page sees it.
type module struct {
	postgres.Health
	standing standing
	running  uuid.UUID
	failed   postgres.RunRow // the last that failed
}

func moduleOf(name string, front *postgres.Front, staleAfter time.Duration) module {
	m := module{Health: postgres.Health{Module: name}, running: front.Running[name], failed: front.Failed[name]}
	for _, h := range front.Health {
		if h.Module == name {
			m.Health = h
		}
	}
	m.standing = m.stand(front.Now, staleAfter)
	return m
}

func (m module) stand(now time.Time, staleAfter time.Duration) standing {
	switch {
	case m.Failures > 0:
		return failing
	case m.LastStatus == "":
		return never
	case !m.LastOKAt.IsZero() && now.Sub(m.LastOKAt) > staleAfter:
		return silent
	case m.Lag == nil:
		return loading
	case *m.Lag > staleAfter:
		return behind
	}
	return current
}

// A piece of a sentence: text, a link, or a time.
type piece struct {
	Text string
	Href string
	Time moment
}

// A headline is one sentence on how things stand.
type headline struct {
	Class  string
	Pieces []piece
}

// headlineOf names the worst thing, and what is as bad.
func headlineOf(modules []module, now time.Time) headline {
	worst := modules[0]
	for _, m := range modules[1:] {
		if m.standing < worst.standing || m.standing == worst.standing && worse(m, worst) {
			worst = m
		}
	}
	h := headline{Class: standings[worst.standing].class, Pieces: worst.sentence(modules, now)}
	var others []string
	for _, m := range modules {
		if m.Module != worst.Module && m.standing < never && worst.standing < never {
			others = append(others, title(m.Module)+" is "+lower(standings[m.standing].word))
		}
	}
	if len(others) > 0 {
		h.Pieces = append(h.Pieces, piece{Text: " " + list(others) + " too."})
	}
	return h
}

// worse decides between two that stand alike: who has failed or lagged for longer.
func worse(a, b module) bool {
	switch a.standing {
	case failing:
		return a.FailingSince.Before(b.FailingSince)
	case silent:
		return a.LastOKAt.Before(b.LastOKAt)
	case behind, current:
		return *a.Lag > *b.Lag
	}
	return false
}

func lower(word string) string {
	return map[string]string{"Failing": "failing", "Silent": "silent", "Behind": "behind", "First load": "at its first load"}[word]
}

func (m module) sentence(modules []module, now time.Time) []piece {
	name := title(m.Module)
	switch m.standing {
	case failing:
		return []piece{
			{Text: name + " has failed " + times(m.Failures) + " since "}, {Time: clock(now, m.FailingSince)}, {Text: ": "},
			{Text: mirror.MeaningOf(m.failed.Outcome.Cause).Title, Href: runAddress(m.failed.ID)}, {Text: "."},
		}
	case silent:
		return []piece{
			{Text: name + " has had no good run for " + span(now.Sub(m.LastOKAt)) + ", since "}, {Time: clock(now, m.LastOKAt)},
			{Text: ": nothing calls it, or its calls end before they begin. See its "}, {Text: "last run", Href: runAddress(m.LastRunID)}, {Text: "."},
		}
	case behind:
		return []piece{
			{Text: name + " is " + span(*m.Lag) + " behind Zoho: its runs end before they have read all that is new. See its "},
			{Text: "last run", Href: runAddress(m.LastRunID)}, {Text: "."},
		}
	case loading:
		return []piece{
			{Text: name + " is being read for the first time: each run goes on where the last one stopped. See its "},
			{Text: "last run", Href: runAddress(m.LastRunID)}, {Text: "."},
		}
	case never:
		return neverSentence(m, modules)
	}
	return currentSentence(m, modules)
}

func neverSentence(m module, modules []module) []piece {
	var names []string
	for _, other := range modules {
		if other.standing == never {
			names = append(names, title(other.Module))
		}
	}
	has := " has"
	if len(names) > 1 {
		has = " have"
	}
	if len(names) == len(modules) {
		return []piece{{Text: "Nothing has run yet. The first call of each module makes its mirror."}}
	}
	return []piece{{Text: list(names) + has + " never run; the other mirrors are current."}}
}

func currentSentence(m module, modules []module) []piece {
	subject := "All mirrors are current, "
	if len(modules) == 1 {
		subject = title(m.Module) + " is current, "
	}
	pieces := []piece{{Text: subject + span(*m.Lag) + " behind Zoho."}}
	var open int64
	for _, other := range modules {
		open += other.OpenQuarantine
	}
	if open > 0 {
		verb := " do not fit: see the "
		if open == 1 {
			verb = " does not fit: see the "
		}
		pieces = append(pieces, piece{Text: " " + counted(open, "record") + verb}, piece{Text: "quarantine", Href: "/dashboard/quarantine"}, piece{Text: "."})
	}
	return pieces
}

func runAddress(id uuid.UUID) string { return "/dashboard/runs/" + id.String() }
