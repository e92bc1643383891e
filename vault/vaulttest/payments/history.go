package payments

import (
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/vaulttest/linear"
)

// testLinearizable lets many clients reverse, collect, revoke, pay and look, and finds an order in
// which all that they were told can have happened.
func testLinearizable(t *testing.T, b *bank) {
	const clients, each = 6, 60
	names := []vault.Name{"1", "2", "3"}
	begin := linear.Payments{Cap: 700, Amount: 60, Due: 5}
	for i, n := range names {
		begin.Balances[i] = 2000
		b.open(n, []string{"user:a", gas, gas}[i], 2000)
	}
	var moves []vault.Movement
	for i := range begin.Left { // to and fro, so that the balances stay as they are
		from, to := names[i%2], names[1-i%2]
		moves = append(moves, b.pay(from, to, 500))
		begin.Left[i] = 500
	}
	id := b.mandate("1", vault.MandateTerms{Total: begin.Cap, Period: calendar.Month})
	o := b.order("1", "3", begin.Amount)
	b.setClock(o.Next.AddDate(0, 0, begin.Due-1)) // so many are due
	rule := func(in linear.Payment) vault.Rule {
		switch in.Operation {
		case atm.Reverse:
			return vault.Reverse{Movement: moves[in.Move], Amount: in.Amount}
		case atm.Collect:
			return vault.Collect{
				Mandate: id, Creditor: gas, To: names[in.Account], Amount: in.Amount,
			}
		case atm.MandateRevoke:
			return vault.RevokeMandate{Mandate: id}
		case atm.OrderPay:
			return vault.PayOrder{Order: o.ID, Due: o.Next.AddDate(0, 0, in.Date)}
		}
		return vault.Inquiry{Account: names[in.Account]}
	}
	r := linear.NewRecorder()
	var wg sync.WaitGroup
	for client := range clients {
		l := b.ledgers[client%len(b.ledgers)]
		wg.Go(func() {
			for i := range each {
				in := linear.RandomPayment()
				if client == 0 && i == each/2 {
					in.Operation = atm.MandateRevoke
				}
				answered := r.Begin(client, in)
				s := l.Do(t.Context(), command(in.Operation, rule(in)))
				text, _ := s.Result.(string)
				answered(linear.Outcome{Code: s.Code, Result: text})
			}
		})
	}
	wg.Wait()
	if !r.PaymentsLinearizable(t, begin) {
		t.Error("what the clients were told cannot have happened")
	}
}
