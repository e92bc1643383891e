package payments

import (
	"slices"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/requestid"
	"github.com/google/go-cmp/cmp"
)

// testBound gives mandates and standing orders until there is no place, and makes some again.
func testBound(t *testing.T, b *bank) {
	const most = 100
	b.open("1", "user:a", 1000)
	b.open("2", gas, 0)
	hour := vault.Bound{At: b.now().Add(time.Hour)}
	short := vault.CreateMandate{
		Account: "1", Creditor: gas, Terms: vault.MandateTerms{Each: 1}, Until: hour,
	}
	b.must(atm.MandateCreate, short)
	revoked := b.mandate("1", vault.MandateTerms{Each: 1})
	order := b.order("1", "2", 1)
	for range most - 3 {
		b.mandate("1", vault.MandateTerms{Each: 1})
	}
	full := func() {
		t.Helper()
		b.refused(atm.MandateCreate, short, atm.LimitDailyCount)
		b.refused(atm.OrderCreate, vault.CreateOrder{
			Account: "1", To: "2", Amount: 1, Schedule: calendar.Schedule{Every: calendar.Day},
		}, atm.LimitDailyCount)
		if n := len(b.account("1").Agreements); n != most {
			t.Errorf("the account has %d agreements", n)
		}
	}
	full()
	b.must(atm.MandateRevoke, vault.RevokeMandate{Mandate: revoked})
	b.mandate("1", vault.MandateTerms{Each: 1})
	full()
	b.must(atm.OrderCancel, vault.CancelOrder{Order: order.ID})
	b.order("1", "2", 1)
	full()
	b.setClock(hour.At)
	short.Until.At = hour.At.Add(time.Hour)
	b.mandate("1", vault.MandateTerms{Each: 1}) // in place of the one that has ended
	full()
	b.open("3", "user:a", 0)
	b.mandate("3", vault.MandateTerms{Each: 1}) // each account has a bound of its own
}

// testOwners gives an account to somebody else, and back: what the first owner agreed on has
// ended, and nobody sees it or leaves notices by it.
func testOwners(t *testing.T, b *bank) {
	b.open("1", "user:a", 1000)
	b.open("2", gas, 0)
	id, o := b.mandate("1", vault.MandateTerms{Each: 100}), b.order("1", "2", 10)
	collect := vault.Collect{Mandate: id, Creditor: gas, To: "2", Amount: 1}
	note := vault.Note{Party: vault.Party{Owner: gas}, Account: "1", Creditor: gas}
	b.must(atm.Collect, collect)
	b.must(atm.Notify, note)
	b.setClock(o.Next)
	for _, owner := range []string{"user:z", "user:a"} {
		b.must(atm.AccountSet, vault.SetAccount{Account: "1", Owner: owner})
		if list := b.account("1").Agreements; len(list) > 0 {
			t.Errorf("%s has the agreements %v", owner, list)
		}
		b.refused(atm.Collect, collect, atm.MandateEnded)
		b.refused(atm.Notify, note, atm.AccountNotFound)
	}
	b.refused(atm.OrderPay, vault.PayOrder{Order: o.ID, Due: o.Next}, atm.AccountNotFound)
	if got := b.record(o.ID); !got.Next.IsZero() || got.Failed != 1 || got.Paid != 0 {
		t.Errorf("the order goes on: %+v", got)
	}
	if got := b.balance("1"); got != 999 {
		t.Errorf("account 1 has %s", got)
	}
	b.must(atm.MandateRevoke, vault.RevokeMandate{Mandate: id})
	b.must(atm.OrderCancel, vault.CancelOrder{Order: o.ID})
}

