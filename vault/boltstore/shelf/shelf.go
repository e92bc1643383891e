// Package shelf reads and writes the buckets of a bbolt file that has sealed values, with the
// memtables on top of them.
//
// A value that is missing is not taken for one that never was: somebody who changed a key on the
// disk leaves a value that does not open, between the same two as before.
package shelf

import (
	"bytes"
	"fmt"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/boltstore/memtable"
	"example.com/atm/vault/codec"
	bolt "go.etcd.io/bbolt"
)

// A Shelf is a bucket of sealed values in one view of a store.
type Shelf struct {
	// Bucket is what bbolt has. It is nil in an older file that is only read and does not have
	// the bucket yet.
	Bucket *bolt.Bucket

	Name   []byte
	Number int // of the bucket, in memtables
	Keys   *keyring.Ring

	Memtables memtable.Stack
	Batch     *memtable.Batch // takes what is put; nil when bbolt itself does

	// Plain reports whether the value of a key is not sealed. Optional; all of them are.
	Plain func(key []byte) bool
}

// Get returns the value of key, and nil when there is none.
func (s Shelf) Get(key []byte) ([]byte, error) {
	if value, has := s.Memtables.Value(s.Number, key); has {
		return value, nil
	}
	if s.Bucket == nil {
		return nil, nil
	}
	sealed := s.Bucket.Get(key)
	if sealed == nil {
		return nil, s.absent(key)
	}
	return s.Open(key, sealed)
}

// Each calls do with everything that bbolt has in the bucket.
func (s Shelf) Each(do func(key, sealed []byte) error) error {
	if s.Bucket == nil {
		return nil
	}
	return s.Bucket.ForEach(do)
}

// Open opens a value.
func (s Shelf) Open(key, sealed []byte) ([]byte, error) {
	if s.Number == codec.NumberRequests {
		return sealed, nil // which its values are not
	}
	return s.OpenTo(nil, key, sealed)
}

// OpenTo is Open, and appends to to.
func (s Shelf) OpenTo(to, key, sealed []byte) ([]byte, error) {
	return s.Keys.OpenTo(to, s.Name, key, sealed)
}

// Put stores a value. A batch keeps key and value.
func (s Shelf) Put(key, value []byte) error {
	switch {
	case s.Batch != nil:
		s.Batch.Put(s.Number, key, value)
		return nil
	case s.Number == codec.NumberRequests:
		return s.Bucket.Put(key, value)
	}
	return s.Bucket.Put(key, s.Keys.Seal(s.Name, key, value))
}

// absent makes sure that a bucket has no value of a key. One whose key was changed lies
// where it lay before, between the same two; it does not open there.
func (s Shelf) absent(key []byte) error {
	if s.Number == codec.NumberRequests {
		return nil // which are not sealed
	}
	c := s.Bucket.Cursor()
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
func (s Shelf) beside(key, beside, sealed []byte, side int) error {
	switch {
	case beside == nil || s.Plain != nil && s.Plain(beside):
		return nil
	case bytes.Compare(beside, key) != side:
		return fmt.Errorf("%w: bucket %s: key %x is not in order", vault.ErrDamaged, s.Name, beside)
	}
	_, err := s.Open(beside, sealed)
	return err
}
