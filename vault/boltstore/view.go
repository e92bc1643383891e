package boltstore

import (
	bolt "go.etcd.io/bbolt"

	"example.com/atm/vault/boltstore/codec"
)

// A view is the store as one transaction sees it: the memtables on top of a
// transaction of bbolt.
type view struct {
	store     *Store
	file      *bolt.Tx
	memtables []*memtable // the newest first; nil when everything is in bbolt
	batch     *batch      // takes the changes; nil when bbolt itself does
}

// view opens a read view, which end closes. It is not a snapshot: changes to the
// active memtable show through.
//
// The memtables come first: what is in them is not lost when it is flushed meanwhile.
// Their lock is not held while bbolt begins its transaction. That waits for a memory
// map that grows, which waits for readers, which need the lock.
func (s *Store) view() (v view, end func(), err error) {
	v = view{store: s, memtables: s.memtables.newestFirst()}
	if v.file, err = s.db.Begin(false); err != nil {
		return view{}, nil, err
	}
	return v, func() { v.file.Rollback() }, nil
}

// snapshot calls read with a snapshot of the store, in which everything is in bbolt.
func (s *Store) snapshot(read func(v view) error) error {
	tx, err := func() (*bolt.Tx, error) {
		s.writing.Lock()
		defer s.writing.Unlock()
		if err := s.flushAll(); err != nil {
			return nil, err
		}
		return s.db.Begin(false)
	}()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return s.db.Use(func() error { return read(view{store: s, file: tx}) })
}

// exclusive lets change work on bbolt itself, while nothing is committed.
func (s *Store) exclusive(change func(v view) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.flushAll(); err != nil {
		return err
	}
	return s.db.Use(func() error {
		err := s.db.Update(func(tx *bolt.Tx) error { return change(view{store: s, file: tx}) })
		if err == nil {
			err = s.refresh()
		}
		return err
	})
}

// look calls found with the memtables, the newest first, until it returns true.
func (v view) look(found func(m *memtable) bool) {
	if v.memtables == nil {
		return
	}
	v.store.memtables.mu.RLock()
	defer v.store.memtables.mu.RUnlock()
	for _, m := range v.memtables {
		if found(m) {
			return
		}
	}
}

// get returns a value that a memtable has. Has reports whether one does.
func (v view) get(bucket int, key []byte) (value []byte, has bool) {
	v.look(func(m *memtable) bool {
		value, has = m.values[bucket][string(key)]
		return has
	})
	return value, has
}

// request returns the entry that answered a request id, if it is kept: in a memtable,
// or in bbolt, where cursor looks.
func (v view) request(cursor *bolt.Cursor, key codec.Request) (index int64, kept bool, err error) {
	v.look(func(m *memtable) bool {
		index, kept = m.requests[key]
		return kept
	})
	if kept {
		return index, true, nil
	}
	k, value := cursor.Seek(key[:])
	if string(k) != string(key[:]) {
		return 0, false, nil
	}
	index, err = codec.JournalIndex(value)
	return index, err == nil, err
}

// leaves returns leaves of the journal that a memtable has, from an index on to
// another at most; none when no memtable has the first one.
func (v view) leaves(from, to int64) (found [][]byte) {
	v.look(func(m *memtable) bool {
		if !m.has(from) {
			return false
		}
		begin := from - m.journal[0].first
		found = m.leaves[begin:min(begin+to-from, int64(len(m.leaves)))]
		return true
	})
	return found
}

// chunk returns the chunk of the journal in which a memtable has an entry, if one has.
func (v view) chunk(index int64) (c sealedChunk, has bool) {
	v.look(func(m *memtable) bool {
		if has = m.has(index); has {
			c = m.chunk(index)
		}
		return has
	})
	return c, has
}
