package payments

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
	"pgregory.net/rapid"
)

// A run is one random history on accounts of its own, in the ledger and in the model.
type run struct {
	*rapid.T
	bank   *bank
	model  *model
	names  []vault.Name
	people []string
}

// testModel runs random operations on the ledger and on the model. It compares every answer, and
// every record at the end.
func testModel(t *testing.T, b *bank) {
	number := 0
	var all []*model
	rapid.Check(t, func(rt *rapid.T) {
		number++
		r := &run{T: rt, bank: b, model: &model{accounts: map[vault.Name]*account{}}}
		begin := time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC) // whose holds have ended, for a check
		r.setClock(begin.Add(time.Duration(rapid.IntRange(0, 400*24).Draw(rt, "hours")) * time.Hour))
		for i := range 3 {
			n := vault.Numbered(atm.AccountID(number*10 + i))
			owner, opening := fmt.Sprintf("user:%d.%d", number, i), atm.Amount(400*i)
			r.names, r.people = append(r.names, n), append(r.people, owner)
			b.open(n, owner, opening)
			r.model.accounts[n] = &account{owner: owner, balance: opening}
		}
		steps := r.steps()
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			steps[rapid.IntRange(0, len(steps)-1).Draw(rt, "step")]()
		}
		all = append(all, r.model)
		for n, a := range r.model.accounts {
			if got := b.balance(n); got != a.balance {
				rt.Fatalf("account %s has %s, and %s in the model", n, got, a.balance)
			}
		}
	})
	compare(t, b, all)
}

func (r *run) setClock(now time.Time) {
	r.model.now = now
	r.bank.setClock(now)
}

// steps are what a history consists of. What matters most is there more than once.
func (r *run) steps() []func() {
	return []func(){
		r.deposit, r.withdraw, r.transfer, r.transfer, r.authorize, r.capture,
		r.reverse, r.reverse, r.reverse,
		r.createMandate, r.collect, r.collect, r.collect, r.revoke,
		r.createOrder, r.createOrder, r.pay, r.pay, r.pay, r.cancel,
		r.standing, r.owner, r.limits, r.later, r.later, r.earlier,
	}
}

// says fails the run unless an answer has the code that the model says.
func (r *run) says(got atm.Status, want atm.Code, what string, args ...any) {
	if got.Code != want {
		r.Fatalf("%s at %v: %s %s, the model says %s", fmt.Sprintf(what, args...), r.model.now,
			got.Code, got.Reason, want)
	}
}

func (r *run) name(label string) vault.Name { return rapid.SampledFrom(r.names).Draw(r.T, label) }

func (r *run) cents() atm.Amount { return atm.Amount(rapid.IntRange(1, 500).Draw(r.T, "cents")) }

// somebody is a customer, or nobody for a teller.
func (r *run) somebody() string {
	return rapid.SampledFrom(append([]string{""}, r.people...)).Draw(r.T, "by")
}

func (r *run) moved(s atm.Status, from, to vault.Name, amount atm.Amount, paid bool) {
	if s.Code == atm.OK {
		r.model.moves = append(r.model.moves, &move{
			index: index(s), from: from, to: to, amount: amount, paid: paid,
		})
	}
}

func (r *run) deposit() {
	n, cents := r.name("account"), r.cents()
	s := r.bank.do(atm.Deposit, vault.Deposit{Account: n, Cash: cash, Amount: cents})
	r.says(s, r.model.deposit(n, cents), "deposit to %s", n)
	r.moved(s, cash, n, cents, false)
}

func (r *run) withdraw() {
	n, cents := r.name("account"), r.cents()
	s := r.bank.do(atm.Withdraw, vault.Withdraw{Account: n, Cash: cash, Amount: cents})
	r.says(s, r.model.withdraw(n, cents), "withdrawal of %s from %s", cents, n)
	r.moved(s, n, cash, cents, false)
}

func (r *run) transfer() {
	from, to, cents := r.name("from"), r.name("to"), r.cents()
	s := r.bank.do(atm.Transfer, vault.Transfer{From: from, To: to, Amount: cents})
	r.says(s, r.model.transfer(from, to, cents), "transfer of %s from %s to %s", cents, from, to)
	r.moved(s, from, to, cents, true)
}

