package pgstore

import (
	"context"
	"slices"

	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

// A named account is one whose holder has a name.
type named struct{ account, name string }

func sealHolder(keys *secrets.Keys, account, name string) []byte {
	return keys.Seal(secrets.Holder, account, []byte(name))
}

func openHolder(keys *secrets.Keys, account string, sealed []byte) (string, error) {
	name, err := keys.Open(secrets.Holder, account, sealed)
	return string(name), err
}

// holdersIn reads the accounts that have sealed names.
func holdersIn(ctx context.Context, q database.Querier, keys *secrets.Keys) ([]named, error) {
	return database.List(ctx, q, func(row pgx.Row) (n named, err error) {
		var sealed []byte
		if err := row.Scan(&n.account, &sealed); err != nil {
			return n, err
		}
		n.name, err = openHolder(keys, n.account, sealed)
		return n, err
	}, "SELECT name, sealed_holder FROM accounts WHERE sealed_holder IS NOT NULL ORDER BY name")
}

const sealHoldersSQL = database.Written + `UPDATE accounts a
	SET holder = '', sealed_holder = n.sealed
	FROM unnest($1::text[], $2::bytea[]) AS n (name, sealed) WHERE a.name = n.name` +
	database.EachOf1

// putHolders seals the names of accounts.
func putHolders(b *pgx.Batch, keys *secrets.Keys, list []named) {
	for part := range slices.Chunk(list, movedAtOnce) {
		accounts, sealed := make([]string, len(part)), make([][]byte, len(part))
		for i, n := range part {
			accounts[i], sealed[i] = n.account, sealHolder(keys, n.account, n.name)
		}
		b.Queue(sealHoldersSQL, accounts, sealed)
	}
}

// sealOld seals the names that older versions wrote as they are.
func sealOld(ctx context.Context, s *Store) error {
	ctx, cancel := context.WithTimeout(ctx, database.ReadWithin)
	defer cancel()
	const unsealed = "SELECT name, holder FROM accounts WHERE holder <> '' ORDER BY name"
	scan := func(row pgx.Row) (n named, err error) {
		err = row.Scan(&n.account, &n.name)
		return n, err
	}
	if found, err := database.List(ctx, s.db, scan, unsealed+" LIMIT 1"); len(found) == 0 {
		return database.Explain(err)
	}
	return database.Explain(pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT FROM log FOR UPDATE"); err != nil { // as every change
			return err
		}
		list, err := database.List(ctx, tx, scan, unsealed)
		if err != nil {
			return err
		}
		var b pgx.Batch
		putHolders(&b, s.keys, list)
		return tx.SendBatch(ctx, &b).Close()
	}))
}
