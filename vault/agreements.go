package vault

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
)

// A MandateID names a mandate: the index in the journal of the entry that created it.
type MandateID uint64

// String is the id as clients see it, such as "m4711".
func (id MandateID) String() string { return "m" + strconv.FormatUint(uint64(id), 10) }

// ParseMandateID reads what String writes.
func ParseMandateID(s string) (MandateID, bool) {
	n, ok := parseID("m", s)
	return MandateID(n), ok
}

// An OrderID names a standing order: the index in the journal of the entry that created it.
type OrderID uint64

// String is the id as clients see it, such as "o4711".
func (id OrderID) String() string { return "o" + strconv.FormatUint(uint64(id), 10) }

// ParseOrderID reads what String writes.
func ParseOrderID(s string) (OrderID, bool) {
	n, ok := parseID("o", s)
	return OrderID(n), ok
}

// parseID reads an id, of which there is one form only.
func parseID(prefix, s string) (uint64, bool) {
	digits, found := strings.CutPrefix(s, prefix)
	n, err := strconv.ParseUint(digits, 10, 63)
	return n, found && err == nil && prefix+strconv.FormatUint(n, 10) == s
}

// An Agreement is, in the record of an account, a mandate or a standing order that goes on:
// what lists them begins there, and there may be only so many.
type Agreement struct {
	ID       uint64    // MandateID or OrderID
	Creditor string    // of a mandate; empty for a standing order
	Until    time.Time // when a mandate ends, in UTC, to the second; zero when it does not
}

func (g Agreement) over(now time.Time) bool { return !g.Until.IsZero() && !now.Before(g.Until) }

// maxAgreements bounds the mandates and standing orders of one account.
const maxAgreements = 100

// agree adds an agreement to the account, in place of those that are over.
func (a *Account) agree(g Agreement, now time.Time) (atm.Status, bool) {
	var left []Agreement // what is in the record stays as it is
	for _, other := range a.Agreements {
		if !other.over(now) {
			left = append(left, other)
		}
	}
	if len(left) >= maxAgreements {
		return refuse(atm.LimitDailyCount, "The account has "+strconv.Itoa(maxAgreements)+
			" mandates and standing orders"), false
	}
	a.Agreements = append(left, g)
	return atm.Status{}, true
}

// part removes an agreement from the account, if it is there.
func (a *Account) part(id uint64) {
	left := slices.DeleteFunc(slices.Clone(a.Agreements), func(g Agreement) bool {
		return g.ID == id
	})
	if len(left) == 0 {
		left = nil
	}
	a.Agreements = left
}

// agreed reports whether an agreement stands in the record of the account. One that has left it
// has ended, whatever the clock says now.
func (a *Account) agreed(id uint64) bool {
	return slices.ContainsFunc(a.Agreements, func(g Agreement) bool { return g.ID == id })
}

// CollectedBy reports whether a creditor has a mandate on the account that goes on.
func (a *Account) CollectedBy(creditor string, now time.Time) bool {
	return slices.ContainsFunc(a.Agreements, func(g Agreement) bool {
		return g.Creditor == creditor && !g.over(now)
	})
}