func (r *run) authorize() {
	n, cents := r.name("account"), r.cents()
	life := time.Duration(rapid.IntRange(1, 20*24).Draw(r.T, "hours")) * time.Hour
	s := r.bank.do(atm.Authorize, vault.Authorize{Account: n, Amount: cents, Life: life})
	r.says(s, r.model.authorize(n, cents), "hold of %s on %s", cents, n)
	if s.Code == atm.OK {
		a := r.model.accounts[n]
		a.holds = append(a.holds, hold{vault.HoldID(index(s)), cents, r.model.now.Add(life)})
	}
}

func (r *run) capture() {
	n := r.name("account")
	holds := r.model.accounts[n].holds
	if len(holds) == 0 {
		return
	}
	h := rapid.SampledFrom(holds).Draw(r.T, "hold")
	s := r.bank.do(atm.Capture, vault.Capture{Hold: h.id, Cash: cash})
	r.says(s, r.model.capture(n, h), "capture of %s", h.id)
	r.moved(s, n, cash, h.amount, false)
}

func (r *run) reverse() {
	if len(r.model.moves) == 0 {
		return
	}
	m := rapid.SampledFrom(r.model.moves).Draw(r.T, "move")
	by, amount := r.somebody(), atm.Amount(0)
	if rapid.Bool().Draw(r.T, "part") {
		amount = atm.Amount(rapid.Int64Range(1, int64(m.amount)+1).Draw(r.T, "amount"))
	}
	s := r.bank.do(atm.Reverse, vault.Reverse{
		Party: vault.Party{Owner: by}, Amount: amount, Movement: vault.Movement{
			Index: m.index, From: m.from, To: m.to, Amount: m.amount, Paid: m.paid,
		},
	})
	want, given := r.model.reverse(by, m, amount)
	r.says(s, want, "reversal of %s of entry %d by %q", amount, m.index, by)
	if s.Code == atm.OK {
		if s.Result != given.String() {
			r.Fatalf("%v was reversed, and %s in the model", s.Result, given)
		}
	}
}

func (r *run) createMandate() {
	by := r.somebody()
	g := &mandate{
		account: r.name("account"), creditor: rapid.SampledFrom(r.people).Draw(r.T, "creditor"),
		each:   atm.Amount(rapid.IntRange(0, 3).Draw(r.T, "each") * 150),
		total:  atm.Amount(rapid.IntRange(0, 3).Draw(r.T, "total") * 300),
		period: rapid.SampledFrom([]string{"day", "week", "month"}).Draw(r.T, "period"),
	}
	if g.total == 0 {
		g.period = ""
	}
	day := func(label string) time.Time {
		n := rapid.IntRange(-20, 60).Draw(r.T, label)
		if n < -1 {
			return time.Time{}
		}
		return r.model.now.Truncate(time.Second).AddDate(0, 0, n)
	}
	g.from, g.until = day("from"), day("until")
	rule := vault.CreateMandate{
		Party: vault.Party{Owner: by}, Account: g.account, Creditor: g.creditor,
		Terms: vault.MandateTerms{Each: g.each, Total: g.total},
		From:  vault.Bound{At: g.from}, Until: vault.Bound{At: g.until},
	}
	rule.Terms.Period, _ = calendar.ParsePeriod(g.period)
	s := r.bank.do(atm.MandateCreate, rule)
	r.says(s, r.model.createMandate(by, g), "mandate %+v by %q", g, by)
	if s.Code == atm.OK {
		g.id = vault.MandateID(index(s))
		a := r.model.accounts[g.account]
		a.agreed = append(a.agreed, uint64(g.id))
		r.model.mandates = append(r.model.mandates, g)
	}
}

func (r *run) collect() {
	if len(r.model.mandates) == 0 {
		return
	}
	g := rapid.SampledFrom(r.model.mandates).Draw(r.T, "mandate")
	to, cents := r.name("to"), r.cents()
	by := g.creditor
	if rapid.IntRange(0, 4).Draw(r.T, "stranger") == 0 {
		by = rapid.SampledFrom(r.people).Draw(r.T, "by")
	}
	s := r.bank.do(atm.Collect, vault.Collect{
		Mandate: g.id, Creditor: by, To: to, Amount: cents,
	})
	r.says(s, r.model.collect(by, g, to, cents), "collection of %s into %s under %+v by %s", cents,
		to, g, by)
	r.moved(s, g.account, to, cents, false)
}

