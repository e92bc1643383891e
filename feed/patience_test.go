package feed_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm/feed"
	"example.com/atm/vault/feeds"
)

func TestRightThatIsNotKnownYetStopsNothing(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	var asked atomic.Int64
	b.see = func(string, []byte) (*feed.View, error) {
		if asked.Add(1) == 1 {
			return nil, feed.ErrNotAllowed
		}
		return &feed.View{Whole: true}, nil
	}
	b.subscribe(feeds.Subscription{Name: "all", URL: r.url(), Everything: true})
	if e := r.next(); e.Data.Index != 0 {
		t.Errorf("%s", e.body)
	}
}

func TestTimeThatTheServerWasOffIsNotTheReceiversFault(t *testing.T) {
	r := newReceiver(t)
	var broken atomic.Int64
	r.answers(func(*event) int {
		if broken.Add(1) < 5 {
			return http.StatusBadGateway
		}
		return http.StatusNoContent
	})
	b := newBank(t, r.roots(), nil)
	b.stop()
	id := b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	if _, err := b.store.ClaimCursors(t.Context(), "test", time.Minute,
		[]feeds.ID{id}); err != nil {
		t.Fatal(err)
	}
	long := feeds.NewCursor(id)
	long.Chain, long.Failing = 1, time.Now().Add(-100*time.Hour).UTC().Truncate(time.Second)
	long.Tries, long.Error = 1, "it was restarted, as this server was"
	if _, err := b.store.SaveCursors(t.Context(), "test", []feeds.Cursor{long},
		true); err != nil {
		t.Fatal(err)
	}
	b.again()
	arrived := make(chan event)
	go func() { arrived <- <-r.events }()
	select {
	case e := <-arrived:
		if e.Data.Index != 0 {
			t.Errorf("%s", e.body)
		}
	case s := <-b.stopped:
		t.Fatalf("it was stopped: %s", s.Reason)
	}
}

func TestWhoMayNotSubscribeAnyMoreGetsNoCheckpoint(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.subscribe(feeds.Subscription{
		Name: "none", URL: r.url(), Filter: feeds.Filter{Operation: "no.such"},
	})
	if e := r.any(); e.Type != "atm.checkpoint" {
		t.Fatalf("%s", e.body)
	}
	b.denied.Store(true)
	select {
	case s := <-b.stopped:
		if s.Cause != feed.Denied {
			t.Errorf("%+v", s)
		}
	case <-time.After(patience):
		t.Fatal("it is not stopped")
	}
}

func TestEventThatCannotBeMadeIsSaid(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.stop()
	var broken atomic.Bool
	broken.Store(true)
	b.cfg.Prove = func(context.Context, int64) ([]byte, error) {
		if broken.Load() {
			return nil, errors.New("a tile is damaged")
		}
		return []byte("a proof"), nil
	}
	b.again()
	id := b.subscribe(feeds.Subscription{Name: "all", URL: r.url(), Proofs: true})
	eventually(t, "nothing is said", func() bool { return b.cursor(id).Error != "" })
	if c := b.cursor(id); strings.Contains(c.Error, "tile") || !c.Failing.IsZero() {
		t.Errorf("%+v", c)
	}
	broken.Store(false)
	if e := r.next(); e.Data.Index != 0 {
		t.Errorf("%s", e.body)
	}
	eventually(t, "it is still said", func() bool { return b.cursor(id).Error == "" })
}
