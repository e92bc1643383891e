package boltstore_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// TestReadersSeeBalancesThatSumToZero reads all accounts again and again while money moves.
func TestReadersSeeBalancesThatSumToZero(t *testing.T) {
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"), secret)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	l := vaulttest.NewLedger(t, ledger.Config{Store: store})
	do := func(op atm.Operation, rule vault.Rule) {
		if s := l.Do(t.Context(), command(op, rule)); s.Code != atm.OK {
			t.Error(s)
		}
	}
	do(atm.AccountOpen, vault.OpenAccount{Account: "1", Opening: 1000})
	do(atm.AccountOpen, vault.OpenAccount{Account: "2", Opening: 1000})
	done := make(chan struct{})
	var readers, writers sync.WaitGroup
	versions := make(map[uint64]bool)
	var mu sync.Mutex
	for range 4 {
		readers.Go(func() {
			for {
				all, err := store.All(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				accounts := all.Accounts
				var sum atm.Amount
				for _, a := range accounts {
					sum += a.Balance
				}
				if sum != 0 || len(accounts) != 3 {
					t.Errorf("%d accounts sum to %s", len(accounts), sum)
					return
				}
				mu.Lock()
				versions[accounts[0].Version] = true
				mu.Unlock()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 8 {
		writers.Go(func() {
			for range 50 {
				do(atm.Transfer, vault.Transfer{From: "1", To: "2", Amount: 2})
				do(atm.Transfer, vault.Transfer{From: "2", To: "1", Amount: 1})
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if len(versions) < 3 {
		t.Errorf("the readers saw only %d states", len(versions))
	}
}

// TestOrdersEndWithTheirContext reads standing orders for a caller who has gone: there may be a
// million that have ended.
func TestOrdersEndWithTheirContext(t *testing.T) {
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"), secret)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	l := vaulttest.NewLedger(t, ledger.Config{Store: store})
	for _, rule := range []vault.Rule{
		vault.OpenAccount{Account: "1"},
		vault.OpenAccount{Account: "2"},
		vault.CreateOrder{
			Account: "1", To: "2", Amount: 1, Schedule: calendar.Schedule{Every: calendar.Day},
		},
	} {
		if s := l.Do(t.Context(), command(atm.OrderCreate, rule)); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	gone, end := context.WithCancel(t.Context())
	end()
	for _, tt := range []struct {
		ctx  context.Context
		want error
	}{{t.Context(), nil}, {gone, context.Canceled}} {
		err := store.Orders(tt.ctx, time.Unix(0, 0), func(o *vault.Order) error {
			t.Errorf("order %s is due", o.ID)
			return nil
		})
		if !errors.Is(err, tt.want) {
			t.Errorf("orders: %v, not %v", err, tt.want)
		}
	}
}
