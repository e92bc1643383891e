package vaulttest

import (
	"slices"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/query"
)

// testIssuedTokens issues a token and a grant, and finds in the store what they are for.
func testIssuedTokens(t *testing.T, p Place) {
	store := p.Open(t)
	now := time.Now().UTC()
	l := ledger.New(ledger.Config{Store: store, Signer: NewSigner(t), Now: func() time.Time {
		return now
	}})
	ends := now.Add(time.Hour).Truncate(time.Second)
	must(t, l, open("100", 5000))
	must(t, l, op(atm.TokenIssue, vault.People(people.IssueToken{
		For: "user:a", ID: "T", Scope: "deposit inquiry",
		Ends: ends,
	})))
	must(t, l, op(atm.GrantCreate, vault.CreateGrant{Grant: vault.Grant{
		ID: "G", Grantor: demo.Subject, Grantee: "service:shop", Accounts: []vault.Name{"100"},
		Operations: []atm.Operation{atm.Inquiry, atm.Withdraw}, Cap: 500, Expires: ends,
	}}))
	refused(t, l, op(atm.GrantRevoke, vault.RevokeGrant{
		Party: vault.Party{Owner: "user:other"},
		Grant: "G",
	}), atm.AccountNotFound)
	refused(t, l, op(atm.GrantRevoke, vault.RevokeGrant{Grant: "T"}), atm.AccountNotFound)
	listed := must(t, l, op(atm.GrantList, query.ListGrants{
		IDs:     []string{"G", "T"},
		Account: "100",
	}))
	if grants := listed.Result.(atm.Record).Get("grants").([]atm.Record); len(grants) != 1 ||
		grants[0].Get("cap") != "5.00" {
		t.Errorf("the grants are %v", grants)
	}
	must(t, l, op(atm.GrantRevoke, vault.RevokeGrant{
		Party: vault.Party{Owner: demo.Subject},
		Grant: "G",
	}))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = p.Open(t)
	issued, err := store.Certificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := now.Truncate(time.Second)
	want := []people.Certificate{
		{
			Serial: "jti:G", Subject: demo.Subject, NotAfter: ends, Issued: at,
			Scope: "inquiry withdraw", Actor: "service:shop",
		},
		{Serial: "jti:T", Subject: "user:a", NotAfter: ends, Issued: at, Scope: "deposit inquiry"},
	}
	if !slices.Equal(issued, want) {
		t.Errorf("issued are %+v, not %+v", issued, want)
	}
	revoked, err := store.Revocations(t.Context())
	if err != nil || len(revoked) != 1 || revoked[0].Name != "jti:G" {
		t.Errorf("revoked are %v, %v", revoked, err)
	}
}

// testAllOrNone begins commands with others that follow them, in one group with commands of
// their own: where one that follows is refused nothing of it happens, and the rest does.
func testAllOrNone(t *testing.T, p Place) {
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store})
	must(t, l, open("100", 1000))
	whole := func(then ...vault.Command) vault.Command {
		c := op(atm.AccountImport, vault.Report{Result: "done"})
		c.Then = then
		return c
	}
	replies := []ledger.Reply{
		l.Begin(t.Context(), deposit("100", 1)),
		l.Begin(t.Context(), whole(open("1", 0), open("100", 0), open("2", 0))),
		l.Begin(t.Context(), whole(open("3", 0), open("4", 500))),
		l.Begin(t.Context(), deposit("100", 1)),
	}
	for i, want := range []atm.Code{atm.OK, atm.AccountExists, atm.OK, atm.OK} {
		if s := replies[i](); s.Code != want || s.Receipt == "" || i == 1 &&
			s.Reason != "Row 2: Account 100 exists" {
			t.Errorf("command %d of several: %+v, want %s", i, s, want)
		}
	}
	for name, exists := range map[vault.Name]bool{"1": false, "2": false, "3": true, "4": true} {
		a, err := store.Account(t.Context(), name)
		if err != nil || (a.Version > 0) != exists {
			t.Errorf("account %s: %+v, %v", name, a, err)
		}
	}
	size, err := vault.JournalSize(t.Context(), store)
	if err != nil || size != 7 { // the opening, two deposits, a refusal, and three of an import
		t.Errorf("the journal has %d entries, %v", size, err)
	}
	if backend, is := store.(vault.Backend); is {
		Sound(t, backend)
	}
}

// testCheckUsers checks users who are to be known: those who are already, and those who are
// in two rows, are told by their rows, and nothing is changed.
func testCheckUsers(t *testing.T, p Place) {
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store})
	enrol := func(subject string) people.Enrol {
		return people.Enrol{
			Subject: subject, Default: atm.Customer, Result: "",
			Expect: people.ExpectNew,
		}
	}
	must(t, l, op(atm.UserAdd, vault.People(enrol("user:a"))))
	checked := must(t, l, op(atm.UserImport, vault.People(people.CheckUsers{
		Rows: []people.Enrol{enrol("user:b"), enrol("user:a"), enrol("user:b")},
	})))
	problems := checked.Result.(atm.Record).Get("problems").([]atm.Record)
	want := []string{"There is user:a already", "user:b is in two rows"}
	if len(problems) != len(want) {
		t.Fatalf("the problems are %v", problems)
	}
	for i, problem := range problems {
		if problem.Get("row") != int64(i+2) || problem.Get("code") != string(atm.AccountExists) ||
			problem.Get("reason") != want[i] {
			t.Errorf("a problem is %v, want row %d: %s", problem, i+2, want[i])
		}
	}
	users, err := store.Users(t.Context())
	if known := slices.ContainsFunc(users, func(u people.User) bool {
		return u.Subject == "user:b"
	}); known || err != nil {
		t.Errorf("a check made user:b known, %v", err)
	}
}
