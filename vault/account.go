// Package vault keeps accounts and the journal of every change to them.
//
// A balance is never stored without the journal entry that explains it: one
// transaction writes both, or neither, together with the head of the audit
// tree that the entry extends. Every movement has legs that sum to zero.
// Vault knows money, not people: who may do what is settled before a command
// arrives here, and only the owner of an account is compared inside the
// transaction.
//
// The rules are pure functions of the books they are given. They do no input
// or output and know no store.
package vault

import (
	"strings"
	"time"

	"example.com/atm"
)

// A Name names an account in the ledger: the number of a customer's account
// in decimal digits, "cash:SUBJECT" for the cash in a subject's terminal, or
// Equity.
type Name string

// Equity is the account that opening balances are posted from.
const Equity Name = "equity:opening"

// Numbered is the ledger name of a customer's account.
func Numbered(id atm.AccountID) Name { return Name(id.String()) }

// Cash is the account of the cash that passes through subject's terminal.
func Cash(subject string) Name { return Name("cash:" + subject) }

// Internal reports whether n is one of the bank's own accounts, which may
// be overdrawn: what customers hold is what the bank owes.
func (n Name) Internal() bool { return strings.Contains(string(n), ":") }

// A Standing is what may be done with an account.
type Standing uint8

// The standings. A closed account stays closed, and its number is not used
// again.
const (
	Open Standing = iota
	Frozen
	Closed
)

// String is the standing in a word.
func (s Standing) String() string {
	switch s {
	case Frozen:
		return "frozen"
	case Closed:
		return "closed"
	}
	return "open"
}

// An Account is the record of one account.
type Account struct {
	Name     Name
	Owner    string // the subject whose account it is; empty when nobody's
	Holder   string // the name of whoever holds it, for people; empty when not known
	Standing Standing
	Balance  atm.Amount

	// Version counts the changes of this record, from 1. An account of
	// version 0 does not exist.
	Version uint64

	// Pending are the holds on the account that may still be captured, in
	// order of id. Some may have expired since the record was written.
	Pending []Pending

	Limits Limits
	Spent  Spent
}

// Available is what may leave the account: the balance without the holds that
// are pending at the time.
func (a Account) Available(now time.Time) atm.Amount {
	left := a.Balance
	for _, h := range a.Pending {
		if h.alive(now) {
			left -= h.Amount
		}
	}
	return left
}

// A Revocation is a credential that no longer counts. Its name is "cert:" and
// the serial number of a certificate in hexadecimal, "jti:" and the id of a
// token, or "subject:" and a subject, of whose credentials none from before At
// counts.
type Revocation struct {
	Name string
	At   time.Time // in UTC, to the microsecond
}

// A Certificate is one that was issued to a subject, or a token or an invitation: the
// TokenRevocation of its id stands in the place of a serial number then.
type Certificate struct {
	Serial   string // hexadecimal
	Subject  string
	NotAfter time.Time // in UTC, to the second

	// Issued is when, in UTC, to the second; zero when that was not recorded.
	Issued time.Time

	// Scope is what a token is for, names of methods separated by spaces. Actor is who
	// acts by the token of a grant; empty for any other.
	Scope, Actor string
}

// A User is what the bank knows of a subject.
type User struct {
	Subject  string // "user:NAME" or "service:NAME"
	Roles    []atm.Role
	Disabled bool

	// HA1 is what HTTP Digest checks a password by (RFC 7616, section 3.4.2):
	// SHA-256 of name, realm and password. Empty for who has no password.
	HA1 []byte

	// Slow is what a secret for tokens alone is checked by, an argon2id hash in
	// the PHC string format. Empty for who has none. Nobody has both.
	Slow []byte
}
