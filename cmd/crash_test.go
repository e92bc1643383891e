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

// soak is a number of rounds: the short one in an ordinary test, the long one
// with ATM_SOAK set.
func soak(short, long int) int {
	if os.Getenv("ATM_SOAK") != "" {
		return long
	}
	return short
}

// A crasher lets clients move money while the server ends in whatever way, and
// holds what they were told against what is there afterwards.
type crasher struct {
	server  *server
	connect func(t testing.TB, tries int) *client.Client // in place of to server; nil for that
	want    atm.Amount                                   // what account 100 holds

	acknowledged, doubtful int // of all rounds
}

// round has 8 clients deposit until each that is still there has done some,
// cuts the server off and starts it again. An answer that a client got stays
// true to the letter; a client in doubt asks again and is told the truth; the
// balance is exact, and the log verifies.
func (c *crasher) round(t *testing.T, round int, cutOff, start func()) {
	t.Helper()
	const clients, each = 8, 40
	answers := make(map[atm.RequestID]client.Answer) // as they were acknowledged
	var doubtful []atm.RequestID
	var mu sync.Mutex
	var over atomic.Bool
	enough := make(chan struct{}, clients*each)
	var wg sync.WaitGroup
	for n := range clients {
		connection := c.demo(t, 1)
		wg.Go(func() {
			defer func() { // a client that gives up must not be waited for
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
	if c.connect != nil { // somebody may go on meanwhile, and is not to notice
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
	for _, id := range doubtful { // done before the cut or now, but once
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

// openingBalance is what init puts into account 100.
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

// fsck checks the vault of a server that has stopped.
func (s *server) fsck(t *testing.T) {
	t.Helper()
	if out, err := s.command("atmctl", "fsck").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
