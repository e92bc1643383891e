// Package budget bounds a quantity, such as bytes of memory, that many goroutines take parts of
// at the same time.
//
// Together they never take more than the total, and for one key never more than its share, so
// that one peer cannot take everything. Takers wait in order and for a bounded time, and the
// number of waiting takers is bounded.
package budget

import (
	"slices"
	"sync"
	"time"
)

// maxWaiting bounds the waiting takers.
const maxWaiting = 1024

// A Budget is a quantity of which parts can be taken.
type Budget struct {
	total, share int64

	mu      sync.Mutex
	used    int64            // guarded by mu
	by      map[string]int64 // guarded by mu; taken by each key
	waiting []*taker         // guarded by mu; in order of arrival
}

type taker struct {
	key   string
	n     int64
	taken chan struct{} // closed when its part is assigned
}

// New returns a budget of total, of which each key may take share.
func New(total, share int64) *Budget {
	return &Budget{total: total, share: min(share, total), by: make(map[string]int64)}
}

// Take takes n for key, or its whole share if n is larger. If that exceeds what is left, Take
// waits, and reports false after wait. release gives the part back; further calls of it have no
// effect.
func (b *Budget) Take(key string, n int64, wait time.Duration) (release func(), ok bool) {
	n = min(n, b.share)
	b.mu.Lock()
	if len(b.waiting) == 0 && b.fits(key, n) {
		b.add(key, n)
		b.mu.Unlock()
		return func() { b.giveBack(key, n) }, true
	}
	t := &taker{key: key, n: n, taken: make(chan struct{})}
	if len(b.waiting) >= maxWaiting {
		b.mu.Unlock()
		return nil, false
	}
	b.waiting = append(b.waiting, t)
	b.serve() // there may be enough, if those before it wait for their shares
	b.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-t.taken:
		return func() { b.giveBack(key, n) }, true
	case <-timer.C:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, t)
	if i < 0 { // serve assigned it just before the timeout
		return func() { b.giveBack(key, n) }, true
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	b.serve()
	return nil, false
}

// Used is the amount taken now.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

func (b *Budget) giveBack(key string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.by[key] -= n; b.by[key] == 0 {
		delete(b.by, key)
	}
	b.serve()
}

func (b *Budget) fits(key string, n int64) bool {
	return b.used+n <= b.total && b.by[key]+n <= b.share
}

func (b *Budget) add(key string, n int64) {
	b.used += n
	b.by[key] += n
}

// serve assigns parts to waiting takers, in order. It skips takers whose key has used up its
// share, and stops at the first one that exceeds what is left of the total. The caller holds
// b.mu.
func (b *Budget) serve() {
	b.waiting = slices.DeleteFunc(b.waiting, func() func(*taker) bool {
		full := false
		return func(t *taker) bool {
			if full || b.by[t.key]+t.n > b.share {
				return false
			}
			if full = b.used+t.n > b.total; full {
				return false
			}
			b.add(t.key, t.n)
			close(t.taken)
			return true
		}
	}())
}
