package query

import (
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
)

// ShowHold answers with the record of a hold.
type ShowHold struct {
	vault.Party
	Hold vault.HoldID
}

// Keys implements Rule.
func (r ShowHold) Keys(k *vault.Keys) { k.Holds = append(k.Holds, r.Hold) }

// Decide implements Rule.
func (r ShowHold) Decide(b *vault.Books) atm.Status {
	h, known := b.Hold(r.Hold)
	if !known {
		return vault.NoHold()
	}
	a := b.Account(h.Account)
	if !r.Reaches(a) {
		return vault.NoHold()
	}
	state, expires := "expired", "" // when one ended that has left its account is not kept
	for _, p := range a.Pending {
		if p.ID == h.ID {
			expires = p.Expires.Format(time.RFC3339)
			if p.Alive(b.Now) {
				state = "pending"
			}
		}
	}
	switch h.State {
	case vault.HoldCaptured:
		state = "captured"
	case vault.HoldReleased:
		state = "released"
	}
	return ok(holdRecord(h, state, expires))
}

func holdRecord(h vault.Hold, state, expires string) atm.Record {
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
func PendingAfter(a *vault.Account, after vault.HoldID, limit int, now time.Time) (
	records []atm.Record, last vault.HoldID, more bool,
) {
	for _, p := range a.Pending {
		if p.ID <= after || !p.Alive(now) {
			continue
		}
		if len(records) == limit {
			return records, last, true
		}
		last = p.ID
		h := vault.Hold{ID: p.ID, Account: a.Name, Amount: p.Amount}
		records = append(records, holdRecord(h, "pending", p.Expires.Format(time.RFC3339)))
	}
	return records, last, false
}

// ListGrants answers with the records of grants.
type ListGrants struct {
	vault.Party
	IDs     []string
	Revoked map[string]bool // by id
	Account vault.Name      // of the party that they must be for; empty for any
	Next    string          // the cursor to go on with
}

// Keys implements Rule.
func (r ListGrants) Keys(k *vault.Keys) {
	k.Grants = append(k.Grants, r.IDs...)
	if r.Account != "" {
		k.Accounts = append(k.Accounts, r.Account)
	}
}

// Decide implements Rule.
func (r ListGrants) Decide(b *vault.Books) atm.Status {
	if r.Account != "" && !r.Reaches(b.Account(r.Account)) {
		return vault.NotFound(string(r.Account))
	}
	records := []atm.Record{}
	for _, id := range r.IDs {
		g, known := b.Grant(id)
		if known && (r.Account == "" || slices.Contains(g.Accounts, r.Account)) {
			records = append(records, grantRecord(&g, r.Revoked[id]))
		}
	}
	return ok(atm.Record{{Name: "grants", Value: records}, {Name: "next", Value: r.Next}})
}

func grantRecord(g *vault.Grant, revoked bool) atm.Record {
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
