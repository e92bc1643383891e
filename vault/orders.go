package vault

import (
	"time"

	"example.com/atm"
	"example.com/atm/vault/calendar"
)

// An Order is a standing order: it moves an amount from an account to another one on each of
// its due dates.
//
// Each due date has one outcome, and one entry that tells it: paid, or failed. Next is the
// first one without, so however often a payment is asked for, and by however many replicas, it
// happens once, and in order.
type Order struct {
	ID       OrderID
	Account  Name   // that the money leaves
	Debtor   string // subject that owned the account when it gave the order
	To       Name
	Amount   atm.Amount
	Schedule calendar.Schedule
	Memo     string

	// Next is the due date that has no outcome yet, in UTC, to the second; zero when the order
	// has ended.
	Next time.Time

	Paid, Failed int64     // due dates by outcome
	Last         time.Time // the due date of the newest outcome; zero for none
	Outcome      atm.Code  // OK or why it failed; empty for none

	Cancelled bool
}

// Due reports whether the order has a due date without an outcome up to an instant.
func (o *Order) Due(until time.Time) bool { return !o.Next.IsZero() && !o.Next.After(until) }

// PaymentTries is on how many more days a payment is tried when it cannot be made when it is
// due.
const PaymentTries = 3

// CreateOrder gives a standing order from an account that the party reaches. The answer is the
// id of the order.
type CreateOrder struct {
	Party
	Account  Name
	To       Name
	Amount   atm.Amount
	Schedule calendar.Schedule // without a zone: in that of the account
	Memo     string

	// From and Until are instants whose days, in the zone of the order, take the place of those
	// of the Schedule. Optional.
	From, Until time.Time

	// First is the first due date. Optional: as the schedule has it. A replay takes it from the
	// entry, because the rules of a zone may have changed since.
	First time.Time
}

// Keys implements Rule.
func (r CreateOrder) Keys(k *Keys) { k.accounts(r.Account, r.To) }

// Decide implements Rule.
func (r CreateOrder) Decide(b *Books) atm.Status {
	a, to := b.Account(r.Account), b.Account(r.To)
	if no, fine := r.usable(a); !fine {
		return no
	}
	if r.Account == r.To {
		return refuse(atm.SameAccount, "The accounts of a standing order must be two")
	}
	if no, fine := (Party{}).usable(to); !fine {
		return no
	}
	o := Order{
		ID: OrderID(b.next()), Account: a.Name, Debtor: a.Owner, To: to.Name, Amount: r.Amount,
		Schedule: r.Schedule, Memo: r.Memo,
	}
	if o.Schedule.Zone == "" {
		o.Schedule.Zone = a.Limits.Zone
	}
	if !r.From.IsZero() {
		o.Schedule.From = calendar.DateOf(r.From, o.Schedule.Zone)
	}
	if !r.Until.IsZero() {
		o.Schedule.Until = calendar.DateOf(r.Until, o.Schedule.Zone)
	}
	o.Next = near(o.Schedule.Next(b.Now), r.First)
	if o.Next.IsZero() { // there is no such zone, or it ends before it is due once
		return refuse(atm.AmountInvalid, "The standing order would never be due")
	}
	if no, fine := a.agree(Agreement{ID: uint64(o.ID)}, b.Now); !fine {
		return no
	}
	b.put(a)
	b.orders.Add(o.ID, o)
	b.effect.next = o.Next
	return ok(o.ID.String())
}

// near returns a due date as an entry says it, in place of the one that was worked out. A zone's
// rules move it by hours. An entry that is further off leaves out a date of a daily order, or
// repeats one.
func near(due, said time.Time) time.Time {
	if said.IsZero() || due.Sub(said).Abs() > 20*time.Hour {
		return due
	}
	return said
}

// NoOrder answers for a standing order that does not exist, or is not the caller's: nobody
// learns which.
func NoOrder() atm.Status {
	return refuse(atm.OrderNotFound, "There is no such standing order")
}

// CancelOrder ends a standing order. To end one that has ended changes nothing and is no error.
type CancelOrder struct {
	Party
	Order OrderID
}

// Keys implements Rule.
func (r CancelOrder) Keys(k *Keys) { k.Orders = append(k.Orders, r.Order) }

// Decide implements Rule.
func (r CancelOrder) Decide(b *Books) atm.Status {
	o, known := b.Order(r.Order)
	if !known {
		return NoOrder()
	}
	a := b.Account(o.Account)
	if !r.Reaches(a) {
		return NoOrder()
	}
	if o.Next.IsZero() {
		return ok("")
	}
	o.Next, o.Cancelled = time.Time{}, true
	a.part(uint64(o.ID))
	b.put(a)
	b.orders.Put(o.ID, o)
	return ok("")
}

// PayOrder makes the payment of a standing order for one due date, the next one. It answers
// nothing, and has no entry, when that has been done or is not due yet. When it cannot be done
// and is to be tried again, there is no entry either, and the answer has the reason alone.
type PayOrder struct {
	Order OrderID
	Due   time.Time

	// Replayed says that an entry has the outcome, so that it is not tried again. Next is the
	// due date after it, as the entry says; zero when the order ended.
	Replayed bool
	Next     time.Time
}

// Keys implements Rule.
func (r PayOrder) Keys(k *Keys) { k.Orders = append(k.Orders, r.Order) }

// Decide implements Rule.
func (r PayOrder) Decide(b *Books) atm.Status {
	o, known := b.Order(r.Order)
	if !known || o.Next.IsZero() || !o.Next.Equal(r.Due) || b.Now.Before(r.Due) {
		return nothing
	}
	from, to := b.Account(o.Account), b.Account(o.To)
	status, final := o.refused(from, to, b.Now)
	if status.Code == atm.OK {
		if no, fine := from.spend(o.Amount, b.Now); !fine {
			status = no
		}
	}
	if status.Code != atm.OK && !final && !r.Replayed &&
		b.Now.Before(o.Schedule.Later(o.Next, PaymentTries)) {
		return atm.Status{Reason: status.Reason}
	}
	o.Last, o.Outcome = o.Next, status.Code
	o.Next = near(o.Schedule.Following(o.Next), r.Next)
	if final {
		o.Next = time.Time{}
	}
	if status.Code == atm.OK {
		o.Paid++
	} else {
		o.Failed++
	}
	if o.Next.IsZero() {
		from.part(uint64(o.ID))
	}
	b.orders.Put(o.ID, o)
	b.effect.next = o.Next
	if status.Code != atm.OK {
		b.put(from) // nothing has moved, and the entry is in the history of the account
		return status
	}
	b.move(from, to, o.Amount)
	return ok(o.Amount.String())
}

// nothing answers a command that has nothing to do: it has no entry.
var nothing atm.Status

// refused says why the payment cannot be made now, with the code OK when it can. final is set
// when it can never be made again.
func (o *Order) refused(from, to Account, now time.Time) (no atm.Status, final bool) {
	if from.Owner != o.Debtor || !from.agreed(uint64(o.ID)) {
		return NotFound(string(from.Name)), true
	}
	for _, a := range []Account{from, to} {
		if no, fine := (Party{}).usable(a); !fine {
			return no, a.Standing == Closed
		}
	}
	switch {
	case o.Amount > from.Available(now):
		return insufficient, false
	case !fits(to, o.Amount):
		return TooLarge(to.Name), false
	}
	return ok(""), false
}
