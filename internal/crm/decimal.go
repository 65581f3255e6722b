package crm

import "strings"

// maxExponent bounds what a decimal's exponent may say: far beyond any money,
// and small enough that no arithmetic on digit counts overflows.
const maxExponent = 1 << 20

// A decimal is what the text of a JSON number says about size: how many
// significant digits it has before and after the point. The digits themselves
// are never converted; PostgreSQL reads the text.
type decimal struct {
	whole int // digits before the point, leading zeros not counted
	scale int // digits after the point, trailing zeros not counted
}

// parseDecimal reads text in the grammar of a JSON number, a leading + or a
// missing digit before or after the point included, as some fields arrive as
// strings. It reports false for anything else.
func parseDecimal(text string) (decimal, bool) {
	rest := strings.TrimLeft(text, "+-")
	if len(text)-len(rest) > 1 {
		return decimal{}, false
	}
	exponent := 0
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		var ok bool
		if exponent, ok = parseExponent(rest[i+1:]); !ok {
			return decimal{}, false
		}
		rest = rest[:i]
	}
	whole, fraction, _ := strings.Cut(rest, ".")
	if whole+fraction == "" || !allDigits(whole) || !allDigits(fraction) {
		return decimal{}, false
	}

	digits := whole + fraction
	point := len(whole) + exponent // the point's place, counted from the first digit
	significant := strings.TrimLeft(digits, "0")
	if significant == "" {
		return decimal{}, true
	}
	point -= len(digits) - len(significant)
	significant = strings.TrimRight(significant, "0")
	return decimal{whole: max(point, 0), scale: max(len(significant)-point, 0)}, true
}

func parseExponent(text string) (int, bool) {
	digits := strings.TrimLeft(text, "+-")
	if len(text)-len(digits) > 1 || digits == "" || !allDigits(digits) {
		return 0, false
	}
	n := 0
	for _, c := range digits {
		if n = n*10 + int(c-'0'); n > maxExponent {
			return 0, false
		}
	}
	if text[0] == '-' {
		n = -n
	}
	return n, true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// fits reports whether the number can be stored in numeric(precision, scale)
// without being rounded. PostgreSQL itself would round in silence.
func (d decimal) fits(precision, scale int) bool {
	return d.scale <= scale && d.whole <= precision-scale
}
