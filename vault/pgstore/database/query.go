package database

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"example.com/atm/vault"
	"github.com/jackc/pgx/v5"
)

// A trigger, a rule or a policy can drop what a statement writes, and the database reports
// success all the same. So each statement that writes stands between Written and one of the
// others, which count the rows: it divides by zero, and so fails its transaction, when one is
// missing.
const (
	Written = `WITH written AS (`
	One     = ` RETURNING 1) SELECT 1 / (count(*) = 1)::int FROM written`
	// EachOf1 wants as many rows as $1 has elements.
	EachOf1 = ` RETURNING 1) SELECT 1 / (count(*) = cardinality($1))::int FROM written`
)

// A Querier is a connection, a pool of them, or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// ForEach calls scan for every row that a query finds.
func ForEach(ctx context.Context, q Querier, scan func(pgx.Rows) error, sql string,
	args ...any,
) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return Explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return Explain(rows.Err())
}

// Each calls scan for every row.
func Each(scan func(pgx.Rows) error) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

// List reads records of one kind.
func List[T any](ctx context.Context, q Querier, scan func(pgx.Row) (T, error), sql string,
	args ...any,
) (found []T, err error) {
	ctx, cancel := context.WithTimeout(ctx, ReadWithin)
	defer cancel()
	err = ForEach(ctx, q, func(rows pgx.Rows) error {
		record, err := scan(rows)
		found = append(found, record)
		return err
	}, sql, args...)
	return found, err
}

// Listed is List with patience.
func Listed[T any](ctx context.Context, db *DB, scan func(pgx.Row) (T, error), sql string,
	args ...any,
) (found []T, err error) {
	err = db.Patiently(ctx, func() error {
		found, err = List(ctx, db, scan, sql, args...)
		return err
	})
	return found, err
}

// Patience bounds how long what failed is tried again.
const Patience = 5 * time.Second

// Patiently reads, and tries again what failed, for as long as Patience. What it calls begins
// anew or continues where it was. What still could not be read is an error that is
// vault.ErrUnavailable.
func (db *DB) Patiently(ctx context.Context, read func() error) error {
	for end := time.Now().Add(Patience); ; {
		err := read()
		if err == nil || !Transient(err) {
			return err
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
		}
		db.Pause(err)
	}
}

// Pause waits a moment before something is tried again that failed with err.
func (db *DB) Pause(err error) {
	if state, _ := State(err); state == "" || state == readOnlyTransaction {
		db.Reset() // the other connections lead to the same server, with the same settings
	}
	time.Sleep(time.Duration(1+rand.IntN(20)) * time.Millisecond)
}

// Snapshot runs read on one state of the database.
func (db *DB) Snapshot(ctx context.Context, read func(tx pgx.Tx) error) error {
	tx, err := db.BeginTx(ctx, pgx.TxOptions{
		IsoLevel:   pgx.RepeatableRead,
		AccessMode: pgx.ReadOnly,
	})
	if err != nil {
		return Explain(err)
	}
	defer func() { // there is nothing to commit
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), RoundTrip)
		defer cancel()
		tx.Rollback(bounded) // a connection that fails to roll back is closed
	}()
	return ExplainSent(read(tx))
}

// Copy writes rows into a table, of which there may be many.
func Copy(ctx context.Context, tx pgx.Tx, table string, columns []string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
	return err
}

// Null is a time as the database has it: null for the zero time. Known is its opposite.
func Null(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Known is a time that the database may not have.
func Known(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
