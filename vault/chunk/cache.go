package chunk

import "sync/atomic"

// An Opened is a chunk that was decoded. It does not change.
type Opened struct {
	First   int64 // index of its first entry
	Entries []Entry
}

// A Cache keeps some of the chunks that were read last, about a megabyte, each in the place that
// its first index gives it. A page of a statement goes the same way through the journal many
// times. Its methods may be called at once.
type Cache [64]atomic.Pointer[Opened]

func (c *Cache) of(first int64) *atomic.Pointer[Opened] {
	const odd = 0x9e3779b97f4a7c15 // spreads neighbours
	return &c[uint64(first)*odd>>58]
}

// Get returns the chunk that begins with an index; nil when it is not kept.
func (c *Cache) Get(first int64) *Opened {
	if o := c.of(first).Load(); o != nil && o.First == first {
		return o
	}
	return nil
}

// Put keeps a chunk, in the place of another one.
func (c *Cache) Put(o *Opened) { c.of(o.First).Store(o) }

// Forget drops all, because the journal was written anew.
func (c *Cache) Forget() {
	for i := range c {
		c[i].Store(nil)
	}
}
