package boltstore

import (
	"context"
	"sync/atomic"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/codec"
)

// A reader answers what can be asked of a store.
type reader struct {
	engine *engine
	signed atomic.Pointer[signed] // the newest that is durable
}

// Signed implements audit.Source.
func (r *reader) Signed(context.Context) (checkpoint []byte, head merkle.Head, err error) {
	last := r.signed.Load()
	return last.checkpoint, last.head, nil
}

// Logs implements vault.Store.
func (r *reader) Logs(context.Context) ([]vault.JournalIndex, error) {
	return r.signed.Load().logs, nil
}

// History implements vault.Store.
func (r *reader) History(_ context.Context, account vault.Name, from uint64,
	yield func(uint64, vault.JournalIndex, []byte) bool,
) error {
	v, end, err := r.engine.view()
	if err != nil {
		return err
	}
	defer end()
	return r.engine.db.Use(func() error { return v.history(account, from, yield) })
}

// Account implements vault.Store.
func (r *reader) Account(_ context.Context, name vault.Name) (a vault.Account, err error) {
	v, end, err := r.engine.view()
	if err != nil {
		return vault.Account{}, err
	}
	defer end()
	err = r.engine.db.Use(func() error {
		a, _, err = v.account(name)
		return err
	})
	return a, err
}

// Balances implements vault.Store.
func (r *reader) Balances(ctx context.Context, yield func(vault.Account)) (
	journal vault.JournalIndex, err error,
) {
	err = r.engine.snapshot(func(v view) error {
		_, head, err := v.readHead()
		if err != nil {
			return err
		}
		logs, err := v.readLogs()
		if err != nil {
			return err
		}
		journal = vault.JournalEnd(logs, head)
		return v.eachAccount(func(a *vault.Account, _ chunk.Spine) error {
			yield(*a)
			return ctx.Err()
		})
	})
	return journal, err
}

// Accounts implements vault.Store.
func (r *reader) Accounts(_ context.Context, after uint64, limit int) ([]vault.Account, error) {
	var found []vault.Account
	err := r.engine.snapshot(func(v view) error {
		shelf := v.shelf(bucketAccounts)
		c := shelf.Bucket.Cursor()
		k, sealed := c.Seek(codec.NumberKey(after + 1))
		for ; k != nil && codec.IsNumbered(k) && len(found) < limit; k, sealed = c.Next() {
			a, _, err := openAccount(shelf, k, sealed)
			if err != nil {
				return err
			}
			found = append(found, a)
		}
		return nil
	})
	return found, err
}

// Entries implements vault.Store.
func (r *reader) Entries(ctx context.Context, from, to vault.JournalIndex,
	yield func(index vault.JournalIndex, leaf []byte) error,
) error {
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := min(to, from+entriesPerView)
		if err := r.entries(from, end, yield); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// entries is Entries in one view, which ends even if yield panics: what closes the store
// would wait for it for good.
func (r *reader) entries(from, to vault.JournalIndex,
	yield func(index vault.JournalIndex, leaf []byte) error,
) error {
	v, end, err := r.engine.view()
	if err != nil {
		return err
	}
	defer end()
	if base := r.engine.base.Load(); from < base.Index {
		return base.Trimmed(from)
	}
	return r.engine.db.Use(func() error { return v.journal().Leaves(from, to, yield) })
}

// entriesPerView bounds how long one read transaction lasts, because pages
// that it can see are not reused meanwhile.
const entriesPerView = 1024

// All implements vault.Backend.
func (r *reader) All(context.Context) (*vault.Records, error) {
	var all vault.Records
	err := r.engine.snapshot(func(v view) error {
		for _, kind := range kinds {
			if !kind.isDerived() {
				continue
			}
			if err := kind.each(v, &all, func() error { return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	return &all, err
}

// Orders implements vault.Store.
func (r *reader) Orders(ctx context.Context, at time.Time, yield func(*vault.Order) error) error {
	orders, err := those(ctx, r, ordersKind, func(o *vault.Order) bool { return o.Due(at) })
	for i := 0; i < len(orders) && err == nil; i++ {
		err = yield(&orders[i])
	}
	return err
}
