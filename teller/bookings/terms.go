package bookings

import (
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/zone"
)

// Terms are the members of a struct, by name.
type Terms map[string]*atm.Arg

// Terms reads the members of the argument at position i, which must be among those of its
// parameter. An error is a malformed call.
func (in *Input) Terms(i int) (Terms, error) {
	in.Args = slices.Clone(in.Args)
	members := slices.Clone(in.Args[i].Members)
	in.Args[i].Members = members
	given := make(Terms, len(members))
	for j := range members {
		m := &members[j]
		kinds := in.Method.Params[i].Members[m.Name]
		if kinds == nil {
			return nil, Malformed("%s of %s has no %s", in.Method.Params[i].Name, in.Method.Name,
				Shorten(m.Name))
		}
		if !m.Arg.Given() {
			continue
		}
		if !slices.Contains(kinds, m.Arg.Kind) {
			return nil, Malformed("%s of %s is of the wrong type", m.Name, in.Method.Name)
		}
		given[m.Name] = &m.Arg
	}
	return given, nil
}

// Text is the text of a member; "" when it was left out.
func (t Terms) Text(name string) string {
	if arg := t[name]; arg != nil {
		return arg.Text
	}
	return ""
}

// Amount reads an optional amount, zero for none.
func (t Terms) Amount(name string, no *vault.Rule) atm.Amount {
	arg := t[name]
	if arg == nil {
		return 0
	}
	amount, code := arg.Amount()
	if code != atm.OK {
		refuseTerm(no, code, AmountReasons[code])
		return 0
	}
	*arg = atm.Arg{Kind: atm.String, Text: amount.String()}
	return amount
}

// memo reads a memo.
func (t Terms) memo(no *vault.Rule) string {
	text := t.Text(atm.MemoArg)
	if atm.CheckMemo(text) != nil && *no == nil {
		*no = badMemo
	}
	return text
}

// bound reads a day or an instant. The entry has an instant to the second, as it is understood: a
// fraction can be of any length.
func (t Terms) bound(name string, no *vault.Rule) (b vault.Bound) {
	text := t.Text(name)
	if text == "" {
		return b
	}
	if day, is := calendar.ParseDate(text); is {
		b.Day = day
		return b
	}
	at, err := atm.ParseTime(text)
	if err != nil {
		refuseTerm(no, atm.AmountInvalid, name+" is a day, such as 2026-12-31, or a time in RFC "+
			"3339")
		return b
	}
	b.At = at.UTC().Truncate(time.Second)
	if b.At.IsZero() { // which means none: a mandate would never end
		b.At = b.At.Add(time.Second)
	}
	*t[name] = atm.Arg{Kind: atm.String, Text: b.At.Format(time.RFC3339)}
	return b
}

// refuseTerm keeps the first refusal.
func refuseTerm(no *vault.Rule, code atm.Code, reason string) {
	if *no == nil {
		*no = vault.Refuse(code, reason)
	}
}

const badPeriod = "is day, week or month"

func createMandate(in *Input) (vault.Rule, error) {
	account, noAccount := in.Account(0, vault.NotFound)
	given, err := in.Terms(1)
	if err != nil {
		return nil, err
	}
	r := vault.CreateMandate{
		Party: in.Party(), Account: account, Creditor: given.Text("creditor"),
	}
	if err := CheckSubject(r.Creditor); err != nil {
		return nil, err
	}
	var no vault.Rule
	r.Terms.Each, r.Terms.Total = given.Amount("each", &no), given.Amount("total", &no)
	if text := given.Text("period"); text != "" {
		var ok bool
		if r.Terms.Period, ok = calendar.ParsePeriod(text); !ok {
			refuseTerm(&no, atm.AmountInvalid, "period "+badPeriod)
		}
	}
	if no == nil && (r.Terms.Total > 0) != (r.Terms.Period != 0) {
		refuseTerm(&no, atm.AmountInvalid, "total is of a period: a mandate has both or neither")
	}
	if no == nil && r.Terms.Each == 0 && r.Terms.Total == 0 {
		refuseTerm(&no, atm.AmountInvalid, "A mandate has each, or total and period")
	}
	r.From, r.Until = given.bound("from", &no), given.bound("until", &no)
	r.Memo = given.memo(&no)
	if no == nil {
		no = noAccount
	}
	if no != nil {
		return no, nil
	}
	return r, nil
}

func createOrder(in *Input) (vault.Rule, error) {
	account, noAccount := in.Account(0, vault.NotFound)
	given, err := in.Terms(1)
	if err != nil {
		return nil, err
	}
	r := vault.CreateOrder{Party: in.Party(), Account: account}
	if given["to"] == nil || given["amount"] == nil {
		return nil, Malformed("%s needs to and amount", in.Method.Name)
	}
	var no vault.Rule
	r.Amount = given.Amount("amount", &no)
	r.Schedule = given.schedule(&no)
	from, until := given.bound("from", &no), given.bound("until", &no)
	r.Schedule.From, r.Schedule.Until, r.From, r.Until = from.Day, until.Day, from.At, until.At
	if from.Day != 0 && until.Day != 0 && until.Day < from.Day {
		refuseTerm(&no, atm.AmountInvalid, "until is before from")
	}
	r.Memo = given.memo(&no)
	to, ok := given["to"].Account()
	if !ok && no == nil {
		no = vault.Refusal(vault.NotFound(Shorten(given.Text("to"))))
	}
	*given["to"] = atm.Arg{Kind: atm.String, Text: to.String()}
	r.To = vault.Numbered(to)
	if no == nil {
		no = noAccount
	}
	if no != nil {
		return no, nil
	}
	return r, nil
}

// schedule reads when a standing order is due, but for its first and its last day.
func (t Terms) schedule(no *vault.Rule) (s calendar.Schedule) {
	var ok bool
	if s.Every, ok = calendar.ParsePeriod(t.Text("every")); !ok {
		refuseTerm(no, atm.AmountInvalid, "every "+badPeriod)
	}
	if s.On, ok = calendar.ParseOn(s.Every, t.Text("on")); !ok {
		refuseTerm(no, atm.AmountInvalid, "on is a day of the month, 1 to 31, or of the week, "+
			"monday to sunday, and nothing when every is day")
	}
	if text := t.Text("at"); text != "" {
		if s.At, ok = calendar.ParseTimeOfDay(text); !ok {
			refuseTerm(no, atm.AmountInvalid, "at is a time of the day, such as 06:30")
		}
	}
	if s.Zone = t.Text("zone"); s.Zone != "" && !zone.Known(s.Zone) {
		refuseTerm(no, atm.AmountInvalid, "zone is no time zone, such as Europe/Berlin")
	}
	return s
}
