//go:build unix

package cmd_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/atm"
	"example.com/atm/client"
)

// soak is a number of rounds: short in an ordinary test, long with ATM_SOAK set.
func soak(short, long int) int {
	if os.Getenv("ATM_SOAK") != "" {
		return long
	}
	return short
}

// A crasher lets clients move money while the server is stopped in some way, and compares their
// answers with the state afterwards.
type crasher struct {
	server *server
	// connect makes a client in place of the server's own. Optional.
	connect func(t testing.TB, tries int) *client.Client
	want    atm.Amount // balance of account 100

	acknowledged, doubtful int // in all rounds
}

// round has 8 clients deposit until each that still runs has done some, stops the server and
// starts it again. An answer that a client got stays exactly true. A client in doubt asks again
// and gets the true outcome. The balance is exact, and the log verifies.
func (c *crasher) round(t *testing.T, round int, cutOff, start func()) {
	t.Helper()
	const clients, each = 8, 40
	answers := make(map[atm.RequestID]client.Answer) // as acknowledged
	var doubtful []atm.RequestID
	var mu sync.Mutex
	var over atomic.Bool
	enough := make(chan struct{}, clients*each)
	var wg sync.WaitGroup
	for n := range clients {
		connection := c.demo(t, 1)
		wg.Go(func() {
			defer func() { // do not wait for a client that gives up
				for range each {
					select {
					case enough <- struct{}{}:
					default:
					}
				}
			}()
			for i := 0; !over.Load(); i++ {
				id := atm.RequestID(fmt.Sprintf("%d-%d-%d", round, n, i))
				a, err := connection.Deposit(t.Context(), 100, 1, id)
				var unknown *client.OutcomeUnknownError
				mu.Lock()
				switch {
				case err == nil && a.OK():
					answers[id] = *a
				case err == nil && a.Code != atm.Unavailable, errors.As(err, &unknown):
					doubtful = append(doubtful, id)
				}
				mu.Unlock()
				if err != nil || !a.OK() {
					return
				}
				select {
				case enough <- struct{}{}:
				default:
				}
			}
		})
	}
	for range clients * each / 2 {
		<-enough
	}
	cutOff()
	if c.connect != nil { // another client may still run, and must not notice
		start()
	}
	over.Store(true)
	wg.Wait()
	if c.connect == nil {
		start()
	}

	connection := c.demo(t, 4)
	work := make(chan atm.RequestID)
	for range clients {
		wg.Go(func() {
			for id := range work {
				again, err := connection.Deposit(t.Context(), 100, 1, id)
				first, known := answers[id]
				if err != nil || !again.OK() || known && *again != first {
					t.Errorf("%s was answered %+v, and is now %+v, %v", id, first, again, err)
				}
			}
		})
	}
	for id := range answers {
		work <- id
	}
	for _, id := range doubtful { // carried out before the cut or now, but once
		work <- id
	}
	close(work)
	wg.Wait()
	c.acknowledged += len(answers)
	c.doubtful += len(doubtful)
	c.want += atm.Amount(len(answers) + len(doubtful))
	if a, err := connection.Inquiry(t.Context(), 100); err != nil || a.Text() != c.want.String() {
		t.Fatalf("balance %+v, %v, want %s", a, err, c.want)
	}
	c.server.verify(t)
}

func (c *crasher) demo(t testing.TB, tries int) *client.Client {
	if c.connect != nil {
		return c.connect(t, tries)
	}
	return c.server.demo(t, tries)
}

// openingBalance is the balance that init gives account 100.
const openingBalance = 1000_00

// TestKilledServerKeepsWhatItAnswered kills the server with SIGKILL while 8 clients deposit.
func TestKilledServerKeepsWhatItAnswered(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := &crasher{server: s, want: openingBalance}
	rounds := soak(3, 200)
	for round := range rounds {
		c.round(t, round, func() { s.kill(t) }, func() { s.start(t) })
		if t.Failed() {
			break
		}
	}
	s.stop(t)
	s.fsck(t)
	t.Logf("%d kills, %d acknowledged, %d in doubt", rounds, c.acknowledged, c.doubtful)
}

// fsck checks the vault of a stopped server.
func (s *server) fsck(t *testing.T) {
	t.Helper()
	if out, err := s.command("atmctl", "fsck").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
