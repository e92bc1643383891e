package throttle_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"example.com/atm/auth/throttle"
)

func TestFailuresAreThrottledByAddressAndUser(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	failures := throttle.New(func() time.Time { return now })
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if failures.Failing(here) {
		t.Error("an address fails before anybody has failed")
	}
	for range 100 {
		if wait := failures.Wait(here, "alice"); wait != 0 {
			t.Fatalf("throttled too early: %v", wait)
		}
		failures.Failed(here, "alice")
	}
	if !failures.Failing(here) || failures.Failing(there) {
		t.Error("who has failed is looked for elsewhere")
	}
	if wait := failures.Wait(here, "alice"); wait <= 0 || wait > time.Second {
		t.Errorf("after a hundred failures: %v", wait)
	}
	if failures.Wait(here, "bob") != 0 || failures.Wait(there, "alice") != 0 ||
		failures.Wait(here, "") != 0 {
		t.Error("somebody else is throttled, or alice elsewhere")
	}
	now = now.Add(time.Second)
	if wait := failures.Wait(here, "alice"); wait != 0 {
		t.Errorf("a second later: %v", wait)
	}
	for i := range 1000 {
		failures.Failed(here, fmt.Sprint(i))
	}
	if failures.Wait(here, "carol") == 0 || failures.Wait(there, "carol") != 0 {
		t.Error("an address is not throttled after a thousand failures, or another one is")
	}
	// An IPv6 address counts as its /64.
	six, neighbour := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:2")
	for i := range 1000 {
		failures.Failed(six, fmt.Sprint(i))
	}
	if failures.Wait(neighbour, "") == 0 || !failures.Failing(neighbour) {
		t.Error("the neighbour in the same /64 is not throttled")
	}
}

// TestThrottleIsBounded fails sign-ins from more addresses than are remembered.
func TestThrottleIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	failures := throttle.New(func() time.Time { return now })
	for i := range 200_000 {
		failures.Failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), "")
	}
	victim := netip.MustParseAddr("192.0.2.1")
	for range 1000 {
		failures.Failed(victim, "")
	}
	if failures.Wait(victim, "") == 0 {
		t.Error("a flood from elsewhere made it forget")
	}
}
