package dynstore_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/dynstore"
	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/replicated"
	"example.com/atm/vault/vaulttest"
)

// TestCommandLargerThanATransactionIsOneCommit opens more accounts by one command than a
// transaction has items, while another ledger goes on.
func TestCommandLargerThanATransactionIsOneCommit(t *testing.T) {
	t.Parallel()
	url := dyntest.Shared(t).Table()
	signer := vaulttest.NewSigner(t)
	one := vaulttest.NewLedger(t, ledger.Config{Store: create(t, url), Signer: signer})
	store := create(t, url)
	other := vaulttest.NewLedger(t, ledger.Config{Store: store, Signer: signer})
	if s := other.Do(t.Context(), openAccount("9999")); s.Code != atm.OK {
		t.Fatalf("%+v", s)
	}
	const accounts = 300
	whole := command(atm.AccountImport, vault.Report{Result: "done"})
	for i := range accounts {
		whole.Then = append(whole.Then, openAccount(vault.Name(fmt.Sprint(i+1))))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if s := one.Do(t.Context(), whole); s.Code != atm.OK {
			t.Errorf("%+v", s)
		}
	})
	for range 50 {
		if s := other.Do(t.Context(), deposit("9999", 1)); s.Code != atm.OK {
			t.Errorf("%+v", s)
		}
	}
	wg.Wait()
	list, err := store.Accounts(t.Context(), 0, 2*accounts)
	if err != nil || len(list) != accounts+1 {
		t.Errorf("%d accounts, %v", len(list), err)
	}
	vaulttest.Sound(t, store)
	again := command(atm.AccountImport, vault.Report{Result: "done"})
	for i := range accounts {
		again.Then = append(again.Then, openAccount(vault.Name(fmt.Sprint(accounts-i))))
	}
	again.Then[0] = openAccount("10000")
	if s := one.Do(t.Context(), again); s.Code != atm.AccountExists {
		t.Errorf("a refused import: %+v", s)
	}
	if a, err := store.Account(t.Context(), "10000"); err != nil || a.Version != 0 {
		t.Errorf("a refused import has opened %+v, %v", a, err)
	}
}

// TestReplicaThatWasTakenForDeadCommitsNothing lets a program have the table to itself while a
// replica is silent.
func TestReplicaThatWasTakenForDeadCommitsNothing(t *testing.T) {
	t.Parallel()
	url := dyntest.Shared(t).Table()
	create(t, url)
	replica, err := dynstore.Open(t.Context(), dynstore.Config{
		URL: url, Secret: secret, Replica: "one",
	})
	if err != nil {
		t.Fatal(err)
	}
	program := create(t, url)
	if err := program.Alone(t.Context()); !errors.Is(err, replicated.ErrRunning) {
		t.Errorf("while it runs: %v", err)
	}
	replica.Silence()
	for end := time.Now().Add(time.Minute); program.Alone(t.Context()) != nil; {
		if time.Now().After(end) {
			t.Fatal("it counts as running for ever")
		}
		time.Sleep(50 * time.Millisecond)
	}
	l := ledger.New(ledger.Config{Store: replica, Signer: vaulttest.NewSigner(t)})
	if s := l.Do(t.Context(), openAccount("1")); s.Code == atm.OK {
		t.Errorf("%+v", s)
	}
	if err := l.Close(); !errors.Is(err, replicated.ErrFenced) {
		t.Errorf("it ended by %v", err)
	}
	if err := replica.RolledBack(); err != nil {
		t.Errorf("the table went on, and it says %v", err)
	}
	if size, err := vault.JournalSize(t.Context(), program); size != 0 || err != nil {
		t.Errorf("the journal has %d entries, %v", size, err)
	}
}

func TestURLNamesATableAndNoSecret(t *testing.T) {
	for url, good := range map[string]bool{
		"dynamodb://atm": true, "dynamodb://atm?region=eu-west-1": true,
		"dynamodb://atm?endpoint=http://127.0.0.1:8000":           true,
		"dynamodb://atm?endpoint=https://vpce-1.dynamodb.example": true,
		"dynamodb://atm?endpoint=http://db.example":               false,
		"dynamodb://key:secret@atm":                               false,
		"dynamodb://atm/other":                                    false,
		"dynamodb://a":                                            false,
		"dynamodb://atm?regio=eu-west-1":                          false,
		"dynamodb://atm?region=a&region=b":                        false,
		"postgres://atm@db/atm":                                   false,
	} {
		if err := dynstore.CheckURL(url); (err == nil) != good {
			t.Errorf("%s: %v", url, err)
		}
	}
}
