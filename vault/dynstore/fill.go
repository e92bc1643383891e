package dynstore

import (
	"context"
	"encoding/json"
	"errors"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/history"
)

// filling is what Fill is called where it was interrupted.
const filling = "atmctl import"

// Fill implements vault.Backend. Nothing of it can be seen before the head has the journal, which
// comes last. The head says before that what is being written, and what an interrupted Fill left
// behind is removed: it may be of another dump.
func (s *Store) Fill(ctx context.Context, dump func(context.Context,
	func(*vault.Part) error) (*vault.Trail, error),
) error {
	return s.exclude(ctx, func() error {
		now, err := s.chain.Read(ctx)
		if err != nil {
			return err
		}
		if now.Size > 0 {
			return vault.ErrNotEmpty
		}
		if now.Unfinished == filling {
			if err := s.clear(ctx, now.Filled); err != nil {
				return err
			}
		}
		spines := make(history.Spines)
		trail, err := dump(ctx, func(part *vault.Part) error {
			if err := s.fills(ctx, part); err != nil {
				return err
			}
			return s.fillPart(ctx, part, spines)
		})
		if err != nil {
			return err
		}
		return s.chain.Change(ctx, func(now *chain.State, next *chain.Head) ([]chain.Write,
			error,
		) {
			if now.Size > 0 {
				return nil, vault.ErrNotEmpty
			}
			next.Unfinished, next.Filled = "", nil
			return s.begun(ctx, trail, next)
		})
	})
}

// fills notes in the head that a part is about to be written.
func (s *Store) fills(ctx context.Context, part *vault.Part) error {
	span := chain.Span{From: part.First, To: part.First + vault.JournalIndex(len(part.Leaves))}
	if span.From == span.To && s.chain.Newest().Unfinished == filling {
		return nil
	}
	return s.chain.Change(ctx, func(now *chain.State, next *chain.Head) ([]chain.Write, error) {
		if before := now.Filled; before != nil {
			span.From, span.To = min(span.From, before.From), max(span.To, before.To)
		}
		next.Unfinished, next.Filled = filling, &span
		return nil, nil
	})
}

// clear removes what a Fill has written.
func (s *Store) clear(ctx context.Context, filled *chain.Span) error {
	pks := requestPKs()
	for _, kind := range kinds {
		pks = append(pks, kind.pks()...)
	}
	for _, pk := range pks {
		if err := s.removeAll(ctx, pk); err != nil {
			return err
		}
	}
	for at := filled.From; at < filled.To; at = (at/bucketWidth + 1) * bucketWidth {
		if err := s.removeAll(ctx, journalPK(int64(at))); err != nil {
			return err
		}
	}
	s.opened.forget()
	return nil
}

func (s *Store) removeAll(ctx context.Context, pk string) error {
	var gone []table.Write
	err := s.table.Each(ctx, pk, table.Range{}, func(i *table.Item) error {
		gone = append(gone, table.Write{Item: table.Item{Key: i.Key}, Remove: true})
		return nil
	})
	return errors.Join(err, ctx.Err(), s.table.DoAll(ctx, gone))
}

// begun makes the head of books that were filled.
func (s *Store) begun(ctx context.Context, trail *vault.Trail, next *chain.Head) ([]chain.Write,
	error,
) {
	var err error
	if next.Tree, err = trail.Head.MarshalBinary(); err != nil {
		return nil, err
	}
	next.Size, next.People = trail.Size(), trail.Size()
	next.Checkpoint, next.Logs = trail.Checkpoint, trail.Logs
	next.Begins, next.Removed = trail.Base.Index, trail.Base.Index
	if next.Size > next.Begins {
		e, err := s.journal(ctx).At(next.Size - 1)
		if err != nil {
			return nil, err
		}
		next.Last = merkle.LeafHash(e.Leaf)
		if entry, err := audit.ParseEntry(e.Leaf); err == nil {
			next.At = entry.Time.UnixMicro()
		}
	}
	if trail.Base.Index == 0 {
		return nil, nil
	}
	return writeBase(trail.Base)
}

func writeBase(base vault.Base) ([]chain.Write, error) {
	data, err := json.Marshal(base)
	return []chain.Write{{Write: table.Write{Item: table.Item{Key: baseKey, Data: data}}}}, err
}

// filledVersion is the version of what was filled: that of a change before all others.
const filledVersion = 1

func (s *Store) fillPart(ctx context.Context, part *vault.Part, spines history.Spines) error {
	entries, err := entriesOf(part.First, part.Leaves)
	if err != nil {
		return err
	}
	writes := recordWrites(s.keys, &part.Records, spines,
		chunksOf(part.First, entries, spines))
	for _, r := range part.Requests {
		writes = append(writes, table.Write{Item: requestItem(r.Key, r.Index, r.Day)})
	}
	for i := range writes {
		writes[i].Item.Version = filledVersion
	}
	return s.table.DoAll(ctx, writes)
}
