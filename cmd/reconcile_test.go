//go:build unix

package cmd_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
)

// TestReconcileFindsAChangedBalance changes a balance in the vault with the vault's key, so
// that the log and every seal are valid.
func TestReconcileFindsAChangedBalance(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	if a, err := s.demo(t, 1).Deposit(t.Context(), 100, 500, "a"); err != nil || !a.OK() {
		t.Fatal(a, err)
	}
	if out, err := s.command("atmctl", "audit", "reconcile").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.stop(t)
	data := filepath.Join(s.dir, "atm-data")
	dir, _, err := datadir.Open(data, datadir.Config{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := dir.ReadVaultKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := boltstore.Open(dir.Vault(), key.Secret)
	if err != nil {
		t.Fatal(err)
	}
	derived, err := store.All(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	derived.Accounts[0].Balance += 100_000_00 // account 100
	if err := errors.Join(store.Rebuild(context.Background(), func(vault.Store) (
		*vault.Records, error,
	) {
		return derived, nil
	}), store.Close(), dir.Close()); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	s.verify(t) // the log itself is valid
	out, err := s.command("atmctl", "audit", "reconcile").CombinedOutput()
	var failed *exec.ExitError
	if !errors.As(err, &failed) || failed.ExitCode() != 15 || !strings.Contains(string(out),
		"are not what the first") {
		t.Errorf("%v\n%s", err, out)
	}
}
