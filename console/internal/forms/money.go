package forms

import (
	"regexp"
	"strings"

	"example.com/atm"
)

// Dollars writes an amount as people read it: $1,609.00, with a real minus sign before it.
func Dollars(a atm.Amount) string {
	if a < 0 {
		return "−$" + grouped(-a)
	}
	return "$" + grouped(a)
}

// Signed writes what an entry does to a balance: +12.50 or −392.00.
func Signed(a atm.Amount) string {
	if a < 0 {
		return "−" + grouped(-a)
	}
	return "+" + grouped(a)
}

// grouped writes an amount with a comma before each three digits of its dollars.
func grouped(a atm.Amount) string {
	whole, cents, _ := strings.Cut(a.String(), ".")
	var b strings.Builder
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String() + "." + cents
}

// ParseSigned reads an amount as the bank writes it, which may be negative. It is zero for
// anything else.
func ParseSigned(s string) atm.Amount {
	positive, negative := strings.CutPrefix(s, "-")
	var cents atm.Amount
	for _, c := range positive {
		if c == '.' {
			continue
		}
		if c < '0' || c > '9' {
			return 0
		}
		cents = cents*10 + atm.Amount(c-'0')
	}
	if negative {
		return -cents
	}
	return cents
}

// DollarsOf writes an amount that was typed as people read it.
func DollarsOf(amount string) string {
	cents, _ := atm.ParseAmount(amount)
	return Dollars(cents)
}

// shownAmount is an amount as pages show it.
var shownAmount = regexp.MustCompile(`^[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$`)

// PlainAmount is an amount without the dollar sign and the commas that pages show it with.
func PlainAmount(written string) string {
	written = strings.TrimPrefix(written, "$")
	if shownAmount.MatchString(written) {
		written = strings.ReplaceAll(written, ",", "")
	}
	return written
}
