// Package cursors keeps how far subscriptions to the event feed have been delivered, in a bucket
// of the bbolt file.
//
// Nothing of it goes through the write-ahead log or a memtable: each change is a transaction of
// bbolt beside those of the flushes. bbolt carries out one after the other, a recovery of the
// log writes no cursor, and a cursor depends on no other value of the file, so every order of
// them is right. A commit waits for no cursor.
package cursors

import (
	"context"
	"time"

	"example.com/atm/vault/boltstore/guard"
	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/codec"
	"example.com/atm/vault/feeds"
	bolt "go.etcd.io/bbolt"
)

// Bucket is the name of the bucket: codec.CursorKey → cursor.
var Bucket = []byte("cursors")

// A Table is the cursors of a file. One process has the file open, so every claim succeeds, and
// lasts until the file is closed.
type Table struct {
	db   *guard.DB
	ring func() *keyring.Ring
}

// New returns the cursors in a file. ring returns the keys that its values are sealed with; they
// may be replaced in a transaction.
func New(db *guard.DB, ring func() *keyring.Ring) *Table { return &Table{db, ring} }

// Cursors implements vault.FeedStore.
func (t *Table) Cursors(context.Context) (all []feeds.Cursor, err error) {
	err = t.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(Bucket)
		if b == nil {
			return nil // an older file that is only read
		}
		return b.ForEach(func(k, sealed []byte) error {
			c, err := t.open(k, sealed)
			all = append(all, c)
			return err
		})
	})
	return all, err
}

func (t *Table) open(k, sealed []byte) (feeds.Cursor, error) {
	id, err := codec.CursorID(k)
	if err != nil {
		return feeds.Cursor{}, err
	}
	value, err := t.ring().Open(Bucket, k, sealed)
	if err != nil {
		return feeds.Cursor{}, err
	}
	return codec.DecodeCursor(id, value)
}

func (t *Table) put(b *bolt.Bucket, c *feeds.Cursor) error {
	k := codec.CursorKey(c.ID)
	return b.Put(k, t.ring().Seal(Bucket, k, codec.EncodeCursor(c)))
}

// ClaimCursors implements vault.FeedStore.
func (t *Table) ClaimCursors(_ context.Context, _ string, _ time.Duration, of []feeds.ID,
) ([]feeds.Cursor, error) {
	var claimed, made []feeds.Cursor
	err := t.db.View(func(tx *bolt.Tx) error {
		for _, id := range of {
			k := codec.CursorKey(id)
			sealed := tx.Bucket(Bucket).Get(k)
			if sealed == nil {
				made = append(made, feeds.NewCursor(id))
				continue
			}
			c, err := t.open(k, sealed)
			if err != nil {
				return err
			}
			claimed = append(claimed, c)
		}
		return nil
	})
	if err != nil || len(made) == 0 {
		return claimed, err
	}
	return append(claimed, made...), t.db.Update(func(tx *bolt.Tx) error {
		for i := range made {
			if err := t.put(tx.Bucket(Bucket), &made[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// SaveCursors implements vault.FeedStore. It keeps no cursor that was forgotten.
func (t *Table) SaveCursors(_ context.Context, _ string, cursors []feeds.Cursor, _ bool,
) (kept []feeds.ID, err error) {
	if len(cursors) == 0 {
		return nil, nil
	}
	err = t.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(Bucket)
		for i := range cursors {
			c := &cursors[i]
			if b.Get(codec.CursorKey(c.ID)) == nil {
				continue
			}
			if err := t.put(b, c); err != nil {
				return err
			}
			kept = append(kept, c.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}

// ForgetCursors implements vault.FeedStore.
func (t *Table) ForgetCursors(_ context.Context, of []feeds.ID) error {
	if len(of) == 0 {
		return nil
	}
	return t.db.Update(func(tx *bolt.Tx) error {
		for _, id := range of {
			if err := tx.Bucket(Bucket).Delete(codec.CursorKey(id)); err != nil {
				return err
			}
		}
		return nil
	})
}
