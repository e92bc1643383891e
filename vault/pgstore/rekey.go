package pgstore

import (
	"context"
	"fmt"
	"reflect"

	"example.com/atm/vault/people"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/shared"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

// Rekey implements replicated.Store. It is one transaction, which reads everything back.
func (s *Store) Rekey(ctx context.Context, secret []byte) error {
	ctx, cancel := context.WithTimeout(ctx, database.ReadWithin)
	defer cancel()
	keys, err := secrets.New(secret)
	if err != nil {
		return err
	}
	files := shared.NewFiles(s.db, keys, nil)
	return s.Replicas.Exclude(ctx, func(tx pgx.Tx, _ int64) error {
		before, err := readSealed(ctx, tx, s.keys, s.Files)
		if err != nil {
			return err
		}
		if err := before.write(ctx, tx, keys, files); err != nil {
			return err
		}
		// Before anybody relies on it, all of it is read back as what it was.
		after, err := readSealed(ctx, tx, keys, files)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(before, after) {
			return fmt.Errorf("%w: what was sealed anew is not what it was", secrets.ErrSealed)
		}
		return nil
	})
}

// ReadSealed implements replicated.Store.
func (s *Store) ReadSealed(ctx context.Context) error {
	return s.db.Snapshot(ctx, func(tx pgx.Tx) error {
		_, err := readSealed(ctx, tx, s.keys, s.Files)
		return err
	})
}

// sealed is everything in the database that is sealed.
type sealed struct {
	users   []people.User
	holders []named
	files   []shared.File
}

func readSealed(ctx context.Context, q database.Querier, keys *secrets.Keys, files *shared.Files,
) (*sealed, error) {
	users, err := database.List(ctx, q, usersIn(keys), allUsers+" ORDER BY subject")
	if err != nil {
		return nil, err
	}
	holders, err := holdersIn(ctx, q, keys)
	if err != nil {
		return nil, err
	}
	all, err := files.In(ctx, q)
	return &sealed{users, holders, all}, err
}

// write seals everything under keys, and writes their mark.
func (s *sealed) write(ctx context.Context, tx pgx.Tx, keys *secrets.Keys, files *shared.Files,
) error {
	var b pgx.Batch
	b.Queue(database.Written+"UPDATE installation SET mark = $1"+database.One, keys.Mark())
	for i := range s.users {
		u := &s.users[i]
		b.Queue(database.Written+"UPDATE users SET ha1 = $2, slow = $3 WHERE subject = $1"+
			database.One, u.Subject, keys.Seal(secrets.HA1, u.Subject, u.HA1),
			keys.Seal(secrets.Slow, u.Subject, u.Slow))
	}
	putHolders(&b, keys, s.holders)
	for _, f := range s.files {
		b.Queue(database.Written+"UPDATE files SET sealed = $2 WHERE name = $1"+database.One,
			f.Name, files.Seal(f))
	}
	return tx.SendBatch(ctx, &b).Close()
}
