package boltstore_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/vaulttest"
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
