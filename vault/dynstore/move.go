package dynstore

import (
	"context"
	"errors"
	"fmt"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/codec"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/history"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/secrets"
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
	err := r.chain.Snapshot(ctx, func(now *chain.State, at *chain.Snapshot) (err error) {
		trail.Checkpoint, trail.Logs = now.Checkpoint, logsOf(&now.Head)
		if trail.Head, err = now.Merkle(); err != nil {
			return err
		}
		if trail.Base, err = r.Base(ctx); err != nil {
			return err
		}
		if base.Index > trail.Base.Index {
			trail.Base = base
		}
		d := dumper{reader: r, ctx: ctx, at: at, yield: yield}
		if err := errors.Join(d.journal(&trail), d.flush()); err != nil {
			return err
		}
		for _, kind := range kinds {
			err := r.each(ctx, at, kind, func(one *vault.Records) error {
				d.part.Records.Add(one)
				return d.counted()
			})
			if err = errors.Join(err, d.flush()); err != nil {
				return err
			}
		}
		return errors.Join(d.requests(trail.Size()), d.flush())
	})
	return &trail, err
}

// A dumper yields a snapshot.
type dumper struct {
	*reader
	ctx   context.Context
	at    *chain.Snapshot
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

// counted counts a record that was added to the part, and yields the part when it is full.
func (d *dumper) counted() error {
	if d.count++; d.count >= movedAtOnce {
		return d.flush()
	}
	return nil
}

func (d *dumper) journal(trail *vault.Trail) error {
	return d.reader.journal(d.ctx).Leaves(trail.Base.Index, trail.Size(), func(
		index vault.JournalIndex, leaf []byte,
	) error {
		if len(d.part.Leaves) == 0 {
			d.part.First = index
		}
		d.part.Leaves = append(d.part.Leaves, leaf)
		return d.counted()
	})
}

// requests adds the request ids whose entries are among the first size ones.
func (d *dumper) requests(size vault.JournalIndex) error {
	for _, pk := range requestPKs() {
		err := d.table.Each(d.ctx, pk, table.Range{}, func(i *table.Item) error {
			r, err := requestOf(i)
			if err != nil || r.Index >= size {
				return err
			}
			d.part.Requests = append(d.part.Requests, r)
			return d.counted()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func requestOf(i *table.Item) (r vault.KeptRequest, err error) {
	bytes, err := numberOf(i.SK)
	if err == nil && len(bytes) != len(r.Key) {
		err = codec.ErrForm
	}
	if err == nil {
		r.Key, r.Day = requestid.Key(bytes), i.Until
		r.Index, err = codec.JournalIndex(i.Data)
	}
	if err != nil {
		return r, fmt.Errorf("request id %s: %w", i.SK, err)
	}
	return r, nil
}

// recordWrites are writes of records beside other items.
func recordWrites(k *secrets.Keys, records *vault.Records, spines history.Spines,
	items []table.Item,
) (writes []table.Write) {
	for _, item := range items {
		writes = append(writes, table.Write{Item: item})
	}
	for _, kind := range kinds {
		for _, w := range kind.write(k, records, spines) {
			writes = append(writes, w.Write)
		}
	}
	return writes
}

// entriesOf reads what entries changed.
func entriesOf(first vault.JournalIndex, leaves [][]byte) ([]vault.Entry, error) {
	entries := make([]vault.Entry, len(leaves))
	for i, leaf := range leaves {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", first+vault.JournalIndex(i), err)
		}
		entries[i] = vault.Entry{Leaf: leaf, Touched: entry.State}
	}
	return entries, nil
}

// BeginLog implements vault.Backend.
func (s *Store) BeginLog(ctx context.Context) error {
	return s.exclude(ctx, func() error {
		return s.chain.Change(ctx, func(_ *chain.State, next *chain.Head) ([]chain.Write,
			error,
		) {
			next.Logs = append(logsOf(next), next.Size)
			next.Tree, next.Checkpoint, next.Told = nil, nil, nil
			return nil, nil
		})
	})
}

// All implements vault.Backend.
func (r *reader) All(ctx context.Context) (*vault.Records, error) {
	var all vault.Records
	err := r.chain.Snapshot(ctx, func(_ *chain.State, at *chain.Snapshot) error {
		for _, kind := range kinds {
			if !kind.isDerived() {
				continue
			}
			err := r.each(ctx, at, kind, func(one *vault.Records) error {
				all.Add(one)
				return nil
			})
			if err != nil {
				return err
			}
			kind.sort(&all) // they were in order of their shards
		}
		return nil
	})
	return &all, err
}

// Rebuild implements vault.Backend. No replica may run. It is not one transaction: until it has
// come to its end no replica starts.
func (s *Store) Rebuild(ctx context.Context,
	replay func(journal vault.Store) (*vault.Records, error),
) error {
	return s.exclude(ctx, func() error {
		derived, err := replay(s)
		if err != nil {
			return err
		}
		if err := s.unfinished(ctx, "atmctl rebuild"); err != nil {
			return err
		}
		spines, version, err := s.relink(ctx)
		if err != nil {
			return err
		}
		writes := recordWrites(s.keys, derived, spines, nil)
		kept := make(map[table.Key]bool, len(writes))
		for i := range writes {
			writes[i].Item.Version = version
			kept[writes[i].Item.Key] = true
		}
		if err := s.table.DoAll(ctx, writes); err != nil {
			return err
		}
		if err := s.removeDerived(ctx, kept); err != nil {
			return err
		}
		return s.unfinished(ctx, "")
	})
}

// unfinished notes that something has begun that makes books which are not whole until its end.
func (s *Store) unfinished(ctx context.Context, what string) error {
	return s.chain.Change(ctx, func(_ *chain.State, next *chain.Head) ([]chain.Write, error) {
		next.Unfinished = what
		return nil, nil
	})
}

// relink makes the links of all journal entries anew. It returns the spines of the accounts, and
// the version of the head.
func (s *Store) relink(ctx context.Context) (history.Spines, uint64, error) {
	now, err := s.chain.Read(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer s.opened.forget()
	spines := make(history.Spines)
	journal := s.journal(ctx)
	err = journal.chunks(now.Begins, now.Size, func(item *table.Item) error {
		if err := journal.open(item); err != nil {
			return err
		}
		leaves := make([][]byte, len(journal.entries))
		for i, e := range journal.entries {
			leaves[i] = e.Leaf
		}
		entries, err := entriesOf(journal.begin, leaves)
		if err != nil {
			return err
		}
		var writes []table.Write
		for _, again := range chunksOf(journal.begin, entries, spines) {
			again.Version = item.Version
			writes = append(writes, table.Write{Item: again})
		}
		return s.table.DoAll(ctx, writes)
	})
	return spines, now.Version, err
}

// removeDerived removes the records that a replay does not make.
func (s *Store) removeDerived(ctx context.Context, kept map[table.Key]bool) error {
	for _, kind := range kinds {
		if !kind.isDerived() {
			continue
		}
		for _, pk := range kind.pks() {
			var gone []table.Write
			err := s.table.Each(ctx, pk, table.Range{}, func(i *table.Item) error {
				if !kept[i.Key] {
					gone = append(gone, table.Write{Item: *i, Remove: true})
				}
				return nil
			})
			if err = errors.Join(err, s.table.DoAll(ctx, gone)); err != nil {
				return err
			}
		}
	}
	return nil
}
