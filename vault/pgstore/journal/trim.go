package journal

import (
	"context"
	"encoding/json"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/pgstore/database"
	"github.com/jackc/pgx/v5"
)

// removedAtOnce is how many entries a transaction removes. The database removes at most 10,000.
const removedAtOnce = 2048

// limitsSQL keeps a transaction that trims from being in the way of commits for long.
const limitsSQL = `SELECT set_config('lock_timeout', '10s', true),
	set_config('statement_timeout', '10s', true),
	set_config('idle_in_transaction_session_timeout', '10s', true)`

// Hurry bounds the statements of a transaction, and how long each waits for a lock.
func Hurry(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, limitsSQL)
	return err
}

// Note notes a base in a transaction that holds the head of the journal.
func Note(ctx context.Context, tx pgx.Tx, base vault.Base) error {
	text, err := json.Marshal(base)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, database.Written+"UPDATE log SET base = $1"+database.One, text)
	return err
}

// Remove removes what the journal has before its base, in small transactions, of which each can
// be the last one.
func Remove(ctx context.Context, db *database.DB, begin vault.JournalIndex) error {
	first := begin
	err := db.Patiently(ctx, func() error {
		bounded, cancel := context.WithTimeout(ctx, database.ReadWithin)
		defer cancel()
		return database.Explain(db.QueryRow(bounded,
			"SELECT coalesce(min(index), $1) FROM journal", int64(begin)).Scan(&first))
	})
	for first < begin && err == nil {
		past := min(first+removedAtOnce, begin)
		if err = ctx.Err(); err == nil {
			err = db.Patiently(ctx, func() error { return remove(ctx, db, first, past) })
		}
		first = past
	}
	return err
}

// remove removes the entries first, … past-1, and the versions that they made. The database
// finds versions by their accounts, so it is told of them.
func remove(ctx context.Context, db *database.DB, first, past vault.JournalIndex) error {
	ctx, cancel := context.WithTimeout(ctx, database.RoundTrip)
	defer cancel()
	var accounts []string
	var versions []int64
	err := database.ForEach(ctx, db, func(rows pgx.Rows) error {
		var leaf []byte
		if err := rows.Scan(&leaf); err != nil {
			return err
		}
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			return nil // it made no version that anybody could find
		}
		for _, change := range entry.State {
			accounts = append(accounts, change.Account)
			versions = append(versions, int64(change.Version))
		}
		return nil
	}, "SELECT leaf FROM journal WHERE index >= $1 AND index < $2", int64(first), int64(past))
	if err != nil {
		return err
	}
	return database.Explain(pgx.BeginTxFunc(ctx, db, pgx.TxOptions{}, func(tx pgx.Tx) error {
		if err := Hurry(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT trim_journal($1, $2, $3, $4)", int64(first), int64(past),
			accounts, versions)
		return err
	}))
}
