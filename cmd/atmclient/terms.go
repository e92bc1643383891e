package main

import (
	"slices"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/zone"
	"github.com/spf13/pflag"
)

// termFlags are the terms of mandates and standing orders, but for those that have the flag of
// another operation: --from, --to and --memo.
type termFlags struct {
	creditor, each, total, period string // of a mandate
	amount, every, on, at, zone   string // of a standing order
	until                         string // of both
}

// A termFlag is a flag of terms. Other operations than of take none of it.
type termFlag struct {
	name, usage string
	value       *string
	of          []atm.Operation
}

func (f *termFlags) all() []termFlag {
	mandate, order := []atm.Operation{atm.MandateCreate}, []atm.Operation{atm.OrderCreate}
	both := []atm.Operation{atm.MandateCreate, atm.OrderCreate}
	return []termFlag{
		{
			"creditor", "`subject` that a mandate lets collect: user:NAME or service:NAME",
			&f.creditor, mandate,
		},
		{"each", "`dollars` that may be collected at once by a mandate", &f.each, mandate},
		{"total", "`dollars` that may be collected in a --period by a mandate", &f.total, mandate},
		{"period", "`period` of the --total of a mandate: day, week or month", &f.period, mandate},
		{"amount", "`dollars` that a standing order pays", &f.amount, order},
		{"every", "how often a standing order pays: `day`, week or month", &f.every, order},
		{
			"on", "`day` on which a standing order pays: 1 to 31 of the month, or monday to sunday",
			&f.on, order,
		},
		{
			"at", "`time` at which a standing order pays, such as 06:30 (default midnight)", &f.at,
			order,
		},
		{"zone", "time `zone` of a standing order, such as Europe/Berlin (default that of the " +
			"account)", &f.zone, order},
		{
			"until", "last `day` of a mandate or a standing order, such as 2026-12-31", &f.until,
			both,
		},
	}
}

func (f *termFlags) add(flags *pflag.FlagSet) {
	for _, flag := range f.all() {
		flags.StringVar(flag.value, flag.name, "", flag.usage)
	}
}

// periods are what --period and --every take.
var periods = []string{"day", "week", "month"}

// agree reads the terms that the flags say, and refuses those of another operation.
func (f *operationFlags) agree(r *request) error {
	for _, flag := range f.terms.all() {
		if *flag.value != "" && !slices.Contains(flag.of, r.operation) {
			return exit.Usagef("%s takes no --%s", spoken(r.operation), flag.name)
		}
	}
	if !operations[r.operation].agrees {
		return nil
	}
	for _, bound := range []struct{ name, text string }{
		{"from", f.from}, {"until", f.terms.until},
	} {
		if err := checkBound(bound.name, bound.text); err != nil {
			return err
		}
	}
	var err error
	if r.operation == atm.MandateCreate {
		r.mandate, err = f.mandate()
	} else {
		r.order, err = f.order()
	}
	return err
}

func (f *operationFlags) mandate() (m client.MandateTerms, err error) {
	t := &f.terms
	m = client.MandateTerms{
		Creditor: t.creditor, Period: t.period, From: f.from, Until: t.until, Memo: f.memo,
	}
	_, _, isSubject := atm.ParseSubject(t.creditor)
	switch {
	case t.creditor == "":
		return m, exit.Usagef("mandate create needs --creditor")
	case !isSubject:
		return m, exit.Usagef("--creditor is user:NAME or service:NAME, not %q", t.creditor)
	case f.to != "":
		return m, exit.Usagef("mandate create takes no --to: collect says where the money goes")
	case t.each == "" && t.total == "":
		return m, exit.Usagef("mandate create needs --each, or --total with --period")
	case (t.total == "") != (t.period == ""):
		return m, exit.Usagef("--total and --period go together")
	}
	if err := checkPeriod("period", t.period); t.period != "" && err != nil {
		return m, err
	}
	if m.Each, err = termAmount("each", t.each); err != nil {
		return m, err
	}
	m.Total, err = termAmount("total", t.total)
	return m, err
}

func (f *operationFlags) order() (o client.OrderTerms, err error) {
	t := &f.terms
	o = client.OrderTerms{
		Every: t.every, On: t.on, At: t.at, Zone: t.zone, From: f.from, Until: t.until,
		Memo: f.memo,
	}
	for _, needed := range []struct{ name, text string }{
		{"to", f.to}, {"amount", t.amount}, {"every", t.every},
	} {
		if needed.text == "" {
			return o, exit.Usagef("order create needs --%s", needed.name)
		}
	}
	var ok bool
	if o.To, ok = atm.ParseAccountID(f.to); !ok {
		return o, exit.Usagef("--to %q is no account number", f.to)
	}
	if o.Amount, err = termAmount("amount", t.amount); err != nil {
		return o, err
	}
	if err := checkPeriod("every", t.every); err != nil {
		return o, err
	}
	every, _ := calendar.ParsePeriod(t.every)
	if _, ok := calendar.ParseOn(every, t.on); !ok {
		return o, exit.Usagef("--on %s", onForms[t.every])
	}
	if _, ok := calendar.ParseTimeOfDay(t.at); t.at != "" && !ok {
		return o, exit.Usagef("--at is a time of the day such as 06:30, not %q", t.at)
	}
	if t.zone != "" && !zone.Known(t.zone) {
		return o, exit.Usagef("there is no time zone %q", t.zone)
	}
	return o, nil
}

// onForms say what --on is, by --every.
var onForms = map[string]string{
	"day":   "is not for --every day",
	"week":  "is a day of the week, monday to sunday",
	"month": "is a day of the month, 1 to 31; a month that is shorter pays on its last day",
}

func termAmount(name, text string) (atm.Amount, error) {
	if text == "" {
		return 0, nil
	}
	value, code := atm.ParseAmount(text)
	if code != atm.OK {
		return 0, exit.Usagef("--%s: the amount %s %s", name, text, amountFaults[code])
	}
	return value, nil
}

func checkPeriod(name, text string) error {
	if !slices.Contains(periods, text) {
		return exit.Usagef("--%s is day, week or month, not %q%s", name, text,
			exit.DidYouMean(text, periods...))
	}
	return nil
}

// checkBound refuses what is neither a day nor a time.
func checkBound(name, text string) error {
	_, isDay := calendar.ParseDate(text)
	_, err := atm.ParseTime(text)
	if text == "" || isDay || err == nil {
		return nil
	}
	return exit.Usagef("--%s is a day such as 2026-12-31, or a time such as %s, not %q", name,
		"2026-12-31T12:00:00Z", text)
}
