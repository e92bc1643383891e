package auth_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"example.com/atm/auth"
)

func TestFailuresAreThrottledByAddressAndUser(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	throttle := auth.NewThrottle(func() time.Time { return now })
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if throttle.Failing(here) {
		t.Error("an address fails before anybody has failed")
	}
	for range 100 {
		if wait := throttle.Wait(here, "alice"); wait != 0 {
			t.Fatalf("throttled too early: %v", wait)
		}
		throttle.Failed(here, "alice")
	}
	if !throttle.Failing(here) || throttle.Failing(there) {
		t.Error("who has failed is looked for elsewhere")
	}
	if wait := throttle.Wait(here, "alice"); wait <= 0 || wait > time.Second {
		t.Errorf("after a hundred failures: %v", wait)
	}
	if throttle.Wait(here, "bob") != 0 || throttle.Wait(there, "alice") != 0 ||
		throttle.Wait(here, "") != 0 {
		t.Error("somebody else is throttled, or alice elsewhere")
	}
	now = now.Add(time.Second)
	if wait := throttle.Wait(here, "alice"); wait != 0 {
		t.Errorf("a second later: %v", wait)
	}
	for i := range 1000 {
		throttle.Failed(here, fmt.Sprint(i))
	}
	if throttle.Wait(here, "carol") == 0 || throttle.Wait(there, "carol") != 0 {
		t.Error("an address is not throttled after a thousand failures, or another one is")
	}
	// An IPv6 address counts as its /64.
	six, neighbour := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:2")
	for i := range 1000 {
		throttle.Failed(six, fmt.Sprint(i))
	}
	if throttle.Wait(neighbour, "") == 0 || !throttle.Failing(neighbour) {
		t.Error("the neighbour in the same /64 is not throttled")
	}
}

// TestThrottleIsBounded fails sign-ins from more addresses than are remembered.
func TestThrottleIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	throttle := auth.NewThrottle(func() time.Time { return now })
	for i := range 200_000 {
		throttle.Failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), "")
	}
	victim := netip.MustParseAddr("192.0.2.1")
	for range 1000 {
		throttle.Failed(victim, "")
	}
	if throttle.Wait(victim, "") == 0 {
		t.Error("a flood from elsewhere made it forget")
	}
}
