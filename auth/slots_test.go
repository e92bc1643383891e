package auth

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSlotsAreSharedByAddressAndUser has a flood of requests wait for slots, and then one
// request of another caller. It gets a slot soon, however many wait, and even if the queue is
// full.
func TestSlotsAreSharedByAddressAndUser(t *testing.T) {
	unique := func(what string) func(int) string {
		return func(i int) string { return fmt.Sprint(what, i) }
	}
	one := func(what string) func(int) string { return func(int) string { return what } }
	for _, tt := range []struct {
		name          string
		address, user func(i int) string // of the flood
		turns         int                // most turns before the other caller's
	}{
		{"one address, made-up users", one("flood"), unique("user"), 4},
		{"one address, one user", one("flood"), one("user:alice"), 4},
		{"many addresses, one user", unique("flood"), one("user:alice"), 4},
		{"the same address, one user", one("192.0.2.1"), one("user:alice"), 4},
		{"the same user, one address", one("flood"), one("user:bob"), 4},
		{"eight addresses, eight users", func(i int) string {
			return fmt.Sprint(i % 8)
		}, func(i int) string { return fmt.Sprint(i / 8 % 8) }, 20},
	} {
		for _, flood := range []int{100, maxQueued, 2 * maxQueued} {
			t.Run(fmt.Sprint(tt.name, ", ", flood), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSlots()
					for range maxChecks {
						if err := s.enter(t.Context(), "", ""); err != nil {
							t.Fatal(err)
						}
					}
					over, end := context.WithCancel(t.Context())
					for i := range flood {
						go s.enter(over, tt.address(i), tt.user(i))
					}
					synctest.Wait()
					served := make(chan error, 1)
					go func() { served <- s.enter(over, "192.0.2.1", "user:bob") }()
					synctest.Wait()
					if n := len(s.waiting); n > maxQueued {
						t.Errorf("%d wait", n)
					}
					for turns := 1; len(served) == 0; turns++ {
						if turns > tt.turns {
							t.Fatalf("%d turns passed, and it is not served", tt.turns)
						}
						s.leave()
						synctest.Wait()
					}
					if err := <-served; err != nil {
						t.Error(err)
					}
					end()
					synctest.Wait()
					if len(s.waiting)+len(s.shares[0])+len(s.shares[1]) > 0 {
						t.Errorf("%d wait, of %d addresses and %d users, after all are gone",
							len(s.waiting), len(s.shares[0]), len(s.shares[1]))
					}
				})
			})
		}
	}
}

// TestEveryCallerGetsASlot serves a queue that is not full. No waiter is skipped.
func TestEveryCallerGetsASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots()
		var running, most, served atomic.Int64
		for i := range maxQueued + maxChecks {
			go func() {
				if err := s.enter(t.Context(), fmt.Sprint(i%7), fmt.Sprint(i%11)); err != nil {
					t.Error(err)
					return
				}
				n := running.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				time.Sleep(time.Millisecond)
				running.Add(-1)
				served.Add(1)
				s.leave()
			}()
		}
		time.Sleep(maxWait)
		synctest.Wait()
		if served.Load() != maxQueued+maxChecks || most.Load() != maxChecks || s.taken != 0 {
			t.Errorf("%d served, %d at a time, %d taken in the end", served.Load(), most.Load(),
				s.taken)
		}
	})
}

// TestTheWaitForASlotIsBounded waits for a slot that is never freed.
func TestTheWaitForASlotIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots()
		for range maxChecks {
			if err := s.enter(t.Context(), "", ""); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		if err := s.enter(t.Context(), "a", "b"); !errors.Is(err, ErrBusy) ||
			time.Since(begun) != maxWait {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if err := s.enter(gone, "a", "b"); !errors.Is(err, context.Canceled) {
			t.Errorf("a request that is over: %v", err)
		}
		s.leave()
		if err := s.enter(t.Context(), "a", "b"); err != nil {
			t.Errorf("when one is free again: %v", err)
		}
	})
}
