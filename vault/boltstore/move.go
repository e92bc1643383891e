package boltstore

import (
	"context"
	"errors"
	"fmt"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/codec"
)

// movedAtOnce bounds the records of a part.
const movedAtOnce = 1024

// Dump implements vault.Backend.
func (r *reader) Dump(ctx context.Context, yield func(*vault.Part) error) (*vault.Trail, error) {
	return r.DumpFrom(ctx, vault.Base{}, yield)
}

// DumpFrom implements vault.Backend.
func (r *reader) DumpFrom(ctx context.Context, base vault.Base,
	yield func(*vault.Part) error,
) (*vault.Trail, error) {
	var trail vault.Trail
	err := r.engine.snapshot(func(now view) error {
		var err error
		if trail.Checkpoint, trail.Head, err = now.readHead(); err != nil {
			return err
		}
		if trail.Logs, err = now.readLogs(); err != nil {
			return err
		}
		if trail.Base, err = now.readBase(); err != nil {
			return err
		}
		if base.Index > trail.Base.Index {
			trail.Base = base
		}
		d := dumper{ctx: ctx, view: now, yield: yield}
		if err := d.journal(trail.Base.Index, trail.Size()); err != nil {
			return err
		}
		if err := d.flush(); err != nil {
			return err
		}
		if err := d.requests(); err != nil {
			return err
		}
		for _, kind := range kinds {
			if err := d.flush(); err != nil {
				return err
			}
			if err := kind.each(now, &d.part.Records, d.counted); err != nil {
				return err
			}
		}
		return d.flush()
	})
	return &trail, err
}

// A dumper yields what a view sees.
type dumper struct {
	ctx   context.Context
	view  view
	yield func(*vault.Part) error
	part  vault.Part
	count int // records in part
}

func (d *dumper) flush() error {
	if d.count == 0 {
		return nil
	}
	err := errors.Join(d.ctx.Err(), d.yield(&d.part))
	d.part, d.count = vault.Part{}, 0
	return err
}

// each opens every value of a bucket, and adds it to the part.
func (d *dumper) each(name []byte, add func(k, v []byte) error) error {
	shelf := d.view.shelf(name)
	return shelf.Bucket.ForEach(func(k, sealed []byte) error {
		v, err := shelf.Open(k, sealed)
		if err != nil {
			return err
		}
		if err := add(k, v); err != nil {
			return fmt.Errorf("%s, key %x: %w", name, k, err)
		}
		return d.counted()
	})
}

// counted counts a record that was added to the part, and yields the part when it is full.
func (d *dumper) counted() error {
	if d.count++; d.count >= movedAtOnce {
		return d.flush()
	}
	return nil
}

// journal adds the entries from, … to-1.
func (d *dumper) journal(from, to vault.JournalIndex) error {
	journal := d.view.journal()
	for ; from < to; from++ {
		e, err := journal.At(from)
		if err != nil {
			return err
		}
		if len(d.part.Leaves) == 0 {
			d.part.First = from
		}
		d.part.Leaves = append(d.part.Leaves, e.Leaf)
		if err := d.counted(); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) requests() error {
	return d.each(bucketRequests, func(k, v []byte) error {
		day, key, err := codec.ParseRequest(k)
		index, errIndex := codec.JournalIndex(v)
		d.part.Requests = append(d.part.Requests, vault.KeptRequest{
			Key: key, Index: index,
			Day: int64(day),
		})
		return errors.Join(err, errIndex)
	})
}

// Fill implements vault.Backend.
func (s *Store) Fill(ctx context.Context, dump func(context.Context,
	func(*vault.Part) error) (*vault.Trail, error),
) error {
	if _, head, err := s.Signed(ctx); err != nil || head.Size > 0 {
		return errors.Join(err, vault.ErrNotEmpty)
	}
	spines := make(spines)
	trail, err := dump(ctx, func(part *vault.Part) error {
		return s.exclusive(func(v view) error { return v.fillPart(part, spines) })
	})
	if err != nil {
		return err
	}
	return s.exclusive(func(v view) error { // what makes it whole comes last
		if len(trail.Logs) > 1 {
			if err := v.writeLogs(trail.Logs); err != nil {
				return err
			}
		}
		if trail.Base.Index > 0 {
			if err := v.writeBase(trail.Base); err != nil {
				return err
			}
		}
		if trail.Head.Size == 0 {
			return nil
		}
		return v.writeHead(trail.Checkpoint, trail.Head)
	})
}

func (v view) fillPart(part *vault.Part, spines spines) error {
	c := vault.Changes{
		First: part.First, Entries: make([]vault.Entry, len(part.Leaves)), Records: part.Records,
	}
	for i, leaf := range part.Leaves {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", part.First+vault.JournalIndex(i), err)
		}
		c.Entries[i] = vault.Entry{Leaf: leaf, Touched: entry.State}
	}
	if err := v.writeRecords(&c, spines); err != nil {
		return err
	}
	for _, r := range part.Requests {
		if err := v.putRequest(codec.NewRequest(uint32(r.Day), r.Key), r.Index); err != nil {
			return err
		}
	}
	return nil
}
