package boltstore

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/boltstore/pages"
	"example.com/atm/vault/codec"
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

// plainMeta reports whether a value of the bucket meta is not sealed.
func plainMeta(key []byte) bool {
	return bytes.Equal(key, keySchema) || bytes.Equal(key, keyNeeded)
}

// checkMeta makes sure that nothing is missing in the bucket meta: every value there is
// what its key says, and where there are entries there is a signed tree.
func (v view) checkMeta() error {
	meta := v.shelf(bucketMeta)
	err := meta.Bucket.ForEach(func(k, value []byte) error {
		if plainMeta(k) {
			return nil
		}
		_, err := meta.Open(k, value)
		return err
	})
	if err != nil || meta.Bucket.Get(keyHead) != nil || meta.Bucket.Get(keyLogs) != nil ||
		meta.Bucket.Get(keyNeeded) != nil {
		return err
	}
	if first, _ := v.file.Bucket(bucketJournal).Cursor().First(); first != nil {
		return fmt.Errorf("%w: bucket %s: the head of the audit tree is missing", vault.ErrDamaged,
			bucketMeta)
	}
	return nil
}
