package vault

import (
	"cmp"

	"example.com/atm"
)

// OpenAccount opens an account and posts its opening balance from Equity.
type OpenAccount struct {
	Account Name
	Owner   string
	Holder  string
	Opening atm.Amount // zero for none
}

// Keys implements Rule.
func (r OpenAccount) Keys(k *Keys) { k.accounts(r.Account, Equity) }

// Decide implements Rule.
func (r OpenAccount) Decide(b *Books) atm.Status {
	a, equity := b.Account(r.Account), b.Account(Equity)
	if a.Version > 0 {
		return refuse(atm.AccountExists, "Account "+string(r.Account)+" exists")
	}
	if !fits(a, r.Opening) || !depth(equity, r.Opening) {
		return TooLarge(r.Account)
	}
	a.Owner, a.Holder = r.Owner, r.Holder
	if r.Opening == 0 {
		b.put(a)
	} else {
		b.move(equity, a, r.Opening)
	}
	return ok(b.Account(r.Account).Record())
}

// changeable reports why administration may not change a.
func changeable(a Account) (atm.Status, bool) {
	switch {
	case a.Version == 0:
		return NotFound(string(a.Name)), false
	case a.Standing == Closed:
		return accountClosed(a), false
	}
	return atm.Status{}, true
}

func accountClosed(a Account) atm.Status {
	return refuse(atm.AccountClosed, "Account "+string(a.Name)+" is closed")
}

// SetAccount gives an account another owner, and another name of its holder. What is empty
// stays as it is.
type SetAccount struct {
	Account       Name
	Owner, Holder string

	// Again writes the account even if nothing changes. A replay sets it: a rebuild may have
	// left out a name that an operator then gave again, which the hashes do not tell.
	Again bool
}

// Keys implements Rule.
func (r SetAccount) Keys(k *Keys) { k.accounts(r.Account) }

// Decide implements Rule.
func (r SetAccount) Decide(b *Books) atm.Status {
	a := b.Account(r.Account)
	if no, may := changeable(a); !may {
		return no
	}
	before := a
	a.Owner, a.Holder = cmp.Or(r.Owner, a.Owner), cmp.Or(r.Holder, a.Holder)
	if a.Owner != before.Owner {
		a.Agreements = nil // they were the other owner's, and stay ended if that one comes back
	}
	if a.Owner != before.Owner || a.Holder != before.Holder || r.Again {
		b.put(a)
	}
	return ok(b.Account(r.Account).Record())
}

// SetStanding freezes, unfreezes or closes an account. Giving an account the
// standing that it has changes nothing and is no error.
type SetStanding struct {
	Account  Name
	Standing Standing
}

// Keys implements Rule.
func (r SetStanding) Keys(k *Keys) { k.accounts(r.Account) }

// Decide implements Rule.
func (r SetStanding) Decide(b *Books) atm.Status {
	a := b.Account(r.Account)
	switch {
	case a.Version == 0:
		return NotFound(string(r.Account))
	case a.Standing == r.Standing:
		return ok(a.Record())
	case a.Standing == Closed:
		return accountClosed(a)
	case r.Standing == Closed && a.Balance != 0:
		return refuse(atm.AccountNotEmpty, "Account "+string(r.Account)+" is not empty")
	}
	a.Standing = r.Standing
	b.put(a)
	return ok(b.Account(r.Account).Record())
}

// Record is the account as administration sees it. Holds that have expired
// count as held until the next change of the account.
func (a Account) Record() atm.Record {
	var held atm.Amount
	for _, h := range a.Pending {
		held += h.Amount
	}
	return atm.Record{
		{Name: "account", Value: string(a.Name)},
		{Name: "owner", Value: a.Owner},
		{Name: "name", Value: atm.Private(a.Holder)},
		{Name: "standing", Value: a.Standing.String()},
		{Name: "balance", Value: a.Balance.String()},
		{Name: "held", Value: held.String()},
		{Name: "version", Value: int64(a.Version)},
		{Name: "limits", Value: a.Limits.record()},
	}
}
