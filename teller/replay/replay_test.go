package replay_test

import (
	"bytes"
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/replay"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// TestHoldOfBeforeItsEntrySaidItsEndIsReplayed replays a journal from when a hold ended
// with the second before its life was over, and somebody took what was free again.
func TestHoldOfBeforeItsEntrySaidItsEndIsReplayed(t *testing.T) {
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"),
		bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	begin := time.Date(2026, 3, 1, 12, 0, 0, 500_000_000, time.UTC)
	var elapsed atomic.Int64
	l := vaulttest.NewLedger(t, ledger.Config{
		Store: store, Signer: vaulttest.NewSigner(t),
		Now: func() time.Time { return begin.Add(time.Duration(elapsed.Load())) },
	})
	demo := &atm.Caller{Principal: atm.Principal{
		Subject: "user:demo",
		Roles:   []atm.Role{atm.Customer},
	}}
	do := func(op atm.Operation, rule vault.Rule, args ...audit.Arg) {
		t.Helper()
		s := l.Do(t.Context(), vault.Command{
			Event: audit.EventOp, Operation: op, Args: args,
			Caller: demo, Rule: rule,
		})
		if s.Code != atm.OK {
			t.Fatalf("%s: %+v", op, s)
		}
	}
	account, five := audit.Arg{Name: "account", Value: "100"}, audit.Arg{
		Name:  "amount",
		Value: "5.00",
	}
	second := audit.Arg{Name: "seconds", Value: "1"}
	do(atm.AccountOpen, vault.OpenAccount{Account: "100", Owner: demo.Subject, Opening: 1000},
		account, audit.Arg{Name: "owner", Value: demo.Subject}, audit.Arg{
			Name:  "opening",
			Value: "10.00",
		})
	old := vault.Authorize{Account: "100", Amount: 500, Life: time.Second}
	old.Expires = begin.Add(old.Life).Truncate(time.Second)
	do(atm.Authorize, old, account, five, second)
	elapsed.Store(int64(600 * time.Millisecond)) // it has ended, as it was then
	do(atm.Withdraw, vault.Withdraw{Account: "100", Cash: vault.Cash(demo.Subject), Amount: 800},
		account, audit.Arg{Name: "amount", Value: "8.00"})
	do(atm.Authorize, vault.Authorize{Account: "100", Amount: 100, Life: time.Second}, account,
		audit.Arg{Name: "amount", Value: "1.00"}, second)

	replayed, err := replay.Reconcile(t.Context(), store, replay.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	derived, err := store.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[vault.Name]vault.Account)
	for _, a := range derived.Accounts {
		want[a.Name] = a
	}
	for _, a := range replayed.Accounts() {
		if !a.Equal(want[a.Name]) {
			t.Errorf("%+v is replayed as %+v", want[a.Name], a)
		}
	}
}

// A padded store dumps an empty record more of some kind.
type padded struct {
	vault.Backend
	kind string
}

// Dump implements vault.Backend.
func (p padded) Dump(ctx context.Context, yield func(*vault.Part) error) (*vault.Trail, error) {
	trail, err := p.Backend.Dump(ctx, yield)
	if err != nil {
		return nil, err
	}
	var part vault.Part
	for _, kind := range vaulttest.Kinds(&part.Records) {
		if kind.Name == p.kind {
			kind.AddEmpty()
		}
	}
	return trail, yield(&part)
}

// TestEveryKindIsHeldAgainstTheJournal adds a record of each kind that no entry explains. A
// kind that nothing compares would hide whatever somebody wrote into it.
func TestEveryKindIsHeldAgainstTheJournal(t *testing.T) {
	notInTheJournal := map[string]string{
		"Certificates": "a list that may lack some; none of them lets anybody in",
	}
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"),
		bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	problems := func(store vault.Backend) (n int) {
		t.Helper()
		c, err := replay.Compare(t.Context(), store, replay.Rules{
			Permit: func(atm.Principal, atm.Operation) atm.Reach { return atm.Everywhere },
		}, func(string) { n++ })
		if err != nil {
			t.Fatal(err)
		}
		return n + len(c.Differences(&c.Kept, time.Now(), nil))
	}
	if n := problems(store); n != 0 {
		t.Fatalf("%d problems with an empty store", n)
	}
	for _, kind := range vaulttest.Kinds(new(vault.Records)) {
		reason, exempt := notInTheJournal[kind.Name]
		if found := problems(padded{store, kind.Name}) > 0; found == exempt {
			t.Errorf("%s that no entry made: found %t; exempt: %q", kind.Name, found, reason)
		}
	}
}
