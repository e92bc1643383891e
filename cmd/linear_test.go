//go:build unix

package cmd_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/vault/vaulttest/linear"
)

// TestHistoriesAreLinearizable has 8 clients deposit, withdraw, transfer and inquire while the
// server is killed now and then, and looks for an order of operations that explains all
// answers. A client without an answer asks again with the same request id. vaulttest shows that
// the check detects a store that answers before it commits.
func TestHistoriesAreLinearizable(t *testing.T) {
	t.Parallel()
	const clients, each, kills = 8, 150, 2
	const opening = 1000
	histories := soak(1, 20)
	for history := range histories {
		s := startServer(t)
		openAccounts(t, s, opening)
		r := linear.NewRecorder()
		var wg sync.WaitGroup
		var again atomic.Int64
		var up sync.RWMutex // held for writing while the server is down
		isUp := func() {    // waits until the server runs
			up.RLock()
			defer up.RUnlock()
		}
		for n := range clients {
			c := []*client.Client{s.demo(t, 1)}
			wg.Go(func() {
				for range each {
					in := linear.Random()
					r.Begin(n, in)(ask(t, c, in, isUp, &again))
				}
			})
		}
		for range kills {
			// anywhere among the operations
			time.Sleep(time.Duration(50+rand.IntN(100)) * time.Millisecond)
			up.Lock()
			s.kill(t)
			s.start(t)
			up.Unlock()
		}
		wg.Wait()
		t.Logf("history %d: %d operations, %d asked again", history+1, clients*each, again.Load())
		if !r.Linearizable(t, opening) {
			t.Fatal("what the clients were told cannot have happened")
		}
		s.stop(t)
		s.verify(t)
	}
}

// openAccounts opens the accounts of a history.
func openAccounts(t testing.TB, s *server, opening atm.Amount) {
	t.Helper()
	for i := range linear.Accounts {
		cmd := s.command("atmctl", "account", "open", fmt.Sprint(i+1), "--owner", "user:demo",
			"--opening", opening.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// ask carries out an intent, as often as necessary to learn its outcome, on one server and then
// on the next.
func ask(t *testing.T, servers []*client.Client, in linear.Intent, isUp func(),
	again *atomic.Int64,
) linear.Outcome {
	account, to := atm.AccountID(in.Account+1), atm.AccountID(in.To+1)
	id := atm.RequestID(atm.NewUUID(time.Now()))
	for n := 0; ; n++ {
		isUp()
		c := servers[n%len(servers)]
		var a *client.Answer
		var err error
		switch in.Operation {
		case atm.Deposit:
			a, err = c.Deposit(t.Context(), account, in.Amount, id)
		case atm.Withdraw:
			a, err = c.Withdraw(t.Context(), account, in.Amount, id)
		case atm.Transfer:
			a, err = c.Transfer(t.Context(), account, to, in.Amount, id)
		default:
			a, err = c.Inquiry(t.Context(), account)
		}
		if err == nil && a.Code != atm.Unavailable {
			return linear.Outcome{Code: a.Code, Result: a.Text()}
		}
		var fault *client.FaultError
		if errors.As(err, &fault) || t.Context().Err() != nil {
			t.Error(err)
			return linear.Outcome{}
		}
		again.Add(1)
	}
}
