package pgstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"github.com/jackc/pgx/v5"
)

const (
	// patience bounds how long a commit that has not happened is tried again.
	patience = 5 * time.Second

	// doubtWithin bounds how long the outcome of a commit is looked up.
	doubtWithin = 30 * time.Second
)

// Commit implements vault.Store. An error that is vault.ErrUnavailable means that
// nothing was changed.
func (s *Store) Commit(ctx context.Context, keys vault.Keys, decide func(*vault.Books) error) error {
	want := wanted(keys)
	begun := time.Now()
	for give := begun.Add(patience); ; {
		err := s.attempt(ctx, want, decide)
		doubt := new(inDoubt)
		if errors.As(err, &doubt) {
			s.cfg.Log.Warn("the connection was lost over a commit; looking up whether it happened", slog.Any("error", doubt.err))
			done, unknown := s.settle(ctx, doubt)
			if unknown != nil {
				return fmt.Errorf("%w: %w", ErrOutcome, unknown)
			}
			if done {
				return nil
			}
			if time.Since(begun) < doubtWithin { // not for ever: something else may be wrong
				give = time.Now().Add(patience)
			}
		}
		switch {
		case err == nil:
			s.trouble.Store(nil)
			return nil
		case doubt.err == nil && !passes(err):
			return err
		case ctx.Err() != nil || time.Now().After(give):
			s.trouble.Store(&trouble{err, time.Now()})
			return fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
		}
		s.rest(err)
	}
}

// An inDoubt is a commit that may have happened.
type inDoubt struct {
	index int64 // of its first entry
	leaf  []byte
	after highWater // if it happened
	err   error
}

func (e *inDoubt) Error() string { return e.err.Error() }

// attempt is one transaction. Everything it needs is loaded in one round trip,
// and everything it changes written and committed in another.
func (s *Store) attempt(ctx context.Context, want *request, decide func(*vault.Books) error) error {
	bounded, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	conn, err := s.pool.Acquire(bounded)
	if err != nil {
		return explain(err)
	}
	defer conn.Release()
	whole := false // the transaction has ended, one way or the other
	defer func() {
		if !whole {
			// Nothing but the end of the connection is sure to end it.
			conn.Conn().Close(bounded)
		}
	}()
	books, trail, err := s.load(bounded, conn.Conn(), want)
	if state, _ := stateOf(err); state == lockNotAvailable { // the connection is good
		_, undone := conn.Exec(bounded, "ROLLBACK")
		whole = undone == nil
	}
	if err != nil {
		return err
	}
	if trail.synchronous == "off" {
		return ErrAsync
	}
	if err := s.notBefore(trail.mark); err != nil {
		return err
	}
	if trail.files > s.adopted() {
		if err := s.adopt(bounded, conn.Conn()); err != nil {
			return err
		}
	}
	if err := decide(books); err != nil {
		return err
	}
	c := books.Changes()
	if c == nil { // and the connection is good
		_, undone := conn.Exec(bounded, "ROLLBACK")
		whole = undone == nil
		return nil
	}
	after := highWater{c.First + int64(len(c.Entries)), c.Head}
	ended, err := s.write(ctx, conn.Conn(), books.Now, c, after.size, trail.accounts)
	whole = ended
	switch state, fatal := stateOf(err); {
	case err == nil:
		s.reached(after)
		return nil
	case state != "" && !fatal:
		return explain(err) // it was refused, and with it the whole transaction
	}
	return &inDoubt{index: c.First, leaf: c.Entries[0].Leaf, after: after, err: explain(err)}
}

// settle finds out whether a commit happened. Its transaction held the head; who
// has it now knows that the transaction has ended.
func (s *Store) settle(ctx context.Context, doubt *inDoubt) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, doubtWithin)
	defer cancel()
	for {
		s.pool.Reset()
		done, err = s.happened(ctx, doubt)
		if err == nil || !passes(err) || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	if done {
		s.reached(doubt.after)
	}
	return done, err
}

func (s *Store) happened(ctx context.Context, doubt *inDoubt) (done bool, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		mark, err := readMark(ctx, tx, "FOR UPDATE")
		if err != nil {
			return err
		}
		if err := s.notBefore(mark); err != nil {
			return err
		}
		var leaf []byte
		err = tx.QueryRow(ctx, "SELECT leaf FROM journal WHERE index = $1", doubt.index).Scan(&leaf)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		done = bytes.Equal(leaf, doubt.leaf) // an entry has an id that no other has
		return err
	})
	if errors.Is(err, ErrRolledBack) {
		return false, err
	}
	return done, explain(err)
}

// notBefore refuses a journal that is behind what was seen of it.
func (s *Store) notBefore(now highWater) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch seen := s.seen; {
	case now.size < seen.size:
		return fmt.Errorf("%w: the journal has %d entries and had %d", ErrRolledBack, now.size, seen.size)
	case now.size == seen.size && now.head.Size == seen.head.Size && !slices.Equal(now.head.Edge, seen.head.Edge):
		return fmt.Errorf("%w: the journal with %d entries is another one", ErrRolledBack, now.size)
	}
	return nil
}

// reached notes a state of the journal that is durable.
func (s *Store) reached(now highWater) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.size > s.seen.size {
		s.seen = now
	}
}

// readMark reads the state of the journal; how is a locking clause.
func readMark(ctx context.Context, tx pgx.Tx, how string) (highWater, error) {
	var m highWater
	var head []byte
	err := tx.QueryRow(ctx, "SELECT size, head FROM log "+how).Scan(&m.size, &head)
	if err == nil {
		m.head, err = audit.UnmarshalHead(head)
	}
	return m, err
}
