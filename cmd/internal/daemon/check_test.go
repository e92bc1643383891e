//go:build unix

package daemon_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
)

// TestRebuildMendsWhatTheCheckNames changes records of the vault with its key, so that every
// value opens. The check reports the changes, and a rebuild restores the records from the
// journal alone.
func TestRebuildMendsWhatTheCheckNames(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	operator, demo := h.As(t, "operator"), h.As(t, "demo")
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "200", "user:demo", "50"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.limit", "200", "10", "", "",
		"Europe/Berlin"))
	daemontest.Must(t)(demo.Transfer(t.Context(), 100, 200, 5, "a"))
	daemontest.Must(t)(demo.Withdraw(t.Context(), 200, 500, "b"))
	hold := daemontest.Must(t)(demo.Authorize(t.Context(), 100, 7, time.Hour, "c")).Text()
	daemontest.Must(t)(demo.Authorize(t.Context(), 100, 8, time.Hour, "d"))
	daemontest.Must(t)(demo.Capture(t.Context(), hold, 5, "e"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.freeze", "200"))
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	folder := h.Folder()
	check := func() (problems []string, err error) {
		_, err = folder.Check(t.Context(), func(p string) { problems = append(problems, p) })
		return problems, err
	}
	if problems, err := check(); err != nil {
		t.Fatal(problems, err)
	}
	for name, tamper := range map[string]func([]vault.Account, []vault.Hold) ([]vault.Account,
		[]vault.Hold){
		"a balance": func(a []vault.Account, h []vault.Hold) ([]vault.Account, []vault.Hold) {
			a[0].Balance++
			return a, h
		},
		"two balances that even out": func(a []vault.Account, h []vault.Hold) ([]vault.Account,
			[]vault.Hold,
		) {
			a[0].Balance++
			a[1].Balance--
			return a, h
		},
		"an owner": func(a []vault.Account, h []vault.Hold) ([]vault.Account, []vault.Hold) {
			a[1].Owner = "user:mallory"
			return a, h
		},
		"a standing": func(a []vault.Account, h []vault.Hold) ([]vault.Account, []vault.Hold) {
			a[1].Standing = vault.Open
			return a, h
		},
		"a limit": func(a []vault.Account, h []vault.Hold) ([]vault.Account, []vault.Hold) {
			a[1].Limits.PerOperation = 0
			return a, h
		},
		"what was spent": func(a []vault.Account, h []vault.Hold) ([]vault.Account, []vault.Hold) {
			a[1].Spent.Amount--
			return a, h
		},
		"a hold dropped from its account": func(a []vault.Account, h []vault.Hold) ([]vault.Account,
			[]vault.Hold,
		) {
			a[0].Pending = nil
			return a, h
		},
		"a captured hold pending again": func(a []vault.Account, h []vault.Hold) ([]vault.Account,
			[]vault.Hold,
		) {
			h[0].State = vault.HoldPending
			return a, h
		},
		"an account gone": func(a []vault.Account, h []vault.Hold) ([]vault.Account, []vault.Hold) {
			return append(a[:1:1], a[2:]...), h
		},
	} {
		t.Run(name, func(t *testing.T) {
			change(t, folder, tamper)
			problems, err := check()
			if !errors.Is(err, offline.ErrProblems) || len(problems) == 0 {
				t.Fatalf("nothing was found: %v", err)
			}
			t.Log(strings.Join(problems, "; "))
			if done, err := folder.Rebuild(t.Context()); err != nil || done.Wrong == 0 {
				t.Fatal(done, err)
			}
			if problems, err := check(); err != nil {
				t.Fatal("after the rebuild:", problems, err)
			}
		})
	}
	again := daemontest.StartIn(t, h.Data, nil)
	if a := daemontest.Must(t)(again.As(t, "demo").Inquiry(t.Context(),
		100)); a.Text() != "999.90" {
		t.Errorf("balance %s", a.Text())
	}
	if a, err := again.As(t, "demo").Capture(t.Context(), hold, 1, "f"); err != nil ||
		a.Code != atm.HoldNotPending {
		t.Errorf("a captured hold: %+v, %v", a, err)
	}
}

// change replaces accounts and holds in the vault of a data folder.
func change(t *testing.T, folder offline.Folder, tamper func([]vault.Account,
	[]vault.Hold) ([]vault.Account, []vault.Hold),
) {
	t.Helper()
	store := openStore(t, folder)
	derived, err := store.All(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	derived.Accounts, derived.Holds = tamper(derived.Accounts, derived.Holds)
	if err := errors.Join(store.Rebuild(context.Background(), func(vault.Store) (
		*vault.Records, error,
	) {
		return derived, nil
	}), store.Close()); err != nil {
		t.Fatal(err)
	}
}

// openStore opens the store of a data folder.
func openStore(t testing.TB, folder offline.Folder) vault.Backend {
	t.Helper()
	dir, _, err := datadir.Open(folder.Data, datadir.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	key, err := dir.ReadVaultKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var store vault.Backend
	if folder.Store.InDatabase() {
		store, err = storage.Config{Location: folder.Store, Secret: key.Secret}.Open(t.Context())
	} else {
		store, err = boltstore.Open(filepath.Join(folder.Data, "vault.db"), key.Secret)
	}
	if err != nil {
		t.Fatal(err)
	}
	return store
}
