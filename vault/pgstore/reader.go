package pgstore

import (
	"context"
	"errors"
	"fmt"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/journal"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

// A reader answers what can be asked of a store.
type reader struct {
	db   *database.DB
	keys *secrets.Keys // open what is sealed
	past past
}

// Newest is the head of the audit log in the newest state of the journal that was read or
// written here.
func (r *reader) Newest() merkle.Head { return r.past.newest().head }

// RolledBack is the error that is ErrRolledBack when the journal was found to have gone back.
// From then on the store neither commits nor says what is signed.
func (r *reader) RolledBack() error { return r.past.err() }

// Signed implements vault.Store.
func (r *reader) Signed(ctx context.Context) (checkpoint []byte, head merkle.Head, err error) {
	err = r.db.Patiently(ctx, func() error {
		bounded, cancel := context.WithTimeout(ctx, database.RoundTrip)
		defer cancel()
		seen := r.past.newest() // before the query: commits go on meanwhile
		var row sightingRow
		if err := r.db.QueryRow(bounded, "SELECT "+sightColumns+", checkpoint FROM log",
			int64(seen.size)).Scan(row.columns(&checkpoint)...); err != nil {
			return database.Explain(err)
		}
		now, err := row.sighting()
		if err != nil {
			return err
		}
		head = now.head
		return r.past.observe(seen, now)
	})
	if err != nil {
		return nil, merkle.Head{}, err
	}
	return checkpoint, head, nil
}

func signed(ctx context.Context, q database.Querier) (checkpoint []byte, head merkle.Head,
	err error,
) {
	var text []byte
	if err := q.QueryRow(ctx, "SELECT checkpoint, head FROM log").Scan(&checkpoint,
		&text); err != nil {
		return nil, merkle.Head{}, database.Explain(err)
	}
	head, err = merkle.UnmarshalHead(text)
	return checkpoint, head, err
}

// Logs implements vault.Store.
func (r *reader) Logs(ctx context.Context) ([]vault.JournalIndex, error) {
	var logs []int64
	err := r.db.Patiently(ctx, func() error {
		bounded, cancel := context.WithTimeout(ctx, database.RoundTrip)
		defer cancel()
		return database.Explain(r.db.QueryRow(bounded, "SELECT logs FROM log").Scan(&logs))
	})
	return journalIndexes(logs), err
}

// journalIndexes are what the database has as numbers.
func journalIndexes(numbers []int64) []vault.JournalIndex {
	list := make([]vault.JournalIndex, len(numbers))
	for i, n := range numbers {
		list[i] = vault.JournalIndex(n)
	}
	return list
}

// Base implements vault.Store.
func (r *reader) Base(ctx context.Context) (base vault.Base, err error) {
	err = r.db.Patiently(ctx, func() error {
		bounded, cancel := context.WithTimeout(ctx, database.RoundTrip)
		defer cancel()
		base, err = journal.Base(bounded, r.db)
		return err
	})
	return base, err
}

// Entries implements vault.Store.
func (r *reader) Entries(ctx context.Context, from, to vault.JournalIndex,
	yield func(index vault.JournalIndex, leaf []byte) error,
) error {
	var mine error // of yield, which is not tried again whatever it is
	err := r.db.Patiently(ctx, func() error {
		err := journal.Entries(ctx, r.db, from, to, func(index vault.JournalIndex,
			leaf []byte,
		) error {
			from = index + 1
			mine = yield(index, leaf)
			return mine
		})
		if mine != nil {
			return nil
		}
		return err
	})
	return errors.Join(mine, err)
}

// History implements vault.Store.
func (r *reader) History(ctx context.Context, account vault.Name, from uint64,
	yield func(version uint64, index vault.JournalIndex, leaf []byte) bool,
) error {
	below := from // what is left to read
	return r.db.Patiently(ctx, func() error {
		if below == 0 {
			return nil
		}
		return journal.History(ctx, r.db, account, below, func(version uint64,
			index vault.JournalIndex, leaf []byte,
		) bool {
			below = version - 1
			return yield(version, index, leaf)
		})
	})
}

// Balances implements vault.Store.
func (r *reader) Balances(ctx context.Context, yield func(vault.Account)) (
	size vault.JournalIndex, err error,
) {
	begun := false
	var broken error // once somebody was told of an account, there is no beginning anew
	err = r.db.Patiently(ctx, func() error {
		failed := r.db.Snapshot(ctx, func(tx pgx.Tx) error {
			if err := tx.QueryRow(ctx, "SELECT size FROM log").Scan(&size); err != nil {
				return database.Explain(err)
			}
			return database.ForEach(ctx, tx, func(rows pgx.Rows) error {
				a, err := scanAccount(r.keys, rows)
				if err == nil {
					begun = true
					yield(a)
				}
				return err
			}, "SELECT "+accountColumns+" FROM accounts ORDER BY number NULLS LAST, name")
		})
		if begun && failed != nil && database.Transient(failed) {
			broken = fmt.Errorf("%w: %w", vault.ErrUnavailable, failed)
			return nil
		}
		return failed
	})
	return size, errors.Join(broken, err)
}

// Account implements vault.Store.
func (r *reader) Account(ctx context.Context, name vault.Name) (vault.Account, error) {
	found, err := database.Listed(ctx, r.db, accountsIn(r.keys), "SELECT "+accountColumns+
		" FROM accounts WHERE name = $1", string(name))
	if err != nil || len(found) == 0 {
		return vault.Account{Name: name}, err
	}
	return found[0], nil
}

// Accounts implements vault.Store.
func (r *reader) Accounts(ctx context.Context, after uint64, limit int) ([]vault.Account, error) {
	return database.Listed(ctx, r.db, accountsIn(r.keys), "SELECT "+accountColumns+
		" FROM accounts WHERE number > $1 ORDER BY number LIMIT $2",
		int64(min(after, 1<<62)), limit)
}
