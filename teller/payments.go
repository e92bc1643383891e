package teller

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/query"
	"example.com/atm/vault/zone"
)

// A finder finds what an entry moved by its index in the current log, or says why that cannot
// be given back to a caller.
type finder func(in *input, index string) (vault.Movement, vault.Rule, error)

// reverse books a reversal. What is wrong with the entry is said by what is known of it, and
// whose it was by the rule.
func reverse(in *input) (vault.Rule, error) {
	r := vault.Reverse{Party: in.party()}
	var noAmount vault.Rule
	if in.args[1].Given() {
		r.Amount, noAmount = in.amount(1)
	}
	movement, no, err := in.find(in, in.args[0].Text)
	switch {
	case err != nil:
		return nil, err
	case noAmount != nil:
		return noAmount, nil
	case no != nil:
		return no, nil
	}
	r.Movement = movement
	return r, nil
}

var noSuchEntry = vault.Refusal(vault.NoEntry())

// find is a finder in the current log of the store.
func (t *Teller) find(ctx context.Context) finder {
	return func(in *input, text string) (m vault.Movement, no vault.Rule, err error) {
		index, ok := wholeNumber(text, 1<<62)
		if !ok {
			return m, noSuchEntry, nil
		}
		log, err := vault.OpenLog(ctx, t.cfg.Store)
		if err != nil {
			return m, nil, err
		}
		_, head, err := log.Signed(ctx)
		if err != nil || index >= head.Size {
			return m, noSuchEntry, err
		}
		var entry *audit.Entry
		err = log.Entries(ctx, index, index+1, func(_ int64, leaf []byte) error {
			entry, err = audit.ParseEntry(leaf)
			return err
		})
		if err != nil {
			return m, nil, err
		}
		m, reason := MovementOf(entry)
		m.Index = log.InJournal(index)
		switch {
		case reason == "":
			return m, nil, nil
		// Only its maker and those who see every entry learn what it is.
		case in.reach == atm.Everywhere, entry.Caller != nil &&
			entry.Caller.Subject == in.caller.Subject:
			return m, vault.Refusal(vault.NotReversible(reason)), nil
		}
		return m, noSuchEntry, nil
	}
}

// reversible are the operations whose money can be given back, and whether they pay the owner
// of the account that it went to.
var reversible = map[atm.Operation]bool{
	atm.Deposit: false, atm.Withdraw: false, atm.Capture: false, atm.Collect: false,
	atm.Transfer: true, atm.OrderPay: true,
}

// MovementOf returns what an entry moved, without its index, or a sentence that says why it
// cannot be reversed.
func MovementOf(e *audit.Entry) (m vault.Movement, reason string) {
	paid, is := reversible[e.Operation]
	switch {
	case e.Operation == atm.Reverse:
		return m, "A reversal cannot be reversed"
	case e.Operation == atm.AccountOpen:
		return m, "The opening of an account cannot be reversed"
	case !is:
		return m, "The entry moved no money"
	case e.ReplayOf >= 0:
		return m, "The entry repeats an answer, and moved nothing itself"
	case e.Status == nil || e.Status.Code != atm.OK || len(e.State) != 2:
		return m, "The entry is a refusal, and moved nothing"
	}
	from, to := e.State[0], e.State[1]
	if from.After > from.Before {
		from, to = to, from
	}
	return vault.Movement{
		From: vault.Name(from.Account), To: vault.Name(to.Account),
		Amount: to.After - to.Before, Paid: paid,
	}, ""
}

// terms are the members of a struct, by name.
type terms map[string]*atm.Arg

// termsOf reads the members of the argument at position i, which must be among those of its
// parameter. An error is a malformed call.
func (in *input) termsOf(i int) (terms, error) {
	in.args = slices.Clone(in.args)
	members := slices.Clone(in.args[i].Members)
	in.args[i].Members = members
	given := make(terms, len(members))
	for j := range members {
		m := &members[j]
		kinds := in.op.Params[i].Members[m.Name]
		if kinds == nil {
			return nil, malformed("%s of %s has no %s", in.op.Params[i].Name, in.op.Name,
				shorten(m.Name))
		}
		if !m.Arg.Given() {
			continue
		}
		if !slices.Contains(kinds, m.Arg.Kind) {
			return nil, malformed("%s of %s is of the wrong type", m.Name, in.op.Name)
		}
		given[m.Name] = &m.Arg
	}
	return given, nil
}

func (t terms) text(name string) string {
	if arg := t[name]; arg != nil {
		return arg.Text
	}
	return ""
}

// amount reads an optional amount, zero for none.
func (t terms) amount(name string, no *vault.Rule) atm.Amount {
	arg := t[name]
	if arg == nil {
		return 0
	}
	amount, code := arg.Amount()
	if code != atm.OK {
		refuseTerm(no, code, amountReasons[code])
		return 0
	}
	*arg = atm.Arg{Kind: atm.String, Text: amount.String()}
	return amount
}

