// Package dynstore keeps the books of any number of machines in one table of Amazon DynamoDB.
//
// A commit is one transaction of the table: when Commit returns nil, it is as durable as DynamoDB
// makes a write. Every commit makes the next version of one item, the head of the journal, and is
// made only if the head still is what the commit was decided on. So commits happen one after the
// other, on whichever replica; nothing else is relied on but conditions on items and strongly
// consistent reads. When the answer to a commit is lost, the store finds out whether it was made
// before it tells anybody.
//
// A table that should have books and has none is never made anew: Create makes the books, Open
// only opens them.
package dynstore

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/replicated"
	"example.com/atm/vault/secrets"
)

// Config is everything a Store needs.
type Config struct {
	// URL says where the table is: dynamodb://TABLE?region=…&endpoint=… Required.
	URL string

	// Secret is what secrets in the table are sealed under. Required.
	Secret []byte

	// Adopt is told of shared files that another replica changed, before the next commit is
	// decided. Optional.
	Adopt func([]replicated.File) error

	// Replica names the server that commits here, for people: its machine and its data
	// folder. Empty for a program that works on a table without being a replica.
	Replica string

	// Log is for the operator. Optional.
	Log *slog.Logger
}

func (c Config) open(ctx context.Context) (*table.Table, error) {
	at, err := table.Parse(c.URL)
	if err != nil {
		return nil, err
	}
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return table.Open(ctx, at, log)
}

// A Store is a vault.Store in a table.
type Store struct {
	reader
	shared

	trouble replicated.Trouble
}

// A reader answers what can be asked of a store.
type reader struct {
	table *table.Table
	chain *chain.Chain
	keys  *secrets.Keys // open what is sealed

	opened *opened // chunks of the journal
}

// shared is what replicas share beside the books.
type shared struct {
	*claims
	*replicas
	files *files
}

var _ replicated.Store = (*Store)(nil)

// CheckURL reports whether a store of this URL can be asked for.
func CheckURL(url string) error {
	_, err := table.Parse(url)
	return err
}

// Close gives the lease of a replica up.
func (s *Store) Close() error {
	s.leave()
	s.chain.Wait()
	return nil
}

// Trouble implements replicated.Store.
func (s *Store) Trouble() error { return s.trouble.Recent() }

// Newest implements replicated.Store.
func (s *Store) Newest() merkle.Head {
	newest := s.chain.Newest()
	if newest == nil {
		return merkle.Head{}
	}
	head, _ := newest.Merkle() // which was read before
	return head
}

// RolledBack implements replicated.Store.
func (s *Store) RolledBack() error {
	err := s.chain.Err()
	if !errors.Is(err, replicated.ErrRolledBack) {
		return nil // a replica that was fenced, or does not know an outcome, has seen nothing old
	}
	return err
}

// now is the time of a commit: that of this machine, and never before that of the commit before.
func (s *Store) now(from *chain.State) time.Time {
	return time.UnixMicro(max(time.Now().UnixMicro(), from.At)).UTC()
}

// patiently reads the newest state, and what else read reads.
func (r *reader) patiently(ctx context.Context, read func(*chain.State) error) error {
	return table.Patiently(ctx, func() error {
		now, err := r.chain.Read(ctx)
		if err != nil {
			return err
		}
		return read(now)
	})
}
