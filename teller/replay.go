package teller

import (
	"context"
	"fmt"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
)

// ForReplay returns a teller that builds the rules of entries again, with RuleOf, and does
// nothing else.
func ForReplay() *Teller {
	return New(Config{Permit: func(atm.Principal, atm.Operation) atm.Reach {
		return atm.Everywhere
	}})
}

// RuleOf builds the rule of an entry from its arguments, as it was built from
// those of the call. Whose account it was needs no asking again.
func (t *Teller) RuleOf(ctx context.Context, entry *audit.Entry) (vault.Rule, error) {
	op := t.ops[entry.Operation]
	if op == nil || entry.Caller == nil {
		return nil, fmt.Errorf("there is no operation %q of somebody", entry.Operation)
	}
	in := input{
		op: op, caller: entry.Caller, args: make([]atm.Arg, len(op.Params)),
		reach: atm.Everywhere,
	}
	for _, arg := range entry.Args {
		position := op.Position(arg.Name)
		if position < 0 {
			return nil, fmt.Errorf("%s has no parameter %s", op.Name, arg.Name)
		}
		in.args[position] = atm.Arg{Kind: atm.String, Text: arg.Value}
	}
	rule, err := op.rule(ctx, t, &in)
	// from before entries said it
	if hold, is := rule.(vault.Authorize); is && entry.Expires.IsZero() {
		hold.Expires = entry.Time.Add(hold.Life).Truncate(time.Second)
		rule = hold
	}
	return rule, err
}
