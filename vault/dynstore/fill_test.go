package dynstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/dynstore"
	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// TestFillLeavesNothingOfAnInterruptedOne interrupts a move at its end, and then moves other books,
// with a shorter journal, into the same table. No replica starts in between.
func TestFillLeavesNothingOfAnInterruptedOne(t *testing.T) {
	t.Parallel()
	engine := dyntest.Shared(t)
	first, second := create(t, engine.Table()), create(t, engine.Table())
	vaulttest.Furnish(t, first)
	books := vaulttest.NewLedger(t, ledger.Config{Store: second, Signer: vaulttest.NewSigner(t)})
	for _, cmd := range []vault.Command{openAccount("7"), deposit("7", 1), deposit("7", 2)} {
		if s := books.Do(t.Context(), cmd); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	name := engine.Name()
	url := dyntest.URL(name, engine.Address)
	to := create(t, url)
	broken := errors.New("broken")
	err := to.Fill(t.Context(), func(ctx context.Context, yield func(*vault.Part) error) (
		*vault.Trail, error,
	) {
		_, err := first.Dump(ctx, yield)
		return nil, errors.Join(err, broken)
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	left := len(rawTable(t, engine, name).in(t, ""))
	_, err = dynstore.Open(t.Context(), dynstore.Config{URL: url, Secret: secret, Replica: "one"})
	if err == nil || !strings.Contains(err.Error(), "atmctl import was interrupted") {
		t.Errorf("a replica of books that are not whole: %v", err)
	}
	if err := to.Fill(t.Context(), second.Dump); err != nil {
		t.Fatal(err)
	}
	vaulttest.Sound(t, to)
	if diff := vaulttest.Same(t, second, to); diff != "" {
		t.Error(diff)
	}
	fresh := engine.Name()
	if err := create(t, dyntest.URL(fresh, engine.Address)).Fill(t.Context(),
		second.Dump); err != nil {
		t.Fatal(err)
	}
	have := len(rawTable(t, engine, name).in(t, ""))
	if want := len(rawTable(t, engine, fresh).in(t, "")); have != want || left <= want {
		t.Errorf("of %d items there are %d, and %d in a table that was empty", left, have, want)
	}
	join(t, url, "one")
}
