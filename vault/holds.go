package vault

import (
	"strconv"
	"time"

	"example.com/atm"
)

// A HoldID names a hold: the index in the journal of the entry that authorized it.
type HoldID uint64

// String is the id as clients see it, such as "h4711".
func (id HoldID) String() string { return "h" + strconv.FormatUint(uint64(id), 10) }

// ParseHoldID reads what String writes.
func ParseHoldID(s string) (HoldID, bool) {
	n, ok := parseID("h", s)
	return HoldID(n), ok
}

// A HoldState says what became of a hold. It leaves HoldPending once, and for
// good. That a hold has expired is no state but a matter of the time.
type HoldState uint8

// The states.
const (
	HoldPending HoldState = iota
	HoldCaptured
	HoldReleased
)

// A Hold is money of an account that was set aside.
type Hold struct {
	ID      HoldID
	Account Name
	Amount  atm.Amount
	State   HoldState
}

// Pending is a hold in the record of its account.
type Pending struct {
	ID      HoldID
	Amount  atm.Amount
	Expires time.Time // in UTC, to the second
}

// Alive reports whether the hold may be captured at an instant.
func (p Pending) Alive(now time.Time) bool { return now.Before(p.Expires) }

// maxPending bounds the holds in the record of one account.
const maxPending = 1000

// drop returns the pending holds without one of them, and without those that
// have expired. It leaves the slice it is given as it was.
func drop(pending []Pending, id HoldID, now time.Time) []Pending {
	var left []Pending
	for _, p := range pending {
		if p.ID != id && p.Alive(now) {
			left = append(left, p)
		}
	}
	return left
}

// noHold is an id that no hold has: entry 0 authorizes none.
const noHold HoldID = 0

// Authorize sets Amount of an account aside for a while. The answer is the id
// of the hold.
type Authorize struct {
	Party
	Account Name
	Amount  atm.Amount
	Life    time.Duration

	// Expires is when the hold ends, to the second. Optional: when Life has passed, in
	// full. Holds that were made before entries said so ended with the second before.
	Expires time.Time
}

// Keys implements Rule.
func (r Authorize) Keys(k *Keys) { k.accounts(r.Account) }

// Decide implements Rule.
func (r Authorize) Decide(b *Books) atm.Status {
	a := b.Account(r.Account)
	if no, fine := r.usable(a); !fine {
		return no
	}
	if no, fine := a.spend(r.Amount, b.Now); !fine {
		return no
	}
	if r.Amount > a.Available(b.Now) {
		return insufficient
	}
	a.Pending = drop(a.Pending, noHold, b.Now)
	if len(a.Pending) >= maxPending {
		return refuse(atm.LimitDailyCount, "The account has "+strconv.Itoa(maxPending)+
			" pending holds")
	}
	until := r.Expires
	if until.IsZero() {
		until = b.Now.Add(r.Life + time.Second - 1).Truncate(time.Second)
		b.effect.expires = until
	}
	h := Hold{ID: HoldID(b.next()), Account: r.Account, Amount: r.Amount}
	a.Pending = append(a.Pending, Pending{ID: h.ID, Amount: h.Amount, Expires: until})
	b.put(a)
	b.putHold(h)
	return ok(h.ID.String())
}

// Capture takes Amount of a hold, or all of it when Amount is zero, from its
// account to the cash account Cash. What is left of the hold is free again.
// The answer is the amount captured.
type Capture struct {
	Party
	Hold   HoldID
	Amount atm.Amount
	Cash   Name
}

// Keys implements Rule.
func (r Capture) Keys(k *Keys) {
	k.accounts(r.Cash)
	k.Holds = append(k.Holds, r.Hold)
}

// Decide implements Rule.
func (r Capture) Decide(b *Books) atm.Status {
	h, a, no, fine := r.pending(b, r.Hold)
	if !fine {
		return no
	}
	amount := r.Amount
	if amount == 0 {
		amount = h.Amount
	}
	cash := b.Account(r.Cash)
	switch no, fine := r.usable(a); {
	case !fine:
		return no
	case amount > h.Amount:
		return refuse(atm.HoldAmountExceeded, "The hold is of "+h.Amount.String())
	case amount > a.Balance: // it left after the hold had expired, and the clock went back
		return holdExpired()
	case !fits(cash, amount):
		return TooLarge(r.Cash)
	}
	a.Pending = drop(a.Pending, h.ID, b.Now)
	b.move(a, cash, amount)
	h.State = HoldCaptured
	b.putHold(h)
	return ok(amount.String())
}

// Release gives a hold up. The answer is the amount that is free again.
type Release struct {
	Party
	Hold HoldID
}

// Keys implements Rule.
func (r Release) Keys(k *Keys) { k.Holds = append(k.Holds, r.Hold) }

// Decide implements Rule.
func (r Release) Decide(b *Books) atm.Status {
	h, a, no, fine := r.pending(b, r.Hold)
	if !fine {
		return no
	}
	a.Pending = drop(a.Pending, h.ID, b.Now)
	b.put(a)
	h.State = HoldReleased
	b.putHold(h)
	return ok(h.Amount.String())
}

// NoHold answers for a hold that does not exist, or is not the caller's:
// nobody learns which.
func NoHold() atm.Status { return refuse(atm.HoldNotFound, "There is no such hold") }

// pending finds a hold that may still be captured, and its account. Otherwise
// it says why not.
func (p Party) pending(b *Books, id HoldID) (Hold, Account, atm.Status, bool) {
	h, known := b.Hold(id)
	if !known {
		return h, Account{}, NoHold(), false
	}
	a := b.Account(h.Account)
	if !p.Reaches(a) {
		return h, a, NoHold(), false
	}
	if h.State != HoldPending {
		return h, a, refuse(atm.HoldNotPending, "The hold is no longer pending"), false
	}
	for _, entry := range a.Pending {
		if entry.ID == id && entry.Alive(b.Now) {
			return h, a, atm.Status{}, true
		}
	}
	// One that has left the account's record had expired by then, whatever
	// the clock says now.
	return h, a, holdExpired(), false
}

func holdExpired() atm.Status { return refuse(atm.HoldExpired, "The hold has expired") }
