// Package replay works out again, from a journal alone, what a store should hold.
//
// Accounts and holds come from the rules, which are carried out once more, entry by entry.
// Users, grants, revocations, subscriptions and request ids come from what the entries say of
// them. Package replay changes nothing and mends nothing: it tells what differs.
package replay

import (
	"bytes"
	"context"
	"fmt"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/internal/ahead"
	"example.com/atm/vault"
	"example.com/atm/vault/check"
	"example.com/atm/vault/holder"
)

// Reconcile replays the journal of a store by the rules, from nothing or from the snapshot that
// the journal begins with, and returns the accounts and holds that it ends with. An error names
// the first entry that the rules do not confirm.
func Reconcile(ctx context.Context, store vault.Store, rules Rules) (*vault.Replayer, error) {
	size, err := vault.JournalSize(ctx, store)
	if err != nil {
		return nil, err
	}
	logs, err := store.Logs(ctx)
	if err != nil {
		return nil, err
	}
	given := newReversed(logs)
	replayer := vault.NewReplayer(logs)
	begin, err := rules.begin(ctx, store, func(p *vault.Part) {
		replayer.Begin(&p.Records, rules.Holders)
		given.begin(p)
	})
	if err != nil {
		return nil, err
	}
	err = store.Entries(ctx, begin, size, func(index vault.JournalIndex, leaf []byte) error {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		if rules.Progress != nil {
			rules.Progress(int64(index+1), int64(size))
		}
		return given.replay(replayer, index, entry)
	})
	if err != nil {
		return nil, err
	}
	return replayer, given.check(ctx, store)
}

// Rules are what a journal is held against beside its own entries.
type Rules struct {
	// Permit says on which accounts somebody with these roles may do an operation.
	Permit func(atm.Principal, atm.Operation) atm.Reach

	// Issuer is the issuer that this server's tokens name.
	Issuer string

	// Snapshot is the vault that a trimmed journal begins with: all records as of vault.Base.State.
	// Nil where there is none.
	Snapshot vault.Backend

	// Holders hashes the names that the snapshot has. Nil where the key is not known.
	Holders *holder.Hasher

	// Progress is told how many entries of the journal have been replayed. Optional.
	Progress func(done, total int64)
}

// Compared are the accounts and holds of a store, and those that its journal makes.
type Compared struct {
	*vault.Replayer
	Kept  vault.Records // by the store
	Trail *vault.Trail

	// Rotations are those of the key of the log.
	Rotations []checkpoint.Rotation
}

// Compare replays the journal of a store by the rules, from nothing. It tells report of every
// user, grant, revocation, subscription and request id that is not what the journal says, of
// each subject that acted on an account that it did not own then, and of each that acted in a
// role that it was never given. It returns accounts and holds. Everything is read at one moment.
// An error names the first entry that the rules do not confirm.
func Compare(ctx context.Context, store vault.Backend, rules Rules,
	report func(problem string),
) (*Compared, error) {
	logs, err := store.Logs(ctx)
	if err != nil {
		return nil, err
	}
	c := &Compared{Replayer: vault.NewReplayer(logs)}
	given := newReversed(logs)
	r := newRecords(rules, logs, c.Replayer, check.NewProblems(report))
	size, err := vault.JournalSize(ctx, store)
	if err != nil {
		return nil, err
	}
	begin, err := rules.begin(ctx, store, func(p *vault.Part) {
		c.Begin(&p.Records, rules.Holders)
		given.begin(p)
		r.begin(p)
	})
	if err != nil {
		return nil, err
	}
	line := ahead.New(func(steps []step) error {
		for i := range steps {
			s := &steps[i]
			if s.index < begin {
				continue // the snapshot has seen it
			}
			if s.entry == nil {
				return s.err
			}
			r.entry(s.index, s.entry, s.answer)
			if s.err != nil {
				return s.err
			}
			if err := given.follow(c.Replayer, s.index, s.entry, s.rule); err != nil {
				return err
			}
			if rotation, is := audit.RotationOf(s.entry); is {
				c.Rotations = append(c.Rotations, rotation)
			}
		}
		if last := len(steps) - 1; rules.Progress != nil && last >= 0 {
			rules.Progress(int64(steps[last].index+1), int64(size))
		}
		return ctx.Err()
	})
	c.Trail, err = store.Dump(ctx, func(p *vault.Part) error {
		if len(p.Leaves) > 0 {
			return line.Add(steps(logs, p.First, p.Leaves))
		}
		if err := line.End(); err != nil {
			return err
		}
		c.Kept.Add(&p.Records)
		r.part(p)
		return ctx.Err()
	})
	if err == nil {
		err = line.End()
	}
	if err != nil {
		return nil, err
	}
	r.end()
	return c, given.check(ctx, store)
}

// A step is an entry of the journal, and what can be known from it alone.
type step struct {
	index  vault.JournalIndex
	entry  *audit.Entry // nil if it cannot be parsed
	answer answer
	rule   vault.Rule // nil if it changed no account
	err    error
}

// steps copies leaves, of which the first has this index, and returns what makes steps of the
// copies. That can be done for many leaves at once, and replaying them cannot.
func steps(logs []vault.JournalIndex, first vault.JournalIndex, leaves [][]byte) func() []step {
	copies := bytes.Join(leaves, nil)
	lengths := make([]int, len(leaves))
	for i, leaf := range leaves {
		lengths[i] = len(leaf)
	}
	return func() []step {
		made, rest := make([]step, len(lengths)), copies
		for i, n := range lengths {
			made[i] = stepOf(logs, first+vault.JournalIndex(i), rest[:n])
			rest = rest[n:]
		}
		return made
	}
}

func stepOf(logs []vault.JournalIndex, index vault.JournalIndex, leaf []byte) step {
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		return step{index: index, err: fmt.Errorf("entry %d: %w", index, err)}
	}
	s := step{index: index, entry: entry, answer: answerOf(entry)}
	s.rule, s.err = ruleOf(logs, index, entry)
	return s
}
