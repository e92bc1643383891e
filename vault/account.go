// Package vault keeps accounts and the journal of every change to them.
//
// A balance is never stored without the journal entry that explains it: one
// transaction writes both, or neither, together with the head of the audit
// tree that the entry extends. Every movement has legs that sum to zero.
// The rules here are about money. Those about people and their credentials are in package
// people, which knows no account; Books have both sides by side, because one transaction
// commits both, and a command may rest on what is known of people (its Warrants). Whether an
// operation is allowed is settled before a command arrives here. Of people the rules of this
// package compare the owner of an account alone.
//
// A rule is a function of its arguments and the books. It does no input or output and knows
// no store.
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
	Holder   string // the name of the holder, for people; empty when not known
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

	// Agreements are the mandates and standing orders of the account that go on, in order of
	// id. Some mandates may have ended since the record was written.
	Agreements []Agreement
}

// Available is what may leave the account: the balance without the holds that
// are pending at the time.
func (a Account) Available(now time.Time) atm.Amount {
	left := a.Balance
	for _, h := range a.Pending {
		if h.Alive(now) {
			left -= h.Amount
		}
	}
	return left
}
