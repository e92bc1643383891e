package auth

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// maxChecks bounds the secrets that are checked at a time, and with them the
	// memory of argon2id: 38 MiB.
	maxChecks = 2

	// maxQueued bounds the requests that wait for a check: about seven seconds in all.
	// Each costs a connection and a form of at most 8 KiB.
	maxQueued = 512

	// maxWait bounds the wait of one request.
	maxWait = 10 * time.Second
)

// Slots are what secrets are checked in. Requests that find none free wait, and take
// turns by address and by user: every other slot goes to the address that has waited
// longest for its turn, and those between to the user. However many requests one
// address sends, or whole networks send for one user, others wait for a turn or two.
// When too many wait, the newcomer takes the place of a request from the address and user
// with the most waiting requests.
type slots struct {
	mu      sync.Mutex
	taken   int                  // guarded by mu
	waiting []*waiter            // guarded by mu; oldest first
	shares  [2]map[string]*share // guarded by mu; of waiting requests, by address and by user
	turn    uint64               // guarded by mu; grows with each turn that is taken or asked for
	by      int                  // guarded by mu; which shares the next turn goes by
}

// A waiter is a request that waits for a slot.
type waiter struct {
	keys [2]string     // address and user
	done chan struct{} // closed when it has a slot, or will get none
	busy bool          // it gets none; set before done is closed
}

// A share is all that wait with one address, or for one user.
type share struct {
	waiting int
	since   uint64 // the turn that it took last, or came at
}

func newSlots() *slots {
	return &slots{shares: [2]map[string]*share{make(map[string]*share), make(map[string]*share)}}
}

// enter waits for a slot. After nil the caller has one, and calls leave.
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
	return nil // the caller has it, even if the time was over as well
}

// join takes a slot for w, or lets it wait for one. It reports false when too many
// wait, and no address and user has more waiting requests than those of w.
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
	most := len(s.waiting) - 1 // which is w itself
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

// crowd is how many wait with the address of w, and for its user. The caller holds
// s.mu.
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

// leave gives a slot back, to whose turn it is.
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

// earlier reports whether the turn of a comes before that of b. The caller holds
// s.mu.
func (s *slots) earlier(a, b *waiter) bool {
	for _, by := range [2]int{s.by, 1 - s.by} {
		if x, y := s.shares[by][a.keys[by]].since, s.shares[by][b.keys[by]].since; x != y {
			return x < y
		}
	}
	return false
}
