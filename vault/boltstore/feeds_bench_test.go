package boltstore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// BenchmarkDepositsBesideCursors compares deposits of 64 callers with the same while the cursors
// of twenty subscriptions are saved each second, and the subscriptions are read.
func BenchmarkDepositsBesideCursors(b *testing.B) {
	const accounts = 1000
	for _, saving := range []bool{false, true} {
		b.Run(fmt.Sprintf("saving=%t", saving), func(b *testing.B) {
			store, err := boltstore.Create(filepath.Join(b.TempDir(), "vault.db"), secret)
			if err != nil {
				b.Fatal(err)
			}
			l := ledger.New(ledger.Config{Store: store, Signer: vaulttest.NewSigner(b)})
			begin(b, l, accounts, func(i int) vault.Command {
				return command(atm.AccountOpen,
					vault.OpenAccount{Account: vault.Name(fmt.Sprint(i + 1)), Owner: "user:demo"})
			})
			begin(b, l, 20, func(i int) vault.Command {
				return command(atm.FeedAdd, vault.FeedRule{Rule: feeds.Add{
					Owner: "user:demo", Subscription: feeds.Subscription{
						Name: fmt.Sprint("n", i), URL: "https://shop.example", From: -1,
					},
				}})
			})
			ctx, stop := context.WithCancel(b.Context())
			ended, longest := make(chan struct{}), time.Duration(0)
			go func() {
				defer close(ended)
				if saving {
					longest = saveCursors(ctx, b, store)
				}
			}()
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			begun := time.Now()
			for range 64 {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						if s := l.Do(b.Context(),
							depositTo(1+uint64(n)%accounts)); s.Code != atm.OK {
							b.Errorf("%v", s)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "op/s")
			stop()
			<-ended
			b.ReportMetric(float64(longest.Microseconds())/1000, "longest-save-ms")
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
			store.Close()
		})
	}
}

// saveCursors saves the cursors of all subscriptions each second, as what delivers them does, and
// returns how long the longest took.
func saveCursors(ctx context.Context, b *testing.B, store vault.FeedStore) (longest time.Duration) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return longest
		}
		books, err := store.Feeds(b.Context())
		if err != nil {
			b.Error(err)
			return longest
		}
		var ids []feeds.ID
		for _, s := range books[0].Subscriptions {
			ids = append(ids, s.ID)
		}
		cursors, err := store.ClaimCursors(b.Context(), "bench", time.Minute, ids)
		if err != nil {
			b.Error(err)
			return longest
		}
		for i := range cursors {
			cursors[i].Next++
			cursors[i].Sent++
		}
		begun := time.Now()
		if _, err := store.SaveCursors(b.Context(), "bench", cursors, false); err != nil {
			b.Error(err)
		}
		longest = max(longest, time.Since(begun))
	}
}
