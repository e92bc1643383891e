package dynstore

import (
	"context"
	"errors"

	"example.com/atm/vault"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
)

// Trim implements vault.Backend. The chunk that has the entry at the base stays whole. While a
// snapshot is read, which may begin before the base, chunks are left to the next trim.
func (s *Store) Trim(ctx context.Context, base vault.Base) error {
	from, read := vault.JournalIndex(0), false
	err := s.chain.Change(ctx, func(now *chain.State, next *chain.Head) ([]chain.Write, error) {
		before, err := readBase(ctx, s.table)
		if err != nil {
			return nil, err
		}
		if err := base.Follows(before, logsOf(next), now.Size); err != nil {
			return nil, err
		}
		from, read, next.Begins = now.Removed, now.Snapshot != nil, base.Index
		return writeBase(base)
	})
	if err != nil || read {
		return err
	}
	for at := from; at < base.Index; at = (at/bucketWidth + 1) * bucketWidth {
		if err := errors.Join(ctx.Err(), s.removeChunks(ctx, at, base.Index)); err != nil {
			return err
		}
	}
	return s.chain.Change(ctx, func(_ *chain.State, next *chain.Head) ([]chain.Write, error) {
		next.Removed = max(next.Removed, base.Index)
		return nil, nil
	})
}

// removeChunks removes the chunks of a bucket that end before an index or at it.
func (s *Store) removeChunks(ctx context.Context, bucket, begin vault.JournalIndex) error {
	var gone []table.Write
	journal := s.journal(ctx)
	err := s.table.Each(ctx, journalPK(int64(bucket)), table.Range{
		To: journalSK(int64(begin - 1)),
	}, func(i *table.Item) error {
		err := journal.open(i)
		if err == nil && journal.begin+vault.JournalIndex(len(journal.entries)) <= begin {
			gone = append(gone, table.Write{Item: table.Item{Key: i.Key}, Remove: true})
		}
		return err
	})
	return errors.Join(err, s.table.DoAll(ctx, gone))
}