// memo reads a memo.
func (t terms) memo(no *vault.Rule) string {
	text := t.text(atm.MemoArg)
	if atm.CheckMemo(text) != nil && *no == nil {
		*no = badMemo
	}
	return text
}

// bound reads a day or an instant.
func (t terms) bound(name string, no *vault.Rule) (b vault.Bound) {
	text := t.text(name)
	if text == "" {
		return b
	}
	var err error
	if day, is := calendar.ParseDate(text); is {
		b.Day = day
	} else if b.At, err = atm.ParseTime(text); err == nil {
		b.At = b.At.UTC().Truncate(time.Second)
	} else {
		refuseTerm(no, atm.AmountInvalid, name+" is a day, such as 2026-12-31, or a time in RFC "+
			"3339")
	}
	return b
}

// refuseTerm keeps the first refusal.
func refuseTerm(no *vault.Rule, code atm.Code, reason string) {
	if *no == nil {
		*no = vault.Refuse(code, reason)
	}
}

const badPeriod = "is day, week or month"

func createMandate(in *input) (vault.Rule, error) {
	account, noAccount := in.account(0, vault.NotFound)
	given, err := in.termsOf(1)
	if err != nil {
		return nil, err
	}
	r := vault.CreateMandate{
		Party: in.party(), Account: account, Creditor: given.text("creditor"),
	}
	if err := checkSubject(r.Creditor); err != nil {
		return nil, err
	}
	var no vault.Rule
	r.Terms.Each, r.Terms.Total = given.amount("each", &no), given.amount("total", &no)
	if text := given.text("period"); text != "" {
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

func createOrder(in *input) (vault.Rule, error) {
	account, noAccount := in.account(0, vault.NotFound)
	given, err := in.termsOf(1)
	if err != nil {
		return nil, err
	}
	r := vault.CreateOrder{Party: in.party(), Account: account}
	if given["to"] == nil || given["amount"] == nil {
		return nil, malformed("%s needs to and amount", in.op.Name)
	}
	var no vault.Rule
	r.Amount = given.amount("amount", &no)
	r.Schedule = given.schedule(&no)
	r.Memo = given.memo(&no)
	to, ok := given["to"].Account()
	if !ok && no == nil {
		no = vault.Refusal(vault.NotFound(shorten(given.text("to"))))
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

// schedule reads when a standing order is due.
func (t terms) schedule(no *vault.Rule) (s calendar.Schedule) {
	var ok bool
	if s.Every, ok = calendar.ParsePeriod(t.text("every")); !ok {
		refuseTerm(no, atm.AmountInvalid, "every "+badPeriod)
	}
	if s.On, ok = calendar.ParseOn(s.Every, t.text("on")); !ok {
		refuseTerm(no, atm.AmountInvalid, "on is a day of the month, 1 to 31, or of the week, "+
			"monday to sunday, and nothing when every is day")
	}
	if text := t.text("at"); text != "" {
		if s.At, ok = calendar.ParseTimeOfDay(text); !ok {
			refuseTerm(no, atm.AmountInvalid, "at is a time of the day, such as 06:30")
		}
	}
	if s.Zone = t.text("zone"); s.Zone != "" && !zone.Known(s.Zone) {
		refuseTerm(no, atm.AmountInvalid, "zone is no time zone, such as Europe/Berlin")
	}
	s.From, s.Until = t.day("from", s.Zone, no), t.day("until", s.Zone, no)
	if s.From != 0 && s.Until != 0 && s.Until < s.From {
		refuseTerm(no, atm.AmountInvalid, "until is before from")
	}
	return s
}

// day reads a day, or the day of an instant.
func (t terms) day(name, in string, no *vault.Rule) calendar.Date {
	b := t.bound(name, no)
	if b.Day == 0 && !b.At.IsZero() {
		return calendar.DateOf(b.At, in)
	}
	return b.Day
}

// payOrder books the payment of a standing order again, from its entry.
func payOrder(in *input) (vault.Rule, error) {
	order, ok := vault.ParseOrderID(in.args[0].Text)
	due, err := time.Parse(time.RFC3339, in.args[1].Text)
	if !ok || err != nil {
		return nil, malformed("%s names no standing order and due date", in.op.Name)
	}
	return vault.PayOrder{Order: order, Due: due}, nil
}

// payOrderMethod are the arguments of entries that pay a standing order. It is no method, for
// nobody may call it.
var payOrderMethod = methods.Method{
	Name:   atm.OrderPay,
	Params: []methods.Param{{Name: "order"}, {Name: "due"}, {Name: atm.MemoArg}},
}

// SystemOrders is the subject that makes the payments of standing orders.
const SystemOrders = "system:orders"

// PayOrder returns the command that pays a standing order on its next due date.
func PayOrder(o *vault.Order) vault.Command {
	args := []audit.Arg{
		{Name: "due", Value: o.Next.UTC().Format(time.RFC3339)},
		{Name: "order", Value: o.ID.String()},
	}
	if o.Memo != "" {
		args = append(args, audit.Arg{Name: atm.MemoArg, Value: o.Memo})
	}
	return vault.Command{
		Event: audit.EventOp, Operation: atm.OrderPay, Args: args,
		Caller: &atm.Caller{Principal: atm.Principal{Subject: SystemOrders}},
		Rule:   vault.PayOrder{Order: o.ID, Due: o.Next},
	}
}

// mandate reads the first argument as the id of a mandate.
func (in *input) mandate() (vault.MandateID, vault.Rule) {
	id, ok := vault.ParseMandateID(in.args[0].Text)
	if !ok {
		return 0, vault.Refusal(vault.NoMandate())
	}
	return id, nil
}

func revokeMandate(in *input) (vault.Rule, error) {
	id, no := in.mandate()
	if no != nil {
		return no, nil
	}
	return vault.RevokeMandate{Party: in.party(), Mandate: id}, nil
}

func collect(in *input) (vault.Rule, error) {
	id, noMandate := in.mandate()
	amount, noAmount := in.amount(1)
	to, noTo := in.account(2, vault.NotFound)
	for _, no := range []vault.Rule{noAmount, noMandate, noTo} {
		if no != nil {
			return no, nil
		}
	}
	// A replay reaches every account; then the creditor is the one of the mandate.
	return vault.Collect{Mandate: id, Creditor: in.party().Owner, To: to, Amount: amount}, nil
}

// order reads the first argument as the id of a standing order.
func (in *input) order() (vault.OrderID, vault.Rule) {
	id, ok := vault.ParseOrderID(in.args[0].Text)
	if !ok {
		return 0, vault.Refusal(vault.NoOrder())
	}
	return id, nil
}

func cancelOrder(in *input) (vault.Rule, error) {
	id, no := in.order()
	if no != nil {
		return no, nil
	}
	return vault.CancelOrder{Party: in.party(), Order: id}, nil
}

func showOrder(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	id, no := in.order()
	if no != nil {
		return no, nil
	}
	return query.ShowOrder{Party: in.party(), Order: id}, nil
}

// agreements reads an account and what its mandates and standing orders are at the moment.
func agreements(list func(vault.Party, *vault.Account) vault.Rule) func(context.Context, *Teller,
	*input) (vault.Rule, error) {
	return func(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
		name, no := in.account(0, vault.NotFound)
		if no != nil {
			return no, nil
		}
		a, err := t.cfg.Store.Account(ctx, name)
		return list(in.party(), &a), err
	}
}

// note books a notice, by somebody who reaches the account or who has a mandate on it.
func note(in *input) (vault.Rule, error) {
	account, no := in.account(0, vault.NotFound)
	text := strings.TrimSpace(in.args[1].Text)
	switch {
	case text == "" || atm.CheckMemo(text) != nil:
		return badNote, nil
	case no != nil:
		return no, nil
	}
	return vault.Note{Party: in.party(), Account: account, Creditor: in.caller.Subject}, nil
}

var badNote = vault.Refuse(atm.MemoInvalid, "A notice is text of 1 to 140 characters and at most "+
	"256 bytes, without control and direction characters")

// notices finds the notices on an account in the audit log, those of other accounts not.
func notices(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	account, no := in.account(0, vault.NotFound)
	s, refusal, err := in.noticePage()
	switch {
	case err != nil:
		return nil, err
	case refusal != nil:
		return vault.Refusal(*refusal), nil
	case no != nil:
		return no, nil
	}
	r := query.Notices{Party: in.party(), Account: account}
	if in.reach != atm.Everywhere { // what is not the caller's takes as long as nothing
		if owned, err := t.Owns(ctx, in.caller.Subject, account); err != nil || !owned {
			return r, err
		}
	}
	s.Account, s.Operation, s.Status = string(account), atm.Notify, "OK"
	page, err := t.search(ctx, &s)
	if err != nil {
		return nil, err
	}
	entries := []atm.Record{}
	for _, found := range page.Found {
		e, err := audit.ParseEntry(found.Leaf)
		if err != nil {
			return nil, err
		}
		if e.ReplayOf >= 0 || e.Caller == nil {
			continue
		}
		text := ""
		for _, arg := range e.Args {
			if arg.Name == "text" {
				text = arg.Value
			}
		}
		entries = append(entries, atm.Record{
			{Name: "index", Value: found.Index},
			{Name: "time", Value: e.Time.UTC().Format(audit.TimeFormat)},
			{Name: "by", Value: cmp.Or(e.Caller.Actor, e.Caller.Subject)},
			{Name: "text", Value: text},
		})
	}
	next := ""
	if page.Next > 0 {
		next = strconv.FormatInt(page.Next, 10)
	}
	r.Page = atm.Record{{Name: "entries", Value: entries}, {Name: "next", Value: next}}
	return r, nil
}

// noticePage reads which page of notices is asked for.
func (in *input) noticePage() (s wanted, refusal *atm.Status, err error) {
	for _, m := range in.args[1].Members {
		if m.Name != "limit" && m.Name != "cursor" {
			return s, nil, malformed("a page of notices has no %s", shorten(m.Name))
		}
	}
	return in.search(1)
}
