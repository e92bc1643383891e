package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/vaulttest"
	"example.com/atm/vault/vaulttest/payments"
	"example.com/atm/vault/vaulttest/subscriptions"
	"example.com/atm/vault/vaulttest/trimming"
	bolt "go.etcd.io/bbolt"
)

// secret is what the stores of the tests are sealed under.
var secret = []byte("the secret of a vault, in a test")

// file is a place for one store.
type file string

func (f file) Open(t *testing.T) vault.Store {
	t.Helper()
	s, err := boltstore.Create(string(f), secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStoreKeepsTheContract(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vaulttest.Place {
		return file(filepath.Join(t.TempDir(), "vault.db"))
	})
}

func TestStoreKeepsTheContractOfPayments(t *testing.T) {
	payments.Run(t, func(t *testing.T) vaulttest.Place {
		return file(filepath.Join(t.TempDir(), "vault.db"))
	}, 1)
}

func TestStoreKeepsTheContractOfSubscriptions(t *testing.T) {
	subscriptions.Run(t, func(t *testing.T) vaulttest.Place {
		return file(filepath.Join(t.TempDir(), "vault.db"))
	}, 1)
}

func TestStoreKeepsTheContractOfTrimming(t *testing.T) {
	trimming.Run(t, func(t *testing.T) vaulttest.Place {
		return file(filepath.Join(t.TempDir(), "vault.db"))
	})
}

func TestOpenCreatesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	if _, err := boltstore.Open(path, secret); !errors.Is(err, boltstore.ErrMissing) {
		t.Errorf("Open = %v, want ErrMissing", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("Open made a file")
	}
}

func TestOpenStoreIsLockedToOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	file(path).Open(t)
	if _, err := boltstore.Open(path, secret); !errors.Is(err, vault.ErrLocked) {
		t.Errorf("Open of an open store = %v, want ErrLocked", err)
	}
}

func TestFileThatIsNoVaultIsRefused(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("this is no database, whatever its name says"),
		0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Open(text, secret); err == nil {
		t.Error("a text file was opened")
	}
	other := filepath.Join(dir, "other")
	db, err := bolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Open(other, secret); err == nil {
		t.Error("another program's database was opened")
	}
	newer := filepath.Join(dir, "newer")
	if err := file(newer).Open(t).Close(); err != nil {
		t.Fatal(err)
	}
	db, err = bolt.Open(newer, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{0, 0, 0, 99})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Open(newer, secret); err == nil {
		t.Error("a vault of a newer layout was opened")
	}
}
