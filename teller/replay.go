package teller

import (
	"context"
	"fmt"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
)

// Reconcile replays the journal of a store by the rules, from nothing, and
// returns the accounts and holds that it ends with. An error names the first
// entry that the rules do not confirm. Progress is told how many have been replayed.
func Reconcile(ctx context.Context, store vault.Store,
	progress func(done, total int64),
) (*vault.Replayer, error) {
	size, err := vault.JournalSize(ctx, store)
	if err != nil {
		return nil, err
	}
	t := New(Config{Permit: everywhere})
	replayer := vault.NewReplayer()
	err = store.Entries(ctx, 0, size, func(index int64, leaf []byte) error {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		progress(index+1, size)
		return t.replay(ctx, replayer, index, entry)
	})
	return replayer, err
}

// replay replays an entry, if it changed accounts.
func (t *Teller) replay(ctx context.Context, replayer *vault.Replayer, index int64,
	entry *audit.Entry,
) error {
	if len(entry.State) == 0 {
		return nil
	}
	rule, err := t.ruleOf(ctx, entry)
	if err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	return replayer.Replay(index, entry, rule)
}

// ruleOf builds the rule of an entry from its arguments, as it was built from
// those of the call. Whose account it was needs no asking again.
func (t *Teller) ruleOf(ctx context.Context, entry *audit.Entry) (vault.Rule, error) {
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
