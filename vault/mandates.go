package vault

import (
	"time"

	"example.com/atm"
	"example.com/atm/vault/calendar"
)

// A Mandate lets a creditor collect money from an account of somebody else (direct debit), up
// to an amount at once and in a period. What was collected is counted in the transaction that
// moves the money.
type Mandate struct {
	ID       MandateID
	Account  Name   // that is collected from
	Debtor   string // subject that owned the account when it gave the mandate
	Creditor string // subject that may collect
	Terms    MandateTerms
	Memo     string

	Spent   atm.Amount // in the period that Counted is the number of
	Counted int64

	Revoked bool
}

// MandateTerms bound what may be collected under a mandate.
type MandateTerms struct {
	Each   atm.Amount      // most of one collection; zero for no such bound
	Total  atm.Amount      // most of a Period together; zero for no such bound
	Period calendar.Period // by the zone of the account; none without a Total

	// From is when the mandate begins, and Until when it has ended; zero for at once, and for
	// never. In UTC, to the second.
	From, Until time.Time
}

// valid reports whether the terms bound anything, and in a way that makes sense.
func (t MandateTerms) valid() bool {
	return t.Each >= 0 && t.Total >= 0 && (t.Each > 0 || t.Total > 0) &&
		(t.Total > 0) == (t.Period != 0) &&
		(t.Until.IsZero() || t.From.IsZero() || t.From.Before(t.Until))
}

// CreateMandate gives a creditor a mandate on an account that the party reaches. The answer is
// the id of the mandate.
type CreateMandate struct {
	Party
	Account     Name
	Creditor    string
	Terms       MandateTerms // without From and Until
	From, Until Bound
	Memo        string
}

// A Bound is an instant or, when it has a day, the beginning of the day or its end in the zone
// of an account. The zero value is none.
type Bound struct {
	At  time.Time
	Day calendar.Date
}

// Keys implements Rule.
func (r CreateMandate) Keys(k *Keys) { k.accounts(r.Account) }

// Decide implements Rule.
func (r CreateMandate) Decide(b *Books) atm.Status {
	a := b.Account(r.Account)
	if no, fine := r.usable(a); !fine {
		return no
	}
	m := Mandate{
		ID: MandateID(b.next()), Account: a.Name, Debtor: a.Owner, Creditor: r.Creditor,
		Terms: r.Terms, Memo: r.Memo,
	}
	m.Terms.From, m.Terms.Until = r.From.At, r.Until.At
	if r.From.Day != 0 {
		m.Terms.From = r.From.Day.Begin(a.Limits.Zone)
	}
	if r.Until.Day != 0 {
		m.Terms.Until = r.Until.Day.End(a.Limits.Zone)
	}
	switch {
	case m.Creditor == a.Owner:
		return refuse(atm.SameAccount, "A mandate is for somebody else than the owner of the "+
			"account")
	case m.Ended(b.Now):
		return refuse(atm.MandateEnded, "The mandate would have ended already")
	case !m.Terms.valid():
		return refuse(atm.AmountInvalid, "There are no such terms of a mandate")
	}
	if no, fine := a.agree(Agreement{uint64(m.ID), m.Creditor, m.Terms.Until}, b.Now); !fine {
		return no
	}
	b.put(a)
	b.mandates.Add(m.ID, m)
	return ok(m.ID.String())
}

// NoMandate answers for a mandate that does not exist, or does not concern the caller: nobody
// learns which.
func NoMandate() atm.Status { return refuse(atm.MandateNotFound, "There is no such mandate") }

// RevokeMandate ends a mandate on an account that the party reaches. Revoking it again changes
// nothing and is no error.
type RevokeMandate struct {
	Party
	Mandate MandateID
}

// Keys implements Rule.
func (r RevokeMandate) Keys(k *Keys) { k.Mandates = append(k.Mandates, r.Mandate) }

