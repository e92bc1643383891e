package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"github.com/jackc/pgx/v5"
)

var _ vault.Backend = (*Store)(nil)

// movedAtOnce bounds the records of a part.
const movedAtOnce = 1024

// Dump implements vault.Backend.
func (s *Store) Dump(ctx context.Context, yield func(*vault.Part) error) (*vault.Trail, error) {
	var t vault.Trail
	err := s.snapshot(ctx, func(tx pgx.Tx) error {
		var err error
		if t.Checkpoint, t.Head, err = signed(ctx, tx); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT logs FROM log").Scan(&t.Logs); err != nil {
			return err
		}
		var part vault.Part
		flush := func() error {
			defer func() { part = vault.Part{} }()
			return yield(&part)
		}
		err = entries(ctx, tx, 0, t.Size(), func(index int64, leaf []byte) error {
			if len(part.Leaves) == 0 {
				part.First = index
			}
			if part.Leaves = append(part.Leaves, leaf); len(part.Leaves) < movedAtOnce {
				return nil
			}
			return flush()
		})
		if err = errors.Join(err, flush()); err != nil {
			return err
		}
		return errors.Join(
			dump(ctx, tx, scanAccount, &part.Accounts, flush, "SELECT "+accountColumns+
				" FROM accounts"),
			dump(ctx, tx, scanHold, &part.Holds, flush, "SELECT id, account, amount, state FROM "+
				"holds"),
			dump(ctx, tx, scanRequest, &part.Requests, flush,
				"SELECT key, index, day FROM requests"),
			dump(ctx, tx, s.scanUser, &part.Users, flush, allUsers),
			dump(ctx, tx, scanGrant, &part.Grants, flush, "SELECT id, grantor, grantee, "+
				"accounts, operations, cap, spent, expires FROM grants"),
			dump(ctx, tx, scanRevocation, &part.Revocations, flush, allRevocations),
			dump(ctx, tx, scanCertificate, &part.Certificates, flush, "SELECT "+certificateColumns+
				" FROM certificates"),
		)
	})
	return &t, err
}

// dump reads records of one kind into a part, and flushes it whenever it is full
// and at the end.
func dump[T any](ctx context.Context, q querier, scan func(pgx.Row) (T, error), into *[]T,
	flush func() error, sql string,
) error {
	err := forEach(ctx, q, func(rows pgx.Rows) error {
		record, err := scan(rows)
		if err != nil {
			return err
		}
		if *into = append(*into, record); len(*into) < movedAtOnce {
			return nil
		}
		return flush()
	}, sql)
	return errors.Join(err, flush())
}

func scanRequest(row pgx.Row) (vault.KeptRequest, error) {
	var r vault.KeptRequest
	var key []byte
	if err := row.Scan(&key, &r.Index, &r.Day); err != nil {
		return r, err
	}
	if len(key) != len(r.Key) {
		return r, errRecord
	}
	r.Key = vault.RequestKey(key)
	return r, nil
}

// Fill implements vault.Backend. It is one transaction.
func (s *Store) Fill(ctx context.Context, dump func(context.Context,
	func(*vault.Part) error) (*vault.Trail, error),
) error {
	var after int64
	err := s.alone(ctx, func(tx pgx.Tx, size int64) error {
		if size > 0 {
			return vault.ErrNotEmpty
		}
		trail, err := dump(ctx, func(part *vault.Part) error { return s.fillPart(ctx, tx, part) })
		if err != nil {
			return err
		}
		head, err := trail.Head.MarshalBinary()
		if err != nil {
			return err
		}
		after = trail.Size()
		_, err = tx.Exec(ctx, written+"UPDATE log SET size = $1, head = $2, checkpoint = $3, "+
			"logs = $4"+one, after, head, trail.Checkpoint, trail.Logs)
		return err
	})
	if err != nil {
		return err
	}
	now, err := sight(ctx, s.pool, highWater{}, "")
	if err != nil {
		return explain(err)
	}
	return s.observe(highWater{}, now)
}

