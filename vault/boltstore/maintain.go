package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"example.com/atm/vault"
	bolt "go.etcd.io/bbolt"
)

// Snapshot writes the file as it is now to path, which must not exist, while
// commits go on. What was committed before is in it. The keys of the snapshot
// are those that the secret opens now. It returns the checkpoint in the snapshot.
func (s *Store) Snapshot(path string) (checkpoint []byte, err error) {
	s.keys.change.Lock()
	defer s.keys.change.Unlock()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	tx, err := s.whole()
	if err == nil {
		checkpoint, _, err = view{engine: s.engine, file: tx}.readHead()
		checkpoint = bytes.Clone(checkpoint)
		if err == nil {
			_, err = tx.WriteTo(f)
		}
		err = errors.Join(err, tx.Rollback())
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot: %w", err), os.Remove(path))
	}
	return checkpoint, nil
}

// whole returns a snapshot of the file in which it has everything, and needs no
// write-ahead log.
func (s *Store) whole() (*bolt.Tx, error) {
	s.engine.writing.Lock()
	defer s.engine.writing.Unlock()
	if err := s.engine.checkpoint(); err != nil {
		return nil, err
	}
	return s.engine.db.Begin(false)
}

// Fit cuts off what a closed file has behind its last page, which is space to grow.
func Fit(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockWait})
	if err != nil {
		return err
	}
	var size int64
	err = db.View(func(tx *bolt.Tx) error { size = tx.Size(); return nil })
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

// Compact writes the content of the file to path, which must not exist,
// without the pages that are free.
func (s *Store) Compact(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s exists", path)
	}
	s.engine.writing.Lock()
	defer s.engine.writing.Unlock()
	if err := s.engine.checkpoint(); err != nil {
		return err
	}
	if err := s.engine.db.Compact(path); err != nil {
		return errors.Join(fmt.Errorf("compact: %w", err), os.Remove(path))
	}
	return nil
}

// Rebuild implements vault.Backend.
func (s *Store) Rebuild(ctx context.Context,
	replay func(journal vault.Store) (*vault.Records, error),
) error {
	derived, err := replay(s) // nobody else has the file open
	if err != nil {
		return err
	}
	return s.exclusive(func(v view) error {
		spines, err := v.relink(ctx)
		if err != nil {
			return err
		}
		for _, kind := range kinds {
			if !kind.isDerived() {
				continue
			}
			if err := errors.Join(v.file.DeleteBucket(kind.in()),
				makeBuckets(v.file, [][]byte{kind.in()})); err != nil {
				return err
			}
			if err := kind.write(v, derived, spines); err != nil {
				return err
			}
		}
		return nil
	})
}
