package query

import (
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
)

// ListMandates answers with the mandates on an account that go on: all of them to a party that
// reaches the account, and to a creditor those that it may collect by.
type ListMandates struct {
	vault.Party
	Account vault.Name
	IDs     []vault.MandateID // that the account had a moment ago
}

// MandatesOf lists the mandates that an account has.
func MandatesOf(p vault.Party, a *vault.Account) vault.Rule {
	r := ListMandates{Party: p, Account: a.Name}
	for _, g := range a.Agreements {
		if g.Creditor != "" && (p.Reaches(*a) || g.Creditor == p.Owner) {
			r.IDs = append(r.IDs, vault.MandateID(g.ID))
		}
	}
	return r
}

// Keys implements Rule.
func (r ListMandates) Keys(k *vault.Keys) {
	k.Accounts = append(k.Accounts, r.Account)
	k.Mandates = append(k.Mandates, r.IDs...)
}

// Decide implements Rule.
func (r ListMandates) Decide(b *vault.Books) atm.Status {
	a := b.Account(r.Account)
	records := []atm.Record{}
	for _, id := range r.IDs {
		if m, known := b.Mandate(id); known && !m.Revoked && !m.Ended(b.Now) &&
			(r.Reaches(a) || m.Creditor == r.Owner) {
			records = append(records, mandateRecord(&m, b.Now, a.Limits.Zone))
		}
	}
	if !r.Reaches(a) && len(records) == 0 {
		return vault.NotFound(string(r.Account))
	}
	return ok(records)
}

func mandateRecord(m *vault.Mandate, now time.Time, zone string) atm.Record {
	t := &m.Terms
	return atm.Record{
		{Name: "mandate", Value: m.ID.String()},
		{Name: "account", Value: string(m.Account)},
		{Name: "debtor", Value: m.Debtor},
		{Name: "creditor", Value: m.Creditor},
		{Name: "each", Value: sum(t.Each)},
		{Name: "total", Value: sum(t.Total)},
		{Name: "period", Value: t.Period.String()},
		{Name: "spent", Value: m.SpentIn(now, zone).String()},
		{Name: "from", Value: instant(t.From)},
		{Name: "until", Value: instant(t.Until)},
		{Name: "memo", Value: m.Memo},
	}
}

// sum is an amount, and nothing for none.
func sum(a atm.Amount) string {
	if a == 0 {
		return ""
	}
	return a.String()
}

// instant is a time, and nothing for none.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// ListOrders answers with the standing orders of an account that go on.
type ListOrders struct {
	vault.Party
	Account vault.Name
	IDs     []vault.OrderID // that the account had a moment ago
}

// OrdersOf lists the standing orders that an account has.
func OrdersOf(p vault.Party, a *vault.Account) vault.Rule {
	r := ListOrders{Party: p, Account: a.Name}
	for _, g := range a.Agreements {
		if g.Creditor == "" {
			r.IDs = append(r.IDs, vault.OrderID(g.ID))
		}
	}
	return r
}

// Keys implements Rule.
func (r ListOrders) Keys(k *vault.Keys) {
	k.Accounts = append(k.Accounts, r.Account)
	k.Orders = append(k.Orders, r.IDs...)
}

// Decide implements Rule.
func (r ListOrders) Decide(b *vault.Books) atm.Status {
	if !r.Reaches(b.Account(r.Account)) {
		return vault.NotFound(string(r.Account))
	}
	records := []atm.Record{}
	for _, id := range r.IDs {
		if o, known := b.Order(id); known && !o.Next.IsZero() {
			records = append(records, orderRecord(&o, b.Now))
		}
	}
	return ok(records)
}

// ShowOrder answers with the record of a standing order.
type ShowOrder struct {
	vault.Party
	Order vault.OrderID
}

// Keys implements Rule.
func (r ShowOrder) Keys(k *vault.Keys) { k.Orders = append(k.Orders, r.Order) }

// Decide implements Rule.
func (r ShowOrder) Decide(b *vault.Books) atm.Status {
	o, known := b.Order(r.Order)
	if !known || !r.Reaches(b.Account(o.Account)) {
		return vault.NoOrder()
	}
	return ok(orderRecord(&o, b.Now))
}

func orderRecord(o *vault.Order, now time.Time) atm.Record {
	state := "active"
	switch {
	case o.Cancelled:
		state = "cancelled"
	case o.Next.IsZero():
		state = "ended"
	case !now.Before(o.Next):
		state = "waiting" // for money, or for the next moment
	}
	s := &o.Schedule
	zone := s.Zone
	if zone == "" {
		zone = "UTC"
	}
	return atm.Record{
		{Name: "order", Value: o.ID.String()},
		{Name: "account", Value: string(o.Account)},
		{Name: "to", Value: string(o.To)},
		{Name: "amount", Value: o.Amount.String()},
		{Name: "every", Value: s.Every.String()},
		{Name: "on", Value: int64(s.On)},
		{Name: "at", Value: calendar.FormatTimeOfDay(s.At)},
		{Name: "zone", Value: zone},
		{Name: "from", Value: date(s.From)},
		{Name: "until", Value: date(s.Until)},
		{Name: "memo", Value: o.Memo},
		{Name: "state", Value: state},
		{Name: "next", Value: instant(o.Next)},
		{Name: "paid", Value: o.Paid},
		{Name: "failed", Value: o.Failed},
		{Name: "last", Value: instant(o.Last)},
		{Name: "outcome", Value: string(o.Outcome)},
	}
}

// date is a day, and nothing for none.
func date(d calendar.Date) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
