package boltstore

import (
	bolt "go.etcd.io/bbolt"

	"example.com/atm/vault/boltstore/codec"
)

// A view is the store as one transaction sees it: the memtables on top of a
// transaction of bbolt.
type view struct {
	engine    *engine
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
func (e *engine) view() (v view, end func(), err error) {
	v = view{engine: e, memtables: e.memtables.newestFirst()}
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
		if err := e.flushAll(); err != nil {
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

// look calls found with the memtables, the newest first, until it returns true.
func (v view) look(found func(m *memtable) bool) {
	if v.memtables == nil {
		return
	}
	v.engine.memtables.mu.RLock()
	defer v.engine.memtables.mu.RUnlock()
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
