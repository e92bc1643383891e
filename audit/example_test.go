package audit_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/publish"
)

// bank is a log of one deposit, as in a vault.
type bank struct {
	leaf   []byte
	head   merkle.Head
	signed []byte
}

func (b *bank) Signed(context.Context) ([]byte, merkle.Head, error) { return b.signed, b.head, nil }

func (b *bank) Base(context.Context) (int64, [][]merkle.Hash, error) { return 0, nil, nil }

func (b *bank) Entries(_ context.Context, from, to int64, yield func(int64, []byte) error) error {
	for i := from; i < to; i++ {
		if err := yield(i, b.leaf); err != nil {
			return err
		}
	}
	return nil
}

// publishDeposit publishes the log of one deposit into a folder.
func publishDeposit(dir string) (vkey string, leaf []byte, err error) {
	skey, vkey, err := checkpoint.GenerateKey("bank.example")
	if err != nil {
		return "", nil, err
	}
	signer, err := checkpoint.NewSigner(skey)
	if err != nil {
		return "", nil, err
	}
	entry := audit.Entry{
		ID: "0198f4a0-0000-7000-8000-000000000001", Event: audit.EventOp, Operation: atm.Deposit,
		Args:   []audit.Arg{{Name: "account", Value: "100"}, {Name: "amount", Value: "12.50"}},
		Status: &atm.Status{Code: atm.OK, Result: "1012.50"}, ReplayOf: -1,
	}
	b := &bank{}
	if b.leaf, err = entry.Append(nil); err != nil {
		return "", nil, err
	}
	b.head = b.head.Append(merkle.LeafHash(b.leaf))
	if b.signed, err = signer.Sign(nil, merkle.Head{}, b.head); err != nil {
		return "", nil, err
	}
	p, err := publish.New(publish.Config{
		Dir: dir, Keys: signer.Keys, Source: b, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return "", nil, err
	}
	return vkey, b.leaf, p.Recover(context.Background())
}

// An auditor verifies a log with a key that was kept elsewhere.
func ExampleVerify() {
	dir, err := os.MkdirTemp("", "log")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	vkey, _, err := publishDeposit(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := audit.Verify(context.Background(), audit.Dir(dir),
		audit.VerifyOptions{VKey: vkey})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.OK(), report.Size, report.Origin)
	// Output: true 1 bank.example
}

// A proof convinces a verifier that has the entry and the key, without the log.
func ExampleProof_Check() {
	dir, err := os.MkdirTemp("", "log")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	vkey, leaf, err := publishDeposit(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	log, err := audit.OpenLog(context.Background(), audit.Dir(dir), vkey)
	if err != nil {
		fmt.Println(err)
		return
	}
	proof, err := log.Prove(context.Background(), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(proof.Check(leaf, vkey).OK())
	fmt.Println(proof.Check([]byte("another entry"), vkey).OK())
	// Output:
	// true
	// false
}
