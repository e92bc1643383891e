package replay_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/replay"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/holder"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// named makes a store with accounts whose holders have names, in entries of this version and of
// those that had the names themselves.
func named(t *testing.T, holders *holder.Hasher) vault.Backend {
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"),
		bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	l := vaulttest.NewLedger(t, ledger.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	plain := func(_, name string) string { return name }
	for _, c := range []struct {
		op          atm.Operation
		account     string
		owner, name string
		logged      func(account, name string) string
	}{
		{atm.AccountOpen, "1", "user:alice", "Alice Smith", plain},
		{atm.AccountOpen, "2", "user:bob", "Bob Jones", holders.Hash},
		{atm.AccountOpen, "3", "user:carol", "Carol Brown", plain},
		{atm.AccountSet, "3", "", "Carol Green", holders.Hash},
		{atm.AccountOpen, "4", "user:dave", "Dave Black", plain},
		{atm.AccountSet, "4", "user:erin", "Dave Black", holders.Hash},
		{atm.AccountOpen, "5", "user:frank", "Frank White", holders.Hash},
		{atm.AccountOpen, "6", "user:grace", "", holders.Hash},
	} {
		args := []audit.Arg{{Name: "account", Value: c.account}}
		if c.owner != "" {
			args = append(args, audit.Arg{Name: "owner", Value: c.owner})
		}
		if c.name != "" {
			args = append(args, audit.Arg{Name: "name", Value: c.logged(c.account, c.name)})
		}
		n := vault.Name(c.account)
		var rule vault.Rule = vault.OpenAccount{Account: n, Owner: c.owner, Holder: c.name}
		if c.op == atm.AccountSet {
			rule = vault.SetAccount{Account: n, Owner: c.owner, Holder: c.name}
		}
		s := l.Do(t.Context(), vault.Command{
			Event: audit.EventAdmin, Operation: c.op, Args: args, Rule: rule,
			Caller: &atm.Caller{Principal: atm.Principal{Subject: "user:operator"}},
		})
		if s.Code != atm.OK {
			t.Fatalf("%+v: %+v", c, s)
		}
	}
	return store
}

func TestNamesAreComparedByTheirHashes(t *testing.T) {
	holders, others := hasher(t, "the secret of a test"), hasher(t, "another secret")
	store := named(t, holders)
	replayed, err := replay.Reconcile(t.Context(), store, replay.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := store.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	problems := func(holders *holder.Hasher) int {
		return len(replayed.Differences(kept, time.Now(), holders))
	}
	if n := problems(holders); n != 0 {
		t.Fatalf("%d problems: %v", n, replayed.Differences(kept, time.Now(), holders))
	}
	if n := problems(others); n != 4 { // of account 1 the journal has the name itself
		t.Errorf("%d problems with another secret, want 4", n)
	}
	for i := range kept.Accounts {
		a := &kept.Accounts[i]
		if a.Name.Internal() {
			continue
		}
		for _, name := range []string{"Mallory", "", holders.Hash(string(a.Name), a.Holder)} {
			was := a.Holder
			if a.Holder = name; name == was {
				continue
			}
			if n := problems(holders); n != 1 {
				t.Errorf("account %s of %q, not %q: %d problems", a.Name, name, was, n)
			}
			if n := problems(nil); n != 0 {
				t.Errorf("account %s of %q: %d problems without the key", a.Name, name, n)
			}
			a.Holder = was
		}
	}
}

func TestRebuiltAccountsKeepTheNamesThatFit(t *testing.T) {
	holders := hasher(t, "the secret of a test")
	store := named(t, holders)
	kept, err := store.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changed := slices.Clone(kept.Accounts)
	for i := range changed {
		switch changed[i].Name {
		case "1", "2":
			changed[i].Holder = "Mallory"
		}
	}
	for _, tt := range []struct {
		what string
		kept []vault.Account
		lost []vault.Name
	}{
		{"all that was kept", kept.Accounts, nil},
		{"nothing, so that the store is asked for each", nil, nil},
		{"other names", changed, []vault.Name{"2"}}, // of account 1 the journal has the name
	} {
		replayed, err := replay.Reconcile(t.Context(), store, replay.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		accounts := replayed.Accounts()
		lost, err := replay.Name(t.Context(), store, tt.kept, holders, accounts)
		if err != nil || !slices.Equal(lost, tt.lost) {
			t.Errorf("%s: lost %v, want %v; %v", tt.what, lost, tt.lost, err)
		}
		for i, a := range accounts {
			was, err := store.Account(t.Context(), a.Name)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(tt.lost, a.Name) {
				was.Holder = ""
			}
			if !accounts[i].Equal(was) {
				t.Errorf("%s: account %+v, want %+v", tt.what, a, was)
			}
		}
	}
}

func hasher(t *testing.T, secret string) *holder.Hasher {
	t.Helper()
	h, err := holder.NewHasher([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return h
}
