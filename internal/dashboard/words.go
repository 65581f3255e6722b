package dashboard

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A moment is an instant as a page shows it. The script turns a clock's time into the
// viewer's; the one in UTC stays as the title.
type moment struct {
	At   time.Time
	Text string
	Form string // ago, time or date
}

func (m moment) Zero() bool      { return m.At.IsZero() }
func (m moment) Machine() string { return m.At.UTC().Format(time.RFC3339) }
func (m moment) Title() string   { return m.At.UTC().Format("2 January 2006, 15:04:05") + " UTC" }

// ago is for what has just been.
func ago(now, at time.Time) moment {
	text := "just now"
	if d := now.Sub(at); d >= time.Minute {
		text = span(d) + " ago"
	}
	return moment{at, text, "ago"}
}

// clock is for a time of day, with the day where it is not now's.
func clock(now, at time.Time) moment {
	now, at = now.UTC(), at.UTC()
	if now.Format(time.DateOnly) == at.Format(time.DateOnly) {
		return moment{at, at.Format("15:04"), "time"}
	}
	return moment{at, at.Format("2 Jan, 15:04"), "time"}
}

// date is for an instant in full.
func date(at time.Time) moment {
	return moment{at, at.UTC().Format("2 January 2006, 15:04:05") + " UTC", "date"}
}

// span is a duration in its largest unit, for people.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 90*time.Minute:
		return counted(int64(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return counted(int64((d+30*time.Minute)/time.Hour), "hour")
	}
	return counted(int64(d/(24*time.Hour)), "day")
}

// short is a duration as a figure: 0.3 s, 1.2 s, 48 s, 2 min 5 s.
func short(d time.Duration) string {
	switch {
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1f s", max(d.Seconds(), 0))
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return span(d)
}

// figure is a whole number with its thousands parted.
func figure(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "−", digits[1:]
	}
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, parts...), ",")
}

// counted is a number and its noun: 1 minute, 2 minutes.
func counted[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if root, ok := strings.CutSuffix(noun, "y"); ok && !strings.HasSuffix(noun, "ay") {
		return figure(int64(n)) + " " + root + "ies"
	}
	return figure(int64(n)) + " " + noun + "s"
}

// times is how often, in words.
func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return figure(int64(n)) + " times in a row"
}

func title(name string) string {
	first, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(first)) + strings.ReplaceAll(name[size:], "_", " ")
}

// list joins words: a, b and c.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// firstLine is the beginning of a message, for where there is one line.
func firstLine(text string) string {
	const most = 160
	line, _, cut := strings.Cut(strings.TrimSpace(text), "\n")
	if runes := []rune(line); len(runes) > most {
		line, cut = strings.TrimSpace(string(runes[:most])), true
	}
	if cut {
		line += " …"
	}
	return line
}
