// Package words writes for people, and reads what people write, on the pages of the console.
package words

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/console/internal/forms"
)

// Moved writes what an entry did to the balance of one account.
func Moved(c audit.Change) string { return forms.Signed(c.After - c.Before) }

// When writes a time for people; the machine-readable form is beside it.
func When(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// movements are how people call what an operation moves.
var movements = map[atm.Operation]string{
	atm.Deposit: "a deposit", atm.Withdraw: "a withdrawal", atm.Transfer: "a transfer",
	atm.Capture: "the capture of a hold", atm.Collect: "a collection",
	atm.OrderPay: "the payment of a standing order", atm.Reverse: "a reversal",
}

// Moving says what an entry moved, as far as it names customers: a transfer of $5.00 from account
// 100 to account 200. It is empty for an entry that moved nothing.
func Moving(e *audit.Entry) string {
	words := movements[e.Operation]
	if words == "" || len(e.State) == 0 {
		return ""
	}
	from, to, moved := "", "", e.State[0].After-e.State[0].Before
	for _, c := range e.State {
		if _, customer := atm.ParseAccountID(c.Account); !customer {
			continue
		}
		if c.After < c.Before {
			from = c.Account
		} else {
			to = c.Account
		}
	}
	for _, arg := range e.Args { // which name the account that the reader sees no balance of
		switch arg.Name {
		case "from":
			from = arg.Value
		case "to":
			to = arg.Value
		}
	}
	words += " of " + forms.Dollars(max(moved, -moved))
	if from != "" {
		words += " from account " + from
	}
	if to != "" {
		words += " to account " + to
	}
	return words
}

// Verb is the word on the button of an act. The name of an operation of administration stays as
// it is.
func Verb(act string) string {
	if act == "" || strings.Contains(act, ".") {
		return act
	}
	return upper(act)
}

// Sentence makes a sentence of an error.
func Sentence(s string) string {
	if s == "" {
		return s
	}
	first, _, _ := strings.Cut(s, " ")
	if strings.ContainsAny(first, ":_.") { // user:alice is written like this everywhere
		return s + "."
	}
	return upper(s) + "."
}

// upper writes the first letter of a text as a capital.
func upper(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}

// Label is the name of an argument for people.
func Label(name string) string {
	switch name {
	case "":
		return ""
	case "jti":
		return "Id"
	}
	return upper(strings.ReplaceAll(name, "_", " "))
}

// Argument is the value of an argument for people: an amount is in dollars.
func Argument(arg audit.Arg) string {
	switch arg.Name {
	case "amount", "cap", "opening", "per_operation", "daily_amount", "each", "total":
		if cents, code := atm.ParseAmount(arg.Value); code == atm.OK {
			return forms.Dollars(cents)
		}
	}
	return arg.Value
}

// Ago reads a time such as 24h as one so long before now. Everything else stays as it is.
func Ago(written string, now time.Time) string {
	if d, err := time.ParseDuration(written); err == nil && d >= 0 {
		return now.Add(-d).UTC().Format(time.RFC3339)
	}
	return written
}

// DayStart and DayEnd are the bounds of a day in UTC, for a statement. What is no day stays as
// it was typed, and the bank says what is wrong with it.
func DayStart(day string) string { return dayAt(day, "T00:00:00Z") }

func DayEnd(day string) string { return dayAt(day, "T23:59:59.999Z") }

func dayAt(day, clock string) string {
	if _, err := time.Parse(time.DateOnly, day); err != nil {
		return day
	}
	return day + clock
}
