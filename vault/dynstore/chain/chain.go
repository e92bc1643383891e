package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/replicated"
)

// A Chain is the head of a table as one program sees it.
type Chain struct {
	Table *table.Table

	// LeafHash finds the hash of an entry of the journal, by which a table that went back is told
	// from one that went on.
	LeafHash func(ctx context.Context, index vault.JournalIndex) (merkle.Hash, error)

	// Lost is called when the table was found to have gone back, with how many entries of the
	// audit log were seen of it; nil when nobody is to be told.
	Lost    func(size int64)
	telling sync.WaitGroup

	Replica bool // stops for good when all replicas had to be stopped

	mu     sync.Mutex
	newest *State // guarded by mu: that was read or written here
	epoch  uint64 // guarded by mu: in which this program takes part
	mine   string // guarded by mu: the id of its exclusive claim
	turn   turn   // guarded by mu

	gone atomic.Pointer[error] // set for good when nothing more may be built on the table
}

// Newest is the newest state that was read or written here; nil for none.
func (c *Chain) Newest() *State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest
}

// Err says why nothing may be built on the table any more.
func (c *Chain) Err() error {
	if err := c.gone.Load(); err != nil {
		return *err
	}
	return nil
}

// Fence ends this program's part in the chain.
func (c *Chain) Fence() {
	err := replicated.ErrFenced
	c.gone.CompareAndSwap(nil, &err)
}

// Wait waits until what is being told was told.
func (c *Chain) Wait() { c.telling.Wait() }

// Read returns the state of the table. A change that is to be finished is finished before.
func (c *Chain) Read(ctx context.Context) (*State, error) {
	for {
		s, err := c.read(ctx)
		if err != nil || s.Staged == nil {
			return s, err
		}
		err = c.finish(ctx, s)
		if err != nil && !errors.Is(err, ErrMoved) {
			return nil, err
		}
	}
}

func (c *Chain) read(ctx context.Context) (*State, error) {
	seen := c.Newest() // before the request: changes go on meanwhile
	item, err := c.Table.Get(ctx, HeadKey)
	if err != nil {
		return nil, err
	}
	s, err := stateOf(item)
	if err != nil {
		return nil, err
	}
	return s, c.observe(ctx, seen, s)
}

// Peek is Read without what it refuses: for what looks after a table that cannot be built on.
func (c *Chain) Peek(ctx context.Context) (s *State, err error) {
	err = table.Patiently(ctx, func() error {
		item, err := c.Table.Get(ctx, HeadKey)
		if err == nil {
			s, err = stateOf(item)
		}
		return err
	})
	return s, err
}

// observe notes a state that was read after seen was the newest one, and refuses it for good when
// it does not follow from that.
func (c *Chain) observe(ctx context.Context, seen, now *State) error {
	if err := c.Err(); err != nil {
		return err
	}
	if err := c.follows(ctx, seen, now); err != nil {
		if !errors.Is(err, replicated.ErrRolledBack) {
			return err
		}
		if c.gone.CompareAndSwap(nil, &err) && c.Lost != nil {
			tree, _ := seen.Merkle()
			c.telling.Go(func() { c.Lost(tree.Size) })
		}
		return err
	}
	if len(now.Told) > 0 && c.Replica {
		err := fmt.Errorf("%w: another replica has seen more of it (see atmctl audit recover)",
			replicated.ErrRolledBack)
		c.gone.CompareAndSwap(nil, &err)
		return err
	}
	return c.enter(now)
}

// enter makes a state the newest one, if this program takes part in its epoch.
func (c *Chain) enter(now *State) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case now.Epoch == c.epoch:
	case c.Replica && c.newest != nil:
		c.Fence()
		return replicated.ErrFenced
	default:
		c.epoch = now.Epoch
	}
	if now.Exclusive.active(time.Now()) && now.Exclusive.ID != c.mine {
		return ErrBusy
	}
	if c.newest == nil || now.Version > c.newest.Version {
		c.newest = now
	}
	return nil
}

// follows reports whether a state follows from one that was seen before. Each change has an id of
// its own, and each entry of the journal, too: so the same entry in the same place has the same
// entries before it.
func (c *Chain) follows(ctx context.Context, seen, now *State) error {
	switch {
	case seen == nil || seen.Version == now.Version && seen.Commit() == now.Commit():
		return nil
	case now.Version <= seen.Version:
		return fmt.Errorf("%w: it is at change %d and was at change %d",
			replicated.ErrRolledBack, now.Version, seen.Version)
	case slices.Contains(now.Recent, seen.Commit()):
		return nil
	case now.Size < seen.Size:
		return fmt.Errorf("%w: the journal has %d entries and had %d",
			replicated.ErrRolledBack, now.Size, seen.Size)
	case seen.Size <= now.Begins:
		return nil // the entry was trimmed, or there was none
	}
	hash, err := c.LeafHash(ctx, seen.Size-1)
	switch {
	case errors.Is(err, vault.ErrTrimmed):
		return nil
	case err != nil && table.Transient(err):
		return err
	case err != nil || hash != seen.Last:
		return fmt.Errorf("%w: entry %d of the journal is another one than before",
			replicated.ErrRolledBack, seen.Size-1)
	}
	return nil
}

// Change makes a change that decide decides, as often as it takes. decide is given the state, and
// a copy of its head to change; it returns what is to be written with it.
func (c *Chain) Change(ctx context.Context,
	decide func(now *State, next *Head) ([]Write, error),
) error {
	end := time.Now().Add(table.Patience)
	for wait := (table.Backoff{}); ; {
		err := c.change(ctx, decide)
		if err == nil || errors.Is(err, replicated.ErrOutcome) ||
			!table.Transient(err) && !errors.Is(err, ErrMoved) && !errors.Is(err, ErrBusy) {
			return err
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
		}
		wait.Pause(ctx)
	}
}

func (c *Chain) change(ctx context.Context,
	decide func(now *State, next *Head) ([]Write, error),
) error {
	now, err := c.Read(ctx)
	if err != nil {
		return err
	}
	next := now.clone()
	writes, err := decide(now, &next)
	if err != nil {
		return err
	}
	return c.Make(ctx, now, next, writes)
}

// Tell notes in the head, whatever it is, that a replica saw the table go back.
func (c *Chain) Tell(ctx context.Context, told replicated.Rollback) error {
	for wait := (table.Backoff{}); ; wait.Pause(ctx) {
		now, err := c.Peek(ctx)
		if err != nil || slices.Contains(now.Told, told) {
			return err
		}
		now.Told = append(now.Told, told)
		before := now.Version
		now.Version++
		item, err := now.item()
		if err != nil {
			return err
		}
		err = c.Table.Do(ctx, table.Write{Item: item, If: table.Same(before)})
		if err == nil || !errors.Is(err, table.ErrCondition) && !table.Transient(err) ||
			ctx.Err() != nil {
			return err
		}
	}
}

// noted notes a state that was written here, in a transaction that took this long.
func (c *Chain) noted(s *State, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn.ends(s, took)
	if c.newest == nil || s.Version > c.newest.Version {
		c.newest, c.epoch = s, s.Epoch
	}
}

// warn tells the operator of a commit that is being looked up.
func (c *Chain) warn(err error) {
	c.Table.Log.Warn("the answer to a commit was lost; finding out whether it was made",
		slog.Any("error", err))
}
