package query

import (
	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

// ShowAccount answers with the record of an account.
type ShowAccount struct{ Account vault.Name }

// Keys implements Rule.
func (r ShowAccount) Keys(k *vault.Keys) { k.Accounts = append(k.Accounts, r.Account) }

// Decide implements Rule.
func (r ShowAccount) Decide(b *vault.Books) atm.Status {
	a := b.Account(r.Account)
	if a.Version == 0 {
		return vault.NotFound(string(r.Account))
	}
	return ok(a.Record())
}

// CheckAccounts tells which of the accounts could not be opened, and changes nothing.
type CheckAccounts struct{ Rows []vault.OpenAccount }

// Keys implements Rule.
func (r CheckAccounts) Keys(k *vault.Keys) {
	for i := range r.Rows {
		k.Accounts = append(k.Accounts, r.Rows[i].Account)
		if owner := r.Rows[i].Owner; owner != "" {
			k.Users = append(k.Users, owner)
		}
	}
}

// Decide implements Rule.
func (r CheckAccounts) Decide(b *vault.Books) atm.Status {
	var checked people.RowCheck
	seen := make(map[vault.Name]bool, len(r.Rows))
	for i := range r.Rows {
		row := &r.Rows[i]
		no := ok("")
		known, disabled := true, false
		if row.Owner != "" {
			var u people.User
			u, known = b.People.User(row.Owner)
			disabled = u.Disabled
		}
		switch a := b.Account(row.Account); {
		case a.Version > 0:
			no = refuse(atm.AccountExists, "Account "+string(row.Account)+" exists")
		case seen[row.Account]:
			no = refuse(atm.AccountExists, "Account "+string(row.Account)+" is in two rows")
		case !known:
			no = refuse(atm.AccountNotFound, "There is no "+row.Owner)
		case disabled:
			no = refuse(atm.PermissionDenied, row.Owner+" is disabled")
		case row.Opening > atm.MaxBalance:
			no = vault.TooLarge(row.Account)
		}
		seen[row.Account] = true
		if no.Code != atm.OK {
			checked.Refuse(i, no)
		}
	}
	return checked.Answer(len(r.Rows))
}

func refuse(code atm.Code, reason string) atm.Status {
	return atm.Status{Code: code, Reason: reason, Result: ""}
}
