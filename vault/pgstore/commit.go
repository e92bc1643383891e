package pgstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/pgstore/database"
	"github.com/jackc/pgx/v5"
)

// doubtWithin bounds how long the outcome of a commit is looked up.
const doubtWithin = 30 * time.Second

// Commit implements vault.Store. The changes are durable when it returns nil.
func (s *Store) Commit(ctx context.Context, keys vault.Keys,
	decide func(*vault.Books) error,
) (durable func() error, err error) {
	c := commit{store: s, keys: keys, decide: decide}
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	return func() error { return nil }, nil
}

// A commit is a call of Commit: as many attempts as it takes.
type commit struct {
	store  *Store
	keys   vault.Keys
	decide func(*vault.Books) error
}

// run makes attempts until one is done, or none will be. An error that is
// vault.ErrUnavailable means that nothing was changed.
func (c *commit) run(ctx context.Context) error {
	begun := time.Now()
	for end := begun.Add(database.Patience); ; {
		err := c.attempt(ctx)
		doubt := new(inDoubt)
		doubted := errors.As(err, &doubt)
		if doubted {
			done, unknown := c.lookUp(ctx, doubt)
			if unknown != nil {
				return fmt.Errorf("%w: %w", ErrOutcome, unknown)
			}
			if done {
				err = nil
			}
			if time.Since(begun) < doubtWithin { // not for ever: something else may be wrong
				end = time.Now().Add(database.Patience)
			}
		}
		late := ctx.Err() != nil || time.Now().After(end)
		if final, err := c.conclude(err, doubted, late); final {
			return err
		}
		c.store.db.Pause(err)
	}
}

// conclude decides what an attempt means. It is final when another attempt would end the same
// way, or when it is too late for one. Nothing was changed when err is not nil; doubted says
// that this had to be looked up.
func (c *commit) conclude(err error, doubted, late bool) (final bool, _ error) {
	switch {
	case err == nil:
		c.store.trouble.End()
		return true, nil
	case !doubted && database.Dropped(err):
		c.store.trouble.Note(err)
		return true, fmt.Errorf("%w: %w: %w", vault.ErrUnavailable, vault.ErrRefused, err)
	case !doubted && database.Refused(err):
		return true, fmt.Errorf("%w: %w", vault.ErrRefused, err)
	case !doubted && !database.Transient(err):
		return true, err
	case late:
		c.store.trouble.Note(err)
		return true, fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
	}
	return false, nil
}

// An inDoubt is a commit that may have happened.
type inDoubt struct {
	index vault.JournalIndex // of its first entry
	leaf  []byte
	after highWater // if it happened
	err   error
}

func (e *inDoubt) Error() string { return e.err.Error() }

// lookUp finds out whether a commit happened.
func (c *commit) lookUp(ctx context.Context, doubt *inDoubt) (done bool, err error) {
	c.store.db.Log.Warn("the connection was lost over a commit; looking up whether it happened",
		slog.Any("error", doubt.err))
	ctx, cancel := context.WithTimeout(ctx, doubtWithin)
	defer cancel()
	for {
		c.store.db.Reset()
		done, err = c.happened(ctx, doubt)
		if err == nil || !database.Transient(err) || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	if done {
		c.store.past.reached(doubt.after)
	}
	return done, err
}

// happened reports whether the journal has the first entry of a commit. The transaction of the
// commit held the head, so it has ended once this one holds the head.
func (c *commit) happened(ctx context.Context, doubt *inDoubt) (done bool, err error) {
	err = pgx.BeginTxFunc(ctx, c.store.db, pgx.TxOptions{}, func(tx pgx.Tx) error {
		seen := c.store.past.newest()
		now, err := sight(ctx, tx, seen, "FOR UPDATE")
		if err != nil {
			return err
		}
		if err := c.store.past.observe(seen, now); err != nil {
			return err
		}
		var leaf []byte
		err = tx.QueryRow(ctx, "SELECT leaf FROM journal WHERE index = $1",
			int64(doubt.index)).Scan(&leaf)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		done = bytes.Equal(leaf, doubt.leaf) // each entry has an id of its own
		return err
	})
	if errors.Is(err, ErrRolledBack) {
		return false, err
	}
	return done, database.Explain(err)
}
