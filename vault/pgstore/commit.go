package pgstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"github.com/jackc/pgx/v5"
)

const (
	// patience bounds how long a commit that has not happened is tried again.
	patience = 5 * time.Second

	// doubtWithin bounds how long the outcome of a commit is looked up.
	doubtWithin = 30 * time.Second
)

// Commit implements vault.Store. The changes are durable when it returns nil.
func (s *Store) Commit(ctx context.Context, keys vault.Keys,
	decide func(*vault.Books) error,
) (durable func() error, err error) {
	if err := s.commit(ctx, keys, decide); err != nil {
		return nil, err
	}
	return func() error { return nil }, nil
}

// commit is Commit. An error that is vault.ErrUnavailable means that nothing was changed.
func (s *Store) commit(ctx context.Context, keys vault.Keys,
	decide func(*vault.Books) error,
) error {
	want := wanted(keys)
	begun := time.Now()
	for give := begun.Add(patience); ; {
		err := s.attempt(ctx, want, decide)
		doubt := new(inDoubt)
		if errors.As(err, &doubt) {
			s.cfg.Log.Warn("the connection was lost over a commit; looking up whether it happened",
				slog.Any("error", doubt.err))
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
		// nothing was changed, and trying again changes nothing
		case doubt.err == nil && dropped(err):
			s.trouble.Store(&trouble{err, time.Now()})
			return fmt.Errorf("%w: %w: %w", vault.ErrUnavailable, vault.ErrRefused, err)
		case doubt.err == nil && refused(err):
			return fmt.Errorf("%w: %w", vault.ErrRefused, err)
		case doubt.err == nil && !passes(err):
			return err
		case ctx.Err() != nil || time.Now().After(give):
			s.trouble.Store(&trouble{err, time.Now()})
			return fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
		}
		s.rest(err)
	}
}

