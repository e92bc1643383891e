package boltstore

import (
	"bytes"
	"slices"

	"example.com/atm/vault/boltstore/codec"
	"example.com/atm/vault/boltstore/keyring"
	bolt "go.etcd.io/bbolt"
)

// A shelf is a bucket of sealed values in one view. Its bucket has what is
// in bbolt; it is nil in an older file that is only read and does not
// have the bucket yet.
type shelf struct {
	view   view
	bucket *bolt.Bucket
	number int
	name   []byte
	keys   *keyring.Ring
}

func (v view) shelf(name []byte) shelf {
	number := slices.IndexFunc(buckets, func(n []byte) bool { return bytes.Equal(n, name) })
	s := shelf{v, v.file.Bucket(name), number, name, v.engine.ring.Load()}
	switch number {
	case codec.NumberAccounts:
		s.bucket.FillPercent = 0.75 // they mostly come in order, and grow a little later
	case codec.NumberJournal:
		s.bucket.FillPercent = 1 // keys only ever come at the end
	}
	return s
}

// get returns the value of key, and nil when there is none.
func (s shelf) get(key []byte) ([]byte, error) {
	if value, has := s.view.memtables.Value(s.number, key); has {
		return value, nil
	}
	if s.bucket == nil {
		return nil, nil
	}
	sealed := s.bucket.Get(key)
	if sealed == nil {
		return nil, s.absent(key)
	}
	return s.open(key, sealed)
}

// each calls do with everything that bbolt has in the bucket.
func (s shelf) each(do func(key, sealed []byte) error) error {
	if s.bucket == nil {
		return nil
	}
	return s.bucket.ForEach(do)
}

func (s shelf) open(key, sealed []byte) ([]byte, error) {
	if s.number == codec.NumberRequests {
		return sealed, nil // which its values are not
	}
	return s.openTo(nil, key, sealed)
}

// openTo is open, and appends to to.
func (s shelf) openTo(to, key, sealed []byte) ([]byte, error) {
	return s.keys.OpenTo(to, s.name, key, sealed)
}

// put stores a value. A batch keeps key and value.
func (s shelf) put(key, value []byte) error {
	switch {
	case s.view.batch != nil:
		s.view.batch.Put(s.number, key, value)
		return nil
	case s.number == codec.NumberRequests:
		return s.bucket.Put(key, value)
	}
	return s.bucket.Put(key, s.keys.Seal(s.name, key, value))
}
