package crm

import "testing"

func TestDecimalFitsMoney(t *testing.T) {
	for _, tc := range []struct {
		text  string
		valid bool
		fits  bool // numeric(14,2)
	}{
		{"0", true, true},
		{"-0.00", true, true},
		{"1e11", true, true},
		{"19.99", true, true},
		{"25.10000", true, true},
		{"-0.005", true, false},
		{"12345678901234.56", true, false},
		{"999999999999.99", true, true},
		{"1000000000000", true, false},
		{"1.5e-1", true, true},
		{"1.25e-1", true, false},
		{".5", true, true},
		{"5.", true, true},
		{"+7", true, true},
		{"", false, false},
		{"-", false, false},
		{".", false, false},
		{"1.2.3", false, false},
		{"--1", false, false},
		{"1e", false, false},
		{"1e99999999999", false, false},
		{"NaN", false, false},
		{"0x10", false, false},
	} {
		d, ok := parseDecimal(tc.text)
		if ok != tc.valid || ok && d.fits(14, 2) != tc.fits {
			t.Errorf("parseDecimal(%q) = %+v, %v; want valid %v, fits %v", tc.text, d, ok, tc.valid, tc.fits)
		}
	}
}
