package query

import (
	"example.com/atm"
	"example.com/atm/audit/certificate"
	"example.com/atm/vault"
)

// Certificate states what the bank knows of an account, closed or not. The answer is a record,
// so its entry has the hash alone.
type Certificate struct {
	vault.Party
	Account vault.Name
	Bank    string
	Salt    string // random, so that the hash tells nobody the name of the holder
}

// Keys implements Rule.
func (r Certificate) Keys(k *vault.Keys) { k.Accounts = append(k.Accounts, r.Account) }

// Decide implements Rule.
func (r Certificate) Decide(b *vault.Books) atm.Status {
	a := b.Account(r.Account)
	if !r.Reaches(a) {
		return vault.NotFound(string(r.Account))
	}
	s := certificate.Statement{
		Bank: r.Bank, Holder: a.Holder, Account: string(a.Name), Standing: a.Standing.String(),
		At: b.Now, Salt: r.Salt,
	}
	return ok(s.Result())
}
