package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/journal"
	"example.com/atm/vault/boltstore/memtable"
	"example.com/atm/vault/boltstore/shelf"
	"example.com/atm/vault/codec"
	bolt "go.etcd.io/bbolt"
)

// A view is the store as one transaction sees it: the memtables on top of a
// transaction of bbolt.
type view struct {
	engine    *engine
	file      *bolt.Tx
	memtables memtable.Stack  // sees nothing when everything is in bbolt
	batch     *memtable.Batch // takes the changes; nil when bbolt itself does
}

// view opens a read view, which end closes. It is not a snapshot: changes to the
// active memtable show through.
//
// The memtables come first: what is in them is not lost when it is flushed meanwhile.
// Their lock is not held while bbolt begins its transaction. That waits for a memory
// map that grows, which waits for readers, which need the lock.
func (e *engine) view() (v view, end func(), err error) {
	v = view{engine: e, memtables: e.memtables.Stack()}
	if v.file, err = e.db.Begin(false); err != nil {
		return view{}, nil, err
	}
	return v, func() { v.file.Rollback() }, nil
}

// snapshot calls read with a snapshot of the store, in which everything is in bbolt.
func (e *engine) snapshot(read func(v view) error) error {
	tx, err := func() (*bolt.Tx, error) {
		e.writing.Lock()
		defer e.writing.Unlock()
		switch err := e.flushAll(); {
		case errors.Is(err, errDiskFull):
			return nil, fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
		case err != nil:
			return nil, err
		}
		return e.db.Begin(false)
	}()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return e.db.Use(func() error { return read(view{engine: e, file: tx}) })
}

// shelf returns a bucket in the view.
func (v view) shelf(name []byte) shelf.Shelf {
	s := shelf.Shelf{
		Bucket: v.file.Bucket(name), Name: name, Keys: v.engine.ring.Load(),
		Number:    slices.IndexFunc(buckets, func(n []byte) bool { return bytes.Equal(n, name) }),
		Memtables: v.memtables, Batch: v.batch,
	}
	switch s.Number {
	case codec.NumberMeta:
		s.Plain = plainMeta
	case codec.NumberAccounts:
		s.Bucket.FillPercent = 0.75 // they mostly come in order, and grow a little later
	case codec.NumberJournal:
		s.Bucket.FillPercent = 1 // keys only ever come at the end
	}
	return s
}

// journal returns a reader of the journal.
func (v view) journal() *journal.Reader {
	return journal.NewReader(v.shelf(bucketJournal), &v.engine.opened)
}

// request returns the entry that answered a request id, if it is kept: in a memtable,
// or in bbolt, where cursor looks.
func (v view) request(cursor *bolt.Cursor, key codec.Request) (
	index vault.JournalIndex, kept bool, err error,
) {
	if index, kept = v.memtables.Request(key); kept {
		return index, true, nil
	}
	k, value := cursor.Seek(key[:])
	if string(k) != string(key[:]) {
		return 0, false, nil
	}
	index, err = codec.JournalIndex(value)
	return index, err == nil, err
}