func (r *run) revoke() {
	if len(r.model.mandates) == 0 {
		return
	}
	g, by := rapid.SampledFrom(r.model.mandates).Draw(r.T, "mandate"), r.somebody()
	s := r.bank.do(atm.MandateRevoke, vault.RevokeMandate{
		Party: vault.Party{Owner: by}, Mandate: g.id,
	})
	r.says(s, r.model.revoke(by, g), "revocation of %s by %q", g.id, by)
}

func (r *run) createOrder() {
	by, zone := r.somebody(), rapid.SampledFrom(zones).Draw(r.T, "zone")
	o := &order{
		account: r.name("from"), to: r.name("to"), amount: r.cents(), zone: location(zone),
		every: rapid.SampledFrom([]string{"day", "week", "month"}).Draw(r.T, "every"),
	}
	schedule := calendar.Schedule{At: 12*60 + 30, Zone: zone}
	schedule.Every, _ = calendar.ParsePeriod(o.every)
	switch o.every {
	case "week":
		schedule.On = rapid.IntRange(1, 7).Draw(r.T, "on")
		o.on = schedule.On % 7
	case "month":
		schedule.On = rapid.IntRange(1, 31).Draw(r.T, "on")
		o.on = schedule.On
	}
	if days := rapid.IntRange(-3, 60).Draw(r.T, "until"); days >= 0 {
		y, m, d := r.model.now.AddDate(0, 0, days).Date()
		schedule.Until = calendar.NewDate(y, m, d)
		o.until = time.Date(y, m, d+1, 0, 0, 0, 0, o.zone)
	}
	s := r.bank.do(atm.OrderCreate, vault.CreateOrder{
		Party: vault.Party{Owner: by}, Account: o.account, To: o.to, Amount: o.amount,
		Schedule: schedule,
	})
	r.says(s, r.model.createOrder(by, o), "order %+v by %q", o, by)
	if s.Code == atm.OK {
		o.id = vault.OrderID(index(s))
		a := r.model.accounts[o.account]
		a.agreed = append(a.agreed, uint64(o.id))
		r.model.orders = append(r.model.orders, o)
	}
}

var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"}

// pay asks for payments of an order as a busy server does: for those that are due, and then for
// one that may have been done.
func (r *run) pay() {
	if len(r.model.orders) == 0 {
		return
	}
	o := rapid.SampledFrom(r.model.orders).Draw(r.T, "order")
	due := o.next
	for range rapid.IntRange(1, 6).Draw(r.T, "times") {
		s := r.bank.do(atm.OrderPay, vault.PayOrder{Order: o.id, Due: due})
		before := due
		r.says(s, r.model.pay(o, due), "payment of %+v for %v", o, due)
		r.moved(s, o.account, o.to, o.amount, true)
		if due = o.next; due.IsZero() {
			due = before
		}
	}
	if !o.last.IsZero() {
		s := r.bank.do(atm.OrderPay, vault.PayOrder{Order: o.id, Due: o.last})
		r.says(s, "", "payment of %+v for %v again", o, o.last)
	}
}

func (r *run) cancel() {
	if len(r.model.orders) == 0 {
		return
	}
	o, by := rapid.SampledFrom(r.model.orders).Draw(r.T, "order"), r.somebody()
	s := r.bank.do(atm.OrderCancel, vault.CancelOrder{
		Party: vault.Party{Owner: by}, Order: o.id,
	})
	r.says(s, r.model.cancel(by, o), "end of %s by %q", o.id, by)
}

func (r *run) standing() {
	n := r.name("account")
	a := r.model.accounts[n]
	to := rapid.SampledFrom([]vault.Standing{
		vault.Open, vault.Frozen, vault.Frozen, vault.Closed,
	}).Draw(r.T, "standing")
	s := r.bank.do(atm.AccountFreeze, vault.SetStanding{Account: n, Standing: to})
	switch {
	case a.standing == to:
		r.says(s, atm.OK, "standing of %s", n)
	case a.standing == vault.Closed:
		r.says(s, atm.AccountClosed, "standing of %s", n)
	case to == vault.Closed && a.balance != 0:
		r.says(s, atm.AccountNotEmpty, "closing of %s", n)
	default:
		r.says(s, atm.OK, "standing of %s", n)
		a.standing = to
	}
}

