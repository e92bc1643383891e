package payments

import (
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
)

// A model is the rules about payments written down once more, as plainly as possible: it shares
// nothing with them but amounts and codes. It keeps the time in the calendar of package time, and
// finds a due date by looking at one day after the other.
type model struct {
	now      time.Time
	accounts map[vault.Name]*account
	moves    []*move
	mandates []*mandate
	orders   []*order
}

type account struct {
	owner    string
	balance  atm.Amount
	standing vault.Standing
	holds    []hold
	limits   vault.Limits
	spent    vault.Limits // DailyAmount and DailyCount of the day
	day      time.Time
	agreed   []uint64 // mandates and orders
}

type hold struct {
	id     vault.HoldID
	amount atm.Amount
	ends   time.Time
}

// A move is an entry that moved money; an account that the model does not know is the bank's.
type move struct {
	index    vault.JournalIndex
	from, to vault.Name
	amount   atm.Amount
	back     atm.Amount // what was given back
	paid     bool
}

type mandate struct {
	id          vault.MandateID
	account     vault.Name
	debtor      string
	creditor    string
	each, total atm.Amount
	period      string
	from, until time.Time
	spent       atm.Amount
	counted     time.Time // day on which the period began
	revoked     bool
}

type order struct {
	id           vault.OrderID
	account, to  vault.Name
	debtor       string
	amount       atm.Amount
	every        string
	on           int // weekday of time.Weekday, or day of the month
	zone         *time.Location
	until        time.Time // begins the day after the last one; zero for none
	next, last   time.Time
	paid, failed int64
	outcome      atm.Code
	cancelled    bool
}

