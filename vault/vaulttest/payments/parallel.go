package payments

import (
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
)

// callers is how many ask at once.
const callers = 20

// atOnce decides as many rules at once, on all ledgers, and returns the answers.
func (b *bank) atOnce(op atm.Operation, rule func(i int) vault.Rule) []atm.Status {
	answers := make([]atm.Status, callers)
	var wg sync.WaitGroup
	for i := range answers {
		l := b.ledgers[i%len(b.ledgers)]
		wg.Go(func() { answers[i] = l.Do(b.t.Context(), command(op, rule(i))) })
	}
	wg.Wait()
	return answers
}

// counted fails the test unless so many answers are OK, and the others have this code.
func counted(t *testing.T, answers []atm.Status, ok int, otherwise atm.Code) {
	t.Helper()
	n := 0
	for _, s := range answers {
		switch s.Code {
		case atm.OK:
			n++
		case otherwise:
		default:
			t.Errorf("answered %s: %s", s.Code, s.Reason)
		}
	}
	if n != ok {
		t.Errorf("%d of %d happened, want %d", n, len(answers), ok)
	}
}

// testReversalsAtOnce reverses one entry by many callers at once.
func testReversalsAtOnce(t *testing.T, b *bank) {
	b.open("1", "user:a", 100_000)
	b.open("2", "user:b", 100_000) // it could pay all of them
	moved := b.pay("1", "2", 1000)
	counted(t, b.atOnce(atm.Reverse, func(int) vault.Rule {
		return vault.Reverse{Movement: moved}
	}), 1, atm.ReversalExceeded)
	if got := b.balance("1"); got != 100_000 {
		t.Errorf("account 1 has %s", got)
	}
}

// testPartsAtOnce reverses parts of one entry at once: of equal ones as many as fit, and of
// different ones none that would still fit is refused.
func testPartsAtOnce(t *testing.T, b *bank) {
	b.open("1", "user:a", 100_000)
	b.open("2", "user:b", 100_000)
	moved := b.pay("1", "2", 1000)
	counted(t, b.atOnce(atm.Reverse, func(int) vault.Rule {
		return vault.Reverse{Movement: moved, Amount: 70}
	}), 14, atm.ReversalExceeded)
	other := b.pay("1", "2", 1000)
	part := func(i int) atm.Amount { return atm.Amount(30 + 10*i) }
	answers := b.atOnce(atm.Reverse, func(i int) vault.Rule {
		return vault.Reverse{
			Movement: other, Amount: part(i), Party: vault.Party{Owner: "user:b"},
		}
	})
	back := fit(t, answers, part, 1000, atm.ReversalExceeded)
	if got, want := b.balance("1"), 100_000-2000+14*70+back; got != want {
		t.Errorf("account 1 has %s, not %s", got, want)
	}
}

// fit fails the test unless what happened is together at most a bound, and none of what did not
// would have fitted.
func fit(t *testing.T, answers []atm.Status, part func(int) atm.Amount, bound atm.Amount,
	otherwise atm.Code,
) (sum atm.Amount) {
	t.Helper()
	for i, s := range answers {
		if s.Code == atm.OK {
			sum += part(i)
		}
	}
	for i, s := range answers {
		if s.Code != atm.OK && (s.Code != otherwise || part(i) <= bound-sum) {
			t.Errorf("%s of %s was answered %s, and %s of it happened", part(i), bound, s.Code, sum)
		}
	}
	if sum > bound || sum == 0 {
		t.Errorf("%s of %s happened", sum, bound)
	}
	return sum
}

