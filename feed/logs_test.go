package feed_test

import (
	"context"
	"fmt"
	"testing"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/feeds"
)

// A secondLog is a store whose audit log was given up after so many entries.
type secondLog struct {
	*boltstore.Store
	begin vault.JournalIndex
}

func (s secondLog) Logs(context.Context) ([]vault.JournalIndex, error) {
	return []vault.JournalIndex{0, s.begin}, nil
}

func (s secondLog) Signed(ctx context.Context) ([]byte, merkle.Head, error) {
	checkpoint, head, err := s.Store.Signed(ctx)
	head.Size -= int64(s.begin)
	return checkpoint, head, err
}

func TestWebhooksOfALogAndOfTheOneAfterItHaveDifferentIDs(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.stop()
	b.cfg.Store = secondLog{b.store, 3}
	b.cfg.Origin = func(n int) string { return fmt.Sprint("bank.example/", n+1) }
	id := b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	for range 4 {
		b.deposit(1)
	}
	b.again()
	for _, want := range []struct{ webhook, source, id string }{
		{"-0", "bank.example/1", "0"},
		{"-1", "bank.example/1", "1"},
		{"-2", "bank.example/1", "2"},
		{"-2-0", "bank.example/2", "0"},
		{"-2-1", "bank.example/2", "1"},
		{"-2-2", "bank.example/2", "2"},
		{"-2-checkpoint-3", "bank.example/2", "checkpoint-3"},
	} {
		if e := r.any(); e.webhook != id.String()+want.webhook || e.Source != want.source ||
			e.ID != want.id {
			t.Errorf("the webhook %s is the event %s of %s, want %+v", e.webhook, e.ID, e.Source,
				want)
		}
	}
}
