package feed_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/atm/feed"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/feeds"
)

// A claimed is a store that keeps which cursors were claimed.
type claimed struct {
	*boltstore.Store
	mu  sync.Mutex
	ids []feeds.ID // guarded by mu
}

func (c *claimed) ClaimCursors(ctx context.Context, holder string, life time.Duration,
	of []feeds.ID,
) ([]feeds.Cursor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = append(c.ids, of...)
	return c.Store.ClaimCursors(ctx, holder, life, of)
}

func TestChangesOfOneSubscriptionDoNotClaimTheOthers(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.stop()
	store := &claimed{Store: b.store}
	b.cfg.Store = store
	b.feed = feed.New(b.cfg)
	b.feed.Hasten()
	b.feed.RenewEvery(time.Hour)
	b.run()
	active := func(want int) {
		t.Helper()
		eventually(t, "a change is not noticed", func() bool {
			return b.feed.Stats().Active == want
		})
	}
	one := b.subscribe(feeds.Subscription{Name: "one", URL: r.url()})
	active(1)
	two := b.subscribe(feeds.Subscription{Name: "two", URL: r.url()})
	active(2)
	for range 20 {
		b.change("one", feeds.Pause)
		active(1)
		b.change("one", feeds.Resume)
		active(2)
	}
	store.mu.Lock()
	defer store.mu.Unlock()
	if want := []feeds.ID{one, two}; !slices.Equal(store.ids, want) {
		t.Errorf("claimed %v, want %v", store.ids, want)
	}
}
