package boltstore_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
)

func TestEveryKindIsStored(t *testing.T) {
	var r vault.Records
	stored := boltstore.KindsIn(&r)
	for _, kind := range vaulttest.Kinds(&r) {
		if !slices.Contains(stored, kind.List()) {
			t.Errorf("%s have no bucket: add them to kinds", kind.Name)
		}
	}
}

// TestFolderOfBeforeGainsTheBucketOfANewKind opens a file that lacks a bucket. What only reads
// finds nothing in it, and what may write makes it.
func TestFolderOfBeforeGainsTheBucketOfANewKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	older := file(path).Open(t).(*boltstore.Store)
	vaulttest.Furnish(t, older)
	before, _ := vaulttest.Contents(t, older)
	if err := older.Close(); err != nil {
		t.Fatal(err)
	}

	count, write := boltstore.AddKind(t)
	open := func(with func(string, []byte) (*boltstore.Store, error)) *boltstore.Store {
		t.Helper()
		s, err := with(path, secret)
		if err != nil {
			t.Fatal(err)
		}
		vaulttest.Sound(t, s)
		return s
	}
	for range 2 { // nothing is made by reading
		s := open(boltstore.OpenReadOnly)
		if n := count(s); n != 0 {
			t.Errorf("%d notes in a file without a bucket for them", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(boltstore.Open)
	write(s, "a", "of the new kind")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(boltstore.OpenChecked)
	if n := count(s); n != 1 {
		t.Errorf("%d notes, want the one that was written", n)
	}
	after, _ := vaulttest.Contents(t, s)
	if len(after.Leaves) != len(before.Leaves) || len(after.Accounts) != len(before.Accounts) {
		t.Error("what was there before is not there any more")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFileWithoutAFirstBucketIsRefused takes a bucket away that a file of this schema always
// had: that is damage, and no file of before.
func TestFileWithoutAFirstBucketIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	if err := file(path).Open(t).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("issued")) })
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err := boltstore.Open(path, secret); err == nil {
		s.Close()
		t.Error("a file without certificates was opened")
	}
}

// TestFileOfBeforePaymentsGainsTheirBuckets opens a file that has no bucket for mandates, standing
// orders and reversals, and puts some of each into it.
func TestFileOfBeforePaymentsGainsTheirBuckets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	signer := vaulttest.NewSigner(t)
	with := func(l *ledger.Ledger, rules ...vault.Rule) {
		t.Helper()
		for _, rule := range rules {
			if s := l.Do(t.Context(), vault.Command{
				Event: audit.EventOp, Operation: "test", Caller: &atm.Caller{}, Rule: rule,
			}); s.Code != atm.OK {
				t.Fatalf("%+v: %v", rule, s)
			}
		}
	}
	older := file(path).Open(t).(*boltstore.Store)
	l := ledger.New(ledger.Config{Store: older, Signer: signer})
	with(l, vault.OpenAccount{Account: "1", Owner: "user:a", Opening: 100},
		vault.OpenAccount{Account: "2", Owner: "user:b"},
		vault.Transfer{From: "1", To: "2", Amount: 50})
	before, _ := vaulttest.Contents(t, older)
	if err := errors.Join(l.Close(), older.Close()); err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(tx *bolt.Tx) (err error) {
		for _, name := range []string{"mandates", "orders", "reversals"} {
			err = errors.Join(err, tx.DeleteBucket([]byte(name)))
		}
		return err
	})
	s, err := boltstore.OpenReadOnly(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	vaulttest.Sound(t, s)
	after, _ := vaulttest.Contents(t, s)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = file(path).Open(t).(*boltstore.Store)
	l = ledger.New(ledger.Config{Store: s, Signer: signer})
	with(l, vault.CreateMandate{
		Account: "1", Creditor: "user:b", Terms: vault.MandateTerms{Each: 5},
	}, vault.CreateOrder{Account: "1", To: "2", Amount: 5, Schedule: daily},
		vault.Reverse{Movement: vault.Movement{Index: 2, From: "1", To: "2", Amount: 50}},
		vault.Collect{Mandate: 3, To: "2", Amount: 5})
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = file(path).Open(t).(*boltstore.Store)
	vaulttest.Sound(t, s)
	after, _ = vaulttest.Contents(t, s)
	if len(after.Mandates) != 1 || len(after.Orders) != 1 || len(after.Reversals) != 1 {
		t.Errorf("%d mandates, %d orders and %d reversals", len(after.Mandates), len(after.Orders),
			len(after.Reversals))
	}
}
