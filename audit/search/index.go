package search

import (
	"bytes"
	"hash/maphash"
	"sync"

	"example.com/atm/audit/merkle"
)

// An Index tells which bundles cannot match a filter, so that they need not be read. It has a
// Bloom filter of 1 KiB for each complete bundle it has seen: 4 MiB for a million entries. It
// is kept in memory only, and bounded to the 32 MiB of the latest eight million entries.
// Bundles are added when they are published, and older ones when they are searched.
type Index struct {
	seed maphash.Seed

	mu    sync.RWMutex
	marks map[int64]*mark // guarded by mu; by number of the bundle
	first int64           // guarded by mu; bundles before it are not kept
}

const maxMarks = 32 << 10

const markBits = 8 << 10

type mark [markBits / 64]uint64

// NewIndex returns an empty index.
func NewIndex() *Index { return &Index{seed: maphash.MakeSeed(), marks: make(map[int64]*mark)} }

// Has reports whether bundle n is in the index.
func (x *Index) Has(n int64) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.marks[n] != nil
}

// Add adds the complete bundle n.
func (x *Index) Add(n int64, bundle []byte) {
	m := x.marker()
	// A malformed bundle gets fewer marks. Reading its entries reports the error.
	merkle.ReadBundle(bundle, merkle.TileWidth, merkle.TileWidth, func(_ int, leaf []byte) error {
		m.mark(leaf)
		return nil
	})
	x.keep(n, m)
}

// A marker makes the mark of a bundle.
type marker struct {
	index *Index
	made  *mark
	last  [256][]byte // last term of each kind
}

func (x *Index) marker() *marker { return &marker{index: x, made: new(mark)} }

// mark adds the terms of an entry.
func (m *marker) mark(leaf []byte) {
	eachTerm(leaf, func(kind byte, value []byte) {
		if m.last[kind] != nil && bytes.Equal(value, m.last[kind]) {
			return // most entries repeat terms of the entry before
		}
		m.last[kind] = append(m.last[kind][:0], value...)
		for _, bit := range m.index.bits(kind, value) {
			m.made[bit/64] |= 1 << (bit % 64)
		}
	})
}

func (x *Index) keep(n int64, m *marker) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n >= x.first {
		x.marks[n] = m.made
	}
	for ; len(x.marks) > maxMarks; x.first++ {
		delete(x.marks, x.first)
	}
}

// May reports whether bundle n may have a matching entry. It is true for bundles that the index
// does not have.
func (x *Index) May(n int64, f *Filter) bool {
	x.mu.RLock()
	m := x.marks[n]
	x.mu.RUnlock()
	if m == nil {
		return true
	}
	for kind, value := range f.terms() {
		if value == "" {
			continue
		}
		for _, bit := range x.bits(kind, []byte(value)) {
			if m[bit/64]&(1<<(bit%64)) == 0 {
				return false
			}
		}
	}
	return true
}

// bits are the four bits of a term, all from one hash.
func (x *Index) bits(kind byte, value []byte) [4]uint {
	const odd = 0x9e3779b97f4a7c15 // gives each kind a different hash
	sum := maphash.Bytes(x.seed, value) ^ uint64(kind)*odd
	var bits [4]uint
	for i := range bits {
		bits[i] = uint(sum>>(16*i)) % markBits
	}
	return bits
}
