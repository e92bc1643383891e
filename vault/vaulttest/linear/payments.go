package linear

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"example.com/atm"
	"github.com/anishathalye/porcupine"
)

// Moves is the number of entries in a history of payments that can be reversed. The first one,
// and each second one after it, moved money from account 0 to account 1, and the others back.
const Moves = 4

// A Payment is what a client of a history of payments asks for.
type Payment struct {
	Operation atm.Operation // inquiry, reverse, collect, mandate.revoke or order.pay
	Account   int           // to look at, or to collect into; not 0
	Move      int           // to reverse a part of
	Date      int           // due date of the standing order, from 0
	Amount    atm.Amount
}

// RandomPayment returns something to ask for, but for a revocation.
func RandomPayment() Payment {
	operations := []atm.Operation{atm.Inquiry, atm.Reverse, atm.Collect, atm.OrderPay}
	return Payment{
		Operation: operations[rand.IntN(len(operations))],
		Account:   1 + rand.IntN(Accounts-1), Move: rand.IntN(Moves), Date: rand.IntN(6),
		Amount: atm.Amount(1 + rand.IntN(120)),
	}
}

// Payments is the state of a bank in a history of payments.
type Payments struct {
	Balances [Accounts]atm.Amount
	Left     [Moves]atm.Amount // of each entry that can be reversed

	// A mandate on account 0, without a bound for one collection: how much may still be
	// collected. Revoked says that it has ended.
	Cap     atm.Amount
	Revoked bool

	// A standing order from account 0 to account 2: the amount, the due dates that have come, and
	// those that were paid.
	Amount    atm.Amount
	Due, Paid int
}

// PaymentsLinearizable reports whether the payments can have happened one after the other, each
// between its call and its answer, from this state.
func (r *Recorder) PaymentsLinearizable(t testing.TB, begin Payments) bool {
	t.Helper()
	return r.linearizable(t, porcupine.Model{
		Init: func() any { return begin },
		Step: func(state, input, output any) (bool, any) {
			p, in, out := state.(Payments), input.(Payment), output.(Outcome)
			code, result := p.step(in)
			return out.Code == code && (code != atm.OK || out.Result == result), p
		},
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%+v → %+v", input, output)
		},
	})
}

// step carries out one operation, and returns its answer.
func (p *Payments) step(in Payment) (code atm.Code, result string) {
	from, to := 0, in.Account
	switch in.Operation {
	case atm.Reverse:
		from, to = 1-in.Move%2, in.Move%2
		if in.Amount > p.Left[in.Move] {
			return atm.ReversalExceeded, ""
		}
	case atm.Collect:
		if p.Revoked {
			return atm.MandateEnded, ""
		}
		if in.Amount > p.Cap {
			return atm.MandateExceeded, ""
		}
	case atm.MandateRevoke:
		p.Revoked = true
		return atm.OK, ""
	case atm.OrderPay:
		if in.Date != p.Paid || p.Paid >= p.Due || p.Balances[0] < p.Amount {
			return "", "" // it was done, is not due, or waits
		}
		p.Paid++
		in.Amount, to = p.Amount, 2
	default:
		return atm.OK, p.Balances[in.Account].String()
	}
	if p.Balances[from] < in.Amount {
		return atm.InsufficientFunds, ""
	}
	switch in.Operation {
	case atm.Reverse:
		p.Left[in.Move] -= in.Amount
	case atm.Collect:
		p.Cap -= in.Amount
	}
	p.Balances[from] -= in.Amount
	p.Balances[to] += in.Amount
	return atm.OK, in.Amount.String()
}
