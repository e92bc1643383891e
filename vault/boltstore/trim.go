package boltstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"example.com/atm/vault"
	"example.com/atm/vault/codec"
	bolt "go.etcd.io/bbolt"
)

// keyBase has the base of a journal that was trimmed.
var keyBase = []byte("base")

// trimmedAtOnce is how many chunks a transaction removes. Flushes wait for it.
const trimmedAtOnce = 128

// Base implements vault.Store.
func (r *reader) Base(context.Context) (vault.Base, error) {
	return *r.engine.base.Load(), nil
}

func (v view) readBase() (base vault.Base, err error) {
	value, err := v.shelf(bucketMeta).Get(keyBase)
	if value == nil || err != nil {
		return base, err
	}
	if err := json.Unmarshal(value, &base); err != nil {
		return base, fmt.Errorf("%w: base of the journal: %w", vault.ErrDamaged, err)
	}
	return base, nil
}

func (v view) writeBase(base vault.Base) error {
	value, err := json.Marshal(base)
	if err != nil {
		return err
	}
	return v.shelf(bucketMeta).Put(keyBase, value)
}

// Trim implements vault.Backend. The chunk that has the entry at the base stays whole.
func (s *Store) Trim(ctx context.Context, base vault.Base) error {
	err := s.exclusive(func(v view) error {
		before, err := v.readBase()
		if err != nil {
			return err
		}
		logs, err := v.readLogs()
		if err != nil {
			return err
		}
		_, head, err := v.readHead()
		if err != nil {
			return err
		}
		if err := base.Follows(before, logs, vault.JournalEnd(logs, head)); err != nil {
			return err
		}
		return v.writeBase(base)
	})
	for more := true; more && err == nil; {
		if err = ctx.Err(); err == nil {
			more, err = s.removeChunks(base.Index)
		}
	}
	return err
}

// removeChunks removes some of the chunks that end before an index or at it, and reports whether
// there may be more of them.
func (s *Store) removeChunks(begin vault.JournalIndex) (more bool, err error) {
	err = s.engine.db.Use(func() error {
		return s.engine.db.Update(func(tx *bolt.Tx) error {
			bucket, key := tx.Bucket(bucketJournal), codec.JournalKey(begin)
			var over [][]byte
			c := bucket.Cursor()
			k, _ := c.First()
			for next := []byte(nil); k != nil && len(over) < trimmedAtOnce; k = next {
				if next, _ = c.Next(); next == nil || bytes.Compare(next, key) > 0 {
					break // it has the entry at the base, or may have
				}
				over = append(over, bytes.Clone(k))
			}
			for _, k := range over {
				if err := bucket.Delete(k); err != nil {
					return err
				}
			}
			more = len(over) == trimmedAtOnce
			return nil
		})
	})
	return more, err
}