func (s *Store) fillPart(ctx context.Context, tx pgx.Tx, part *vault.Part) error {
	var journal, versions, requests, certificates [][]any
	for i, leaf := range part.Leaves {
		index := part.First + int64(i)
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		journal = append(journal, []any{index, leaf})
		for _, c := range entry.State {
			versions = append(versions, []any{c.Account, int64(c.Version), index})
		}
	}
	for i := range part.Requests {
		requests = append(requests, []any{
			part.Requests[i].Key[:], part.Requests[i].Index,
			part.Requests[i].Day,
		})
	}
	for i := range part.Certificates {
		certificates = append(certificates, certificateRow(&part.Certificates[i]))
	}
	for _, t := range []struct {
		table   string
		columns []string
		rows    [][]any
	}{
		{"journal", []string{"index", "leaf"}, journal},
		{"versions", []string{"account", "version", "index"}, versions},
		{"requests", []string{"key", "index", "day"}, requests},
		{"certificates", strings.Split(certificateColumns, ", "), certificates},
	} {
		if len(t.rows) == 0 {
			continue
		}
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{t.table}, t.columns,
			pgx.CopyFromRows(t.rows)); err != nil {
			return err
		}
	}
	var b pgx.Batch
	s.queueRecords(&b, &vault.Changes{
		Records: part.Records,
	}, nil)
	return tx.SendBatch(ctx, &b).Close()
}

// BeginLog implements vault.Backend.
func (s *Store) BeginLog(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTrip)
	defer cancel()
	head, err := merkle.Head{}.MarshalBinary()
	if err != nil {
		return err
	}
	return s.alone(ctx, func(tx pgx.Tx, _ int64) error {
		if _, err := tx.Exec(ctx, "DELETE FROM rollbacks"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, written+"UPDATE log SET logs = logs || size, head = $1, "+
			"checkpoint = NULL"+one, head)
		return err
	})
}

// All implements vault.Backend.
func (s *Store) All(ctx context.Context) (*vault.Records, error) {
	var all vault.Records
	err := s.snapshot(ctx, func(tx pgx.Tx) error {
		var err error
		if all.Accounts, err = list(ctx, tx, scanAccount, "SELECT "+accountColumns+
			" FROM accounts ORDER BY number NULLS LAST, name"); err != nil {
			return err
		}
		all.Holds, err = list(ctx, tx, scanHold, "SELECT id, account, amount, state FROM holds "+
			"ORDER BY id")
		return err
	})
	return &all, err
}

// Rebuild implements vault.Backend. It needs the owner of the tables, and no replica may run.
func (s *Store) Rebuild(ctx context.Context,
	replay func(journal vault.Store) (*vault.Records, error),
) error {
	return s.alone(ctx, func(tx pgx.Tx, size int64) error {
		derived, err := replay(&within{s, tx})
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM accounts"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM holds"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM versions"); err != nil {
			return err
		}
		var part vault.Part
		flush := func() error {
			var versions [][]any
			for i, leaf := range part.Leaves {
				entry, err := audit.ParseEntry(leaf)
				if err != nil {
					return fmt.Errorf("entry %d: %w", part.First+int64(i), err)
				}
				for _, c := range entry.State {
					versions = append(versions, []any{
						c.Account, int64(c.Version),
						part.First + int64(i),
					})
				}
			}
			part = vault.Part{}
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"versions"}, []string{
				"account", "version",
				"index",
			}, pgx.CopyFromRows(versions))
			return err
		}
		for first := int64(0); first < size; first += entriesAtOnce {
			part.First = first
			err := entries(ctx, tx, first, min(size, first+entriesAtOnce),
				func(_ int64, leaf []byte) error {
					part.Leaves = append(part.Leaves, leaf)
					return nil
				})
			if err = errors.Join(err, flush()); err != nil {
				return err
			}
		}
		for first := 0; first < max(len(derived.Accounts),
			len(derived.Holds)); first += movedAtOnce {
			var b pgx.Batch
			s.queueRecords(&b, &vault.Changes{Records: vault.Records{
				Accounts: page(derived.Accounts, first),
				Holds:    page(derived.Holds, first),
			}}, nil)
			if err := tx.SendBatch(ctx, &b).Close(); err != nil {
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

// Logs implements vault.Store.
func (w *within) Logs(ctx context.Context) (logs []int64, err error) {
	return logs, explain(w.tx.QueryRow(ctx, "SELECT logs FROM log").Scan(&logs))
}

// Entries implements vault.Store.
func (w *within) Entries(ctx context.Context, from, to int64,
	yield func(int64, []byte) error,
) error {
	return entries(ctx, w.tx, from, to, yield)
}

func page[T any](list []T, first int) []T {
	if first >= len(list) {
		return nil
	}
	return list[first:min(len(list), first+movedAtOnce)]
}
