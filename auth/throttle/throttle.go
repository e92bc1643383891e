// Package throttle slows down callers that fail to sign in too often.
package throttle

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A Throttle slows down callers that fail to sign in too often, by address, and by address and
// user name. It locks no account: the user can still sign in from other addresses, and with a
// certificate from any address.
type Throttle struct {
	now func() time.Time

	mu       sync.Mutex
	limiters map[string]*rate.Limiter // guarded by mu

	// unshared has the failures that other servers have not been told of, or nil before the
	// first call of TakeFailures. Guarded by mu.
	unshared map[string]int64
}

const (
	// An address may fail a thousand times, and then ten times a second; with one user name a
	// hundred times, and then once a second.
	addressBurst, addressRate = 1000, 10
	userBurst, userRate       = 100, 1

	// maxThrottled bounds the limiters, of about 150 bytes each. If there are more, some are
	// forgotten.
	maxThrottled = 64 << 10
)

// New returns a throttle with this clock.
func New(now func() time.Time) *Throttle {
	return &Throttle{now: now, limiters: make(map[string]*rate.Limiter)}
}

// Wait returns how long a caller that failed too often has to wait, and 0 for other callers.
func (t *Throttle) Wait(from netip.Addr, user string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wait(keys(from, user))
}

// wait is the longest wait for any of keys. The caller holds t.mu.
func (t *Throttle) wait(keys []string) time.Duration {
	now := t.now()
	wait := time.Duration(0)
	for _, key := range keys {
		l := t.limiters[key]
		if l == nil {
			continue
		}
		if missing := 1 - l.TokensAt(now); missing > 0 {
			wait = max(wait, time.Duration(missing/float64(l.Limit())*float64(time.Second)))
		}
	}
	return wait
}

// WaitAs is Wait for the failures under one user name, without the failures of other names from
// the address.
func (t *Throttle) WaitAs(from netip.Addr, user string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wait(keys(from, user)[1:])
}

// Failing reports whether sign-ins have failed from an address recently. Callers from other
// addresses never have to wait.
func (t *Throttle) Failing(from netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.limiters) > 0 && t.limiters[Network(from)] != nil
}

// Failed counts a failed sign-in.
func (t *Throttle) Failed(from netip.Addr, user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys(from, user) {
		t.count(key, 1)
		if t.unshared != nil && (len(t.unshared) < maxShared || t.unshared[key] > 0) {
			t.unshared[key]++
		}
	}
}

// count charges n failures to a key. The caller holds t.mu.
func (t *Throttle) count(key string, n int) {
	l := t.limiters[key]
	if l == nil {
		t.makeRoom()
		l = rate.NewLimiter(addressRate, addressBurst)
		if strings.Contains(key, " ") { // the key has a user name
			l = rate.NewLimiter(userRate, userBurst)
		}
		t.limiters[key] = l
	}
	now := t.now()
	l.AllowN(now, min(n, int(l.TokensAt(now))))
}

// maxShared bounds the keys that TakeFailures returns.
const maxShared = 1000

// TakeFailures returns the failures by key since the last call, for the throttles of other
// servers. The first call begins the count.
func (t *Throttle) TakeFailures() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	failures := t.unshared
	t.unshared = make(map[string]int64)
	return failures
}

// AddFailures counts the failures that TakeFailures of another server returned.
func (t *Throttle) AddFailures(failures map[string]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, n := range failures {
		t.count(key, int(min(max(n, 0), addressBurst)))
	}
}

// makeRoom drops limiters if there are too many: those that have recovered, and then any. The
// caller holds t.mu.
func (t *Throttle) makeRoom() {
	if len(t.limiters) < maxThrottled {
		return
	}
	now := t.now()
	for key, l := range t.limiters {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(t.limiters, key)
		}
	}
	for key := range t.limiters {
		if len(t.limiters) < maxThrottled*7/8 {
			return
		}
		delete(t.limiters, key)
	}
}

// Network is what an address counts as: itself, for IPv6 its /64.
func Network(from netip.Addr) string {
	if from.Is6() {
		if prefix, err := from.Prefix(64); err == nil {
			from = prefix.Addr()
		}
	}
	return from.String()
}

// keys are the keys under which a failure is counted: the network, and the network with the user
// name.
func keys(from netip.Addr, user string) []string {
	network := Network(from)
	if user == "" {
		return []string{network}
	}
	if len(user) > 64 {
		user = user[:64]
	}
	return []string{network, network + " " + user}
}
