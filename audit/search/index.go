package search

import (
	"bytes"
	"hash/maphash"
	"sync"

	"example.com/atm/audit/merkle"
)

// An Index tells bundles of entries apart that cannot hold what a filter wants,
// so that they need not be read. It keeps a Bloom filter of 1 KiB for each
// complete bundle that it has seen, 4 MiB for a million entries, in memory alone, up to
// 32 MiB: of what is older than the last eight million, nothing.
// It sees what is published, and of what was there before it what is searched.
type Index struct {
	seed maphash.Seed

	mu    sync.RWMutex
	marks map[int64]*mark // guarded by mu; by number of the bundle
	first int64           // guarded by mu; those of bundles before it are not kept
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

// Add puts bundle n, which is complete, into the index.
func (x *Index) Add(n int64, bundle []byte) {
	m := x.marker()
	// A bundle that is malformed has fewer marks: reading the entries reports it.
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
	last  [256][]byte // term of each kind that was marked last
}

func (x *Index) marker() *marker { return &marker{index: x, made: new(mark)} }

// mark puts an entry into the mark.
func (m *marker) mark(leaf []byte) {
	eachTerm(leaf, func(kind byte, value []byte) {
		if m.last[kind] != nil && bytes.Equal(value, m.last[kind]) {
			return // as most entries have what the one before them has
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

// May reports whether bundle n may hold an entry that fits. It says so of
// every bundle that is not in the index.
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

// bits are the bits of a term: four of them, out of one hash.
func (x *Index) bits(kind byte, value []byte) [4]uint {
	const odd = 0x9e3779b97f4a7c15 // makes another hash of each kind
	sum := maphash.Bytes(x.seed, value) ^ uint64(kind)*odd
	var bits [4]uint
	for i := range bits {
		bits[i] = uint(sum>>(16*i)) % markBits
	}
	return bits
}
