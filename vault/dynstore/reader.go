package dynstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/codec"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/history"
)

func (r *reader) journal(ctx context.Context) *journal {
	return &journal{ctx: ctx, table: r.table, opened: r.opened}
}

// leaf returns a leaf in memory of its own.
func (j *journal) leaf(index vault.JournalIndex) ([]byte, error) {
	e, err := j.At(index)
	return bytes.Clone(e.Leaf), err
}

// leafHash is the hash of an entry, for the chain.
func (r *reader) leafHash(ctx context.Context, index vault.JournalIndex) (merkle.Hash, error) {
	j := journal{ctx: ctx, table: r.table}
	e, err := j.At(index)
	if err != nil {
		return merkle.Hash{}, err
	}
	return merkle.LeafHash(e.Leaf), nil
}

// Signed implements vault.Store.
func (r *reader) Signed(ctx context.Context) (checkpoint []byte, head merkle.Head, err error) {
	err = r.patiently(ctx, func(now *chain.State) (err error) {
		checkpoint = now.Checkpoint
		head, err = now.Merkle()
		return err
	})
	return checkpoint, head, err
}

// Logs implements vault.Store.
func (r *reader) Logs(ctx context.Context) (logs []vault.JournalIndex, err error) {
	err = r.patiently(ctx, func(now *chain.State) error {
		logs = logsOf(&now.Head)
		return nil
	})
	return logs, err
}

func logsOf(h *chain.Head) []vault.JournalIndex {
	if len(h.Logs) == 0 {
		return []vault.JournalIndex{0}
	}
	return h.Logs
}

// Base implements vault.Store.
func (r *reader) Base(ctx context.Context) (base vault.Base, err error) {
	err = table.Patiently(ctx, func() error {
		base, err = readBase(ctx, r.table)
		return err
	})
	return base, err
}

func readBase(ctx context.Context, t *table.Table) (base vault.Base, err error) {
	item, err := t.Get(ctx, baseKey)
	if item == nil || err != nil {
		return base, err
	}
	if err := json.Unmarshal(item.Data, &base); err != nil {
		return base, fmt.Errorf("%w: base of the journal: %w", vault.ErrDamaged, err)
	}
	return base, nil
}

// Entries implements vault.Store.
func (r *reader) Entries(ctx context.Context, from, to vault.JournalIndex,
	yield func(index vault.JournalIndex, leaf []byte) error,
) error {
	if from >= to {
		return nil
	}
	if err := r.kept(ctx, from); err != nil {
		return err
	}
	var mine error
	next := from
	err := r.journal(ctx).Leaves(from, to, func(index vault.JournalIndex, leaf []byte) error {
		mine = yield(index, leaf)
		next = index + 1
		return mine
	})
	if err == nil || mine != nil {
		return err
	}
	return errors.Join(r.kept(ctx, next), err)
}

// kept returns vault.ErrTrimmed for an entry before the base.
func (r *reader) kept(ctx context.Context, index vault.JournalIndex) error {
	begins := vault.JournalIndex(0)
	if err := r.patiently(ctx, func(now *chain.State) error {
		begins = now.Begins
		return nil
	}); err != nil || index >= begins {
		return err
	}
	base, err := r.Base(ctx)
	if err != nil {
		return err
	}
	return base.Trimmed(index)
}

// History implements vault.Store.
func (r *reader) History(ctx context.Context, account vault.Name, from uint64,
	yield func(uint64, vault.JournalIndex, []byte) bool,
) error {
	return r.history(ctx, account, from, yield)
}

// history is a vault.History. It ends where the journal begins.
func (r *reader) history(ctx context.Context, account vault.Name, from uint64,
	yield func(uint64, vault.JournalIndex, []byte) bool,
) error {
	below := from // what is left to read
	return table.Patiently(ctx, func() error {
		item, err := r.table.Get(ctx, keyOfAccount(account))
		if err != nil {
			return err
		}
		a, spine, err := openAccount(r.keys, account, item)
		if err != nil || below == 0 {
			return err
		}
		newest := r.chain.Newest()
		err = history.Walk(account, a.Version, spine, newest.Begins, below,
			r.journal(ctx).At, func(version uint64, index vault.JournalIndex, leaf []byte) bool {
				below = version - 1
				return yield(version, index, leaf) && below > 0
			})
		if !errors.Is(err, errNoEntry) {
			return err
		}
		now, failed := r.chain.Read(ctx) // the journal may have been trimmed meanwhile
		if failed != nil {
			return failed
		}
		if now.Begins == newest.Begins {
			return err
		}
		return nil // older versions were trimmed
	})
}

