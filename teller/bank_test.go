package teller_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/search"
	"example.com/atm/auth"
	"example.com/atm/teller"
	"example.com/atm/teller/confirm"
	"example.com/atm/teller/subscriptions"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/holder"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/vaulttest"
)

// A bank is a teller over a ledger and a store in a temporary folder.
type bank struct {
	*teller.Teller
	t      *testing.T
	store  vault.Store
	ledger *ledger.Ledger
	last   atm.AccountID // account that was opened last
	full   atomic.Bool   // there is no space for a commit
}

func newBank(t *testing.T) *bank {
	t.Helper()
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"),
		bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	requests, err := requestid.NewHasher([]byte("the secret of a test"))
	if err != nil {
		t.Fatal(err)
	}
	holders, err := holder.NewHasher([]byte("the secret of a test"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := auth.NewTokens("bank.example", auth.KeyTable{Active: key}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	b := &bank{t: t, store: store}
	b.ledger = vaulttest.NewLedger(t, ledger.Config{
		Store: store, Signer: vaulttest.NewSigner(t), Admit: func() error {
			if b.full.Load() {
				return errors.New("the disk is full")
			}
			return nil
		},
	})
	b.Teller, err = teller.New(teller.Config{
		Ledger: b.ledger, Store: store, Requests: requests, Holders: holders,
		Index: search.NewIndex(), Realm: "bank", Confirm: confirm.Default,
		Permissions:  permissions{},
		Credentials:  credentials{tokens: tokens},
		Installation: installation{}, Feed: noFeed{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// permissions are those of the server, with one operator.
type permissions struct{}

func (permissions) Permit(p atm.Principal, op atm.Operation) atm.Reach { return auth.Permit(p, op) }

func (permissions) Operators() []string { return []string{"user:operator"} }

// credentials are tokens alone.
type credentials struct {
	teller.Credentials
	tokens *auth.Tokens
}

func (c credentials) IssueGrant(grantor, grantee string, accounts, operations []string,
	limit string, life time.Duration,
) (teller.Token, error) {
	t, err := c.tokens.IssueGrant(grantor, auth.GrantToken{
		Grantee: grantee, Accounts: accounts, Operations: operations, Cap: limit,
	}, life)
	return teller.Token(t), err
}

func (c credentials) IssueToken(subject, scope, bound string, life time.Duration) (teller.Token,
	error,
) {
	t, err := c.tokens.Issue(subject, scope, bound, life)
	return teller.Token(t), err
}

func (c credentials) Issuer() string { return c.tokens.Issuer() }

func (credentials) Trusts(string) bool { return false }

// installation publishes nothing.
type installation struct{ teller.Installation }

func (installation) Prove(context.Context, int64) ([]byte, error) {
	return nil, errors.New("this bank publishes nothing")
}

// noFeed delivers nothing.
type noFeed struct{ subscriptions.Feed }

func (noFeed) CheckURL(string) error { return nil }

// caller is somebody who is known, with these roles.
func (b *bank) caller(subject string, roles ...atm.Role) *atm.Caller {
	b.t.Helper()
	b.must(vault.People(people.Enrol{Subject: subject, Roles: roles, Result: ""}))
	return &atm.Caller{Principal: atm.Principal{Subject: subject, Roles: roles}}
}

// must carries out a rule as the program itself.
func (b *bank) must(rule vault.Rule) atm.Status {
	b.t.Helper()
	s := b.ledger.Do(b.t.Context(), vault.Command{
		Event: audit.EventAdmin, Operation: "test",
		Caller: &atm.Caller{Principal: atm.Principal{Subject: "system:init"}}, Rule: rule,
	})
	if s.Code != atm.OK {
		b.t.Fatalf("%#v: %s %s", rule, s.Code, s.Reason)
	}
	return s
}

// open opens an account of owner with this balance.
func (b *bank) open(owner string, opening atm.Amount) vault.Name {
	b.t.Helper()
	b.last++
	name := vault.Numbered(b.last)
	b.must(vault.OpenAccount{Account: name, Owner: owner, Opening: opening})
	return name
}

// do carries out an operation. The answer to a malformed call is FAULT.
func (b *bank) do(caller *atm.Caller, op atm.Operation, args ...atm.Arg) atm.Status {
	b.t.Helper()
	reply, err := b.Begin(b.t.Context(), caller, teller.Call{Operation: op, Args: args})
	if malformed := (*teller.MalformedError)(nil); errors.As(err, &malformed) {
		return atm.Status{Code: atm.Fault, Reason: err.Error()}
	}
	if err != nil {
		b.t.Fatalf("%s: %v", op, err)
	}
	return reply()
}

func text(s string) atm.Arg { return atm.Arg{Kind: atm.String, Text: s} }
