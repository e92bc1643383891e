// Package linear checks that what concurrent clients of a bank were told can have happened
// one operation after the other.
package linear

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"github.com/anishathalye/porcupine"
)

// An Intent is what a client of a history asks for. Accounts are numbered from 0 to
// Accounts-1.
type Intent struct {
	Operation atm.Operation // inquiry, deposit, withdraw or transfer
	Account   int
	To        int // of a transfer
	Amount    atm.Amount
}

// Random returns something to ask for.
func Random() Intent {
	operations := []atm.Operation{atm.Inquiry, atm.Deposit, atm.Withdraw, atm.Transfer}
	return Intent{
		Operation: operations[rand.IntN(len(operations))],
		Account:   rand.IntN(Accounts),
		To:        rand.IntN(Accounts),
		Amount:    atm.Amount(1 + rand.IntN(500)),
	}
}

// An Outcome is what the client was told, after as many tries as it took.
type Outcome struct {
	Code   atm.Code
	Result string
}

// Accounts is the number of accounts in a history.
const Accounts = 3

// A Recorder records what many clients asked and were told, and when.
type Recorder struct {
	begun time.Time

	mu  sync.Mutex
	ops []porcupine.Operation // guarded by mu
}

// NewRecorder begins a history.
func NewRecorder() *Recorder { return &Recorder{begun: time.Now()} }

// Begin records the call of an operation of a client, an Intent or a Payment. What it returns
// records the answer. An operation without an answer is none.
func (r *Recorder) Begin(client int, in any) (answered func(Outcome)) {
	call := time.Since(r.begun)
	return func(out Outcome) {
		end := time.Since(r.begun)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ops = append(r.ops, porcupine.Operation{
			ClientId: client, Input: in,
			Call: call.Nanoseconds(), Output: out, Return: end.Nanoseconds(),
		})
	}
}

// Len is the number of operations recorded.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

// timeout bounds the search for an order, which takes milliseconds as a rule.
const timeout = 2 * time.Minute

// Linearizable reports whether the operations can have happened one after the
// other, each between its call and its answer, from accounts that hold opening.
// (Herlihy and Wing, "Linearizability", 1990.)
func (r *Recorder) Linearizable(t testing.TB, opening atm.Amount) bool {
	t.Helper()
	return r.linearizable(t, accountsModel(opening))
}

func (r *Recorder) linearizable(t testing.TB, model porcupine.Model) bool {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	result, _ := porcupine.CheckOperationsVerbose(model, r.ops, timeout)
	if result == porcupine.Unknown {
		t.Fatal("no order was found and none was ruled out")
	}
	return result == porcupine.Ok
}

type balances [Accounts]atm.Amount

func accountsModel(opening atm.Amount) porcupine.Model {
	return porcupine.Model{
		Init: func() any {
			var b balances
			for i := range b {
				b[i] = opening
			}
			return b
		},
		Step: func(state, input, output any) (bool, any) {
			b, in, out := state.(balances), input.(Intent), output.(Outcome)
			code := atm.OK
			switch in.Operation {
			case atm.Deposit:
				b[in.Account] += in.Amount
			case atm.Withdraw, atm.Transfer:
				switch {
				case in.Operation == atm.Transfer && in.To == in.Account:
					code = atm.SameAccount
				case b[in.Account] < in.Amount:
					code = atm.InsufficientFunds
				default:
					b[in.Account] -= in.Amount
					if in.Operation == atm.Transfer {
						b[in.To] += in.Amount
					}
				}
			}
			return out.Code == code && (code != atm.OK || out.Result == b[in.Account].String()), b
		},
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%+v → %+v", input, output)
		},
	}
}
