package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/replicated"
)

// A Write is a write of a change, which sets the version of the item and the condition.
type Write struct {
	table.Write

	// Before is the item as it was, when the change has read it: nil for one that was not there.
	// The item must still be so, or have been removed because it had expired.
	Before *table.Item
	Read   bool

	// Kept items are a part of snapshots: a snapshot that is being read finds what they were.
	Kept bool
}

// doubtWithin bounds how long the outcome of a change is looked up.
const doubtWithin = 30 * time.Second

// Make makes the change from one state to the next head, with all writes or none. After ErrMoved
// and after an error that is table.Transient nothing was changed; after ErrMoved the newest state
// may be known already. After replicated.ErrOutcome nobody knows.
func (c *Chain) Make(ctx context.Context, from *State, next Head, writes []Write) error {
	if err := c.Err(); err != nil {
		return err
	}
	now := time.Now()
	if next.Snapshot != nil && !next.Snapshot.active(now) {
		next.Snapshot = nil
	}
	if next.Exclusive != nil && !next.Exclusive.active(now) {
		next.Exclusive = nil
	}
	if next.Snapshot != nil {
		if err := c.readBefore(ctx, writes); err != nil {
			return err
		}
	}
	to := &State{Head: next, Version: from.Version + 1}
	to.Recent = append([]string{c.newID()}, from.Recent[:min(len(from.Recent), recent-1)]...)
	for i := range writes {
		writes[i].prepare(to, now)
	}
	var err error
	if Fits(writes) {
		err = c.send(ctx, from, to, writes, writes)
	} else {
		err = c.sendStaged(ctx, from, to, writes)
	}
	if errors.Is(err, replicated.ErrOutcome) {
		c.gone.CompareAndSwap(nil, &err) // nothing is built on what nobody knows
	}
	return err
}

// readBefore reads what is written over and was not read yet.
func (c *Chain) readBefore(ctx context.Context, writes []Write) error {
	var keys []table.Key
	for i := range writes {
		if writes[i].Kept && !writes[i].Read {
			keys = append(keys, writes[i].Item.Key)
		}
	}
	found, err := c.Table.GetAll(ctx, keys)
	if err != nil {
		return err
	}
	for i := range writes {
		if w := &writes[i]; w.Kept && !w.Read {
			w.Before, w.Read = found[w.Item.Key], true
		}
	}
	return nil
}

// expiresWithin is how long before its time by this clock an item counts as expired: the table has
// a clock of its own, and a change takes its time.
const expiresWithin = time.Hour

// unchanged is the condition that an item is as it was read. The table removes an item that has
// expired at any time and leaves the head as it is. What was decided stays right: that an item is
// over is read from the record, long before the item expires.
func unchanged(before *table.Item, now time.Time) table.Condition {
	switch {
	case before == nil:
		return table.Absent
	case before.Expires != 0 && before.Expires <= now.Add(expiresWithin).Unix():
		return table.SameOrAbsent(before.Version)
	}
	return table.Same(before.Version)
}

// prepare sets what the item was, its version and its condition.
func (w *Write) prepare(to *State, now time.Time) {
	w.Item.Version, w.Item.Was, w.If = to.Version, nil, table.Always
	if w.Read {
		w.If = unchanged(w.Before, now)
	}
	if !w.Kept || to.Snapshot == nil {
		return
	}
	switch before := w.Before; {
	case before == nil:
		w.Item.Was = &table.Image{}
	case before.Version <= to.Snapshot.Version:
		w.Item.Was = &table.Image{Version: before.Version, Data: before.Data}
	default:
		w.Item.Was = before.Was
	}
}

// At is what an item was in a snapshot; nil when it was not there.
func (s *Snapshot) At(i *table.Item) []byte {
	switch {
	case i.Version <= s.Version:
		return i.Data
	case i.Was != nil:
		return i.Was.Data
	}
	return nil
}

// Fits reports whether writes have space in one transaction, beside the head.
func Fits(writes []Write) bool {
	const head = 16 << 10
	bytes := head
	for i := range writes {
		bytes += writes[i].Size()
	}
	return len(writes) < table.MaxWrites && bytes < table.MaxBytes
}

