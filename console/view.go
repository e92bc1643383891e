package console

import (
	"strings"
	"time"
	"unicode"

	"example.com/atm"
	"example.com/atm/audit"
)

// dollars writes an amount as people read it: $1,609.00, with a real minus sign before it.
func dollars(a atm.Amount) string {
	if a < 0 {
		return "−$" + grouped(-a)
	}
	return "$" + grouped(a)
}

// signed writes what an entry does to a balance: +12.50 or −392.00.
func signed(a atm.Amount) string {
	if a < 0 {
		return "−" + grouped(-a)
	}
	return "+" + grouped(a)
}

// moved writes what an entry did to the balance of one account.
func moved(c audit.Change) string { return signed(c.After - c.Before) }

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

// parseSigned reads an amount as the bank writes it, which may be negative. It is zero for
// anything else.
func parseSigned(s string) atm.Amount {
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

// when writes a time for people; the machine-readable form is beside it.
func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// verb is the word on the button of an act. The name of an operation of administration stays as
// it is.
func verb(act string) string {
	if act == "" || strings.Contains(act, ".") {
		return act
	}
	return strings.ToUpper(act[:1]) + act[1:]
}

// sentence makes a sentence of an error.
func sentence(s string) string {
	runes := []rune(s)
	if len(runes) == 0 {
		return s
	}
	runes[0] = unicode.ToUpper(runes[0])
	return string(runes) + "."
}

// dayStart and dayEnd are the bounds of a day in UTC, for a statement. What is no day stays as
// it was typed, and the bank says what is wrong with it.
func dayStart(day string) string { return dayAt(day, "T00:00:00Z") }

func dayEnd(day string) string { return dayAt(day, "T23:59:59.999Z") }

func dayAt(day, clock string) string {
	if _, err := time.Parse(time.DateOnly, day); err != nil {
		return day
	}
	return day + clock
}
