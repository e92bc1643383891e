package dynstore

import (
	"bytes"
	"context"
	"fmt"
	"reflect"

	"example.com/atm/vault"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/history"
	"example.com/atm/vault/secrets"
)

// Rekey implements replicated.Store. All of it is one change, which is staged.
func (s *Store) Rekey(ctx context.Context, secret []byte) error {
	keys, err := secrets.New(secret)
	if err != nil {
		return err
	}
	return s.exclude(ctx, func() error {
		return s.chain.Change(ctx, func(now *chain.State, next *chain.Head) ([]chain.Write,
			error,
		) {
			next.Files = now.Version + 1
			writes, err := s.sealedAnew(ctx, keys)
			if err != nil {
				return nil, err
			}
			found, err := readInstallation(ctx, s.table)
			if err != nil {
				return nil, err
			}
			found.Mark = keys.Mark()
			item, err := found.item()
			return append(writes, chain.Write{Write: table.Write{Item: item}}), err
		})
	})
}

// sealedAnew returns everything that is sealed, sealed under other keys. Each item is opened again
// as what it was, before anybody relies on it.
func (s *Store) sealedAnew(ctx context.Context, keys *secrets.Keys) (writes []chain.Write,
	err error,
) {
	err = s.eachSealed(ctx, func(kind kind, i *table.Item) error {
		var records vault.Records
		if err := kind.read(s.keys, i, i.Data, &records); err != nil {
			return err
		}
		spines := make(history.Spines)
		if len(records.Accounts) > 0 {
			a, spine, err := accountOf(s.keys, i, i.Data)
			if err != nil {
				return err
			}
			spines[a.Name] = chunk.History{Version: a.Version, Places: spine}
		}
		for _, w := range kind.write(keys, &records, spines) {
			w.Before, w.Read = i, true
			if err := same(keys, kind, &w.Item, &records, i.Key); err != nil {
				return err
			}
			writes = append(writes, w)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all, err := s.AllFiles(ctx)
	for _, f := range all {
		w := chain.Write{Write: table.Write{Item: sealFile(keys, f)}}
		again, err := openFile(keys, &w.Item)
		if err != nil || !bytes.Equal(again.Data, f.Data) {
			return nil, fmt.Errorf("%w: what was sealed anew is not what it was", secrets.ErrSealed)
		}
		writes = append(writes, w)
	}
	return writes, err
}

// same makes sure that an item which was sealed anew opens, in its place.
func same(keys *secrets.Keys, kind kind, i *table.Item, want *vault.Records, key table.Key) error {
	var again vault.Records
	err := kind.read(keys, i, i.Data, &again)
	if err != nil || i.Key != key || !reflect.DeepEqual(again, *want) {
		return fmt.Errorf("%w: what was sealed anew is not what it was", secrets.ErrSealed)
	}
	return nil
}

// eachSealed calls yield with each record that has something sealed.
func (s *Store) eachSealed(ctx context.Context, yield func(kind, *table.Item) error) error {
	for _, kind := range []kind{users, accounts{}} {
		for _, pk := range kind.pks() {
			err := s.table.Each(ctx, pk, table.Range{}, func(i *table.Item) error {
				return yield(kind, i)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// ReadSealed implements replicated.Store.
func (s *Store) ReadSealed(ctx context.Context) error {
	err := s.eachSealed(ctx, func(kind kind, i *table.Item) error {
		return kind.read(s.keys, i, i.Data, new(vault.Records))
	})
	if err != nil {
		return err
	}
	_, err = s.AllFiles(ctx)
	return err
}
