package boltstore

import (
	"context"
	"errors"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/journal"
	"example.com/atm/vault/check"
	"example.com/atm/vault/codec"
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
	c := &checker{problems: problems, base: base}
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
		return err
	})
	if err == nil {
		err = problems.Err()
	}
	return err
}

type checker struct {
	problems *check.Problems

	base vault.Base
	read *check.Journal
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
	c.read = check.NewJournal(c.problems, c.base, logs)
	asked, err := c.requests(v)
	if err != nil {
		return err
	}
	c.read.Asked(asked)
	err = journal.Each(ctx, v.shelf(bucketJournal), check.Parse, func(chunk *check.Chunk) error {
		c.read.Read(chunk)
		return nil
	}, func(k []byte, err error) { c.problems.Add("journal, key %x: %v", k, err) })
	if err != nil {
		return err
	}
	c.read.End(logs, checkpoint, head)
	return nil
}

// requests returns the request ids that lead to entries of the journal.
func (c *checker) requests(v view) (kept []vault.KeptRequest, err error) {
	err = v.file.Bucket(bucketRequests).ForEach(func(k, v []byte) error {
		day, key, err := codec.ParseRequest(k)
		index, errIndex := codec.JournalIndex(v)
		if err = errors.Join(err, errIndex); err != nil {
			c.problems.Add("request id %x: %v", k, err)
			return nil
		}
		if index < c.base.Index {
			return nil // over, and not swept away yet
		}
		kept = append(kept, vault.KeptRequest{Key: key, Index: index, Day: int64(day)})
		return nil
	})
	return kept, err
}
