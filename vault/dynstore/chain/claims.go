package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/replicated"
)

const (
	// claimFor is how long a snapshot that is read, or a program that is alone, counts after it
	// said so last.
	claimFor = time.Minute

	renewEvery = 10 * time.Second

	// snapshotWithin bounds how long a snapshot waits for another one.
	snapshotWithin = 2 * time.Minute
)

func claim(id string) Claim { return Claim{id, time.Now().Add(claimFor).UnixMicro()} }

// errSnapshot reports that another snapshot is being read.
var errSnapshot = errors.New("another program reads a snapshot of the table, as for a backup")

// Snapshot reads the table as it is at one moment, while changes go on: read is given the state,
// and what At returns of items. When it was cut off, which is told at the end, the error is
// vault.ErrUnavailable.
func (c *Chain) Snapshot(ctx context.Context, read func(*State, *Snapshot) error) error {
	id := c.newID()
	end := time.Now().Add(snapshotWithin)
	var taken *State
	for {
		err := c.Change(ctx, func(now *State, next *Head) ([]Write, error) {
			if now.Snapshot.active(time.Now()) {
				return nil, errSnapshot
			}
			next.Snapshot = &Snapshot{Claim: claim(id), Version: now.Version + 1}
			taken = &State{*next, now.Version + 1}
			return nil, nil
		})
		if err == nil {
			break
		}
		if !errors.Is(err, errSnapshot) {
			return err
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	stop := c.renew(func(h *Head) *Claim {
		if h.Snapshot == nil || h.Snapshot.ID != id {
			return nil
		}
		s := *h.Snapshot
		h.Snapshot = &s
		return &h.Snapshot.Claim
	})
	ended := false
	finish := func() error {
		stop()
		ended = true
		return c.Change(context.WithoutCancel(ctx), func(_ *State, next *Head) ([]Write, error) {
			if next.Snapshot == nil || next.Snapshot.ID != id {
				return nil, fmt.Errorf("%w: the snapshot took too long, and what it read is of no "+
					"use", vault.ErrUnavailable)
			}
			next.Snapshot = nil
			return nil, nil
		})
	}
	defer func() { // read may panic
		if !ended {
			finish()
		}
	}()
	return errors.Join(read(taken, taken.Snapshot), finish())
}

// renew lets a claim go on until stop is called. of finds it in a head; nil when it is gone.
func (c *Chain) renew(of func(*Head) *Claim) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(renewEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			c.Change(ctx, func(_ *State, next *Head) ([]Write, error) {
				now := of(next)
				if now == nil {
					return nil, replicated.ErrFenced
				}
				*now = claim(now.ID)
				return nil, nil
			})
		}
	}()
	return func() { cancel(); <-ended }
}

// Exclude runs work while no other program may change anything. others is asked for the changes
// that make sure that none runs, and is an error while one does.
func (c *Chain) Exclude(ctx context.Context, others func() ([]Write, error),
	work func() error,
) error {
	id := c.newID()
	c.mu.Lock()
	c.mine = id
	c.mu.Unlock()
	err := c.Change(ctx, func(now *State, next *Head) ([]Write, error) {
		writes, err := others() // what begins after this makes another head
		next.Epoch++
		mine := claim(id)
		next.Exclusive = &mine
		return writes, err
	})
	if err != nil {
		return err
	}
	stop := c.renew(func(h *Head) *Claim {
		if h.Exclusive == nil || h.Exclusive.ID != id {
			return nil
		}
		mine := *h.Exclusive
		h.Exclusive = &mine
		return h.Exclusive
	})
	err = work()
	stop()
	ctx = context.WithoutCancel(ctx)
	return errors.Join(err, c.Change(ctx, func(_ *State, next *Head) ([]Write, error) {
		if next.Exclusive == nil || next.Exclusive.ID != id {
			return nil, fmt.Errorf("%w: it took too long", ErrBusy)
		}
		next.Exclusive = nil
		return nil, nil
	}))
}