// send makes a change in one transaction, which it sends until it is known what became of it: the
// new head, and beside it all writes of the change, or none of them if they are staged. No try can
// be made twice, or after another change: each is made on one version of the head alone, and a
// version never comes back.
func (c *Chain) send(ctx context.Context, from, to *State, beside, writes []Write) error {
	item, err := to.item()
	if err != nil {
		return err
	}
	all := []table.Write{{Item: item, If: table.Same(from.Version)}}
	for i := range beside {
		all = append(all, beside[i].Write)
	}
	token, begun, doubt := to.Commit(), time.Now(), false
	for wait := (table.Backoff{}); ; wait.Pause(ctx) {
		seen, sent := c.Newest(), time.Now()
		err := c.Table.Transact(ctx, token, all)
		failed := new(table.Failed)
		switch {
		case err == nil:
			c.noted(to, time.Since(sent))
			return nil
		case errors.As(err, &failed) && slices.Contains(failed.Writes, 0):
			if doubt {
				return c.lookUp(context.WithoutCancel(ctx), to, writes)
			}
			return c.met(ctx, seen, failed.First)
		case errors.As(err, &failed) && !doubt:
			return c.differs(ctx, from, all[failed.Writes[0]].Item.Key)
		case table.Doubtful(err):
			if !doubt {
				c.warn(err)
			}
			doubt, ctx = true, context.WithoutCancel(ctx)
		case !table.Transient(err) && !doubt:
			return err
		}
		switch late := time.Since(begun); {
		case doubt && late > doubtWithin:
			return fmt.Errorf("%w: %w", replicated.ErrOutcome, err)
		case !doubt && (late > table.Patience || ctx.Err() != nil):
			return err
		}
	}
}

// met returns ErrMoved after a transaction met a head that another program had made since seen was
// the newest one. It saves the next attempt the reading of it.
func (c *Chain) met(ctx context.Context, seen *State, head *table.Item) error {
	if head == nil {
		return ErrMoved
	}
	now, err := stateOf(head)
	if err == nil && now.Staged == nil { // or the next one that reads it goes on with it
		err = c.observe(ctx, seen, now)
	}
	return cmp.Or(err, ErrMoved)
}

// differs returns ErrMoved after a transaction met an item of another version, if a later change
// has made it. If the head is what it was, something else has changed the item.
func (c *Chain) differs(ctx context.Context, from *State, key table.Key) error {
	now, err := c.Peek(ctx)
	switch {
	case err != nil:
		return err
	case now.Version != from.Version:
		return ErrMoved
	}
	return fmt.Errorf("%w: item %v is not of the version that the head says", vault.ErrRefused, key)
}

// lookUp finds out whether a change was made, after the head has moved on: it cannot be made any
// more. The newest head names it, or the journal has its entries.
func (c *Chain) lookUp(ctx context.Context, to *State, writes []Write) error {
	ctx, cancel := context.WithTimeout(ctx, doubtWithin)
	defer cancel()
	for wait := (table.Backoff{}); ; wait.Pause(ctx) {
		done, err := c.made(ctx, to, writes)
		switch {
		case err == nil && done:
			c.noted(to, 0)
			return nil
		case err == nil:
			return ErrMoved
		case ctx.Err() != nil || !table.Transient(err):
			return fmt.Errorf("%w: %w", replicated.ErrOutcome, err)
		}
	}
}

func (c *Chain) made(ctx context.Context, to *State, writes []Write) (done bool, err error) {
	now, err := c.Read(ctx)
	if err != nil {
		return false, err
	}
	if slices.Contains(now.Recent, to.Commit()) {
		return true, nil
	}
	if now.Version < to.Version || now.Version-to.Version < recent {
		return false, nil // the head would name it
	}
	for i := range writes { // an entry of the journal has an id that no other one has
		if writes[i].Kept {
			continue
		}
		found, err := c.Table.Get(ctx, writes[i].Item.Key)
		return err == nil && found != nil && found.Version == to.Version &&
			string(found.Data) == string(writes[i].Item.Data), err
	}
	return false, nil // a change of the head alone may be made again
}
