package teller

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
)

// Bookings builds the rules of entries that changed accounts or holds again, from the entries
// alone: it has no Teller, no store and no keys to ask.
type Bookings struct{ ops map[atm.Operation]*operation }

// NewBookings returns the bookings of all operations.
func NewBookings() Bookings {
	ops := operations()
	ops[atm.OrderPay] = &operation{Method: &payOrderMethod, book: payOrder}
	return Bookings{ops}
}

// RuleOf builds the rule of an entry from its arguments, as it was built from
// those of the call. The owner of the account was checked then. An operation that is not
// among the bookings is refused by name. The log of the entry begins there in the journal.
//
// A reversal is built from what it moved: whether that is what the entry moved that it names is
// another question.
func (b Bookings) RuleOf(entry *audit.Entry, log vault.JournalIndex) (vault.Rule, error) {
	op := b.ops[entry.Operation]
	if op == nil || entry.Caller == nil {
		return nil, fmt.Errorf("there is no operation %q of somebody", entry.Operation)
	}
	if op.book == nil {
		return nil,
			fmt.Errorf("%s changed accounts or holds, and is not among the bookings, which "+
				"alone can be replayed", op.Name)
	}
	in := input{
		op: op, caller: entry.Caller, args: make([]atm.Arg, len(op.Params)),
		reach: atm.Everywhere, inquires: true,
	}
	for _, arg := range entry.Args {
		given := atm.Arg{Kind: atm.String, Text: arg.Value}
		position := op.Position(arg.Name)
		if position < 0 {
			position = op.Holder(arg.Name)
		}
		if position < 0 {
			return nil, fmt.Errorf("%s has no parameter %s", op.Name, arg.Name)
		}
		if to := &in.args[position]; op.Params[position].Members != nil {
			to.Kind = atm.Struct
			to.Members = append(to.Members, atm.Member{Name: arg.Name, Arg: given})
		} else {
			*to = given
		}
	}
	in.find = func(_ *input, index string) (m vault.Movement, no vault.Rule, err error) {
		return reversedBy(entry, index, log)
	}
	rule, err := op.book(&in)
	// from before entries said it
	if hold, is := rule.(vault.Authorize); is && entry.Expires.IsZero() {
		hold.Expires = entry.Time.Add(hold.Life).Truncate(time.Second)
		rule = hold
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
