package auth

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// maxChecks bounds the concurrent checks of secrets, and so the memory of argon2id: 38 MiB.
	maxChecks = 2

	// maxQueued bounds the requests that wait for a check, which takes about seven seconds for all.
	// Each waiting request costs a connection and a form of at most 8 KiB.
	maxQueued = 512

	// maxWait bounds the wait of one request.
	maxWait = 10 * time.Second
)

// slots bounds the concurrent checks of secrets. Requests wait for a free slot, and are served
// fairly by address and by user: every other slot goes to the address whose last turn is the
// longest ago, and the slots between to such a user. So however many requests one address
// sends, or whole networks send for one user, others wait only for a turn or two. If the queue
// is full, a new request replaces one from the address and user with the most waiting requests.
type slots struct {
	mu      sync.Mutex
	taken   int                  // guarded by mu
	waiting []*waiter            // guarded by mu; oldest first
	shares  [2]map[string]*share // guarded by mu; of waiting requests, by address and by user
	turn    uint64               // guarded by mu; grows with each turn and new share
	by      int                  // guarded by mu; index in shares of the next turn
}

// A waiter is a request that waits for a slot.
type waiter struct {
	keys [2]string     // address and user
	done chan struct{} // closed when it has a slot, or is refused
	busy bool          // it is refused; set before done is closed
}

// A share is the waiting requests from one address, or for one user.
type share struct {
	waiting int
	since   uint64 // turn of its last slot, or of its first request
}

func newSlots() *slots {
	return &slots{shares: [2]map[string]*share{make(map[string]*share), make(map[string]*share)}}
}

// enter waits for a slot. If it returns nil, the caller has a slot and must call leave.
func (s *slots) enter(ctx context.Context, address, user string) error {
	w := &waiter{keys: [2]string{address, user}, done: make(chan struct{})}
	if !s.join(w) {
		return ErrBusy
	}
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	err := ErrBusy
	select {
	case <-w.done:
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, w); i >= 0 {
		s.remove(i)
		return err
	}
	if w.busy {
		return ErrBusy
	}
	return nil // a slot was assigned, although the time is over as well
}

// join takes a slot for w, or queues it. It reports false if the queue is full and no address
// and user has more waiting requests than those of w.
func (s *slots) join(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken < maxChecks {
		s.taken++
		close(w.done)
		return true
	}
	s.turn++
	for i, key := range w.keys {
		if s.shares[i][key] == nil {
			s.shares[i][key] = &share{since: s.turn}
		}
		s.shares[i][key].waiting++
	}
	s.waiting = append(s.waiting, w)
	if len(s.waiting) <= maxQueued {
		return true
	}
	most := len(s.waiting) - 1 // w itself
	for i, other := range s.waiting {
		if s.crowd(other) > s.crowd(s.waiting[most]) {
			most = i
		}
	}
	loser := s.waiting[most]
	s.remove(most)
	if loser == w {
		return false
	}
	loser.busy = true
	close(loser.done)
	return true
}

// crowd is the number of waiting requests with the address of w, and for its user. The caller
// holds s.mu.
func (s *slots) crowd(w *waiter) int {
	return s.shares[0][w.keys[0]].waiting + s.shares[1][w.keys[1]].waiting
}

// remove removes the waiter at i. The caller holds s.mu.
func (s *slots) remove(i int) {
	for j, key := range s.waiting[i].keys {
		if share := s.shares[j][key]; share.waiting > 1 {
			share.waiting--
		} else {
			delete(s.shares[j], key)
		}
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
}

// leave frees a slot, or hands it to the next waiter.
func (s *slots) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.taken--
		return
	}
	next := 0
	for i := range s.waiting {
		if s.earlier(s.waiting[i], s.waiting[next]) {
			next = i
		}
	}
	w := s.waiting[next]
	s.by, s.turn = 1-s.by, s.turn+1
	for i, key := range w.keys {
		s.shares[i][key].since = s.turn
	}
	s.remove(next)
	close(w.done)
}

// earlier reports whether a is served before b. The caller holds s.mu.
func (s *slots) earlier(a, b *waiter) bool {
	for _, by := range [2]int{s.by, 1 - s.by} {
		if x, y := s.shares[by][a.keys[by]].since, s.shares[by][b.keys[by]].since; x != y {
			return x < y
		}
	}
	return false
}
