package bookings

import (
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
)

// A Finder finds what an entry moved by its index in the current log, or says why that cannot
// be given back to a caller.
type Finder func(in *Input, index string) (vault.Movement, vault.Rule, error)

// reverse books a reversal. What is wrong with the entry is said by what is known of it, and
// whose it was by the rule.
func reverse(in *Input) (vault.Rule, error) {
	r := vault.Reverse{Party: in.Party()}
	var noAmount vault.Rule
	if in.Args[1].Given() {
		r.Amount, noAmount = in.Amount(1)
	}
	movement, no, err := in.Find(in, in.Args[0].Text)
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

// NoSuchEntry refuses an entry that does not exist, or is not the caller's.
var NoSuchEntry = vault.Refusal(vault.NoEntry())

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

// payOrder books the payment of a standing order again, from its entry.
func payOrder(in *Input) (vault.Rule, error) {
	order, ok := vault.ParseOrderID(in.Args[0].Text)
	due, err := time.Parse(time.RFC3339, in.Args[1].Text)
	if !ok || err != nil {
		return nil, Malformed("%s names no standing order and due date", in.Method.Name)
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

// Mandate reads the first argument as the id of a mandate.
func (in *Input) Mandate() (vault.MandateID, vault.Rule) {
	id, ok := vault.ParseMandateID(in.Args[0].Text)
	if !ok {
		return 0, vault.Refusal(vault.NoMandate())
	}
	return id, nil
}

func revokeMandate(in *Input) (vault.Rule, error) {
	id, no := in.Mandate()
	if no != nil {
		return no, nil
	}
	return vault.RevokeMandate{Party: in.Party(), Mandate: id}, nil
}

func collect(in *Input) (vault.Rule, error) {
	id, noMandate := in.Mandate()
	amount, noAmount := in.Amount(1)
	to, noTo := in.Account(2, vault.NotFound)
	for _, no := range []vault.Rule{noAmount, noMandate, noTo} {
		if no != nil {
			return no, nil
		}
	}
	// A replay reaches every account; then the creditor is the one of the mandate.
	return vault.Collect{Mandate: id, Creditor: in.Party().Owner, To: to, Amount: amount}, nil
}

// Order reads the first argument as the id of a standing order.
func (in *Input) Order() (vault.OrderID, vault.Rule) {
	id, ok := vault.ParseOrderID(in.Args[0].Text)
	if !ok {
		return 0, vault.Refusal(vault.NoOrder())
	}
	return id, nil
}

func cancelOrder(in *Input) (vault.Rule, error) {
	id, no := in.Order()
	if no != nil {
		return no, nil
	}
	return vault.CancelOrder{Party: in.Party(), Order: id}, nil
}

// note books a notice, by somebody who reaches the account or who has a mandate on it.
func note(in *Input) (vault.Rule, error) {
	account, no := in.Account(0, vault.NotFound)
	text := strings.TrimSpace(in.Args[1].Text)
	switch {
	case text == "" || atm.CheckMemo(text) != nil:
		return badNote, nil
	case no != nil:
		return no, nil
	}
	in.Understood(1, text) // space around it may be line ends, or longer than an entry has whole
	return vault.Note{Party: in.Party(), Account: account, Creditor: in.Caller.Subject}, nil
}

var badNote = vault.Refuse(atm.MemoInvalid, "A notice is text of 1 to 140 characters and at most "+
	"256 bytes, without control and direction characters")
