package dynstore

import (
	"context"
	"errors"

	"example.com/atm/audit"
	"example.com/atm/vault/check"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/requestid"
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
	err = errors.Join(c.journal(ctx, now), c.records(ctx), c.requests(ctx), c.files(ctx))
	if err == nil {
		err = c.problems.Err()
	}
	return err
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

func (c *checker) requests(ctx context.Context) error {
	journal := c.store.journal(ctx)
	for _, pk := range requestPKs() {
		err := c.store.table.Each(ctx, pk, table.Range{}, func(i *table.Item) error {
			r, err := requestOf(i)
			if err != nil {
				c.problems.Add("%v", err)
				return nil
			}
			if r.Index < c.read.Begin {
				return nil // over, and not removed yet
			}
			e, err := journal.At(r.Index)
			if err != nil {
				c.problems.Add("request id %s: %v", r.Key, err)
				return nil
			}
			entry, err := audit.ParseEntry(e.Leaf)
			if err != nil || !r.Key.Answered(entry) || requestid.Day(entry.Time) != r.Day {
				c.problems.Add("request id %s: journal entry %d is not the answer to it: %v", r.Key,
					r.Index, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
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
