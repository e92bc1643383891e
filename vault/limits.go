package vault

import (
	"time"

	"example.com/atm"
	"example.com/atm/vault/zone"
)

// Limits bound what may leave an account by withdrawal, transfer and
// authorization. A field that is zero sets no limit.
type Limits struct {
	PerOperation atm.Amount
	DailyAmount  atm.Amount
	DailyCount   int64 // or NoneMay

	// Zone is where a day begins at midnight, by its name in the IANA time
	// zone database. Empty is UTC.
	Zone string
}

// NoneMay is the DailyCount of an account that nothing may leave.
const NoneMay = -1

// valid reports whether every limit is one that an account can have.
func (l Limits) valid() bool {
	return l.PerOperation >= 0 && l.DailyAmount >= 0 && l.DailyCount >= NoneMay &&
		zone.Known(l.Zone)
}

// Spent is what has left an account on one day.
type Spent struct {
	Day    int64 // days since 1970 by the calendar of the zone
	Amount atm.Amount
	Count  int64
}

// spend counts amount as leaving a, or says which limit forbids it.
func (a *Account) spend(amount atm.Amount, now time.Time) (atm.Status, bool) {
	l := a.Limits
	if l == (Limits{}) {
		return atm.Status{}, true
	}
	spent := a.Spent
	// A clock that goes back begins no new day: the limits would count twice.
	if today := zone.Day(now, l.Zone); spent.Day < today {
		spent = Spent{Day: today}
	}
	switch {
	case l.DailyCount == NoneMay:
		return refuse(atm.LimitDailyCount, "Nothing may leave the account"), false
	case l.PerOperation != 0 && amount > l.PerOperation:
		return refuse(atm.LimitPerOperation, "At most "+l.PerOperation.String()+
			" may leave the account at once"), false
	case l.DailyCount != 0 && spent.Count >= l.DailyCount:
		return refuse(atm.LimitDailyCount, "The account has reached its number of operations for "+
			"today"), false
	case l.DailyAmount != 0 && (amount > l.DailyAmount || spent.Amount > l.DailyAmount-amount):
		return refuse(atm.LimitDailyAmount, "At most "+l.DailyAmount.String()+
			" may leave the account in a day"), false
	}
	spent.Amount += amount
	spent.Count++
	a.Spent = spent
	return atm.Status{}, true
}

// SetLimits sets the limits of an account, but for those to keep. What was spent today stays
// spent, in another zone too.
type SetLimits struct {
	Account Name
	Limits  Limits
	Keep    KeptLimits
}

// KeptLimits names limits that stay as they are, whatever is set.
type KeptLimits struct{ PerOperation, DailyAmount, DailyCount, Zone bool }

// over returns l, with the limits to keep as they are in current.
func (k KeptLimits) over(l, current Limits) Limits {
	if k.PerOperation {
		l.PerOperation = current.PerOperation
	}
	if k.DailyAmount {
		l.DailyAmount = current.DailyAmount
	}
	if k.DailyCount {
		l.DailyCount = current.DailyCount
	}
	if k.Zone {
		l.Zone = current.Zone
	}
	return l
}

// Keys implements Rule.
func (r SetLimits) Keys(k *Keys) { k.accounts(r.Account) }

// Decide implements Rule.
func (r SetLimits) Decide(b *Books) atm.Status {
	a := b.Account(r.Account)
	if no, may := changeable(a); !may {
		return no
	}
	limits := r.Keep.over(r.Limits, a.Limits)
	if !limits.valid() {
		return refuse(atm.AmountInvalid, "There are no such limits")
	}
	if a.Limits != limits {
		if a.Spent.Day >= zone.Day(b.Now, a.Limits.Zone) {
			a.Spent.Day = zone.Day(b.Now, limits.Zone)
		}
		a.Limits = limits
		b.put(a)
	}
	return ok(b.Account(r.Account).Record())
}

// record is the limits as administration sees them: empty where there is none, and a
// daily_count of 0 where nothing may leave.
func (l Limits) record() atm.Record {
	text := func(a atm.Amount) string {
		if a == 0 {
			return ""
		}
		return a.String()
	}
	var count any = ""
	switch {
	case l.DailyCount == NoneMay:
		count = int64(0)
	case l.DailyCount != 0:
		count = l.DailyCount
	}
	name := l.Zone
	if name == "" {
		name = "UTC"
	}
	return atm.Record{
		{Name: "per_operation", Value: text(l.PerOperation)},
		{Name: "daily_amount", Value: text(l.DailyAmount)},
		{Name: "daily_count", Value: count},
		{Name: "zone", Value: name},
	}
}
