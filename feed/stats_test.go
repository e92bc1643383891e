package feed_test

import (
	"net/http"
	"testing"
	"time"

	"example.com/atm/feed"
	"example.com/atm/vault/feeds"
)

// TestStatsSayWhatWaitsAndSinceWhen has a receiver that takes nothing, and then everything.
func TestStatsSayWhatWaitsAndSinceWhen(t *testing.T) {
	r := newReceiver(t)
	r.answers(func(*event) int { return http.StatusServiceUnavailable })
	begun := time.Now().Add(-time.Millisecond) // the times of entries and cursors are cut off
	b := newBank(t, r.roots(), nil)
	b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	b.deposit(1)
	b.deposit(2)
	var s feed.Stats
	eventually(t, "it does not fail", func() bool {
		s = b.feed.Stats()
		return s.Failing == 1 && s.FailingLag == 4 && !s.FailingOldest.IsZero()
	})
	now := time.Now()
	if s.Active != 0 || s.Lag != 0 || !s.Oldest.IsZero() || s.FailingSince.Before(begun) ||
		s.FailingOldest.Before(begun) || s.FailingSince.After(now) || s.FailingOldest.After(now) {
		t.Errorf("%+v, from %s to %s", s, begun, now)
	}
	first := s.FailingSince
	b.deposit(3)
	eventually(t, "the deposit does not wait", func() bool {
		return b.feed.Stats().FailingLag == 5
	})
	if s := b.feed.Stats(); !s.FailingSince.Equal(first) {
		t.Errorf("it fails since %s, and not since %s", s.FailingSince, first)
	}
	r.answers(func(*event) int { return http.StatusOK })
	eventually(t, "nothing is delivered", func() bool {
		return b.feed.Stats() == feed.Stats{Active: 1}
	})
	b.change("all", feeds.Pause)
	eventually(t, "it is not paused", func() bool {
		return b.feed.Stats() == feed.Stats{Paused: 1}
	})
}
