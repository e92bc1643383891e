package boltstore

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/codec"
	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/boltstore/pages"
)

// A form is what the buckets of a vault have in them.
type form struct{}

// Knows implements pages.Form.
func (form) Knows(name []byte) bool {
	return bytes.Equal(name, keyring.Bucket) ||
		slices.ContainsFunc(buckets, func(b []byte) bool { return bytes.Equal(b, name) })
}

// Fits implements pages.Form.
func (form) Fits(bucket string, key, value []byte) bool {
	switch bucket {
	case string(bucketRequests):
		return len(key) == len(codec.Request{}) && len(value) == 8
	case string(bucketJournal):
		return len(key) == 8 && len(value) >= keyring.Overhead
	case string(bucketMeta), string(keyring.Bucket):
		return true // Open looks at each
	}
	for _, kind := range kinds {
		if string(kind.in()) == bucket && !kind.fits(key) {
			return false
		}
	}
	return len(value) >= keyring.Overhead
}

// wholeAtStart is the size of a file up to which a server reads all pages before it
// starts, which takes less than a tenth of a second. Of a larger one it reads the branch
// pages, and the leaf pages while it runs.
const wholeAtStart = 32 << 20

// checkPages checks all pages of the store, while nothing is written.
func (s *Store) checkPages() (lost int, err error) {
	if !s.engine.db.ReadOnly() {
		tx, err := s.engine.db.Begin(true)
		if err != nil {
			return 0, err
		}
		defer tx.Rollback()
	}
	f, err := os.Open(s.engine.db.Path())
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return pages.Check(f, true, form{})
}

// What the seals and the pages do not show is looked at where it is missed.

// absent makes sure that a bucket has no value of a key. One whose key was changed lies
// where it lay before, between the same two; it does not open there.
func (s shelf) absent(key []byte) error {
	if s.number == codec.NumberRequests {
		return nil // which are not sealed
	}
	c := s.bucket.Cursor()
	next, sealed := c.Seek(key)
	if err := s.beside(key, next, sealed, 1); err != nil {
		return err
	}
	last, sealed := c.Prev()
	if next == nil {
		last, sealed = c.Last()
	}
	return s.beside(key, last, sealed, -1)
}

// beside makes sure that a value opens that lies beside a key, on one side of it.
func (s shelf) beside(key, beside, sealed []byte, side int) error {
	switch {
	case beside == nil || s.number == codec.NumberMeta && plainMeta(beside):
		return nil
	case bytes.Compare(beside, key) != side:
		return fmt.Errorf("%w: bucket %s: key %x is not in order", vault.ErrDamaged, s.name, beside)
	}
	_, err := s.open(beside, sealed)
	return err
}

// plainMeta reports whether a value of the bucket meta is not sealed.
func plainMeta(key []byte) bool {
	return bytes.Equal(key, keySchema) || bytes.Equal(key, keyNeeded)
}

// checkMeta makes sure that nothing is missing in the bucket meta: every value there is
// what its key says, and where there are entries there is a signed tree.
func (v view) checkMeta() error {
	meta := v.shelf(bucketMeta)
	err := meta.bucket.ForEach(func(k, value []byte) error {
		if plainMeta(k) {
			return nil
		}
		_, err := meta.open(k, value)
		return err
	})
	if err != nil || meta.bucket.Get(keyHead) != nil || meta.bucket.Get(keyLogs) != nil ||
		meta.bucket.Get(keyNeeded) != nil {
		return err
	}
	if first, _ := v.file.Bucket(bucketJournal).Cursor().First(); first != nil {
		return fmt.Errorf("%w: bucket %s: the head of the audit tree is missing", vault.ErrDamaged,
			bucketMeta)
	}
	return nil
}
