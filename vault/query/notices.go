package query

import (
	"example.com/atm"
	"example.com/atm/vault"
)

// Notices answers with a page of the notices on an account, as they were found before.
type Notices struct {
	vault.Party
	Account vault.Name
	Page    atm.Record
}

// Keys implements Rule.
func (r Notices) Keys(k *vault.Keys) { k.Accounts = append(k.Accounts, r.Account) }

// Decide implements Rule.
func (r Notices) Decide(b *vault.Books) atm.Status {
	if !r.Reaches(b.Account(r.Account)) {
		return vault.NotFound(string(r.Account))
	}
	return ok(r.Page)
}
