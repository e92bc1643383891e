package memtable

import (
	"sync"

	"example.com/atm/vault"
	"example.com/atm/vault/codec"
)

// A Stack is the memtables that there were when it was taken, the newest first. The zero Stack
// has none. It is not a snapshot: what is added to the active memtable shows through.
type Stack struct {
	mu     *sync.RWMutex
	tables []*Table
}

// Stack returns the memtables that there are now.
func (m *Tables) Stack() Stack {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.flushing == nil {
		return Stack{&m.mu, []*Table{m.active}}
	}
	return Stack{&m.mu, []*Table{m.active, m.flushing}}
}

// look calls found with the memtables, the newest first, until it returns true.
func (s Stack) look(found func(*Table) bool) {
	if s.tables == nil {
		return
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, m := range s.tables {
		if found(m) {
			return
		}
	}
}

// Value returns the value of a key in a bucket. Has reports whether a memtable has one.
func (s Stack) Value(bucket int, key []byte) (value []byte, has bool) {
	s.look(func(m *Table) bool {
		value, has = m.values[bucket][string(key)]
		return has
	})
	return value, has
}

// Values returns the values of a bucket that the memtables have, by key.
func (s Stack) Values(bucket int) map[string][]byte {
	values := make(map[string][]byte)
	s.look(func(m *Table) bool {
		for key, value := range m.values[bucket] {
			if _, newer := values[key]; !newer {
				values[key] = value
			}
		}
		return false
	})
	return values
}

// Request returns the entry that answered a request id, if a memtable has it.
func (s Stack) Request(key codec.Request) (index vault.JournalIndex, has bool) {
	s.look(func(m *Table) bool {
		index, has = m.requests[key]
		return has
	})
	return index, has
}

// Leaves returns leaves of the journal that a memtable has, from an index on to another at
// most; none when no memtable has the first one.
func (s Stack) Leaves(from, to vault.JournalIndex) (found [][]byte) {
	s.look(func(m *Table) bool {
		if !m.has(from) {
			return false
		}
		begin := from - m.journal[0].First
		found = m.leaves[begin:min(begin+to-from, vault.JournalIndex(len(m.leaves)))]
		return true
	})
	return found
}

// Chunk returns the chunk of the journal in which a memtable has an entry, if one has.
func (s Stack) Chunk(index vault.JournalIndex) (c Chunk, has bool) {
	s.look(func(m *Table) bool {
		if has = m.has(index); has {
			c = m.chunk(index)
		}
		return has
	})
	return c, has
}