// refused reports whether the database refused a statement for what it says, and with it the
// whole transaction.
func refused(err error) bool {
	state, fatal := stateOf(err)
	return state != "" && !fatal && !passes(err)
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
	if s.lease != nil && trail.leases == 0 {
		return ErrFenced
	}
	if err := s.observe(trail.seen, trail.found); err != nil {
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
	err = c.Follow(func(n vault.Name) (uint64, bool) {
		if a := trail.accounts[n]; a != nil {
			return a.Version, true
		}
		_, asked := slices.BinarySearch(want.accounts, string(n))
		return 0, asked
	})
	if err != nil {
		return err
	}
	after := highWater{
		c.First + int64(len(c.Entries)), c.Head,
		merkle.LeafHash(c.Entries[len(c.Entries)-1].Leaf),
	}
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
		seen := s.newest()
		now, err := sight(ctx, tx, seen, "FOR UPDATE")
		if err != nil {
			return err
		}
		if err := s.observe(seen, now); err != nil {
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

// A sighting is a state of the journal as it was read, beside the entry that stands where
// the newest one stood that had been seen before.
type sighting struct {
	highWater
	past merkle.Hash // zero when there is no entry in that place
	told bool        // that a replica has seen more than there is
}

// sightColumns reads a sightingRow. $1 is the size of the journal that was seen before.
const sightColumns = `size, head, (SELECT leaf FROM journal WHERE index = log.size - 1),
	(SELECT leaf FROM journal WHERE index = $1 - 1), EXISTS (SELECT FROM rollbacks)`

type sightingRow struct {
	size               int64
	head, newest, past []byte
	told               bool
}

func (r *sightingRow) columns(more ...any) []any {
	return append([]any{&r.size, &r.head, &r.newest, &r.past, &r.told}, more...)
}

func (r *sightingRow) sighting() (s sighting, err error) {
	s.size, s.told = r.size, r.told
	// A statement that waited for the row of the head may not see the newest entry yet.
	if r.newest != nil {
		s.last = merkle.LeafHash(r.newest)
	}
	if r.past != nil {
		s.past = merkle.LeafHash(r.past)
	}
	s.head, err = merkle.UnmarshalHead(r.head)
	return s, err
}

// sight reads the state of the journal. seen is what newest said before; how is a locking
// clause.
func sight(ctx context.Context, q querier, seen highWater, how string) (sighting, error) {
	var row sightingRow
	if err := q.QueryRow(ctx, "SELECT "+sightColumns+" FROM log "+how,
		seen.size).Scan(row.columns()...); err != nil {
		return sighting{}, err
	}
	return row.sighting()
}

// observe notes a state of the journal that was read after seen was the newest one, and
// refuses it for good when it does not extend that: entries are gone, or others stand in
// their place. An entry has an id that no other has, so the same entry in the same place
// has the same entries before it.
func (s *Store) observe(seen highWater, now sighting) error {
	if err := s.RolledBack(); err != nil {
		return err
	}
	var err error
	switch {
	case now.size < seen.size:
		err = fmt.Errorf("%w: the journal has %d entries and had %d", ErrRolledBack, now.size,
			seen.size)
	case seen.size > 0 && now.past != seen.last:
		err = fmt.Errorf("%w: entry %d of the journal is another one than before", ErrRolledBack,
			seen.size-1)
	case now.size == seen.size && now.head.Size == seen.head.Size && !slices.Equal(now.head.Edge,
		seen.head.Edge):
		err = fmt.Errorf("%w: the journal with %d entries has another head", ErrRolledBack,
			now.size)
	}
	if err == nil && now.told && s.cfg.Replica != "" {
		err = fmt.Errorf("%w: another replica has seen more of it (see atmctl audit recover)",
			ErrRolledBack)
		s.rolledBack.CompareAndSwap(nil, &err)
		return err
	}
	if err != nil {
		if s.rolledBack.CompareAndSwap(nil, &err) && s.cfg.Replica != "" {
			s.telling.Go(func() { s.TellRollback(context.Background(), seen.head.Size) })
		}
		return err
	}
	if now.last != (merkle.Hash{}) {
		s.reached(now.highWater)
	}
	return nil
}

// tellWithin bounds how long a replica tries to tell the others of a rollback. It ends then.
const tellWithin = 2 * time.Second

// TellRollback tells all replicas on this database that it went back: this one has seen size
// entries of its audit log. None of them serves on it from then on, and none starts, also one that
// saw
// nothing of what is gone; BeginLog ends that.
func (s *Store) TellRollback(ctx context.Context, size int64) {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	_, err := s.pool.Exec(ctx, "INSERT INTO rollbacks (replica, size) VALUES ($1, $2) ON "+
		"CONFLICT DO NOTHING", s.cfg.Replica, size)
	if err != nil {
		s.cfg.Log.Error("the other replicas could not be told that the database went back; stop "+
			"them",
			slog.Any("error", explain(err)))
	}
}

// A Rollback is what a replica told of a database that went back.
type Rollback struct {
	Replica string // its machine and data folder
	Size    int64  // entries of the audit log that it has seen
}

// Rollbacks are what replicas told since the audit log began, the largest first.
func (s *Store) Rollbacks(ctx context.Context) ([]Rollback, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	told, err := list(ctx, s.pool, func(row pgx.Row) (r Rollback, err error) {
		return r, row.Scan(&r.Replica, &r.Size)
	},
		"SELECT replica, size FROM rollbacks ORDER BY size DESC, replica LIMIT 100")
	return told, explain(err)
}

// RolledBack is the error that is ErrRolledBack when the journal was found to have gone
// back. From then on the store neither commits nor says what is signed.
func (s *Store) RolledBack() error {
	if err := s.rolledBack.Load(); err != nil {
		return *err
	}
	return nil
}

// Newest is the head of the audit log in the newest state of the journal that was read or
// written here.
func (s *Store) Newest() merkle.Head { return s.newest().head }

// newest is the newest state of the journal that was read or written here.
func (s *Store) newest() highWater {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// reached notes a state of the journal that is durable.
func (s *Store) reached(now highWater) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.size > s.seen.size {
		s.seen = now
	}
}

// readSize reads the size of the journal; how is a locking clause.
func readSize(ctx context.Context, tx pgx.Tx, how string) (size int64, err error) {
	err = tx.QueryRow(ctx, "SELECT size FROM log "+how).Scan(&size)
	return size, err
}
