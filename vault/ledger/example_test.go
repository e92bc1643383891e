package ledger_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/ledger"
)

// A ledger on a new store opens an account and takes a deposit. Each answer is durable when it
// arrives.
func ExampleLedger() {
	folder, err := os.MkdirTemp("", "vault")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	store, err := boltstore.Create(filepath.Join(folder, "vault.db"), make([]byte, 32))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	key, _, err := checkpoint.GenerateKey("bank.example/log")
	if err != nil {
		log.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(key)
	if err != nil {
		log.Fatal(err)
	}
	l := ledger.New(ledger.Config{Store: store, Signer: signer})
	defer l.Close()

	caller := &atm.Caller{Principal: atm.Principal{Subject: "user:demo"}}
	do := func(op atm.Operation, rule vault.Rule) atm.Status {
		return l.Do(context.Background(), vault.Command{
			Event: audit.EventOp, Operation: op, Caller: caller, Rule: rule,
		})
	}
	do(atm.AccountOpen, vault.OpenAccount{Account: "100", Owner: "user:demo", Opening: 10_000})
	status := do(atm.Deposit, vault.Deposit{
		Account: "100", Cash: vault.Cash("user:demo"), Amount: 1250, Tell: true,
	})
	fmt.Println(status.Code, status.Result)
	status = do(atm.Withdraw, vault.Withdraw{
		Account: "100", Cash: vault.Cash("user:demo"), Amount: 100_000,
	})
	fmt.Println(status.Code, status.Reason)
	// Output:
	// OK 112.50
	// INSUFFICIENT_FUNDS Insufficient Funds
}

// A name says whose account it is: customers' are numbers, and the bank's own have a colon.
func ExampleName_Internal() {
	for _, n := range []vault.Name{vault.Numbered(100), vault.Cash("user:demo"), vault.Equity} {
		fmt.Println(n, n.Internal())
	}
	// Output:
	// 100 false
	// cash:user:demo true
	// equity:opening true
}
