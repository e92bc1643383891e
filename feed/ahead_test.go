package feed_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/feed"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/feeds"
)

// A slowDisk is a store whose subscriptions can be read before they are durable, as those of the
// bbolt file can.
type slowDisk struct {
	*boltstore.Store
	slow   atomic.Bool
	before atomic.Pointer[merkle.Head] // the durable one
}

func (d *slowDisk) Signed(ctx context.Context) ([]byte, merkle.Head, error) {
	checkpoint, head, err := d.Store.Signed(ctx)
	if err == nil && d.slow.Load() {
		return checkpoint, *d.before.Load(), nil
	}
	d.before.Store(&head)
	return checkpoint, head, err
}

func TestSubscriptionThatIsNotDurableYetIsNotAhead(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	disk := &slowDisk{Store: b.store}
	b.stop()
	b.cfg.Store = disk
	b.again()
	if _, _, err := disk.Signed(t.Context()); err != nil {
		t.Fatal(err)
	}
	disk.slow.Store(true)
	id := b.subscribe(feeds.Subscription{Name: "new", URL: r.url(), From: -1})
	eventually(t, "it is not claimed", func() bool {
		s := b.feed.Stats()
		return s.Active+s.Stopped == 1
	})
	disk.slow.Store(false)
	b.deposit(1)
	select {
	case e := <-r.events:
		if id.String()+"-"+e.ID != e.webhook {
			t.Errorf("%s", e.body)
		}
	case s := <-b.stopped:
		t.Fatalf("it was stopped: %s", s.Reason)
	case <-time.After(patience):
		t.Fatal("no event arrives")
	}
}

func TestResumeAfterAnOlderJournalWasRestoredSkipsNothing(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	id := b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	for r.next().Data.Index < 1 {
	}
	b.stop()
	ahead := b.cursor(id)
	ahead.Next, ahead.Last = 10, 9
	if _, err := b.store.SaveCursors(t.Context(), "test", []feeds.Cursor{ahead},
		true); err != nil {
		t.Fatal(err)
	}
	b.again()
	if s := <-b.stopped; !strings.Contains(s.Reason, "older journal") {
		t.Fatal(s.Reason)
	}
	for range 20 { // the journal is longer than it was
		b.deposit(1)
	}
	b.change("all", feeds.Resume)
	for want := range int64(20) {
		if e := r.next(); e.Data.Index != want {
			t.Fatalf("entry %d is skipped: %s", want, e.body)
		}
	}
}

func TestEventThatArrivesAfterItsLineBeganAnewDoesNotCountForTheNewOne(t *testing.T) {
	f := feed.New(feed.Config{})
	if last := f.LandOnRewound(); last != -1 {
		t.Errorf("the new line has delivered entry %d", last)
	}
}