// Account implements vault.Store.
func (r *reader) Account(ctx context.Context, name vault.Name) (a vault.Account, err error) {
	err = table.Patiently(ctx, func() error {
		item, err := r.table.Get(ctx, keyOfAccount(name))
		if err == nil {
			a, _, err = openAccount(r.keys, name, item)
		}
		return err
	})
	return a, err
}

// Accounts implements vault.Store.
func (r *reader) Accounts(ctx context.Context, after uint64, limit int) ([]vault.Account, error) {
	if limit <= 0 {
		return nil, nil
	}
	above := numberSK(codec.NumberKey(after + 1)[1:])
	var found []*table.Item
	for _, pk := range shardPKs(inAccounts, manyShards) {
		some, err := r.table.List(ctx, pk, table.Range{From: above, Limit: limit})
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	slices.SortFunc(found, func(a, b *table.Item) int { return cmp.Compare(a.SK, b.SK) })
	var list []vault.Account
	for _, item := range found[:min(len(found), limit)] {
		a, _, err := accountOf(r.keys, item, item.Data)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// Balances implements vault.Store.
func (r *reader) Balances(ctx context.Context, yield func(vault.Account)) (
	size vault.JournalIndex, err error,
) {
	err = r.chain.Snapshot(ctx, func(now *chain.State, at *chain.Snapshot) error {
		size = now.Size
		return r.each(ctx, at, accounts{}, func(records *vault.Records) error {
			for i := range records.Accounts {
				yield(records.Accounts[i])
			}
			return ctx.Err()
		})
	})
	return size, err
}

// each calls yield with each record of a kind as it is in a snapshot.
func (r *reader) each(ctx context.Context, at *chain.Snapshot, kind kind,
	yield func(*vault.Records) error,
) error {
	for _, pk := range kind.pks() {
		err := r.table.Each(ctx, pk, table.Range{}, func(i *table.Item) error {
			data := i.Data
			if !kind.isBeside() {
				data = at.At(i)
			}
			if data == nil {
				return nil
			}
			var one vault.Records
			if err := kind.read(r.keys, i, data, &one); err != nil {
				return err
			}
			return yield(&one)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Orders implements vault.Store.
func (r *reader) Orders(ctx context.Context, until time.Time,
	yield func(*vault.Order) error,
) error {
	due, err := those(ctx, r, orders, func(o *vault.Order) bool { return o.Due(until) })
	for i := 0; i < len(due) && err == nil; i++ {
		err = yield(&due[i])
	}
	return err
}

// those returns the records of a kind that are wanted, in order of key.
func those[K comparable, V any](ctx context.Context, r *reader, kind *records[K, V],
	wanted func(*V) bool,
) (found []V, err error) {
	for _, pk := range kind.pks() {
		err := r.table.Each(ctx, pk, table.Range{}, func(i *table.Item) error {
			one, err := kind.record(r.keys, i, i.Data)
			if err == nil && wanted(&one) {
				found = append(found, one)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b V) int {
		return bytes.Compare(kind.ToKey(kind.Key(&a)), kind.ToKey(kind.Key(&b)))
	})
	return found, nil
}

// one returns the record of a kind under a key; nil when there is none.
func one[V any](ctx context.Context, r *reader, kind *records[string, V], key string) (
	found *V, err error,
) {
	err = table.Patiently(ctx, func() error {
		item, err := r.table.Get(ctx, kind.keyOf(key))
		if item == nil || err != nil {
			return err
		}
		v, err := kind.decode(r.keys, key, item.Data)
		found = &v
		return err
	})
	return found, err
}
