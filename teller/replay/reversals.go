package replay

import (
	"context"
	"fmt"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/bookings"
	"example.com/atm/vault"
)

// reversed replays entries, and remembers which of them gave back the money of others. A
// reversal is replayed by what it moved itself; that the entry which it names moved as much,
// between the same accounts, is looked up at the end.
type reversed struct {
	logs  []vault.JournalIndex
	given []vault.Movement // Index is that of the entry that moved the money first
	by    []vault.JournalIndex
}

// replay replays an entry, if it changed accounts.
func (r *reversed) replay(replayer *vault.Replayer, index vault.JournalIndex,
	entry *audit.Entry,
) error {
	if len(entry.State) == 0 {
		return nil
	}
	rule, err := bookings.RuleOf(entry, vault.LogOf(r.logs, index))
	if err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	if reverse, is := rule.(vault.Reverse); is {
		m := reverse.Movement
		m.Amount = entry.State[1].After - entry.State[1].Before
		r.given, r.by = append(r.given, m), append(r.by, index)
	}
	return replayer.Replay(index, entry, rule)
}

// check holds each reversal against the entry that it names.
func (r *reversed) check(ctx context.Context, store vault.Store) error {
	sums := make(map[vault.JournalIndex]atm.Amount, len(r.given))
	for i, given := range r.given {
		if given.Index < 0 || given.Index >= r.by[i] {
			return fmt.Errorf("entry %d reverses entry %d, which came later", r.by[i], given.Index)
		}
		var moved vault.Movement
		reason := "it is not there"
		err := store.Entries(ctx, given.Index, given.Index+1, func(_ vault.JournalIndex,
			leaf []byte,
		) error {
			entry, err := audit.ParseEntry(leaf)
			if err == nil {
				moved, reason = bookings.MovementOf(entry)
			}
			return err
		})
		sums[given.Index] += given.Amount
		switch {
		case err != nil:
			return fmt.Errorf("entry %d: %w", given.Index, err)
		case reason != "":
			return fmt.Errorf("entry %d reverses entry %d: %s", r.by[i], given.Index, reason)
		case moved.From != given.From || moved.To != given.To:
			return fmt.Errorf("entry %d does not go back along the legs of entry %d, which it "+
				"reverses", r.by[i], given.Index)
		case sums[given.Index] > moved.Amount:
			return fmt.Errorf("entry %d reverses more than entry %d moved", r.by[i], given.Index)
		}
	}
	return nil
}
