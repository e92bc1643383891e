package vaulttest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/record"
)

// forgetful is a rule that asks for less than it uses.
type forgetful struct {
	vault.Rule
	keys vault.Keys
}

// Keys implements vault.Rule.
func (r forgetful) Keys(k *vault.Keys) {
	k.Accounts = append(k.Accounts, r.keys.Accounts...)
	k.Users = append(k.Users, r.keys.Users...)
	k.Holds = append(k.Holds, r.keys.Holds...)
	k.Grants = append(k.Grants, r.keys.Grants...)
	k.Revocations = append(k.Revocations, r.keys.Revocations...)
}

// both decides two rules, and asks for what the first one needs.
type both struct{ vault.Rule }

// Decide implements vault.Rule.
func (r both) Decide(b *vault.Books) atm.Status {
	r.Rule.Decide(b)
	return vault.Inquiry{Account: "2"}.Decide(b)
}

// A forgotten key is a rule that does not ask for a record which it uses.
type forgottenKey struct {
	record string
	rule   vault.Rule
	beside vault.Command // is decided in the same group, and succeeds
}

// forgottenKeys are rules that forget a record of each kind. They use account 1, a hold of it,
// the grant a, and user:eve.
func forgottenKeys(hold vault.HoldID) []forgottenKey {
	cash := vault.Cash(demo.Subject)
	names := func(names ...vault.Name) vault.Keys { return vault.Keys{Accounts: names} }
	eve := people.Enrol{Subject: "user:eve", Roles: []atm.Role{atm.Auditor}}
	return []forgottenKey{
		{
			"account 1",
			forgetful{vault.Deposit{Account: "1", Cash: cash, Amount: 1}, names(cash)},
			deposit("1", 1),
		},
		{"account cash:user:demo", forgetful{
			vault.Deposit{Account: "1", Cash: cash, Amount: 1},
			names("1"),
		}, deposit("1", 1)},
		{"account equity:opening", forgetful{
			vault.OpenAccount{Account: "9", Opening: 1},
			names("9"),
		}, deposit("1", 1)},
		{
			"account 9",
			forgetful{vault.OpenAccount{Account: "9", Opening: 1}, names(vault.Equity)},
			deposit("1", 1),
		},
		{"account cash:user:demo", forgetful{
			vault.Capture{Hold: hold, Cash: cash},
			vault.Keys{Holds: []vault.HoldID{hold}},
		}, deposit("1", 1)},
		{"hold " + hold.String(), forgetful{
			vault.Capture{Hold: hold, Cash: cash},
			names(cash, "1"),
		}, deposit("1", 1)},
		{"grant a", forgetful{
			vault.Granted{Spender: vault.Inquiry{Account: "1"}, Grant: "a"},
			names("1"),
		}, deposit("1", 1)},
		{
			"grant b",
			forgetful{vault.CreateGrant{Grant: vault.Grant{ID: "b"}}, vault.Keys{}},
			deposit("1", 1),
		},
		{"user user:eve", forgetful{vault.People(eve), vault.Keys{}}, deposit("1", 1)},
		{
			"revocation subject:user:eve",
			forgetful{
				vault.People(people.Renewed{Enrol: eve, Serial: "1"}),
				vault.Keys{Keys: people.Keys{
					Users:       []string{"user:eve"},
					Revocations: []string{people.CertRevocation("1")},
				}},
			},
			deposit("1", 1),
		},
		// when it has written
		{"account 2", both{vault.Deposit{Account: "1", Cash: cash, Amount: 1}}, deposit("2", 1)},
	}
}

