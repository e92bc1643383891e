package pgstore

import (
	"context"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/journal"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

var _ vault.Backend = (*Store)(nil)

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
	var t vault.Trail
	err := r.db.Snapshot(ctx, func(tx pgx.Tx) error {
		var logs []int64
		var err error
		if t.Checkpoint, t.Head, err = signed(ctx, tx); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT logs FROM log").Scan(&logs); err != nil {
			return err
		}
		t.Logs = journalIndexes(logs)
		if t.Base, err = journal.Base(ctx, tx); err != nil {
			return err
		}
		if base.Index > t.Base.Index {
			t.Base = base
		}
		return dumpParts(ctx, tx, r.keys, &t, yield)
	})
	return &t, err
}

func dumpParts(ctx context.Context, tx pgx.Tx, keys *secrets.Keys, t *vault.Trail,
	yield func(*vault.Part) error,
) error {
	var part vault.Part
	flush := func() error {
		defer func() { part = vault.Part{} }()
		return yield(&part)
	}
	err := journal.Entries(ctx, tx, t.Base.Index, t.Size(), func(index vault.JournalIndex,
		leaf []byte,
	) error {
		if len(part.Leaves) == 0 {
			part.First = index
		}
		if part.Leaves = append(part.Leaves, leaf); len(part.Leaves) < movedAtOnce {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	for _, kind := range kinds {
		if err := kind.dump(ctx, keys, tx, &part.Records, flush); err != nil {
			return err
		}
	}
	return dump(ctx, tx, readRequest, &part.Requests, flush, "SELECT key, index, day FROM requests")
}

func readRequest(row pgx.Row) (vault.KeptRequest, error) { return scanRequest(row) }

// scanRequest reads a request id, and more columns behind it.
func scanRequest(row pgx.Row, more ...any) (vault.KeptRequest, error) {
	var r vault.KeptRequest
	var key []byte
	var index int64
	if err := row.Scan(append([]any{&key, &index, &r.Day}, more...)...); err != nil {
		return r, err
	}
	if len(key) != len(r.Key) {
		return r, errRecord
	}
	r.Key, r.Index = requestid.Key(key), vault.JournalIndex(index)
	return r, nil
}

// Fill implements vault.Backend. It is one transaction.
func (s *Store) Fill(ctx context.Context, dump func(context.Context,
	func(*vault.Part) error) (*vault.Trail, error),
) error {
	err := s.Replicas.Exclude(ctx, func(tx pgx.Tx, size int64) error {
		if size > 0 {
			return vault.ErrNotEmpty
		}
		trail, err := dump(ctx, func(part *vault.Part) error {
			return fillPart(ctx, tx, s.keys, part)
		})
		if err != nil {
			return err
		}
		head, err := trail.Head.MarshalBinary()
		if err != nil {
			return err
		}
		logs := make([]int64, len(trail.Logs))
		for i, begin := range trail.Logs {
			logs[i] = int64(begin)
		}
		_, err = tx.Exec(ctx, database.Written+`UPDATE log SET size = $1, head = $2,
			checkpoint = $3, logs = $4`+database.One,
			int64(trail.Size()), head, trail.Checkpoint, logs)
		if err == nil && trail.Base.Index > 0 {
			err = journal.Note(ctx, tx, trail.Base)
		}
		return err
	})
	if err != nil {
		return err
	}
	now, err := sight(ctx, s.db, highWater{}, "")
	if err != nil {
		return database.Explain(err)
	}
	return s.past.observe(highWater{}, now)
}

// fillPart writes a part of a dump.
func fillPart(ctx context.Context, tx pgx.Tx, keys *secrets.Keys, part *vault.Part) error {
	requests := make([][]any, len(part.Requests))
	for i := range part.Requests {
		r := &part.Requests[i]
		requests[i] = []any{r.Key[:], int64(r.Index), r.Day}
	}
	if err := journal.Fill(ctx, tx, part.First, part.Leaves); err != nil {
		return err
	}
	if err := database.Copy(ctx, tx, "requests", []string{"key", "index", "day"},
		requests); err != nil {
		return err
	}
	return putRecords(ctx, tx, keys, &part.Records)
}

// putRecords writes records of which there are none yet.
func putRecords(ctx context.Context, tx pgx.Tx, keys *secrets.Keys, records *vault.Records) error {
	var b pgx.Batch
	queueRecords(keys, &b, &written{records: records})
	return tx.SendBatch(ctx, &b).Close()
}

// BeginLog implements vault.Backend.
func (s *Store) BeginLog(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	head, err := merkle.Head{}.MarshalBinary()
	if err != nil {
		return err
	}
	return s.Replicas.Exclude(ctx, func(tx pgx.Tx, _ int64) error {
		if _, err := tx.Exec(ctx, "DELETE FROM rollbacks"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, database.Written+`UPDATE log SET logs = logs || size, head = $1,
			checkpoint = NULL`+database.One, head)
		return err
	})
}

// Trim implements vault.Backend. Commits wait while the base is noted, and for nothing else.
func (s *Store) Trim(ctx context.Context, base vault.Base) error {
	err := s.db.Patiently(ctx, func() error {
		bounded, cancel := context.WithTimeout(ctx, database.RoundTrip)
		defer cancel()
		return database.ExplainSent(pgx.BeginTxFunc(bounded, s.db, pgx.TxOptions{},
			func(tx pgx.Tx) error { return s.beginAt(bounded, tx, base) }))
	})
	if err != nil {
		return err
	}
	return journal.Remove(ctx, s.db, base.Index)
}

// beginAt notes a base if the journal can begin there.
func (s *Store) beginAt(ctx context.Context, tx pgx.Tx, base vault.Base) error {
	if err := journal.Hurry(ctx, tx); err != nil {
		return err
	}
	seen := s.past.newest()
	now, err := sight(ctx, tx, seen, "FOR UPDATE")
	if err != nil {
		return err
	}
	if err := s.past.observe(seen, now); err != nil {
		return err
	}
	before, err := journal.Base(ctx, tx)
	if err != nil {
		return err
	}
	logs, err := (&within{s, tx}).Logs(ctx)
	if err != nil {
		return err
	}
	if err := base.Follows(before, logs, now.size); err != nil {
		return err
	}
	return journal.Note(ctx, tx, base)
}

// All implements vault.Backend.
func (r *reader) All(ctx context.Context) (*vault.Records, error) {
	var all vault.Records
	err := r.db.Snapshot(ctx, func(tx pgx.Tx) error {
		var err error
		if all.Accounts, err = database.List(ctx, tx, accountsIn(r.keys), "SELECT "+accountColumns+
			" FROM accounts ORDER BY number NULLS LAST, name"); err != nil {
			return err
		}
		if all.Holds, err = database.List(ctx, tx, scanHold, `SELECT id, account, amount, state
			FROM holds ORDER BY id`); err != nil {
			return err
		}
		if all.Mandates, err = database.List(ctx, tx, scanMandate, "SELECT "+mandateColumns+
			" FROM mandates ORDER BY id"); err != nil {
			return err
		}
		if all.Orders, err = database.List(ctx, tx, scanOrder, "SELECT "+orderColumns+
			" FROM orders ORDER BY id"); err != nil {
			return err
		}
		all.Reversals, err = database.List(ctx, tx, scanReversal, `SELECT entry, amount
			FROM reversals ORDER BY entry`)
		return err
	})
	return &all, err
}

// Rebuild implements vault.Backend. It needs the owner of the tables, and no replica may run.
func (s *Store) Rebuild(ctx context.Context,
	replay func(journal vault.Store) (*vault.Records, error),
) error {
	return s.Replicas.Exclude(ctx, func(tx pgx.Tx, size int64) error {
		derived, err := replay(&within{s, tx})
		if err != nil {
			return err
		}
		for _, table := range []string{
			"accounts", "holds", "mandates", "orders", "reversals",
		} {
			if _, err := tx.Exec(ctx, "DELETE FROM "+table); err != nil {
				return err
			}
		}
		if err := journal.Rebuild(ctx, tx, vault.JournalIndex(size)); err != nil {
			return err
		}
		for first := 0; first < max(len(derived.Accounts), len(derived.Holds),
			len(derived.Mandates), len(derived.Orders),
			len(derived.Reversals)); first += movedAtOnce {
			if err := putRecords(ctx, tx, s.keys, &vault.Records{
				Accounts:  page(derived.Accounts, first),
				Holds:     page(derived.Holds, first),
				Mandates:  page(derived.Mandates, first),
				Orders:    page(derived.Orders, first),
				Reversals: page(derived.Reversals, first),
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// within is a store as a transaction sees it, for what reads the journal.
type within struct {
	*Store
	tx pgx.Tx
}

// Signed implements vault.Store.
func (w *within) Signed(ctx context.Context) ([]byte, merkle.Head, error) {
	return signed(ctx, w.tx)
}

// Base implements vault.Store.
func (w *within) Base(ctx context.Context) (vault.Base, error) { return journal.Base(ctx, w.tx) }

// Logs implements vault.Store.
func (w *within) Logs(ctx context.Context) ([]vault.JournalIndex, error) {
	var logs []int64
	err := w.tx.QueryRow(ctx, "SELECT logs FROM log").Scan(&logs)
	return journalIndexes(logs), database.Explain(err)
}

// Entries implements vault.Store.
func (w *within) Entries(ctx context.Context, from, to vault.JournalIndex,
	yield func(vault.JournalIndex, []byte) error,
) error {
	return journal.Entries(ctx, w.tx, from, to, yield)
}

func page[T any](list []T, first int) []T {
	if first >= len(list) {
		return nil
	}
	return list[first:min(len(list), first+movedAtOnce)]
}
