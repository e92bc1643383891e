package journal

import (
	"context"
	"fmt"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/pgstore/database"
	"github.com/jackc/pgx/v5"
)

const (
	putEntriesSQL = database.Written + `INSERT INTO journal (index, leaf)
		SELECT * FROM unnest($1::bigint[], $2::bytea[])` + database.EachOf1
	putVersionsSQL = database.Written + `INSERT INTO versions (account, version, index)
		SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])` + database.EachOf1
)

// Queue adds the entries of a commit to the journal, and to the index of the versions that they
// made.
func Queue(b *pgx.Batch, c *vault.Changes) {
	indexes, leaves := make([]int64, len(c.Entries)), make([][]byte, len(c.Entries))
	var accounts []string
	var versions, at []int64
	for i := range c.Entries {
		indexes[i], leaves[i] = int64(c.First)+int64(i), c.Entries[i].Leaf
		for _, change := range c.Entries[i].Touched {
			accounts = append(accounts, change.Account)
			versions = append(versions, int64(change.Version))
			at = append(at, indexes[i])
		}
	}
	b.Queue(putEntriesSQL, indexes, leaves)
	if len(accounts) > 0 {
		b.Queue(putVersionsSQL, accounts, versions, at)
	}
}

// Fill writes the entries first, first+1, …, as when a store is moved.
func Fill(ctx context.Context, tx pgx.Tx, first vault.JournalIndex, leaves [][]byte) error {
	rows := make([][]any, len(leaves))
	for i, leaf := range leaves {
		rows[i] = []any{int64(first) + int64(i), leaf}
	}
	if err := database.Copy(ctx, tx, "journal", []string{"index", "leaf"}, rows); err != nil {
		return err
	}
	return fillVersions(ctx, tx, first, leaves)
}

// fillVersions writes the versions that the entries first, first+1, … made.
func fillVersions(ctx context.Context, tx pgx.Tx, first vault.JournalIndex,
	leaves [][]byte,
) error {
	var rows [][]any
	for i, leaf := range leaves {
		index := first + vault.JournalIndex(i)
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		for _, c := range entry.State {
			rows = append(rows, []any{c.Account, int64(c.Version), int64(index)})
		}
	}
	return database.Copy(ctx, tx, "versions", []string{"account", "version", "index"}, rows)
}

// Rebuild makes the index of versions again from a journal of this size.
func Rebuild(ctx context.Context, tx pgx.Tx, size vault.JournalIndex) error {
	base, err := Base(ctx, tx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM versions"); err != nil {
		return err
	}
	for first := base.Index; first < size; first += AtOnce {
		var leaves [][]byte
		err := Entries(ctx, tx, first, min(size, first+AtOnce), func(_ vault.JournalIndex,
			leaf []byte,
		) error {
			leaves = append(leaves, leaf)
			return nil
		})
		if err != nil {
			return err
		}
		if err := fillVersions(ctx, tx, first, leaves); err != nil {
			return err
		}
	}
	return nil
}
