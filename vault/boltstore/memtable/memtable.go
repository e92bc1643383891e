// Package memtable keeps in memory what was committed and is not in bbolt yet.
//
// A Batch is one commit: what it changes, and its record for the write-ahead log. Batches are
// added to the active Table of Tables; when it is due it is flushed while another one takes the
// commits. A Stack is what a reader sees of them, the newest first.
package memtable

import (
	"cmp"
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/wal"
	"example.com/atm/vault/codec"
)

// A Table holds committed changes that are not in bbolt yet, in plaintext except
// for the chunks of the journal, which are sealed as bbolt will have them.
type Table struct {
	// by number of the bucket; none of the journal, and none of requests
	values   []map[string][]byte
	requests map[codec.Request]vault.JournalIndex
	answered []keptRequest // what requests has, in order
	journal  []Chunk       // in order
	leaves   [][]byte      // of all entries of the journal
	bytes    int           // about what it holds
	newest   wal.Ticket    // of its newest record; zero while it is empty

	begun, touched time.Time // when its first and its newest record came
}

// A Chunk is a chunk of the journal as bbolt has it.
type Chunk struct {
	First  vault.JournalIndex // index of its first entry
	Sealed []byte
}

// newTable returns a memtable with space for as much as another has.
func newTable(like *Table) *Table {
	m := &Table{values: make([]map[string][]byte, len(like.values))}
	for i := range m.values {
		m.values[i] = make(map[string][]byte, len(like.values[i]))
	}
	m.requests = make(map[codec.Request]vault.JournalIndex, len(like.requests))
	m.answered = make([]keptRequest, 0, len(like.answered))
	m.journal = make([]Chunk, 0, len(like.journal))
	m.leaves = make([][]byte, 0, len(like.leaves))
	return m
}

const (
	// dueBytes is the size at which a memtable is due to be flushed, if none is being
	// flushed. Small flushes take the processor and the disk from commits for a
	// shorter time.
	dueBytes = 2 << 20

	// duePerAccount is how many entries for each account make a memtable of dueBytes
	// worth flushing. Where each operation is on another account, each costs a page
	// of bbolt. The larger the memtable, the more of them share a page, so it grows
	// up to fullBytes.
	duePerAccount = 4

	// fullBytes is the size at which a memtable is flushed in any case, even if
	// commits wait for it. It bounds memory. A segment of the log has space for more,
	// unless its entries do not compress.
	fullBytes = 64 << 20
)

// Empty reports whether nothing was added to a memtable.
func (m *Table) Empty() bool { return m.newest.LSN() == 0 }

// Newest is the ticket of the newest record in a memtable.
func (m *Table) Newest() wal.Ticket { return m.newest }

// Full reports whether a memtable must be flushed before anything is added.
func (m *Table) Full() bool { return m.bytes >= fullBytes }

// Keys returns the keys in a bucket that have values in a memtable.
func (m *Table) Keys(bucket int) iter.Seq[string] { return maps.Keys(m.values[bucket]) }

// Due reports whether a memtable is worth flushing because of what it holds.
func (m *Table) Due() bool {
	return m.bytes >= dueBytes && len(m.leaves) >= duePerAccount*len(m.values[codec.NumberAccounts])
}

// Aged reports whether the first record of a memtable, or its newest one, is older than these.
func (m *Table) Aged(first, newest time.Duration) bool {
	return time.Since(m.begun) >= first || time.Since(m.touched) >= newest
}

// has reports whether an entry of the journal is in the memtable.
func (m *Table) has(index vault.JournalIndex) bool {
	return len(m.journal) > 0 && m.journal[0].First <= index &&
		index < m.journal[0].First+vault.JournalIndex(len(m.leaves))
}

// chunk returns the chunk that has an entry which the memtable has.
func (m *Table) chunk(index vault.JournalIndex) Chunk {
	first := func(c Chunk, index vault.JournalIndex) int { return cmp.Compare(c.First, index) }
	i, exact := slices.BinarySearchFunc(m.journal, index, first)
	if !exact {
		i-- // the one that begins before it
	}
	return m.journal[i]
}

