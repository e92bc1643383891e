package cmd_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/vault/vaulttest"
)

// TestLinearizable lets 8 clients deposit, withdraw, transfer and inquire while
// the server is killed now and then, and looks for one order in which all they
// were told can have happened. That answers before the commit would be noticed
// is shown in vaulttest.
func TestLinearizable(t *testing.T) {
	const clients, each, kills = 8, 150, 2
	const opening = 1000
	histories := soak(1, 20)
	for history := range histories {
		s := startServer(t)
		for i := range vaulttest.HistoryAccounts {
			cmd := s.command("atmctl", "account", "open", fmt.Sprint(i+1), "--owner", "user:demo", "--opening", atm.Amount(opening).String())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		tls, err := client.InFolder(filepath.Join(s.dir, "atm-data", "clients", "demo")).TLS()
		if err != nil {
			t.Fatal(err)
		}
		r := vaulttest.NewRecorder()
		var wg sync.WaitGroup
		var up sync.RWMutex // held for writing while the server is down
		isUp := func() {    // waits until there is somebody to ask
			up.RLock()
			defer up.RUnlock()
		}
		for n := range clients {
			c, err := client.New(client.Config{Server: s.url, TLS: tls, Tries: 1})
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				for range each {
					isUp()
					in := vaulttest.RandomIntent()
					r.Do(n, in, func() vaulttest.Outcome { return ask(t, c, in) })
				}
			})
		}
		for range kills {
			time.Sleep(time.Duration(50+rand.IntN(100)) * time.Millisecond) // anywhere among the operations
			up.Lock()
			s.kill(t)
			s.start(t)
			up.Unlock()
		}
		wg.Wait()
		all, unknown := r.Len()
		t.Logf("history %d: %d operations, %d of unknown outcome", history+1, all, unknown)
		if !r.Linearizable(t, opening) {
			t.Fatal("what the clients were told cannot have happened")
		}
		s.stop(t)
		s.verify(t)
	}
}

func ask(t *testing.T, c *client.Client, in vaulttest.Intent) vaulttest.Outcome {
	account, to := atm.AccountID(in.Account+1), atm.AccountID(in.To+1)
	var a *client.Answer
	var err error
	switch in.Operation {
	case atm.Deposit:
		a, err = c.Deposit(t.Context(), account, in.Amount, atm.RequestID(atm.NewUUID(time.Now())))
	case atm.Withdraw:
		a, err = c.Withdraw(t.Context(), account, in.Amount, atm.RequestID(atm.NewUUID(time.Now())))
	case atm.Transfer:
		a, err = c.Transfer(t.Context(), account, to, in.Amount, atm.RequestID(atm.NewUUID(time.Now())))
	default:
		a, err = c.Inquiry(t.Context(), account)
	}
	if err != nil {
		var fault *client.FaultError
		if errors.As(err, &fault) {
			t.Error(err)
		}
		return vaulttest.Outcome{Unknown: true}
	}
	return vaulttest.Outcome{Code: a.Code, Result: a.Text()}
}
