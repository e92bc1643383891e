package boltstore

import (
	"cmp"
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"example.com/atm/vault/boltstore/codec"
	"example.com/atm/vault/boltstore/wal"
)

// A memtable holds committed changes that are not in bbolt yet, in plaintext except
// for the chunks of the journal, which are sealed as bbolt will have them.
type memtable struct {
	// by number of the bucket; none of the journal, and none of requests
	values   []map[string][]byte
	requests map[codec.Request]int64
	answered []keptRequest // what requests has, in order
	journal  []sealedChunk // in order
	leaves   [][]byte      // of all entries of the journal
	bytes    int           // about what it holds
	newest   wal.Ticket    // of its newest record; zero while it is empty

	begun, touched time.Time // when its first and its newest record came; guarded by engine.writing
}

// newMemtable returns a memtable with space for as much as another has.
func newMemtable(like *memtable) *memtable {
	m := &memtable{values: make([]map[string][]byte, len(buckets))}
	if like == nil {
		like = m
	}
	for i := range m.values {
		m.values[i] = make(map[string][]byte, len(like.values[i]))
	}
	m.requests = make(map[codec.Request]int64, len(like.requests))
	m.answered = make([]keptRequest, 0, len(like.answered))
	m.journal = make([]sealedChunk, 0, len(like.journal))
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

// A memtable is flushed flushAge after its first record, or flushQuiet after its newest.
// Tests make both longer.
var flushAge, flushQuiet = 4 * time.Second, time.Second

func (m *memtable) empty() bool { return m.newest.LSN() == 0 }

// due reports whether a memtable is worth flushing because of what it holds.
func (m *memtable) due() bool {
	return m.bytes >= dueBytes && len(m.leaves) >= duePerAccount*len(m.values[numberAccounts])
}

// aged reports whether a memtable is due because of its age.
func (m *memtable) aged() bool {
	return time.Since(m.touched) >= flushQuiet || time.Since(m.begun) >= flushAge
}

// has reports whether an entry of the journal is in the memtable.
func (m *memtable) has(index int64) bool {
	return len(m.journal) > 0 && m.journal[0].first <= index && index < m.journal[0].first+
		int64(len(m.leaves))
}

// chunk returns the chunk that has an entry which the memtable has.
func (m *memtable) chunk(index int64) sealedChunk {
	i, exact := slices.BinarySearchFunc(m.journal, index, func(c sealedChunk, index int64) int {
		return cmp.Compare(c.first, index)
	})
	if !exact {
		i-- // the one that begins before it
	}
	return m.journal[i]
}

// memtables are those of a store.
type memtables struct {
	mu       sync.RWMutex // held for writing while they change
	active   *memtable    // takes the commits; guarded by mu
	flushing *memtable    // is being flushed; nil while none is; guarded by mu

	// closed when the flush has ended; nil while there is none; guarded by engine.writing
	flushed chan struct{}
	failed  error // why it failed; set before flushed is closed
}

// add puts a batch, whose record has this ticket, on top of the active memtable.
func (m *memtables) add(b *batch, ticket wal.Ticket) {
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
	if active.empty() {
		active.begun = active.touched
	}
	active.newest = ticket
}

// rotate makes the active memtable the one that is flushed, and returns it.
func (m *memtables) rotate() *memtable {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flushing, m.active = m.active, newMemtable(m.active)
	return m.flushing
}

// drop drops the memtable that was flushed.
func (m *memtables) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flushing = nil
}

// newestFirst returns the memtables, the newest first.
func (m *memtables) newestFirst() []*memtable {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.flushing == nil {
		return []*memtable{m.active}
	}
	return []*memtable{m.active, m.flushing}
}

// idle reports whether no memtable is being flushed. The caller holds engine.writing.
func (m *memtables) idle() bool {
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

// await waits until no memtable is being flushed. The caller holds engine.writing.
func (m *memtables) await() error {
	if m.flushed != nil {
		<-m.flushed
		m.flushed = nil
	}
	return m.failed
}

// A stored value is one as a flush puts it into bbolt. A plain one is sealed first.
type stored struct {
	put
	plain bool
}

// all yields what is in a memtable, each bucket in order.
func (m *memtable) all() iter.Seq[stored] {
	return func(yield func(stored) bool) {
		for _, c := range m.journal {
			if !yield(stored{put{numberJournal, codec.JournalKey(c.first), c.sealed}, false}) {
				return
			}
		}
		for bucket, values := range m.values {
			for _, key := range slices.Sorted(maps.Keys(values)) {
				if !yield(stored{put{bucket, []byte(key), values[key]}, true}) {
					return
				}
			}
		}
		memory := make([]byte, 8*len(m.answered))
		for i := range m.answered { // those that tell their time are nearly in order
			r, index := &m.answered[i], memory[8*i:8*i+8]
			binary.BigEndian.PutUint64(index, uint64(r.index))
			if !yield(stored{put{numberRequests, r.key[:], index}, false}) {
				return
			}
		}
	}
}
