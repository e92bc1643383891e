package feed_test

import (
	"net/http"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/feed"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// TestReceiverThatWasGoneForLongIsToldEverything has a receiver that fails until it has waited for
// the longest time between two tries again and again, while much happens. The subscription holds
// little of it in memory, and the receiver gets all of it, in order, when it is back.
func TestReceiverThatWasGoneForLongIsToldEverything(t *testing.T) {
	r := newReceiver(t)
	r.answers(func(*event) int { return http.StatusServiceUnavailable })
	b := newBank(t, r.roots(), nil)
	id := b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	const entries = 500
	large := audit.Arg{Name: "memo", Value: strings.Repeat("x", 5000)}
	for range entries {
		b.do(atm.Deposit, vault.Deposit{
			Account: "100", Cash: vault.Cash("user:ada"), Amount: 1,
		}, large)
	}
	eventually(t, "the receiver is not tried often", func() bool {
		return b.cursor(id).Tries >= 10
	})
	b.stop()
	events, size := b.feed.Queued(id)
	if events == 0 || events > feed.MaxQueue || size > feed.MaxQueueBytes+audit.MaxEntryBytes {
		t.Errorf("a dead subscription holds %d events with %d bytes", events, size)
	}
	if c := b.cursor(id); c.Next != 0 || c.Failing.IsZero() || !strings.Contains(c.Error, "503") {
		t.Errorf("the cursor is %+v", c)
	}
	r.answers(func(*event) int { return http.StatusOK })
	b.again()
	for want := range int64(2 + entries) {
		if e := r.next(); e.Data.Index != want {
			t.Fatalf("entry %d came, want %d", e.Data.Index, want)
		}
	}
}

// TestFilterThatMatchesNothingHasCheckpoints has a receiver that no event is for. It is told
// nevertheless that the journal was looked at, further each time.
func TestFilterThatMatchesNothingHasCheckpoints(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.subscribe(feeds.Subscription{
		Name: "none", URL: r.url(), From: 1, Filter: feeds.Filter{Account: "4711"},
	})
	next := int64(0)
	for further := 0; further < 5; {
		e := r.any()
		if e.Type != "atm.checkpoint" || e.Data.Previous != nil || e.Data.From == nil ||
			*e.Data.From != 1 || e.Data.Next < next || e.Data.Next > e.Data.Size {
			t.Fatalf("after a checkpoint up to %d: %s", next, e.body)
		}
		if e.Data.Next > next {
			b.deposit(1)
			next, further = e.Data.Next, further+1
		}
	}
}
