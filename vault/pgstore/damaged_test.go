//go:build unix

package pgstore_test

import (
	"errors"
	"testing"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/query"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/vaulttest"
)

// TestDamagedRowFailsItsOwnOperationsAlone has a superuser break one row of each kind. What
// needs it is answered INTERNAL, others in the same commit are carried out, the ledger goes on,
// and so does the next one.
func TestDamagedRowFailsItsOwnOperationsAlone(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	statement := func(n string) vault.Rule {
		return query.Statement{Account: vault.Name(n), Limit: 50}
	}
	command := func(rule vault.Rule, op atm.Operation) vault.Command {
		c := deposit("2", 1)
		c.Rule, c.Operation, c.Args = rule, op, nil
		return c
	}
	hasher, err := requestid.NewHasher(secret)
	if err != nil {
		t.Fatal(err)
	}
	identified := func(c vault.Command) vault.Command {
		c.Request = hasher.Hash(c.Caller, "the first")
		return c
	}
	for _, tt := range []struct {
		name, breaks string
		affected     func() vault.Command
	}{
		{
			"a version of an account is gone", "ALTER TABLE versions DISABLE TRIGGER ALL; DELETE " +
				"FROM versions WHERE account = '1' AND version = 3",
			func() vault.Command { return command(statement("1"), atm.Statement) },
		},
		{
			"an account makes no sense", "UPDATE accounts SET pending = '{7}' WHERE name = '1'",
			func() vault.Command { return deposit("1", 1) },
		},
		{
			"the name of a holder does not open", `UPDATE accounts SET sealed_holder = '\x01ff'
				WHERE name = '1'`,
			func() vault.Command { return deposit("1", 1) },
		},
		{
			"a request id leads to another entry", "UPDATE requests SET index = 1",
			func() vault.Command { return identified(deposit("1", 1)) },
		},
		{
			"a request id leads to no entry", "UPDATE requests SET index = 1000",
			func() vault.Command { return identified(deposit("1", 1)) },
		},
		{
			"an account has the version of before", "ALTER TABLE accounts DISABLE TRIGGER ALL; " +
				"UPDATE accounts SET version = version - 1 WHERE name = '1'",
			func() vault.Command { return deposit("1", 1) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := cluster.Database(t)
			store, signer := create(t, url), vaulttest.NewSigner(t)
			l := vaulttest.NewLedger(t, ledger.Config{Store: store, Signer: signer})
			l.Do(t.Context(), openAccount("1", 100))
			l.Do(t.Context(), openAccount("2", 100))
			for _, c := range []vault.Command{
				identified(deposit("1", 1)), deposit("1", 1),
				deposit("1", 1),
			} {
				if s := l.Do(t.Context(), c); s.Code != atm.OK {
					t.Fatal(s)
				}
			}
			cluster.SQL(t, nameOf(url), tt.breaks)
			for again := range 2 {
				l := ledger.New(ledger.Config{Store: store, Signer: signer})
				var replies []ledger.Reply
				for range 20 { // most of them share commits
					replies = append(replies, l.Begin(t.Context(), deposit("2", 1)),
						l.Begin(t.Context(), tt.affected()))
				}
				for i, reply := range replies {
					want := atm.OK
					if i%2 == 1 {
						want = atm.Internal
					}
					if s := reply(); s.Code != want || (s.Receipt == "") != (want == atm.Internal) {
						t.Fatalf("time %d, command %d is answered %+v, not %s", again, i, s, want)
					}
				}
				if err := l.Close(); err != nil {
					t.Errorf("the ledger ended with %v", err)
				}
			}
			if a, err := store.Account(t.Context(), "2"); err != nil || a.Balance != 140 {
				t.Errorf("account 2 holds %v, %v", a.Balance, err)
			}
		})
	}
}

func TestCheckFindsRequestIDsThatLeadToOtherAnswers(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	store := create(t, url)
	vaulttest.Furnish(t, store)
	damaged := func(breaks string) {
		t.Helper()
		vaulttest.Sound(t, store)
		cluster.SQL(t, nameOf(url), breaks)
		problems := 0
		err := store.Check(t.Context(), func(string) { problems++ })
		if !errors.Is(err, vault.ErrDamaged) || problems == 0 {
			t.Errorf("%s: %v, %d problems", breaks, err, problems)
		}
	}
	damaged("UPDATE requests SET day = day + 1")
	cluster.SQL(t, nameOf(url), "UPDATE requests SET day = day - 1")
	damaged("UPDATE requests SET index = (SELECT max(index) FROM requests)")
}
