package dashboard

import (
	"fmt"
	"math"
	"strings"
	"time"

	"zohomirror/internal/postgres"
)

const (
	quarter  = 15 * time.Minute
	quarters = 96 // of a day

	stripStep, stripWide, stripHigh = 4, 3, 24
	sparkHigh                       = 40
	chartWidth                      = quarters * stripStep
)

// day is what happened to a module in each quarter of an hour of the last 24 hours.
type day struct {
	begin time.Time // of the first
	slots [quarters]postgres.Quarter
}

func dayOf(module string, all []postgres.Quarter, now time.Time) day {
	d := day{begin: now.UTC().Truncate(quarter).Add(-(quarters - 1) * quarter)}
	for _, q := range all {
		i := int(q.Begin.Sub(d.begin) / quarter)
		if q.Module == module && !q.Begin.Before(d.begin) && i < quarters {
			d.slots[i] = q
		}
	}
	return d
}

// A strip is 96 bars, one a quarter of an hour. What kind a bar is shows in its height too.
type strip struct {
	OK, Failed, Skipped, Empty string // outlines
	Text                       string // the same in words
}

func (d day) strip() strip {
	var ok, failed, skipped, empty strings.Builder
	var good, bad, other, none int
	var when []string
	for i, q := range d.slots {
		bar := func(to *strings.Builder, height int) {
			fmt.Fprintf(to, "M%d %dv-%dh%dv%dz", i*stripStep, stripHigh, height, stripWide, height)
		}
		switch {
		case q.Failed > 0:
			bar(&failed, stripHigh)
			bad++
			when = append(when, d.begin.Add(time.Duration(i)*quarter).Format("15:04"))
		case q.OK > 0:
			bar(&ok, 16)
			good++
		case q.Skipped > 0:
			bar(&skipped, 9)
			other++
		default:
			bar(&empty, 1)
			none++
		}
	}
	parts := []string{fmt.Sprintf("%d with good runs only", good)}
	if bad > 0 {
		const most = 6
		times := list(when)
		if len(when) > most {
			times = strings.Join(when[len(when)-most:], ", ") + " and earlier"
		}
		parts = append(parts, fmt.Sprintf("%d with a failure (%s UTC)", bad, times))
	}
	if other > 0 {
		parts = append(parts, fmt.Sprintf("%d where all were skipped", other))
	}
	if none > 0 {
		parts = append(parts, fmt.Sprintf("%d without a run", none))
	}
	return strip{ok.String(), failed.String(), skipped.String(), empty.String(), "Of 96 quarters of an hour, " + list(parts) + "."}
}

// A spark is the mean duration over the day, on a logarithmic scale on which a tenth of a
// second is at the bottom and the deadline is a line near the top.
type spark struct {
	Line     string
	Deadline float64 // its height on the chart
	Text     string
}

func (d day) spark(deadline time.Duration) spark {
	const margin, least = 3.0, 0.1
	top := max(deadline.Seconds(), 1)
	y := func(seconds float64) float64 {
		share := math.Log(max(seconds, least)/least) / math.Log(top/least)
		return math.Round(10*(sparkHigh-margin-share*(sparkHigh-2*margin))) / 10
	}
	var line strings.Builder
	last := -quarters
	shortest, longest := time.Duration(math.MaxInt64), time.Duration(0)
	for i, q := range d.slots {
		if q.OK+q.Failed == 0 {
			continue
		}
		shortest, longest = min(shortest, q.Mean), max(longest, q.Mean)
		x, height := float64(i*stripStep)+1.5, max(y(q.Mean.Seconds()), 1)
		if i-last > 8 { // two hours without a run are a gap
			fmt.Fprintf(&line, "M%g %gh.01", x, height)
		} else {
			fmt.Fprintf(&line, "L%g %g", x, height)
		}
		last = i
	}
	text := "No run has ended in the last 24 hours."
	if longest > 0 || last >= 0 {
		text = fmt.Sprintf("Mean duration a quarter of an hour, from %s to %s, against a deadline of %s.", short(shortest), short(longest), short(deadline))
	}
	return spark{line.String(), y(top), text}
}

const barWidth = 72

// barOf is how wide a run's bar is against the deadline's.
func barOf(d, deadline time.Duration) float64 {
	if deadline <= 0 {
		return 0
	}
	return math.Round(10*min(max(float64(d)/float64(deadline)*barWidth, 1.5), barWidth)) / 10
}

// An icon is a shape that says a state without its colour.
type icon struct {
	Outline string
	Word    string
}

var icons = map[string]icon{
	classOK:      {"M3.5 8.5l3 3 6-7", "ok"},
	classFailed:  {"M4 4l8 8M12 4l-8 8", "failed"},
	classWarning: {"M8 3v6.5M8 12.5v.01", "warning"},
	classSkipped: {"M3 8h10", "skipped"},
	classRunning: {"M5 3.5l7 4.5-7 4.5z", "running"},
	classNone:    {"M8 5a3 3 0 1 0 .01 0z", "nothing yet"},
}