// owner gives an account to somebody else: whatever was agreed on ends.
func (r *run) owner() {
	n, to := r.name("account"), rapid.SampledFrom(r.people).Draw(r.T, "owner")
	a := r.model.accounts[n]
	s := r.bank.do(atm.AccountSet, vault.SetAccount{Account: n, Owner: to})
	if a.standing == vault.Closed {
		r.says(s, atm.AccountClosed, "owner of %s", n)
		return
	}
	r.says(s, atm.OK, "owner of %s", n)
	if a.owner != to {
		a.owner, a.agreed = to, nil
	}
}

func (r *run) limits() {
	n := r.name("account")
	a := r.model.accounts[n]
	l := vault.Limits{
		PerOperation: atm.Amount(rapid.IntRange(0, 2).Draw(r.T, "each") * 200),
		DailyAmount:  atm.Amount(rapid.IntRange(0, 2).Draw(r.T, "amount") * 400),
		DailyCount:   int64(rapid.IntRange(0, 3).Draw(r.T, "count")),
		Zone:         rapid.SampledFrom(zones).Draw(r.T, "zone"),
	}
	s := r.bank.do(atm.AccountLimit, vault.SetLimits{Account: n, Limits: l})
	if a.standing == vault.Closed {
		r.says(s, atm.AccountClosed, "limits of %s", n)
		return
	}
	r.says(s, atm.OK, "limits of %s", n)
	if !a.day.Before(midnight(r.model.now, a.limits.Zone)) {
		a.day = midnight(r.model.now, l.Zone) // what was spent today stays spent
	}
	a.limits = l
}

func (r *run) later() {
	hours := rapid.SampledFrom([]int{1, 24, 24, 72, 7 * 24, 31 * 24}).Draw(r.T, "hours")
	r.setClock(r.model.now.Add(time.Duration(hours) * time.Hour))
}

func (r *run) earlier() {
	hours := rapid.SampledFrom([]int{1, 24, 72}).Draw(r.T, "hours")
	r.setClock(r.model.now.Add(-time.Duration(hours) * time.Hour))
}

// compare holds the records of the store against those of the models, which have all of them.
func compare(t *testing.T, b *bank, all []*model) {
	t.Helper()
	var mandates []vault.Mandate
	var orders []vault.Order
	var reversals []vault.Reversal
	for _, m := range all {
		for _, g := range m.mandates {
			mandates = append(mandates, vault.Mandate{
				ID: g.id, Account: g.account, Debtor: g.debtor, Creditor: g.creditor,
				Spent: g.spent, Revoked: g.revoked,
			})
		}
		for _, o := range m.orders {
			orders = append(orders, vault.Order{
				ID: o.id, Account: o.account, Debtor: o.debtor, To: o.to, Amount: o.amount,
				Next: o.next, Paid: o.paid, Failed: o.failed, Last: o.last, Outcome: o.outcome,
				Cancelled: o.cancelled,
			})
		}
		for _, moved := range m.moves {
			if moved.back > 0 {
				reversals = append(reversals, vault.Reversal{
					Of: moved.index, Amount: moved.back,
				})
			}
		}
		for n, a := range m.accounts {
			var got []uint64
			for _, g := range b.account(n).Agreements {
				got = append(got, g.ID)
			}
			if !slices.Equal(got, a.agreed) {
				t.Errorf("account %s has the agreements %v, and %v in the model", n, got, a.agreed)
			}
		}
	}
	got := b.records()
	for i := range got.Mandates {
		g := &got.Mandates[i]
		g.Terms, g.Counted = vault.MandateTerms{}, 0
	}
	for i := range got.Orders {
		got.Orders[i].Schedule = calendar.Schedule{}
	}
	same(t, "mandate", got.Mandates, mandates)
	same(t, "standing order", got.Orders, orders)
	same(t, "reversal", got.Reversals, reversals)
}

// same fails the test unless two lists have the same records.
func same[T comparable](t *testing.T, kind string, got, want []T) {
	t.Helper()
	left := make(map[T]bool, len(want))
	for _, v := range want {
		left[v] = true
	}
	for _, v := range got {
		if !left[v] {
			t.Errorf("%s %+v is in no model", kind, v)
		}
		delete(left, v)
	}
	for v := range left {
		t.Errorf("%s %+v is in a model alone", kind, v)
	}
}
