// Package bookings builds the rules of operations that change accounts, from the arguments of a
// call or from those that stand in an entry of the journal.
//
// What is wrong with an argument's value becomes a rule that refuses; an error is a malformed
// call. A booking is given no store and no keys to ask, because replaying a journal has to come
// to the same rule years later, from the entry alone.
package bookings

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
)

// A Booking builds a rule from the arguments of a call.
type Booking func(*Input) (vault.Rule, error)

// Of returns the booking of an operation; nil for one that changes no account.
func Of(op atm.Operation) Booking { return bookings[op] }

var bookings = map[atm.Operation]Booking{
	atm.Deposit:         noted(deposit),
	atm.Withdraw:        noted(withdraw),
	atm.Transfer:        noted(transfer),
	atm.Authorize:       noted(authorize),
	atm.Capture:         noted(capture),
	atm.Release:         release,
	atm.Reverse:         noted(reverse),
	atm.MandateCreate:   createMandate,
	atm.MandateRevoke:   revokeMandate,
	atm.Collect:         noted(collect),
	atm.OrderCreate:     createOrder,
	atm.OrderCancel:     cancelOrder,
	atm.Notify:          note,
	atm.AccountOpen:     openAccount,
	atm.AccountFreeze:   standing(vault.Frozen),
	atm.AccountUnfreeze: standing(vault.Open),
	atm.AccountClose:    standing(vault.Closed),
	atm.AccountLimit:    limitAccount,
	atm.AccountSet:      setAccount,
}

// methodOf returns the method of an entry and its booking.
func methodOf(op atm.Operation) (*methods.Method, Booking) {
	if op == atm.OrderPay {
		return &payOrderMethod, payOrder
	}
	return methods.Of(op), Of(op)
}

// RuleOf builds the rule of an entry again from its arguments, as it was built from
// those of the call. The owner of the account was checked then. An operation that is not
// among the bookings is refused by name. The log of the entry begins there in the journal.
//
// A reversal is built from what it moved: whether that is what the entry moved that it names is
// another question.
func RuleOf(entry *audit.Entry, log vault.JournalIndex) (vault.Rule, error) {
	method, book := methodOf(entry.Operation)
	if method == nil || entry.Caller == nil {
		return nil, fmt.Errorf("there is no operation %q of somebody", entry.Operation)
	}
	if book == nil {
		return nil,
			fmt.Errorf("%s changed accounts or holds, and is not among the bookings, which "+
				"alone can be replayed", method.Name)
	}
	in := Input{
		Method: method, Caller: entry.Caller, Args: make([]atm.Arg, len(method.Params)),
		Reach: atm.Everywhere, Inquires: true,
	}
	for _, arg := range entry.Args {
		given := atm.Arg{Kind: atm.String, Text: arg.Value}
		position := method.Position(arg.Name)
		if position < 0 {
			position = method.Holder(arg.Name)
		}
		if position < 0 {
			return nil, fmt.Errorf("%s has no parameter %s", method.Name, arg.Name)
		}
		if to := &in.Args[position]; method.Params[position].Members != nil {
			to.Kind = atm.Struct
			to.Members = append(to.Members, atm.Member{Name: arg.Name, Arg: given})
		} else {
			*to = given
		}
	}
	in.Find = func(_ *Input, index string) (m vault.Movement, no vault.Rule, err error) {
		return reversedBy(entry, index, log)
	}
	rule, err := book(&in)
	switch r := rule.(type) {
	case vault.Authorize:
		if entry.Expires.IsZero() { // from before entries said it
			r.Expires = entry.Time.Add(r.Life).Truncate(time.Second)
		}
		return r, err
	case vault.CreateOrder:
		r.First = entry.Next
		return r, err
	case vault.PayOrder:
		r.Replayed, r.Next = true, entry.Next
		return r, err
	case vault.SetAccount:
		r.Again = true // or there would be nothing to replay
		return r, err
	case vault.Reverse:
		if r.Amount == 0 { // all that was left, of what is not known here
			r.Amount = entry.State[1].After - entry.State[1].Before
		}
		return r, err
	}
	return rule, err
}

// reversedBy is what a reversal gave back, as the movement of an entry that moved no less.
func reversedBy(e *audit.Entry, text string, log vault.JournalIndex) (m vault.Movement,
	no vault.Rule, err error,
) {
	index, err := strconv.ParseInt(text, 10, 64)
	if err != nil || len(e.State) != 2 {
		return m, nil, fmt.Errorf("%s of %q moved nothing", e.Operation, text)
	}
	holder, receiver := e.State[0], e.State[1]
	return vault.Movement{
		Index: log + vault.JournalIndex(index), From: vault.Name(receiver.Account),
		To: vault.Name(holder.Account), Amount: math.MaxInt64,
	}, nil, nil
}
