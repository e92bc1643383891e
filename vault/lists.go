package vault

import (
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/vault/people"
)

// ShowHold answers with the record of a hold.
type ShowHold struct {
	Party
	Hold HoldID
}

// Keys implements Rule.
func (r ShowHold) Keys(k *Keys) { k.Holds = append(k.Holds, r.Hold) }

// Decide implements Rule.
func (r ShowHold) Decide(b *Books) atm.Status {
	h, known := b.Hold(r.Hold)
	if !known {
		return NoHold()
	}
	a := b.Account(h.Account)
	if !r.reaches(a) {
		return NoHold()
	}
	state, expires := "expired", "" // when one ended that has left its account is not kept
	for _, p := range a.Pending {
		if p.ID == h.ID {
			expires = p.Expires.Format(time.RFC3339)
			if p.alive(b.Now) {
				state = "pending"
			}
		}
	}
	switch h.State {
	case HoldCaptured:
		state = "captured"
	case HoldReleased:
		state = "released"
	}
	return ok(holdRecord(h, state, expires))
}

func holdRecord(h Hold, state, expires string) atm.Record {
	return atm.Record{
		{Name: "hold", Value: h.ID.String()},
		{Name: "account", Value: string(h.Account)},
		{Name: "amount", Value: h.Amount.String()},
		{Name: "state", Value: state},
		{Name: "expires", Value: expires},
	}
}

// PendingAfter returns up to limit records of holds on the account that may be captured at an
// instant, with ids above after, in order of id. more is set when there are others.
func (a *Account) PendingAfter(after HoldID, limit int, now time.Time) (records []atm.Record,
	last HoldID, more bool,
) {
	for _, p := range a.Pending {
		if p.ID <= after || !p.alive(now) {
			continue
		}
		if len(records) == limit {
			return records, last, true
		}
		last = p.ID
		records = append(records, holdRecord(Hold{ID: p.ID, Account: a.Name, Amount: p.Amount},
			"pending", p.Expires.Format(time.RFC3339)))
	}
	return records, last, false
}

// ListGrants answers with the records of grants.
type ListGrants struct {
	Party
	IDs     []string
	Revoked map[string]bool // by id
	Account Name            // of the party that they must be for; empty for any
	Next    string          // the cursor to go on with
}

// Keys implements Rule.
func (r ListGrants) Keys(k *Keys) {
	k.Grants = append(k.Grants, r.IDs...)
	if r.Account != "" {
		k.accounts(r.Account)
	}
}

// Decide implements Rule.
func (r ListGrants) Decide(b *Books) atm.Status {
	if r.Account != "" && !r.reaches(b.Account(r.Account)) {
		return NotFound(string(r.Account))
	}
	records := []atm.Record{}
	for _, id := range r.IDs {
		g, known := b.Grant(id)
		if known && (r.Account == "" || slices.Contains(g.Accounts, r.Account)) {
			records = append(records, g.record(r.Revoked[id]))
		}
	}
	return ok(atm.Record{{Name: "grants", Value: records}, {Name: "next", Value: r.Next}})
}

func (g *Grant) record(revoked bool) atm.Record {
	accounts, operations := make([]string, len(g.Accounts)), make([]string, len(g.Operations))
	for i, account := range g.Accounts {
		accounts[i] = string(account)
	}
	for i, op := range g.Operations {
		operations[i] = string(op)
	}
	return atm.Record{
		{Name: "grant", Value: g.ID},
		{Name: "grantor", Value: g.Grantor},
		{Name: "grantee", Value: g.Grantee},
		{Name: "accounts", Value: accounts},
		{Name: "operations", Value: operations},
		{Name: "cap", Value: g.Cap.String()},
		{Name: "spent", Value: g.Spent.String()},
		{Name: "expires", Value: g.Expires.Format(time.RFC3339)},
		{Name: "revoked", Value: revoked},
	}
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

// CheckAccounts tells which of the accounts could not be opened, and changes nothing.
type CheckAccounts struct{ Rows []OpenAccount }

// Keys implements Rule.
func (r CheckAccounts) Keys(k *Keys) {
	for i := range r.Rows {
		k.accounts(r.Rows[i].Account)
		if owner := r.Rows[i].Owner; owner != "" {
			k.Users = append(k.Users, owner)
		}
	}
}

// Decide implements Rule.
func (r CheckAccounts) Decide(b *Books) atm.Status {
	var checked people.RowCheck
	seen := make(map[Name]bool, len(r.Rows))
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
		case !fits(a, row.Opening):
			no = tooLarge(row.Account)
		}
		seen[row.Account] = true
		if no.Code != atm.OK {
			checked.Refuse(i, no)
		}
	}
	return checked.Answer(len(r.Rows))
}
