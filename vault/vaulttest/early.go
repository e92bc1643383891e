package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest/linear"
)

// A cut is a store that can be cut off, as a process that is killed is: what
// is on its way then is lost or durable, and nobody is told.
type cut struct {
	vault.Store
	early bool          // the planted flaw: say that it is durable before it is
	gone  chan struct{} // closed when it is cut off
}

var errGone = errors.New("the process is gone")

// Commit implements vault.Store.
func (c *cut) Commit(ctx context.Context, keys vault.Keys,
	decide func(*vault.Books) error,
) (func() error, error) {
	type result struct {
		durable func() error
		err     error
	}
	if c.early {
		keys.More = nil // a commit that is tried again would add to a group that was answered
	}
	decided, ended := make(chan struct{}), make(chan result, 1)
	once := sync.OnceFunc(func() { close(decided) }) // it may be decided again
	go func() {
		durable, err := c.Store.Commit(ctx, keys, func(b *vault.Books) error {
			err := decide(b)
			once()
			select { // now it would be written
			case <-c.gone:
				return errGone
			case <-time.After(time.Duration(rand.IntN(int(time.Millisecond)))):
				return err
			}
		})
		ended <- result{durable, err}
	}()
	if c.early {
		select {
		case <-decided:
			return func() error { return nil }, nil // before it is durable
		case r := <-ended:
			return r.durable, r.err
		}
	}
	r := <-ended
	if err := c.heard(r.err); err != nil {
		return nil, err
	}
	return func() error { return c.heard(r.durable()) }, nil
}

// heard is the outcome of a commit as its caller hears it: after the cut, durable or not,
// nobody does.
func (c *cut) heard(err error) error {
	select {
	case <-c.gone:
		return errors.Join(err, errGone)
	default:
		return err
	}
}

// history lets clients use the accounts of a store, which is cut off a few
// times, and reports whether what they were told can have happened. Who is told
// nothing asks again with the same request id.
func history(t *testing.T, p Place, early bool) bool {
	t.Helper()
	const clients, each, cuts, opening = 8, 190, 2, 1000
	signer := NewSigner(t)
	store := p.Open(t)
	l := ledger.New(ledger.Config{Store: store, Signer: signer})
	for i := range linear.Accounts {
		must(t, l, openHistoryAccount(i, opening))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r := linear.NewRecorder()
	type question struct {
		cmd      vault.Command
		answered func(linear.Outcome)
	}
	asked := make([]*question, clients) // by client; nil when everything was answered
	var again atomic.Int64
	done := 0 // operations of each client
	for round := range cuts + 1 {
		s := &cut{Store: store, early: early, gone: make(chan struct{})}
		l := ledger.New(ledger.Config{Store: s, Signer: signer})
		upto := each
		if round < cuts {
			upto = done + each/(cuts+1)
		}
		var wg sync.WaitGroup
		for client := range clients {
			wg.Go(func() {
				for i := range upto - done {
					if round < cuts && client == 0 && i == (upto-done)/2 {
						close(s.gone)
					}
					select {
					case <-s.gone: // there is nobody left to ask
						return
					default:
					}
					if asked[client] == nil {
						in := linear.Random()
						asked[client] = &question{identified(t, commandOf(in),
							atm.RequestID(atm.NewUUID(time.Now()))), r.Begin(client, in)}
					} else {
						again.Add(1)
					}
					answer := l.Do(t.Context(), asked[client].cmd)
					if answer.Code == atm.OutcomeUnknown || answer.Code == atm.Unavailable {
						return
					}
					text, _ := answer.Result.(string)
					asked[client].answered(linear.Outcome{Code: answer.Code, Result: text})
					asked[client] = nil
				}
			})
		}
		wg.Wait()
		done = upto
		l.Close() // its error is what the cut was
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		store = p.Open(t)
	}
	t.Logf("%d operations, %d asked again", r.Len(), again.Load())
	return r.Linearizable(t, opening)
}

func historyAccount(i int) vault.Name { return vault.Name(fmt.Sprint(i + 1)) }

func openHistoryAccount(i int, opening atm.Amount) vault.Command {
	return open(historyAccount(i), opening)
}

func commandOf(in linear.Intent) vault.Command {
	n := historyAccount(in.Account)
	switch in.Operation {
	case atm.Deposit:
		return deposit(n, in.Amount)
	case atm.Withdraw:
		return withdraw(n, in.Amount)
	case atm.Transfer:
		return transfer(n, historyAccount(in.To), in.Amount)
	}
	return inquiry(n)
}

// testLinearizable looks for an order in which everything can have happened.
func testLinearizable(t *testing.T, p Place) {
	if !history(t, p, false) {
		t.Error("what the clients were told cannot have happened")
	}
}

// testEarlyAnswersAreNoticed plants the flaw that matters most: answers that
// leave before they are durable.
func testEarlyAnswersAreNoticed(t *testing.T, place func(*testing.T) Place) {
	const tries = 20 // an early answer has to meet a cut
	for range tries {
		if !history(t, place(t), true) {
			return
		}
	}
	t.Errorf("answers before the commit were not noticed in %d histories", tries)
}
