package feed_test

import (
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
