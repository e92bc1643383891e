package feed_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// trim makes the journal of a bank, which has one audit log, begin with the second bundle.
func (b *bank) trim() {
	b.t.Helper()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range merkle.TileWidth/8 + 8 {
				b.deposit(1)
			}
		})
	}
	all.Wait()
	var tree merkle.Builder
	if err := b.store.Entries(b.t.Context(), 0, merkle.TileWidth, func(_ vault.JournalIndex,
		leaf []byte,
	) error {
		return tree.Add(leaf)
	}); err != nil {
		b.t.Fatal(err)
	}
	if err := b.store.Trim(b.t.Context(), vault.Base{
		Index: merkle.TileWidth, State: merkle.TileWidth, Edge: tree.Edge,
	}); err != nil {
		b.t.Fatal(err)
	}
}

// TestSubscriptionThatMissedTrimmedEntriesIsStopped trims a journal while no feed runs. A
// subscription that has not seen all of what was trimmed is stopped and says what it missed, each
// time that it is resumed, until its owner says where it goes on; another one is not stopped.
func TestSubscriptionThatMissedTrimmedEntriesIsStopped(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.subscribe(feeds.Subscription{Name: "late", URL: r.url()})
	next := int64(-1)
	for next < 1 {
		next = r.next().Data.Index
	}
	b.stop()
	b.trim()
	b.subscribe(feeds.Subscription{Name: "new", URL: r.url(), From: -1})
	b.again()
	for range 2 {
		select {
		case s := <-b.stopped:
			if s.Name != "late" || s.Cause != "trimmed" ||
				!strings.Contains(s.Reason, " to 255 were not delivered") ||
				!strings.HasSuffix(s.Reason, "feed replay --from 256") {
				t.Errorf("%+v", s)
			}
		case <-time.After(patience):
			t.Fatal("it is not stopped")
		}
		b.change("late", feeds.Resume)
	}
	<-b.stopped
	b.change("late", feeds.Replay(merkle.TileWidth))
	b.change("late", feeds.Resume)
	for e := r.next(); e.Data.Index != merkle.TileWidth; e = r.next() {
		if e.isEntry() && e.Data.Index < merkle.TileWidth {
			t.Fatalf("a trimmed entry arrives: %s", e.body)
		}
	}
	eventually(t, "one of them is stopped", func() bool { return b.feed.Stats().Stopped == 0 })
}