// Decide implements Rule.
func (r RevokeMandate) Decide(b *Books) atm.Status {
	m, known := b.Mandate(r.Mandate)
	if !known {
		return NoMandate()
	}
	a := b.Account(m.Account)
	if !r.Reaches(a) {
		return NoMandate()
	}
	if m.Revoked {
		return ok("")
	}
	a.part(uint64(m.ID))
	b.put(a)
	m.Revoked = true
	b.mandates.Put(m.ID, m)
	return ok("")
}

// Collect moves Amount from the account of a mandate to an account of its creditor. The answer
// is the amount collected.
type Collect struct {
	Mandate  MandateID
	Creditor string // empty when a journal is replayed
	To       Name
	Amount   atm.Amount
}

// Keys implements Rule.
func (r Collect) Keys(k *Keys) {
	k.accounts(r.To)
	k.Mandates = append(k.Mandates, r.Mandate)
}

// Decide implements Rule.
func (r Collect) Decide(b *Books) atm.Status {
	m, known := b.Mandate(r.Mandate)
	if !known || r.Creditor != "" && r.Creditor != m.Creditor {
		return NoMandate()
	}
	from, to := b.Account(m.Account), b.Account(r.To)
	if no, fine := m.usable(from, b.Now); !fine {
		return no
	}
	if no, fine := (Party{r.Creditor}).usable(to); !fine {
		return no
	}
	if from.Name == to.Name {
		return refuse(atm.SameAccount, "A mandate collects into another account")
	}
	if no, fine := m.spend(r.Amount, b.Now, from.Limits.Zone); !fine {
		return no
	}
	if no, fine := from.spend(r.Amount, b.Now); !fine {
		return no
	}
	if r.Amount > from.Available(b.Now) {
		return insufficient
	}
	if !fits(to, r.Amount) {
		return TooLarge(r.To)
	}
	b.move(from, to, r.Amount)
	b.mandates.Put(m.ID, m)
	b.effect.debtor = m.Debtor
	return ok(r.Amount.String())
}

// usable reports why nothing may be collected under the mandate now.
func (m *Mandate) usable(from Account, now time.Time) (atm.Status, bool) {
	switch {
	case m.Revoked:
		return refuse(atm.MandateEnded, "The mandate has been revoked"), false
	case from.Owner != m.Debtor:
		return refuse(atm.MandateEnded, "The account has another owner than the one who gave "+
			"the mandate"), false
	case m.Ended(now), !from.agreed(uint64(m.ID)):
		return refuse(atm.MandateEnded, "The mandate has ended"), false
	case now.Before(m.Terms.From):
		return refuse(atm.MandateEnded, "The mandate begins on "+
			m.Terms.From.Format(time.RFC3339)), false
	}
	return (Party{}).usable(from)
}

// Ended reports whether the time of the mandate is over.
func (m *Mandate) Ended(now time.Time) bool {
	return !m.Terms.Until.IsZero() && !now.Before(m.Terms.Until)
}

// SpentIn is what was collected in the period that now is in. A clock that goes back begins no
// new period: the cap would count twice.
func (m *Mandate) SpentIn(now time.Time, zone string) atm.Amount {
	if m.Terms.Total == 0 || m.Terms.Period.Number(now, zone) > m.Counted {
		return 0
	}
	return m.Spent
}

// spend counts amount as collected, or says which bound forbids it.
func (m *Mandate) spend(amount atm.Amount, now time.Time, zone string) (atm.Status, bool) {
	t := &m.Terms
	if t.Each != 0 && amount > t.Each {
		return refuse(atm.MandateExceeded, "The mandate is for at most "+t.Each.String()+
			" at once"), false
	}
	if t.Total == 0 {
		return atm.Status{}, true
	}
	m.Spent = m.SpentIn(now, zone)
	m.Counted = max(m.Counted, t.Period.Number(now, zone))
	if amount > t.Total-m.Spent {
		return refuse(atm.MandateExceeded, "The mandate has "+(t.Total-m.Spent).String()+
			" left in this "+t.Period.String()), false
	}
	m.Spent += amount
	return atm.Status{}, true
}
