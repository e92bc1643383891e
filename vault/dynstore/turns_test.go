package dynstore_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit/flood"
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
				deposited(t, busy, vault.Name(fmt.Sprint(i+1)))
			}
		})
	}
	n := 0
	few.Go(func() {
		for n < alone || !done.Load() {
			deposited(t, idle, vault.Name(fmt.Sprint(clients+1)))
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

// deposited makes a deposit, and repeats it while the database is too slow for the patience of a
// store.
func deposited(t *testing.T, l *ledger.Ledger, name vault.Name) {
	for {
		switch s := l.Do(t.Context(), deposit(name, 1)); s.Code {
		case atm.OK:
			return
		case atm.Unavailable:
		default:
			t.Errorf("a deposit to account %s: %+v", name, s)
			return
		}
	}
}

// TestACommitTakesAlongWhatCameWhileItWaited has more commands come before a commit loads anything.
func TestACommitTakesAlongWhatCameWhileItWaited(t *testing.T) {
	t.Parallel()
	store := create(t, dyntest.Shared(t).Table())
	signer := vaulttest.NewSigner(t)
	commands := []vault.Command{openAccount("1")}
	keys := func() (all vault.Keys) {
		for i := range commands {
			commands[i].AppendKeys(&all)
		}
		return all
	}
	first := keys()
	first.More = func() vault.Keys {
		commands = append(commands, openAccount("2"))
		return keys()
	}
	durable, err := store.Commit(t.Context(), first, func(b *vault.Books) error {
		b.Now = time.Now().UTC().Truncate(time.Microsecond)
		denials := flood.NewDenials().Batch()
		for i := range commands {
			if s, err := commands[i].DecideAll(b, denials); err != nil || s.Code != atm.OK {
				t.Errorf("command %d of %d: %+v, %v", i, len(commands), s, err)
			}
		}
		return b.Finish(signer)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := durable(); err != nil {
		t.Fatal(err)
	}
	if a, err := store.Account(t.Context(), "2"); a.Version != 1 || err != nil {
		t.Errorf("what came meanwhile: %+v, %v", a, err)
	}
	vaulttest.Sound(t, store)
}