// Tables are the memtables of a store. What changes them is called by one caller at a time.
type Tables struct {
	mu       sync.RWMutex // held for writing while they change
	active   *Table       // takes the commits; guarded by mu
	flushing *Table       // is being flushed; nil while none is; guarded by mu

	flushed chan struct{} // closed when the flush has ended; nil while there is none
	failed  error         // why it failed; set before flushed is closed
}

// New returns memtables for as many buckets.
func New(buckets int) *Tables {
	return &Tables{active: newTable(&Table{values: make([]map[string][]byte, buckets)})}
}

// Active returns the memtable that takes the commits.
func (m *Tables) Active() *Table { return m.active }

// Add adds a batch, whose record has this ticket, to the active memtable.
func (m *Tables) Add(b *Batch, ticket wal.Ticket) {
	m.mu.Lock()
	defer m.mu.Unlock()
	active := m.active
	for _, p := range b.puts {
		active.values[p.bucket][string(p.key)] = p.value
	}
	for _, r := range b.requests {
		active.requests[r.key] = r.index
	}
	active.answered = append(active.answered, b.requests...)
	active.journal = append(active.journal, b.journal...)
	active.leaves = append(active.leaves, b.leaves...)
	active.bytes += b.bytes + len(b.rest)
	active.touched = time.Now()
	if active.Empty() {
		active.begun = active.touched
	}
	active.newest = ticket
}

// Rotate returns the active memtable, which is to be flushed, and makes a new one active. Its
// caller has waited for the flush before, and calls end when this one has ended: without an
// error the memtable is dropped, because bbolt has it.
func (m *Tables) Rotate() (flushing *Table, end func(error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flushing, m.active = m.active, newTable(m.active)
	return m.flushing, m.begin()
}

// Again returns the memtable whose flush failed, which is to be flushed once more. Its caller has
// waited for that flush, and calls end as with Rotate.
func (m *Tables) Again() (flushing *Table, end func(error)) {
	m.failed = nil
	return m.flushing, m.begin()
}

// begin notes that a flush begins, and returns what its end calls.
func (m *Tables) begin() (end func(error)) {
	flushed := make(chan struct{})
	m.flushed = flushed
	return func(err error) {
		defer close(flushed)
		if err != nil {
			m.failed = err
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.flushing = nil
	}
}

// Idle reports whether no memtable is being flushed.
func (m *Tables) Idle() bool {
	if m.flushed == nil {
		return true
	}
	select {
	case <-m.flushed:
		return true
	default:
		return false
	}
}

// Await waits until no memtable is being flushed, and returns why a flush failed.
func (m *Tables) Await() error {
	if m.flushed != nil {
		<-m.flushed
		m.flushed = nil
	}
	return m.failed
}

// A Value is one as a flush puts it into bbolt. A plain one is sealed first.
type Value struct {
	Bucket     int
	Key, Bytes []byte
	Plain      bool
}

// All yields what is in a memtable, each bucket in order.
func (m *Table) All() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		for _, c := range m.journal {
			if !yield(Value{codec.NumberJournal, codec.JournalKey(c.First), c.Sealed, false}) {
				return
			}
		}
		for bucket, values := range m.values {
			for _, key := range slices.Sorted(maps.Keys(values)) {
				if !yield(Value{bucket, []byte(key), values[key], true}) {
					return
				}
			}
		}
		memory := make([]byte, 8*len(m.answered))
		for i := range m.answered { // those that tell their time are nearly in order
			r, index := &m.answered[i], memory[8*i:8*i+8]
			binary.BigEndian.PutUint64(index, uint64(r.index))
			if !yield(Value{codec.NumberRequests, r.key[:], index, false}) {
				return
			}
		}
	}
}