// testForgottenKey decides rules that do not ask for a record which they use, together with
// others that do. Each fails alone, with INTERNAL, the log names the record, and nothing
// is written.
func testForgottenKey(t *testing.T, p Place) {
	store := p.Open(t)
	var log bytes.Buffer
	l := ledger.New(ledger.Config{
		Store: store, Signer: NewSigner(t),
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	must(t, l, open("1", 1000))
	must(t, l, open("2", 1000))
	hold := holdID(must(t, l, authorize("1", 100, time.Hour)).Result)
	grant := vault.Grant{
		ID: "a", Grantor: demo.Subject, Accounts: []vault.Name{"1"}, Cap: 1,
		Expires: time.Now().UTC(),
	}
	must(t, l, op(atm.GrantCreate, vault.CreateGrant{Grant: grant}))
	must(t, l, op(atm.UserAdd,
		vault.People(people.Enrol{Subject: "user:eve", Roles: []atm.Role{atm.Teller}})))
	want := len(leaves(t, store))
	for _, forgotten := range forgottenKeys(hold) {
		log.Reset()
		want += failsAlone(t, l, forgotten)
		line := record.ErrNotAsked.Error() + ": " + forgotten.record
		if !strings.Contains(log.String(), line) {
			t.Errorf("the log does not say %q:\n%s", line, log.String())
		}
	}
	if after := len(leaves(t, store)); after != want {
		t.Errorf("there are %d entries, want %d", after, want)
	}
	if s := must(t, l, inquiry("1")); s.Result != "10.30" {
		t.Errorf("account 1 has %v, want the right deposits alone", s.Result)
	}
	if err := l.Close(); err != nil {
		t.Errorf("a rule that forgot a key ended the ledger: %v", err)
	}
	checkJournal(t, store)
}

// failsAlone decides a rule that forgot a key beside commands that succeed, in one group nearly
// always, and returns how many of those there were.
func failsAlone(t *testing.T, l *ledger.Ledger, forgotten forgottenKey) (succeeded int) {
	t.Helper()
	var wrong, right []ledger.Reply
	for range 3 {
		right = append(right, l.Begin(t.Context(), forgotten.beside))
		wrong = append(wrong, l.Begin(t.Context(), op(atm.Deposit, forgotten.rule)))
	}
	for i := range wrong {
		if s := wrong[i](); s.Code != atm.Internal || s.Receipt != "" {
			t.Errorf("a rule that forgot %s was answered %+v", forgotten.record, s)
		}
		if s := right[i](); s.Code != atm.OK {
			t.Errorf("beside a rule that forgot %s: %+v", forgotten.record, s)
		}
	}
	return len(right)
}

// testAmountsArePositive moves nothing, and less than nothing.
func testAmountsArePositive(t *testing.T, p Place) {
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store})
	must(t, l, open("1", 1000))
	must(t, l, open("2", 1000))
	hold := must(t, l, authorize("1", 100, time.Hour)).Result
	for _, cmd := range []vault.Command{
		deposit("1", 0), withdraw("1", 0), transfer("1", "2", 0),
		transfer("1", "2", -1),
	} {
		before := len(leaves(t, store))
		if s := l.Do(t.Context(), cmd); s.Code != atm.Internal || s.Receipt != "" ||
			len(leaves(t, store)) != before {
			t.Errorf("%s %v was answered %+v", cmd.Operation, cmd.Args, s)
		}
	}
	for _, cmd := range []vault.Command{
		deposit("1", -1), withdraw("1", -1), capture(hold, -1),
		open("3", -1),
	} {
		if s := l.Do(t.Context(), cmd); s.Code == atm.OK { // most are out of bounds before
			t.Errorf("%s %v was answered %+v", cmd.Operation, cmd.Args, s)
		}
	}
	if s := must(t, l, inquiry("1")); s.Result != "10.00" {
		t.Errorf("account 1 has %v", s.Result)
	}
	must(t, l, deposit("1", 1))
	checkJournal(t, store)
}

// A liar is a store that shows decide an account as it is not.
type liar struct {
	vault.Store
	account *vault.Account // nil for none at all
}

