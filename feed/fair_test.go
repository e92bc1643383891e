package feed_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/feed"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// Those that are far behind have always something to send, so they take every turn that they are
// given. Turns are counted here, in events, because a machine may be slow.
func TestSubscriptionsThatAreFarBehindHoldUpNobodyElse(t *testing.T) {
	const behind, backlog = 100, 1000
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	for range backlog {
		b.deposit(1)
	}
	b.stop()
	add := func(n int, name string, from feeds.Position) string {
		return b.do(atm.FeedAdd, vault.FeedRule{Rule: feeds.Add{
			Owner:        "user:u" + strconv.Itoa(n/feeds.MaxSubscriptions),
			Subscription: feeds.Subscription{Name: name, URL: r.url(), From: from},
		}})
	}
	for n := range behind {
		add(n, "s"+strconv.Itoa(n), 0)
	}
	id := add(behind, "level", -1)
	b.cfg.Rate = 200
	b.feed = feed.New(b.cfg)
	b.feed.Exhaust()
	b.run()
	for e := r.any(); !strings.HasPrefix(e.webhook, id+"-"); e = r.any() { // its checkpoint
	}
	b.deposit(7)
	before := 0
	for e := r.any(); !strings.HasPrefix(e.webhook, id+"-") || !e.isEntry(); e = r.any() {
		before++
	}
	if most := 4 * behind; before > most {
		t.Errorf("%d events of others came first, more than %d", before, most)
	}
}

func TestSubscriptionsThatWaitForOneReceiverShareWhatTheyKeep(t *testing.T) {
	r := newReceiver(t)
	r.answers(func(*event) int { return http.StatusServiceUnavailable })
	b := newBank(t, r.roots(), nil)
	for range 2 * feed.MaxQueue {
		b.deposit(1)
	}
	var ids []feeds.ID
	b.stop()
	for n := range feeds.MaxSubscriptions {
		ids = append(ids, b.subscribe(feeds.Subscription{
			Name: "s" + strconv.Itoa(n), URL: r.url(),
		}))
	}
	b.again()
	eventually(t, "not all fail", func() bool { return b.feed.Stats().Failing == len(ids) })
	b.stop()
	for _, id := range ids {
		if n, _ := b.feed.Queued(id); n != feed.MaxQueue {
			t.Errorf("%s has %d events", id, n)
		}
	}
	if n := b.feed.Leaves(); n != feed.MaxQueue {
		t.Errorf("%d leaves are kept, want %d", n, feed.MaxQueue)
	}
}
