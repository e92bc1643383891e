package dynstore

import (
	"context"

	"example.com/atm/vault"
	"example.com/atm/vault/check"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
)

// Check implements vault.Backend: every item opens and has its form, the journal is whole and the
// signed tree is of it, the versions of every account form one chain that ends in its record, and
// holds and request ids lead where they should. Changes that are made meanwhile may look like
// problems.
func (s *Store) Check(ctx context.Context, report func(problem string)) error {
	c := &checker{store: &s.reader, problems: check.NewProblems(report)}
	now, err := s.chain.Read(ctx)
	if err != nil {
		return err
	}
	if err := c.journal(ctx, now); err != nil {
		return err
	}
	if err := c.records(ctx); err != nil {
		return err
	}
	if err := c.files(ctx); err != nil {
		return err
	}
	return c.problems.Err()
}

type checker struct {
	store    *reader
	problems *check.Problems
	read     *check.Journal
}

// journal reads all entries, and holds the tree that was signed against them.
func (c *checker) journal(ctx context.Context, now *chain.State) error {
	if now.Unfinished != "" {
		c.problems.Add("%s was interrupted; run it again", now.Unfinished)
	}
	head, err := now.Merkle()
	if err != nil {
		c.problems.Add("head of the audit tree: %v", err)
	}
	base, err := c.store.Base(ctx)
	if err != nil {
		c.problems.Add("base of the journal: %v", err)
	}
	if base.Index != now.Begins {
		c.problems.Add("the head says that the journal begins with entry %d, the base says %d",
			now.Begins, base.Index)
	}
	c.read = check.NewJournal(c.problems, base, logsOf(&now.Head))
	asked, err := c.requests(ctx, base.Index, now.Version)
	if err != nil {
		return err
	}
	c.read.Asked(asked)
	journal := c.store.journal(ctx)
	err = journal.chunks(base.Index, now.Size, func(i *table.Item) error {
		if err := journal.open(i); err != nil {
			c.problems.Add("journal, key %s: %v", i.SK, err)
			return nil
		}
		c.read.Read(check.Parse(journal.begin, journal.entries))
		return nil
	})
	if err != nil {
		return err
	}
	if now.Size != c.read.Size {
		c.problems.Add("the head says that the journal has %d entries, it has %d", now.Size,
			c.read.Size)
	}
	c.read.End(logsOf(&now.Head), now.Checkpoint, head)
	return nil
}

// records looks at every record.
func (c *checker) records(ctx context.Context) error {
	for _, kind := range kinds {
		for _, pk := range kind.pks() {
			err := c.store.table.Each(ctx, pk, table.Range{}, func(i *table.Item) error {
				kind.verify(ctx, c.store.keys, i, c)
				return ctx.Err()
			})
			if err != nil {
				return err
			}
		}
		if _, is := kind.(accounts); is {
			c.read.Chains.End()
		}
	}
	return nil
}

// requests returns the request ids that lead to entries from begin on. Those of changes after a
// version of the head are left out: their entries are not read.
func (c *checker) requests(ctx context.Context, begin vault.JournalIndex, version uint64) (
	kept []vault.KeptRequest, err error,
) {
	for _, pk := range requestPKs() {
		err := c.store.table.Each(ctx, pk, table.Range{}, func(i *table.Item) error {
			r, err := requestOf(i)
			switch {
			case err != nil:
				c.problems.Add("%v", err)
			case r.Index >= begin && i.Version <= version: // those before are over
				kept = append(kept, r)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return kept, nil
}

// files opens what replicas share.
func (c *checker) files(ctx context.Context) error {
	return c.store.table.Each(ctx, inFiles, table.Range{}, func(i *table.Item) error {
		if _, err := openFile(c.store.keys, i); err != nil {
			c.problems.Add("%v", err)
		}
		return nil
	})
}