// midnight is when the day of t began, as a time in UTC that names the day.
func midnight(t time.Time, zone string) time.Time {
	y, m, d := t.In(location(zone)).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

func location(zone string) *time.Location {
	l, err := time.LoadLocation(zone)
	if err != nil {
		panic(err) // of the names in this package, there is none
	}
	return l
}

// began is the day on which the period began that t is in.
func began(t time.Time, period, zone string) time.Time {
	day := midnight(t, zone)
	switch period {
	case "week":
		return day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
	case "month":
		return day.AddDate(0, 0, 1-day.Day())
	}
	return day
}

func (m *model) usable(n vault.Name, by string) (*account, atm.Code) {
	a := m.accounts[n]
	switch {
	case a == nil, by != "" && by != a.owner:
		return a, atm.AccountNotFound
	case a.standing == vault.Closed:
		return a, atm.AccountClosed
	case a.standing == vault.Frozen:
		return a, atm.AccountFrozen
	}
	return a, atm.OK
}

func (m *model) available(a *account) atm.Amount {
	left := a.balance
	for _, h := range a.holds {
		if m.now.Before(h.ends) {
			left -= h.amount
		}
	}
	return left
}

// spend counts what leaves an account, or says which limit forbids it. Done makes it count.
func (m *model) spend(a *account, amount atm.Amount) (code atm.Code, done func()) {
	l, spent, day := a.limits, a.spent, a.day
	if l == (vault.Limits{}) {
		return atm.OK, func() {}
	}
	// A clock that goes back, or another zone, begins no new day.
	if today := midnight(m.now, l.Zone); day.Before(today) {
		spent, day = vault.Limits{}, today
	}
	switch {
	case l.PerOperation > 0 && amount > l.PerOperation:
		return atm.LimitPerOperation, nil
	case l.DailyCount > 0 && spent.DailyCount+1 > l.DailyCount:
		return atm.LimitDailyCount, nil
	case l.DailyAmount > 0 && spent.DailyAmount+amount > l.DailyAmount:
		return atm.LimitDailyAmount, nil
	}
	return atm.OK, func() {
		a.day = day
		a.spent = vault.Limits{
			DailyAmount: spent.DailyAmount + amount, DailyCount: spent.DailyCount + 1,
		}
	}
}

// out takes money from an account, and gives it to another one or to the bank.
func (m *model) out(from *account, to *account, amount atm.Amount) (code atm.Code, done func()) {
	code, spent := m.spend(from, amount)
	switch {
	case code != atm.OK:
		return code, nil
	case amount > m.available(from):
		return atm.InsufficientFunds, nil
	case to != nil && to.balance+amount > atm.MaxBalance:
		return atm.BalanceTooLarge, nil
	}
	return atm.OK, func() {
		spent()
		from.balance -= amount
		if to != nil {
			to.balance += amount
		}
	}
}

func (m *model) deposit(n vault.Name, amount atm.Amount) atm.Code {
	a, code := m.usable(n, "")
	if code == atm.OK {
		a.balance += amount
	}
	return code
}

func (m *model) withdraw(n vault.Name, amount atm.Amount) atm.Code {
	a, code := m.usable(n, "")
	if code != atm.OK {
		return code
	}
	code, done := m.out(a, nil, amount)
	if code == atm.OK {
		done()
	}
	return code
}

func (m *model) transfer(from, to vault.Name, amount atm.Amount) atm.Code {
	a, code := m.usable(from, "")
	if code != atm.OK {
		return code
	}
	if from == to {
		return atm.SameAccount
	}
	other, code := m.usable(to, "")
	if code != atm.OK {
		return code
	}
	code, done := m.out(a, other, amount)
	if code == atm.OK {
		done()
	}
	return code
}

func (m *model) authorize(n vault.Name, amount atm.Amount) atm.Code {
	a, code := m.usable(n, "")
	if code != atm.OK {
		return code
	}
	code, spent := m.spend(a, amount)
	if code != atm.OK {
		return code
	}
	if amount > m.available(a) {
		return atm.InsufficientFunds
	}
	spent()
	m.dropHold(a, 0)
	return code
}

// dropHold is what each change of the holds of an account does: those that are over leave its
// record, and do not come back.
func (m *model) dropHold(a *account, id vault.HoldID) {
	a.holds = slices.DeleteFunc(a.holds, func(h hold) bool {
		return h.id == id || !m.now.Before(h.ends)
	})
}

func (m *model) capture(n vault.Name, h hold) atm.Code {
	a := m.accounts[n]
	if !slices.Contains(a.holds, h) || !m.now.Before(h.ends) {
		return atm.HoldExpired
	}
	if _, code := m.usable(n, ""); code != atm.OK {
		return code
	}
	if h.amount > a.balance { // it left after the hold had ended, and the clock went back
		return atm.HoldExpired
	}
	m.dropHold(a, h.id)
	a.balance -= h.amount
	return atm.OK
}

// reverse gives back an amount of a move, or all that is left for none. By is a customer, or
// nobody for a teller.
func (m *model) reverse(by string, of *move, amount atm.Amount) (atm.Code, atm.Amount) {
	holder, receiver := m.accounts[of.to], m.accounts[of.from]
	reached := func(a *account) bool { return a != nil && (by == "" || a.owner == by) }
	switch {
	case !reached(holder) && !reached(receiver):
		return atm.EntryNotFound, 0
	case by != "" && (!reached(holder) || !of.paid):
		return atm.NotReversible, 0
	}
	for _, n := range []vault.Name{of.to, of.from} {
		if m.accounts[n] == nil {
			continue
		}
		if _, code := m.usable(n, ""); code != atm.OK {
			return code, 0
		}
	}
	if amount == 0 {
		amount = of.amount - of.back
	}
	switch {
	case amount == 0, of.back+amount > of.amount:
		return atm.ReversalExceeded, 0
	case holder != nil && amount > m.available(holder):
		return atm.InsufficientFunds, 0
	}
	of.back += amount
	if holder != nil {
		holder.balance -= amount
	}
	if receiver != nil {
		receiver.balance += amount
	}
	return atm.OK, amount
}

// agree makes a place for a mandate or standing order: most is how many may go on.
func (m *model) agree(a *account, most int) atm.Code {
	m.forget(a)
	if len(a.agreed) >= most {
		return atm.LimitDailyCount
	}
	return atm.OK
}

// forget takes the mandates that have ended from the record of an account: they do not come back
// when the clock does.
func (m *model) forget(a *account) {
	for _, g := range m.mandates {
		if !g.until.IsZero() && !m.now.Before(g.until) {
			a.part(uint64(g.id))
		}
	}
}

func (a *account) part(id uint64) {
	a.agreed = slices.DeleteFunc(a.agreed, func(other uint64) bool { return other == id })
}

func (m *model) createMandate(by string, g *mandate) atm.Code {
	a, code := m.usable(g.account, by)
	switch {
	case code != atm.OK:
		return code
	case g.creditor == a.owner:
		return atm.SameAccount
	case !g.until.IsZero() && !m.now.Before(g.until):
		return atm.MandateEnded
	case g.each == 0 && g.total == 0, (g.total == 0) != (g.period == ""),
		!g.until.IsZero() && !g.from.Before(g.until):
		return atm.AmountInvalid
	}
	g.debtor = a.owner
	return m.agree(a, 100)
}

func (m *model) revoke(by string, g *mandate) atm.Code {
	a := m.accounts[g.account]
	if by != "" && by != a.owner {
		return atm.MandateNotFound
	}
	g.revoked = true
	a.part(uint64(g.id))
	return atm.OK
}

func (m *model) collect(by string, g *mandate, to vault.Name, amount atm.Amount) atm.Code {
	if by != g.creditor {
		return atm.MandateNotFound
	}
	a := m.accounts[g.account]
	if g.revoked || !slices.Contains(a.agreed, uint64(g.id)) || m.now.Before(g.from) ||
		!g.until.IsZero() && !m.now.Before(g.until) {
		return atm.MandateEnded
	}
	if _, code := m.usable(g.account, ""); code != atm.OK {
		return code
	}
	other, code := m.usable(to, by)
	if code != atm.OK {
		return code
	}
	if g.account == to {
		return atm.SameAccount
	}
	spent, counted := g.spent, began(m.now, g.period, a.limits.Zone)
	if counted.After(g.counted) {
		spent = 0
	} else {
		counted = g.counted // a clock that goes back makes no new period
	}
	if g.each > 0 && amount > g.each || g.total > 0 && spent+amount > g.total {
		return atm.MandateExceeded
	}
	code, done := m.out(a, other, amount)
	if code == atm.OK {
		done()
		if g.total > 0 {
			g.spent, g.counted = spent+amount, counted
		}
	}
	return code
}

// due is the first due date after t; zero for none.
func (o *order) due(t time.Time) time.Time {
	y, mo, d := t.In(o.zone).Date()
	for i := -1; i < 70; i++ {
		at := time.Date(y, mo, d+i, 12, 30, 0, 0, o.zone)
		last := time.Date(at.Year(), at.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
		fits := o.every == "day" || o.every == "week" && int(at.Weekday()) == o.on ||
			o.every == "month" && at.Day() == min(o.on, last)
		if !fits || !at.After(t) {
			continue
		}
		if !o.until.IsZero() && !at.Before(o.until) {
			break
		}
		return at.UTC()
	}
	return time.Time{}
}

func (m *model) createOrder(by string, o *order) atm.Code {
	a, code := m.usable(o.account, by)
	if code != atm.OK {
		return code
	}
	if o.account == o.to {
		return atm.SameAccount
	}
	if _, code := m.usable(o.to, ""); code != atm.OK {
		return code
	}
	o.debtor, o.next = a.owner, o.due(m.now)
	if o.next.IsZero() {
		return atm.AmountInvalid
	}
	return m.agree(a, 100)
}

func (m *model) cancel(by string, o *order) atm.Code {
	a := m.accounts[o.account]
	if by != "" && by != a.owner {
		return atm.OrderNotFound
	}
	if !o.next.IsZero() {
		o.next, o.cancelled = time.Time{}, true
		a.part(uint64(o.id))
	}
	return atm.OK
}

// pay is the payment of an order for one date: no code when there is nothing to do.
func (m *model) pay(o *order, due time.Time) atm.Code {
	if o.next.IsZero() || !o.next.Equal(due) || m.now.Before(due) {
		return ""
	}
	a, to := m.accounts[o.account], m.accounts[o.to]
	code, ends := atm.OK, false
	var done func()
	switch {
	case a.owner != o.debtor || !slices.Contains(a.agreed, uint64(o.id)):
		code, ends = atm.AccountNotFound, true
	case a.standing == vault.Closed, a.standing == vault.Open && to.standing == vault.Closed:
		code, ends = atm.AccountClosed, true
	case a.standing == vault.Frozen, to.standing == vault.Frozen:
		code = atm.AccountFrozen
	case o.amount > m.available(a): // before the limits
		code = atm.InsufficientFunds
	default:
		code, done = m.out(a, to, o.amount)
	}
	local := due.In(o.zone)
	last := time.Date(local.Year(), local.Month(), local.Day()+3, 12, 30, 0, 0, o.zone)
	if code != atm.OK && !ends && m.now.Before(last) {
		return ""
	}
	o.last, o.outcome, o.next = o.next, code, o.due(o.next)
	if code == atm.OK {
		done()
		o.paid++
	} else {
		o.failed++
	}
	if ends {
		o.next = time.Time{}
	}
	if o.next.IsZero() {
		a.part(uint64(o.id))
	}
	return code
}
