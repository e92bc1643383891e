package dynstore_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// TestReplicasTakeTurns has many clients deposit on one replica while a single one deposits on
// another, whose small commits would be made first again and again.
func TestReplicasTakeTurns(t *testing.T) {
	t.Parallel()
	const clients, each, alone = 16, 20, 5
	url := dyntest.Shared(t).Table()
	signer := vaulttest.NewSigner(t)
	busy := vaulttest.NewLedger(t, ledger.Config{Store: create(t, url), Signer: signer})
	idle := vaulttest.NewLedger(t, ledger.Config{Store: create(t, url), Signer: signer})
	for i := range clients + 1 {
		if s := busy.Do(t.Context(), openAccount(vault.Name(fmt.Sprint(i+1)))); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	var many, few sync.WaitGroup
	var done atomic.Bool
	for i := range clients {
		many.Go(func() {
			for range each {
				s := busy.Do(t.Context(), deposit(vault.Name(fmt.Sprint(i+1)), 1))
				if s.Code != atm.OK {
					t.Errorf("on the busy one: %+v", s)
				}
			}
		})
	}
	n := 0
	few.Go(func() {
		for n < alone || !done.Load() {
			s := idle.Do(t.Context(), deposit(vault.Name(fmt.Sprint(clients+1)), 1))
			if s.Code != atm.OK {
				t.Errorf("on the other one: %+v", s)
			}
			n++
		}
	})
	many.Wait()
	done.Store(true)
	few.Wait()
	if n > clients*each {
		t.Errorf("while %d clients deposited %d times, a single one did so %d times", clients,
			clients*each, n)
	}
}
