package vault

import "example.com/atm"

// Note leaves a notice for the owner of an account: the text stands in the entry. It is left by
// a party that reaches the account, or by a creditor that has a mandate on it.
type Note struct {
	Party
	Account  Name
	Creditor string // empty for none
}

// Keys implements Rule.
func (r Note) Keys(k *Keys) { k.accounts(r.Account) }

// Spends implements Spender.
func (r Note) Spends() (Name, atm.Amount) { return r.Account, 0 }

// Decide implements Rule.
func (r Note) Decide(b *Books) atm.Status {
	a := b.Account(r.Account)
	if !r.Reaches(a) && (a.Version == 0 || !a.CollectedBy(r.Creditor, b.Now)) {
		return NotFound(string(r.Account))
	}
	if a.Standing == Closed {
		return accountClosed(a)
	}
	b.put(a) // the entry is in the history of the account
	return ok("")
}
