package vaulttest

import (
	"slices"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
)

// testIssuedTokens issues a token and a grant, and finds in the store what they are for.
func testIssuedTokens(t *testing.T, p Place) {
	store := p.Open(t)
	now := time.Now().UTC()
	l := vault.NewLedger(vault.Config{Store: store, Signer: NewSigner(t), Now: func() time.Time { return now }})
	ends := now.Add(time.Hour).Truncate(time.Second)
	must(t, l, open("100", 5000))
	must(t, l, op(atm.TokenIssue, vault.IssueToken{For: "user:a", ID: "T", Scope: "deposit inquiry", Ends: ends}))
	must(t, l, op(atm.GrantCreate, vault.CreateGrant{Grant: vault.Grant{
		ID: "G", Grantor: demo.Subject, Grantee: "service:shop", Accounts: []vault.Name{"100"},
		Operations: []atm.Operation{atm.Inquiry, atm.Withdraw}, Cap: 500, Expires: ends,
	}}))
	refused(t, l, op(atm.GrantRevoke, vault.RevokeGrant{Party: vault.Party{Owner: "user:other"}, Grant: "G"}), atm.AccountNotFound)
	refused(t, l, op(atm.GrantRevoke, vault.RevokeGrant{Grant: "T"}), atm.AccountNotFound)
	listed := must(t, l, op(atm.GrantList, vault.ListGrants{IDs: []string{"G", "T"}, Account: "100"}))
	if grants := listed.Result.(atm.Record).Get("grants").([]atm.Record); len(grants) != 1 || grants[0].Get("cap") != "5.00" {
		t.Errorf("the grants are %v", grants)
	}
	must(t, l, op(atm.GrantRevoke, vault.RevokeGrant{Party: vault.Party{Owner: demo.Subject}, Grant: "G"}))
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
	want := []vault.Certificate{
		{Serial: "jti:G", Subject: demo.Subject, NotAfter: ends, Issued: at, Scope: "inquiry withdraw", Actor: "service:shop"},
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