// testCollectionsAtOnce collects at once what is together above the cap.
func testCollectionsAtOnce(t *testing.T, b *bank) {
	b.open("1", "user:a", 100_000)
	b.open("2", gas, 0)
	equal := b.mandate("1", vault.MandateTerms{Total: 1000, Period: calendar.Month})
	counted(t, b.atOnce(atm.Collect, func(int) vault.Rule {
		return vault.Collect{Mandate: equal, Creditor: gas, To: "2", Amount: 70}
	}), 14, atm.MandateExceeded)
	different := b.mandate("1", vault.MandateTerms{Total: 1000, Period: calendar.Month})
	part := func(i int) atm.Amount { return atm.Amount(30 + 10*i) }
	answers := b.atOnce(atm.Collect, func(i int) vault.Rule {
		return vault.Collect{Mandate: different, Creditor: gas, To: "2", Amount: part(i)}
	})
	sum := 14*70 + fit(t, answers, part, 1000, atm.MandateExceeded)
	if from, to := b.balance("1"), b.balance("2"); to != sum || from != 100_000-sum {
		t.Errorf("the accounts have %s and %s; %s was collected", from, to, sum)
	}
	b.setClock(b.now().AddDate(0, 1, 0)) // each month anew
	b.must(atm.Collect, vault.Collect{Mandate: equal, Creditor: gas, To: "2", Amount: 1000})
	b.refused(atm.Collect, vault.Collect{Mandate: equal, Creditor: gas, To: "2", Amount: 1},
		atm.MandateExceeded)
}

// testRevokedAtOnce revokes a mandate while others collect: whatever comes after the revocation is
// refused, and whatever came before it happened.
func testRevokedAtOnce(t *testing.T, b *bank) {
	b.open("1", "user:a", 100_000)
	b.open("2", gas, 0)
	id := b.mandate("1", vault.MandateTerms{Each: 1000})
	b.must(atm.Collect, vault.Collect{Mandate: id, Creditor: gas, To: "2", Amount: 1})
	answers := b.atOnce(atm.Collect, func(i int) vault.Rule {
		if i == callers/2 {
			return vault.RevokeMandate{Party: vault.Party{Owner: "user:a"}, Mandate: id}
		}
		return vault.Collect{Mandate: id, Creditor: gas, To: "2", Amount: 1}
	})
	revoked := index(answers[callers/2])
	for i, s := range answers {
		want := atm.OK
		if index(s) > revoked {
			want = atm.MandateEnded
		}
		if s.Code != want {
			t.Errorf("answer %d, entry %d of a mandate that entry %d revoked: %s", i, index(s),
				revoked, s.Code)
		}
	}
	b.refused(atm.Collect, vault.Collect{Mandate: id, Creditor: gas, To: "2", Amount: 1},
		atm.MandateEnded)
	b.must(atm.MandateRevoke, vault.RevokeMandate{Mandate: id}) // again
}

// testPaymentsAtOnce asks many times at once for the payment of one due date, and of those that
// were missed.
func testPaymentsAtOnce(t *testing.T, b *bank) {
	b.open("1", "user:a", 100_000)
	b.open("2", "user:b", 0)
	o := b.order("1", "2", 70)
	due := o.Next
	paid := func(want int) {
		t.Helper()
		n := 0
		for _, s := range b.atOnce(atm.OrderPay, func(i int) vault.Rule {
			return vault.PayOrder{Order: o.ID, Due: due.AddDate(0, 0, i%2)}
		}) {
			switch s.Code {
			case atm.OK:
				n++
			case "":
			default:
				t.Errorf("answered %s: %s", s.Code, s.Reason)
			}
		}
		if n != want {
			t.Errorf("%d payments, want %d", n, want)
		}
	}
	paid(0) // it is not due
	b.setClock(due)
	paid(1)
	b.setClock(due.Add(-time.Second)) // the clock goes back over the due date
	paid(0)
	b.setClock(due)
	paid(0)
	b.setClock(due.AddDate(0, 0, 5)) // days were missed: each is paid, and in order
	for day := 1; day <= 5; day++ {
		b.must(atm.OrderPay, vault.PayOrder{Order: o.ID, Due: due.AddDate(0, 0, day)})
	}
	paid(0)
	if got := b.record(o.ID); got.Paid != 6 || got.Failed != 0 || b.balance("2") != 6*70 {
		t.Errorf("account 2 has %s by %+v", b.balance("2"), got)
	}
}
