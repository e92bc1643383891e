//go:build unix

package pgstore_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/vaulttest"
	gocmp "github.com/google/go-cmp/cmp"
)

// TestNamesOfHoldersAreSealedWhenOlderBooksAreOpened makes books as version 6 of the schema had
// them, with the names as they are.
func TestNamesOfHoldersAreSealedWhenOlderBooksAreOpened(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	url := cluster.Database(t)
	store := create(t, url)
	vaulttest.Furnish(t, store)
	before, _ := vaulttest.Contents(t, store)
	store.Close()
	as := func(sql string) string { return cluster.SQL(t, nameOf(url), sql) }
	as("DROP INDEX accounts_unsealed; ALTER TABLE accounts DROP COLUMN sealed_holder; " +
		"DROP TABLE feeds, feed_cursors, leases; " + untrimmed +
		"; DELETE FROM goose_db_version WHERE version_id > 6")
	before.Feeds, before.Cursors = nil, nil // which came later
	var names []string
	for _, a := range before.Accounts {
		if a.Holder != "" {
			names = append(names, a.Holder)
			as("UPDATE accounts SET holder = '" + a.Holder + "' WHERE name = '" + string(a.Name) + "'")
		}
	}
	plain := func() bool {
		text := as("SELECT string_agg(a::text, ' ') FROM accounts a")
		return slices.ContainsFunc(names, func(name string) bool {
			return strings.Contains(text, name)
		})
	}
	if len(names) < 2 || !plain() {
		t.Fatalf("the names are %q", names)
	}
	cfg := pgstore.Config{URL: url, Secret: secret}
	if err := pgstore.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	as("CREATE ROLE atm_server LOGIN")
	if err := pgstore.Grant(t.Context(), cfg, "atm_server"); err != nil {
		t.Fatal(err)
	}
	served := pgstore.Config{URL: cluster.URL("atm_server", nameOf(url)), Secret: secret}
	wrong := served
	wrong.Secret = []byte("another secret of a vault, in it")
	if _, err := pgstore.Open(t.Context(), wrong); !errors.Is(err, pgstore.ErrWrongSecret) {
		t.Fatalf("another key: %v", err)
	}
	for range 2 {
		store, err := pgstore.Open(t.Context(), served)
		if err != nil {
			t.Fatal(err)
		}
		after, _ := vaulttest.Contents(t, store)
		if diff := gocmp.Diff(before, after); diff != "" {
			t.Error(diff)
		}
		vaulttest.Sound(t, store)
		store.Close()
		if plain() {
			t.Error("a name stands in the database as it is")
		}
	}
}

func TestNamesOfHoldersAreSealedForTheirAccounts(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	store := create(t, url)
	l := vaulttest.NewLedger(t, ledger.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	for n, name := range map[vault.Name]string{"1": "Alice Smith", "2": "Bob Jones"} {
		if s := l.Do(t.Context(), op(atm.AccountOpen, vault.OpenAccount{
			Account: n, Holder: name,
		})); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	as := func(sql string) string { return cluster.SQL(t, nameOf(url), sql) }
	if text := as("SELECT string_agg(a::text, ' ') FROM accounts a"); strings.Contains(text,
		"Alice") || strings.Contains(text, "Bob") {
		t.Errorf("the rows are %s", text)
	}
	next := []byte("another secret of a vault, in it")
	if err := errors.Join(l.Close(), store.Rekey(t.Context(), next)); err != nil {
		t.Fatal(err)
	}
	again, err := pgstore.Open(t.Context(), pgstore.Config{URL: url, Secret: next})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if a, err := again.Account(t.Context(), "2"); err != nil || a.Holder != "Bob Jones" {
		t.Errorf("sealed under another secret: %+v, %v", a, err)
	}
	as("UPDATE accounts SET sealed_holder = (SELECT sealed_holder FROM accounts WHERE " +
		"name = '2') WHERE name = '1'")
	var problems []string
	err = again.Check(t.Context(), func(problem string) { problems = append(problems, problem) })
	if !errors.Is(err, vault.ErrDamaged) || len(problems) != 1 ||
		!strings.Contains(problems[0], `holder of "1"`) {
		t.Errorf("a name that was moved: %v, %q", err, problems)
	}
}
