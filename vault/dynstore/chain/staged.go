package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/replicated"
)

// stagedPK is the PK of what is written beside the records.
const stagedPK = "staged"

const (
	// partBytes bounds what is in a part of a change, which becomes larger as text.
	partBytes = 128 << 10

	// finishers is how many items of a change are written at once.
	finishers = 16
)

func stagedKey(id string, part int) table.Key {
	return table.Key{PK: stagedPK, SK: fmt.Sprintf("%s/%06d", id, part)}
}

// stagedRange are the parts of a change.
func stagedRange(id string) table.Range {
	return table.Range{From: id + "/", To: id + "0"} // which follows the slash
}

// A stagedWrite is a write as a part has it.
type stagedWrite struct {
	Item   table.Item
	Remove bool `json:",omitempty"`
}

// sendStaged writes a change beside the records, and then makes the head that names it. From then
// on it is durable.
func (c *Chain) sendStaged(ctx context.Context, from, to *State, writes []Write) error {
	parts, err := stage(to.Commit(), writes)
	if err != nil {
		return err
	}
	if err := c.Table.DoAll(ctx, parts); err != nil {
		return err
	}
	to.Staged = &Staged{ID: to.Commit(), Parts: len(parts), Version: to.Version}
	err = c.send(ctx, from, to, nil, writes)
	if err != nil {
		if !errors.Is(err, replicated.ErrOutcome) { // nothing refers to them
			c.Table.DoAll(ctx, removed(parts))
		}
		return err
	}
	ctx = context.WithoutCancel(ctx)
	begun := time.Now()
	for wait := (table.Backoff{}); ; wait.Pause(ctx) {
		err := c.finish(ctx, to)
		switch {
		case err == nil || errors.Is(err, ErrMoved): // or another one has finished it
			return nil
		case time.Since(begun) > doubtWithin:
			// It is durable, and the next one that reads the head goes on with it.
			return fmt.Errorf("%w: it was made, and could not be finished: %w",
				replicated.ErrOutcome, err)
		}
	}
}

func stage(id string, writes []Write) (parts []table.Write, err error) {
	var part []stagedWrite
	bytes := 0
	flush := func() error {
		data, err := json.Marshal(part)
		parts = append(parts, table.Write{Item: table.Item{
			Key: stagedKey(id, len(parts)), Data: data,
		}})
		part, bytes = nil, 0
		return err
	}
	for i := range writes {
		w := &writes[i].Write
		if bytes += w.Size(); len(part) > 0 && bytes > partBytes {
			if err := flush(); err != nil {
				return nil, err
			}
			bytes = w.Size()
		}
		part = append(part, stagedWrite{w.Item, w.Remove})
	}
	return parts, flush()
}

func removed(parts []table.Write) []table.Write {
	gone := make([]table.Write, len(parts))
	for i := range parts {
		gone[i] = table.Write{Item: table.Item{Key: parts[i].Item.Key}, Remove: true}
	}
	return gone
}

// finish writes what a staged change writes, and makes a head that does not name it any more. Any
// number of programs may do so at once: an item that a later change has written stays as it is.
func (c *Chain) finish(ctx context.Context, s *State) error {
	parts, err := c.Table.List(ctx, stagedPK, stagedRange(s.Staged.ID))
	if err != nil {
		return err
	}
	if len(parts) != s.Staged.Parts {
		if now, err := c.Peek(ctx); err != nil || now.Version != s.Version {
			return errors.Join(err, ErrMoved) // another one has finished it
		}
		return fmt.Errorf("%w: of change %d %d parts are there, not %d", vault.ErrDamaged,
			s.Version, len(parts), s.Staged.Parts)
	}
	var gone []table.Write
	for _, part := range parts {
		var writes []stagedWrite
		if err := json.Unmarshal(part.Data, &writes); err != nil {
			return fmt.Errorf("%w: change %d: %w", vault.ErrDamaged, s.Version, err)
		}
		if err := c.writeAll(ctx, s.Staged.Version, writes); err != nil {
			return err
		}
		gone = append(gone, table.Write{Item: *part, Remove: true})
	}
	next := s.clone()
	next.Staged = nil
	if err := c.Make(ctx, s, next, nil); err != nil {
		return err
	}
	return c.Table.DoAll(ctx, gone)
}

// writeAll writes the items that no later change has written.
func (c *Chain) writeAll(ctx context.Context, version uint64, writes []stagedWrite) error {
	var wg sync.WaitGroup
	free := make(chan struct{}, finishers)
	errs := make([]error, len(writes))
	for i := range writes {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			w := table.Write{
				Item: writes[i].Item, Remove: writes[i].Remove, If: table.Older(version),
			}
			if err := c.Table.Patiently(ctx, w); !errors.Is(err, table.ErrCondition) {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// abandonedAfter is how long what was staged is left to the program that did so.
const abandonedAfter = time.Hour

// Sweep removes what was staged for changes that were never made. seen has what it found before,
// and when it did so first.
func (c *Chain) Sweep(ctx context.Context, seen map[string]time.Time) error {
	now, err := c.Read(ctx)
	if err != nil {
		return err
	}
	there := make(map[string]bool)
	var gone []table.Write
	err = c.Table.Each(ctx, stagedPK, table.Range{}, func(i *table.Item) error {
		id, _, _ := strings.Cut(i.SK, "/")
		there[id] = true
		switch first, known := seen[id]; {
		case !known:
			seen[id] = time.Now()
		case time.Since(first) > abandonedAfter && (now.Staged == nil || now.Staged.ID != id):
			gone = append(gone, table.Write{Item: *i, Remove: true})
		}
		return nil
	})
	if err != nil {
		return err
	}
	maps.DeleteFunc(seen, func(id string, _ time.Time) bool { return !there[id] })
	return c.Table.DoAll(ctx, gone)
}
