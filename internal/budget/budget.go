// Package budget bounds a quantity, such as bytes of memory, that many take parts of at
// the same time.
//
// What is taken is never more than the total, and never more than the share for one
// key, so that one peer cannot take all of it. Takers wait in order, and for a bounded
// time: the number that can wait is bounded too.
package budget

import (
	"slices"
	"sync"
	"time"
)

// maxWaiting bounds the takers that wait.
const maxWaiting = 1024

// A Budget is a quantity to take parts of.
type Budget struct {
	total, share int64

	mu      sync.Mutex
	used    int64            // guarded by mu
	by      map[string]int64 // guarded by mu; what each key has taken
	waiting []*taker         // guarded by mu; in order of arrival
}

type taker struct {
	key   string
	n     int64
	taken chan struct{} // closed when it has its part
}

// New returns a budget of total, of which each key can take share.
func New(total, share int64) *Budget {
	return &Budget{total: total, share: min(share, total), by: make(map[string]int64)}
}

// Take takes n for key, or the whole share if n is more than that. If there is no space
// it waits, and reports false when wait has passed. What was taken is given back by
// release, which may be called once.
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
	b.serve() // there is space for it if those before it wait for their shares
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
	if i < 0 { // it was served at the last moment
		return func() { b.giveBack(key, n) }, true
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	b.serve()
	return nil, false
}

// Used is what is taken at the moment.
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

// serve gives those that wait their parts, in order. It passes over takers whose key
// has its share, and ends at the first one for which the total has no space. The
// caller holds b.mu.
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
