package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/bookings"
	"example.com/atm/vault"
)

// reversed replays entries, and remembers which of them gave back the money of others. A
// reversal is replayed by what it moved itself; that the entry which it names moved as much,
// between the same accounts, is looked up at the end.
type reversed struct {
	logs   []vault.JournalIndex
	given  []back
	before map[vault.JournalIndex]atm.Amount // given back before the journal begins
}

func newReversed(logs []vault.JournalIndex) *reversed {
	return &reversed{logs: logs, before: make(map[vault.JournalIndex]atm.Amount)}
}

// back is what a reversal gave back. Index is that of the entry that moved the money first.
type back struct {
	vault.Movement
	by   vault.JournalIndex // the entry of the reversal
	rest bool               // it was to give back all that was left
}

// replay replays an entry, if it changed accounts.
func (r *reversed) replay(replayer *vault.Replayer, index vault.JournalIndex,
	entry *audit.Entry,
) error {
	rule, err := ruleOf(r.logs, index, entry)
	if err != nil {
		return err
	}
	return r.follow(replayer, index, entry, rule)
}

// ruleOf returns the rule of an entry that changed accounts, and nil for any other. It depends on
// nothing else.
func ruleOf(logs []vault.JournalIndex, index vault.JournalIndex, entry *audit.Entry) (vault.Rule,
	error,
) {
	if len(entry.State) == 0 {
		return nil, nil
	}
	rule, err := bookings.RuleOf(entry, vault.LogOf(logs, index))
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", index, err)
	}
	return rule, nil
}

// follow is replay with the rule of the entry.
func (r *reversed) follow(replayer *vault.Replayer, index vault.JournalIndex, entry *audit.Entry,
	rule vault.Rule,
) error {
	if rule == nil {
		return nil
	}
	if reverse, is := rule.(vault.Reverse); is {
		m := reverse.Movement
		m.Amount = entry.State[1].After - entry.State[1].Before
		rest := !slices.ContainsFunc(entry.Args, func(a audit.Arg) bool { return a.Name == "amount" })
		r.given = append(r.given, back{m, index, rest})
	}
	return replayer.Replay(index, entry, rule)
}

// check holds each reversal against the entry that it names, if the journal still has that.
func (r *reversed) check(ctx context.Context, store vault.Store) error {
	sums := r.before
	for _, given := range r.given {
		if given.Index < 0 || given.Index >= given.by {
			return given.early()
		}
		moved, reason, err := movementAt(ctx, store, given.Index)
		if errors.Is(err, vault.ErrTrimmed) {
			continue
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", given.by, err)
		}
		if err := given.check(sums, moved, reason); err != nil {
			return err
		}
	}
	return nil
}

func (b *back) early() error {
	return fmt.Errorf("entry %d reverses entry %d, which came later", b.by, b.Index)
}

// check holds a reversal against what the entry moved that it names, of which the sums have what
// was given back before. reason says that it moved nothing.
func (b *back) check(sums map[vault.JournalIndex]atm.Amount, moved vault.Movement,
	reason string,
) error {
	of, by := b.Index, b.by
	sums[of] += b.Amount
	switch {
	case reason != "":
		return fmt.Errorf("entry %d reverses entry %d: %s", by, of, reason)
	case moved.From != b.From || moved.To != b.To:
		return fmt.Errorf("entry %d does not go back along the legs of entry %d, which it "+
			"reverses", by, of)
	case sums[of] > moved.Amount:
		return fmt.Errorf("entry %d reverses more than entry %d moved", by, of)
	case b.rest && sums[of] < moved.Amount:
		return fmt.Errorf("entry %d reverses less than was left of what entry %d moved", by, of)
	}
	return nil
}

// movementAt returns what an entry of the journal moved, or a sentence that says that it moved
// nothing.
func movementAt(ctx context.Context, store vault.Store, index vault.JournalIndex) (
	m vault.Movement, reason string, err error,
) {
	err = store.Entries(ctx, index, index+1, func(_ vault.JournalIndex, leaf []byte) error {
		entry, err := audit.ParseEntry(leaf)
		if err == nil {
			m, reason = bookings.MovementOf(entry)
		}
		return err
	})
	return m, reason, err
}
