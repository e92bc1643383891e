package vault

import (
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/vault/people"
)

// A Grant lets somebody else act on accounts of the one who gave it: for some
// operations, up to a total, for a time. What it has spent is counted in the
// transaction that moves the money.
type Grant struct {
	ID         string // the id of its token
	Grantor    string // subject whose accounts they are
	Grantee    string // subject who may act
	Accounts   []Name
	Operations []atm.Operation
	Cap        atm.Amount
	Spent      atm.Amount
	Expires    time.Time // in UTC, to the second
}

// CreateGrant makes a grant on accounts that the party reaches.
type CreateGrant struct {
	Party
	Grant  Grant
	Result any
}

// Keys implements Rule.
func (r CreateGrant) Keys(k *Keys) {
	k.accounts(r.Grant.Accounts...)
	k.Grants = append(k.Grants, r.Grant.ID)
}

// Decide implements Rule.
func (r CreateGrant) Decide(b *Books) atm.Status {
	for _, account := range r.Grant.Accounts {
		if no, fine := r.usable(b.Account(account)); !fine {
			return no
		}
	}
	b.putGrant(r.Grant)
	words := make([]string, len(r.Grant.Operations))
	for i, op := range r.Grant.Operations {
		words[i] = string(op)
	}
	b.People.Issue(people.Certificate{
		Serial: people.TokenRevocation("", r.Grant.ID), Subject: r.Grant.Grantor,
		NotAfter: r.Grant.Expires.UTC(),
		Scope:    strings.Join(words, " "), Actor: r.Grant.Grantee,
	})
	return ok(r.Result)
}

// A Spender is a rule that takes Amount out of, or looks at, one account. What
// it needs from others does not matter to a grant.
type Spender interface {
	Rule
	Spends() (account Name, amount atm.Amount)
}

// Spends implements Spender.
func (r Inquiry) Spends() (Name, atm.Amount) { return r.Account, 0 }

// Spends implements Spender. What comes in counts as well: it moves money in
// the name of the grantor.
func (r Deposit) Spends() (Name, atm.Amount) { return r.Account, r.Amount }

// Spends implements Spender.
func (r Withdraw) Spends() (Name, atm.Amount) { return r.Account, r.Amount }

// Spends implements Spender.
func (r Transfer) Spends() (Name, atm.Amount) { return r.From, r.Amount }

// Spends implements Spender.
func (r Authorize) Spends() (Name, atm.Amount) { return r.Account, r.Amount }

// Granted decides a rule within the bounds of a grant.
type Granted struct {
	Spender
	Grant     string
	Grantee   string
	Operation atm.Operation
}

// Keys implements Rule.
func (r Granted) Keys(k *Keys) {
	r.Spender.Keys(k)
	k.Grants = append(k.Grants, r.Grant)
}

// allowed returns the grant, if it is one for what the rule does. Every grant on an account lets
// notices be left on it.
func (r Granted) allowed(b *Books) (Grant, bool) {
	g, known := b.Grant(r.Grant)
	account, _ := r.Spends()
	return g, known && g.Grantee == r.Grantee && b.Now.Before(g.Expires) &&
		slices.Contains(g.Accounts, account) && (r.Operation == atm.Notify ||
		slices.Contains(g.Operations, r.Operation))
}

var notGranted = refuse(atm.PermissionDenied, "You may not do this")

// Decide implements Rule.
func (r Granted) Decide(b *Books) atm.Status {
	g, allowed := r.allowed(b)
	_, amount := r.Spends()
	switch {
	case !allowed:
		return notGranted
	case amount > g.Cap-g.Spent:
		return refuse(atm.GrantExceeded, "The grant has "+(g.Cap-g.Spent).String()+" left")
	}
	status := r.Spender.Decide(b)
	if status.Code == atm.OK && amount > 0 {
		g.Spent += amount
		b.putGrant(g)
	}
	return status
}

// RevokeGrant makes a grant that the party gave count no longer.
type RevokeGrant struct {
	Party
	Grant string
}

// Keys implements Rule.
func (r RevokeGrant) Keys(k *Keys) {
	k.Grants = append(k.Grants, r.Grant)
}

// Decide implements Rule.
func (r RevokeGrant) Decide(b *Books) atm.Status {
	g, known := b.Grant(r.Grant)
	if !known || r.Owner != "" && r.Owner != g.Grantor {
		return refuse(atm.AccountNotFound, "There is no grant "+r.Grant)
	}
	b.People.Revoke(people.TokenRevocation("", r.Grant))
	return ok("")
}