// testClockGoesBack spends a cap on both sides of midnight, with a clock that goes back over it.
func testClockGoesBack(t *testing.T, b *bank) {
	b.open("1", "user:a", 10_000)
	b.open("2", gas, 0)
	id := b.mandate("1", vault.MandateTerms{Total: 100, Period: calendar.Day})
	collect := vault.Collect{Mandate: id, Creditor: gas, To: "2", Amount: 100}
	night := time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC)
	b.setClock(night.Add(-time.Second))
	b.must(atm.Collect, collect)
	b.setClock(night)
	part := collect
	part.Amount = 60
	b.must(atm.Collect, part)
	b.setClock(night.Add(-time.Second))
	part.Amount = 40
	b.must(atm.Collect, part) // counts for the later day
	for _, second := range []time.Duration{-1, 0, -1, 1} {
		b.setClock(night.Add(second * time.Second))
		b.refused(atm.Collect, collect, atm.MandateExceeded)
	}
	b.setClock(night.AddDate(0, 0, 1))
	b.must(atm.Collect, collect)
	if got := b.balance("2"); got != 300 {
		t.Errorf("%s was collected in three days", got)
	}
}

// testRequests repeats requests, also after the store was opened again: each happened once, and
// has the answer of its first time.
func testRequests(t *testing.T, b *bank) {
	requests, err := requestid.NewHasher([]byte("the secret of a test"))
	if err != nil {
		t.Fatal(err)
	}
	b.open("1", "user:a", 1000)
	b.open("2", gas, 1000)
	moved, id := b.pay("1", "2", 500), b.mandate("1", vault.MandateTerms{Each: 100})
	commands := []vault.Command{
		command(atm.Reverse, vault.Reverse{Movement: moved, Amount: 100}),
		command(atm.Collect, vault.Collect{Mandate: id, Creditor: gas, To: "2", Amount: 30}),
		command(atm.Notify, vault.Note{Account: "1"}),
		command(atm.Reverse, vault.Reverse{Movement: moved, Amount: 401}),
		command(atm.Collect, vault.Collect{Mandate: id, Creditor: gas, To: "2", Amount: 101}),
	}
	var first []atm.Status
	for i := range commands {
		c := &commands[i]
		c.Request = requests.Hash(c.Caller, atm.RequestID(string(rune('a'+i))))
		first = append(first, b.ledgers[0].Do(t.Context(), *c))
	}
	want := []atm.Code{atm.OK, atm.OK, atm.OK, atm.ReversalExceeded, atm.MandateExceeded}
	again := func() {
		t.Helper()
		for i, c := range commands {
			l := b.ledgers[i%len(b.ledgers)]
			if s := l.Do(t.Context(), c); s != first[i] || s.Code != want[i] {
				t.Errorf("%s: %+v, the first time %+v", c.Operation, s, first[i])
			}
		}
		other := commands[0]
		other.Operation = atm.Collect
		if s := b.ledgers[0].Do(t.Context(), other); s.Code != atm.IdempotencyConflict {
			t.Errorf("the request id of a reversal for a collection: %+v", s)
		}
		if from, to := b.balance("1"), b.balance("2"); from != 570 || to != 1430 {
			t.Errorf("the accounts have %s and %s", from, to)
		}
	}
	again()
	b.reopen()
	again()
}

