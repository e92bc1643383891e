package boltstore

import (
	"context"
	"errors"
	"slices"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/chunk"
	"example.com/atm/vault/boltstore/codec"
	"example.com/atm/vault/boltstore/days"
	"example.com/atm/vault/check"
)

// Check looks at everything in the file: its pages, that every value opens and
// has its form, that the journal is whole and the signed tree is of it, that
// the versions of every account form one chain that ends in its record, that
// every movement sums to zero, and that holds and request ids point to where
// they should. It implements vault.Backend.
func (s *Store) Check(ctx context.Context, report func(problem string)) error {
	problems := check.NewProblems(report)
	base, err := s.Base(ctx)
	if err != nil {
		return err
	}
	c := &checker{
		problems: problems, chains: check.NewChains(problems, base.Index > 0),
		begin: base.Index, size: base.Index, spines: make(spines),
	}
	lost, err := s.checkPages()
	switch {
	case errors.Is(err, vault.ErrDamaged):
		problems.Add("%v", err)
		return problems.Err() // nothing above the pages means anything then
	case err != nil:
		return err
	case lost > 0:
		problems.Add("%d pages are neither in use nor free", lost)
	}
	err = s.engine.snapshot(func(v view) error {
		err := c.journal(ctx, v)
		for _, kind := range kinds {
			err = errors.Join(err, kind.verify(v, c))
		}
		return errors.Join(err, c.requests(v))
	})
	if err == nil {
		err = problems.Err()
	}
	return err
}

type checker struct {
	problems *check.Problems

	begin  vault.JournalIndex // of the journal, which was trimmed behind it
	size   vault.JournalIndex // of the journal
	chains *check.Chains
	spines spines
}

// journal reads all entries, and holds the tree that was signed against them.
func (c *checker) journal(ctx context.Context, v view) error {
	checkpoint, head, err := v.readHead()
	if err != nil {
		c.problems.Add("head of the audit tree: %v", err)
	}
	logs, err := v.readLogs()
	if err != nil {
		c.problems.Add("beginnings of audit logs: %v", err)
		logs = []vault.JournalIndex{0}
	}
	begin := logs[len(logs)-1] // of the current log
	rebuilt, err := v.trimmedTree(begin)
	if err != nil {
		c.problems.Add("base of the journal: %v", err)
	}
	var hashes []merkle.Hash // of the entries since rebuilt
	journal := v.journal()
	err = journal.Each(ctx, func(first vault.JournalIndex, entries []chunk.Entry) error {
		if last := first + vault.JournalIndex(len(entries)); last <= c.begin {
			return nil // about to be removed
		}
		if first < c.begin && c.size == c.begin {
			first, entries = c.begin, entries[c.begin-first:]
		}
		if first != c.size {
			c.problems.Add("journal: entry %d where entry %d should be", first, c.size)
			c.size = first
		}
		for _, e := range entries {
			index := c.size
			c.size++
			if index >= begin {
				hashes = append(hashes, merkle.LeafHash(e.Leaf))
			}
			if len(hashes) == 4096 {
				rebuilt, hashes = rebuilt.Append(hashes...), hashes[:0]
			}
			entry, err := audit.ParseEntry(e.Leaf)
			if err != nil {
				c.problems.Add("journal entry %d: %v", index, err)
				continue
			}
			c.entry(index, entry, e)
		}
		return nil
	}, func(k []byte, err error) { c.problems.Add("journal, key %x: %v", k, err) })
	if err != nil {
		return err
	}
	rebuilt = rebuilt.Append(hashes...)
	switch {
	case vault.JournalEnd(logs, head) != c.size:
		c.problems.Add("the signed tree has %d entries, the journal %d", head.Size, c.size-begin)
	case !slices.Equal(head.Edge, rebuilt.Edge):
		c.problems.Add("the signed tree is not that of the journal")
	}
	if (len(checkpoint) > 0) != (head.Size > 0) {
		c.problems.Add("the checkpoint is missing")
	}
	return nil
}

// entry carries the chains on by what an entry changed.
func (c *checker) entry(index vault.JournalIndex, entry *audit.Entry, stored chunk.Entry) {
	if stored.Links != len(entry.State) {
		c.problems.Add("journal entry %d touches %d accounts and has links for %d", index,
			len(entry.State), stored.Links)
		return
	}
	c.chains.Entry(index, entry)
	for slot, change := range entry.State {
		name := vault.Name(change.Account)
		var want chunk.Link
		if c.begin > 0 || change.Version == 1 || len(c.spines[name].Places) > 0 {
			want = c.spines.Grow(name, change.Version, chunk.Place{Index: int64(index), Slot: slot})
		}
		if stored.Link(int64(index), slot).Since(int64(c.begin)) != want {
			c.problems.Add("journal entry %d: the links of account %s lead astray", index, name)
		}
	}
}

func (c *checker) requests(v view) error {
	journal := v.journal()
	return v.file.Bucket(bucketRequests).ForEach(func(k, v []byte) error {
		day, key, err := codec.ParseRequest(k)
		index, errIndex := codec.JournalIndex(v)
		if err = errors.Join(err, errIndex); err != nil {
			c.problems.Add("request id %x: %v", k, err)
			return nil
		}
		if index < c.begin {
			return nil // over, and not swept away yet
		}
		e, err := journal.At(index)
		if err != nil {
			c.problems.Add("request id %x: %v", k, err)
			return nil
		}
		entry, err := audit.ParseEntry(e.Leaf)
		if err != nil || !key.Answered(entry) || days.Of(entry.Time) != day {
			c.problems.Add("request id %x: journal entry %d is not the answer to it: %v", k,
				index, err)
		}
		return nil
	})
}