// Commit implements vault.Store.
func (s liar) Commit(ctx context.Context, keys vault.Keys,
	decide func(*vault.Books) error,
) (func() error, error) {
	return s.Store.Commit(ctx, keys, func(b *vault.Books) error {
		cash := vault.Cash(demo.Subject)
		accounts := map[vault.Name]*vault.Account{cash: {Name: cash, Version: 1, Balance: -1}}
		if s.account != nil {
			accounts["1"] = s.account
		}
		l := vault.Loaded{Head: b.Head, Checkpoint: b.Checkpoint, Now: b.Now}
		l.Accounts.Found = accounts
		lied := vault.NewBooks(keys, l)
		err := decide(lied)
		*b = *lied
		return err
	})
}

// testStoreComparesVersions commits changes that were decided on another version of an
// account than the store has. The store refuses them, and goes on.
func testStoreComparesVersions(t *testing.T, p Place) {
	store := p.Open(t)
	signer := NewSigner(t)
	honest := NewLedger(t, ledger.Config{Store: store, Signer: signer})
	must(t, honest, open("1", 0))
	must(t, honest, deposit("1", 1)) // version 2 of it, and version 1 of the cash
	before, err := store.Account(t.Context(), "1")
	if err != nil || before.Version != 2 {
		t.Fatal(before, err)
	}
	account := func(version uint64) *vault.Account {
		return &vault.Account{Name: "1", Owner: demo.Subject, Version: version, Balance: 1}
	}
	for name, tt := range map[string]struct {
		account *vault.Account
		cmd     vault.Command
	}{
		"none": {nil, op(atm.AccountOpen, vault.OpenAccount{
			Account: "1",
			Owner:   demo.Subject,
		})},
		"an older one": {account(1), deposit("1", 1)},
		"a newer one":  {account(3), deposit("1", 1)},
		"a newer alone": {account(9), op(atm.AccountFreeze, vault.SetStanding{
			Account:  "1",
			Standing: vault.Frozen,
		})},
	} {
		lied := NewLedger(t, ledger.Config{Store: liar{store, tt.account}, Signer: signer})
		if s := lied.Do(t.Context(), tt.cmd); s.Code != atm.Internal || s.Receipt != "" {
			t.Errorf("%s in place of version 2: %+v", name, s)
		}
		if err := lied.Err(); err != nil {
			t.Errorf("%s in place of version 2 ended the ledger: %v", name, err)
		}
		after, err := store.Account(t.Context(), "1")
		if err != nil || !after.Equal(before) {
			t.Errorf("%s in place of version 2: the account became %+v, %v", name, after, err)
		}
	}
	if got := len(leaves(t, store)); got != 2 {
		t.Errorf("%d entries, want 2", got)
	}
	truth := NewLedger(t, ledger.Config{Store: liar{store, account(2)}, Signer: signer})
	must(t, truth, deposit("1", 1)) // so it was the versions that were refused
	must(t, honest, deposit("1", 1))
	checkJournal(t, store)
}

// testPanicInReaderIsNoDeadlock panics while the journal is read. The store can be closed.
func testPanicInReaderIsNoDeadlock(t *testing.T, p Place) {
	store := p.Open(t)
	l := ledger.New(ledger.Config{Store: store, Signer: NewSigner(t)})
	must(t, l, open("1", 0))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("a reader of the journal panics")
	for name, read := range map[string]func(){
		"Entries": func() {
			store.Entries(t.Context(), 0, 1, func(vault.JournalIndex, []byte) error {
				panic(cause)
			})
		},
		"History": func() {
			store.History(t.Context(), "1", 1, func(uint64, vault.JournalIndex, []byte) bool {
				panic(cause)
			})
		},
		"Balances": func() { store.Balances(t.Context(), func(vault.Account) { panic(cause) }) },
	} {
		func() {
			defer func() {
				if recovered := recover(); recovered != cause {
					t.Errorf("%s: recovered %v", name, recovered)
				}
			}()
			read()
		}()
	}
	if err := store.Close(); err != nil { // or it hangs
		t.Error(err)
	}
}