// reopen closes all ledgers, and opens the store again.
func (b *bank) reopen() {
	b.t.Helper()
	for _, l := range b.ledgers {
		if err := l.Close(); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.store.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.store, b.ledgers = nil, b.ledgers[:0]
	b.join()
}

// forgetful is a rule that asks for accounts alone.
type forgetful struct {
	vault.Rule
	accounts []vault.Name
}

// Keys implements vault.Rule.
func (r forgetful) Keys(k *vault.Keys) { k.Accounts = append(k.Accounts, r.accounts...) }

// testForgottenKey decides rules that do not ask for a mandate, an order or a reversal which they
// use, beside others that do. Each fails alone.
func testForgottenKey(t *testing.T, b *bank) {
	b.open("1", "user:a", 1000)
	b.open("2", gas, 0)
	moved, id, o := b.pay("1", "2", 100), b.mandate("1", vault.MandateTerms{Each: 10}),
		b.order("1", "2", 10)
	b.setClock(o.Next)
	before := b.records()
	for _, rule := range []vault.Rule{
		vault.Reverse{Movement: moved},
		vault.RevokeMandate{Mandate: id},
		vault.Collect{Mandate: id, To: "2", Amount: 1},
		vault.CancelOrder{Order: o.ID},
		vault.PayOrder{Order: o.ID, Due: o.Next},
	} {
		wrong := forgetful{rule, []vault.Name{"1", "2"}}
		for i, s := range b.atOnce(atm.Deposit, func(i int) vault.Rule {
			if i%2 == 0 {
				return wrong
			}
			return vault.Inquiry{Account: "1"}
		}) {
			want := []atm.Code{atm.Internal, atm.OK}[i%2]
			if s.Code != want || (s.Receipt == "") != (want == atm.Internal) {
				t.Errorf("%T: answer %d is %+v", rule, i, s)
			}
		}
	}
	if diff := cmp.Diff(before, b.records()); diff != "" {
		t.Error(diff)
	}
}

// testAmountsArePositive moves nothing, and less than nothing.
func testAmountsArePositive(t *testing.T, b *bank) {
	b.open("1", "user:a", 1000)
	b.open("2", gas, 1000)
	moved := b.pay("1", "2", 100)
	both, each := b.mandate("1", vault.MandateTerms{Each: 10, Total: 10, Period: calendar.Day}),
		b.mandate("1", vault.MandateTerms{Each: 10})
	before := b.records()
	for _, rule := range []vault.Rule{
		vault.Reverse{Movement: moved, Amount: -1},
		vault.Collect{Mandate: both, Creditor: gas, To: "2", Amount: 0},
		vault.Collect{Mandate: both, Creditor: gas, To: "2", Amount: -1},
		vault.Collect{Mandate: each, Creditor: gas, To: "2", Amount: 0},
	} {
		if s := b.do(atm.Deposit, rule); s.Code != atm.Internal || s.Receipt != "" {
			t.Errorf("%+v is answered %+v", rule, s)
		}
	}
	if diff := cmp.Diff(before, b.records()); diff != "" {
		t.Error(diff)
	}
}

// testOrdersAreFound asks the store which orders are due, before and after each outcome.
func testOrdersAreFound(t *testing.T, b *bank) {
	b.open("1", "user:a", 25)
	b.open("2", gas, 0)
	first := b.order("1", "2", 10)
	due := first.Next
	b.setClock(due.Add(-time.Hour))
	second := b.order("1", "2", 10)
	found := func(until time.Time, want ...vault.OrderID) {
		t.Helper()
		var got []vault.OrderID
		if err := b.store.Orders(t.Context(), until, func(o *vault.Order) error {
			got = append(got, o.ID)
			if *o != b.record(o.ID) {
				t.Errorf("%+v is found as %+v", b.record(o.ID), o)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("until %v the store has %v, not %v", until, got, want)
		}
	}
	pay := func(o vault.Order, due time.Time, want atm.Code) {
		t.Helper()
		b.refused(atm.OrderPay, vault.PayOrder{Order: o.ID, Due: due}, want)
	}
	found(due.Add(-time.Second))
	found(due, first.ID, second.ID)
	b.setClock(due)
	pay(first, due, atm.OK)
	found(due, second.ID)
	b.must(atm.OrderCancel, vault.CancelOrder{Order: second.ID})
	found(due)
	next := due.AddDate(0, 0, 1)
	found(next, first.ID)
	b.setClock(next)
	pay(first, next, atm.OK)
	third := next.AddDate(0, 0, 1)
	for tries := range 3 { // there is no money
		b.setClock(third.AddDate(0, 0, tries))
		pay(first, third, "")
		found(third, first.ID)
	}
	b.setClock(third.AddDate(0, 0, 3))
	pay(first, third, atm.InsufficientFunds)
	found(third)
	found(b.now(), first.ID)
	b.must(atm.Deposit, vault.Deposit{Account: "1", Cash: cash, Amount: 1000})
	for day := 1; day <= 3; day++ { // those that were missed meanwhile, in order
		pay(first, third.AddDate(0, 0, day), atm.OK)
	}
	found(b.now())
	if got := b.record(first.ID); got.Paid != 5 || got.Failed != 1 || b.balance("2") != 50 {
		t.Errorf("account 2 has %s by %+v", b.balance("2"), got)
	}
}

// testReopen has all records as they were, after the store was closed and opened.
func testReopen(t *testing.T, b *bank) {
	b.open("1", "user:a", 10_000)
	b.open("2", gas, 0)
	b.must(atm.Reverse, vault.Reverse{Movement: b.pay("1", "2", 100), Amount: 40})
	until := vault.Bound{Day: calendar.NewDate(2027, 1, 31)}
	s := b.must(atm.MandateCreate, vault.CreateMandate{
		Account: "1", Creditor: gas, Memo: "gas, “until 31.1.” {\"x\",\\y}",
		Terms: vault.MandateTerms{Each: 70, Total: 100, Period: calendar.Week}, Until: until,
	})
	text, _ := s.Result.(string)
	id, _ := vault.ParseMandateID(text)
	b.must(atm.Collect, vault.Collect{Mandate: id, Creditor: gas, To: "2", Amount: 60})
	o := b.order("1", "2", 5)
	b.setClock(o.Next)
	b.must(atm.OrderPay, vault.PayOrder{Order: o.ID, Due: o.Next})
	before := b.records()
	b.reopen()
	if diff := cmp.Diff(before, b.records()); diff != "" {
		t.Error(diff)
	}
	collect := vault.Collect{Mandate: id, Creditor: gas, To: "2", Amount: 41}
	b.refused(atm.Collect, collect, atm.MandateExceeded)
	b.setClock(time.Date(2027, 1, 31, 23, 59, 59, 0, time.UTC))
	b.must(atm.Collect, collect)
	b.setClock(time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC))
	b.refused(atm.Collect, collect, atm.MandateEnded)
}

// testNotes leaves notices as those with something to do with an account may, and as others may
// not.
func testNotes(_ *testing.T, b *bank) {
	b.open("1", "user:a", 1000)
	note := func(owner, creditor string) vault.Note {
		return vault.Note{Party: vault.Party{Owner: owner}, Account: "1", Creditor: creditor}
	}
	b.refused(atm.Notify, note(gas, gas), atm.AccountNotFound)
	id := b.mandate("1", vault.MandateTerms{Each: 1})
	b.must(atm.Notify, note(gas, gas))
	b.must(atm.Notify, note("user:a", "user:a"))
	b.must(atm.Notify, note("", "user:teller"))
	b.refused(atm.Notify, note("service:x", "service:x"), atm.AccountNotFound)
	b.must(atm.AccountFreeze, vault.SetStanding{Account: "1", Standing: vault.Frozen})
	b.must(atm.Notify, note(gas, gas)) // it is no movement
	b.must(atm.MandateRevoke, vault.RevokeMandate{Mandate: id})
	b.refused(atm.Notify, note(gas, gas), atm.AccountNotFound)
	ends := vault.Bound{At: b.now().Add(time.Hour)}
	b.must(atm.AccountFreeze, vault.SetStanding{Account: "1", Standing: vault.Open})
	b.must(atm.MandateCreate, vault.CreateMandate{
		Account: "1", Creditor: gas, Terms: vault.MandateTerms{Each: 1}, Until: ends,
	})
	b.must(atm.Notify, note(gas, gas))
	b.setClock(ends.At)
	b.refused(atm.Notify, note(gas, gas), atm.AccountNotFound)
	b.must(atm.Withdraw, vault.Withdraw{Account: "1", Cash: cash, Amount: 1000})
	b.must(atm.AccountClose, vault.SetStanding{Account: "1", Standing: vault.Closed})
	b.refused(atm.Notify, note("user:a", ""), atm.AccountClosed)
	none := note(gas, gas)
	none.Account = "9"
	b.refused(atm.Notify, none, atm.AccountNotFound)
}
