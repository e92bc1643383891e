package teller

import (
	"fmt"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
)

// Bookings builds the rules of entries that changed accounts or holds again, from the entries
// alone: it has no Teller, no store and no keys to ask.
type Bookings struct{ ops map[atm.Operation]*operation }

// NewBookings returns the bookings of all operations.
func NewBookings() Bookings { return Bookings{operations()} }

// RuleOf builds the rule of an entry from its arguments, as it was built from
// those of the call. The owner of the account was checked then. An operation that is not
// among the bookings is refused by name.
func (b Bookings) RuleOf(entry *audit.Entry) (vault.Rule, error) {
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
		position := op.Position(arg.Name)
		if position < 0 {
			return nil, fmt.Errorf("%s has no parameter %s", op.Name, arg.Name)
		}
		in.args[position] = atm.Arg{Kind: atm.String, Text: arg.Value}
	}
	rule, err := op.book(&in)
	// from before entries said it
	if hold, is := rule.(vault.Authorize); is && entry.Expires.IsZero() {
		hold.Expires = entry.Time.Add(hold.Life).Truncate(time.Second)
		rule = hold
	}
	return rule, err
}
