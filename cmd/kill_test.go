package cmd_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/client"
)

// TestKillUnderLoad kills the server while 8 clients deposit. Whoever got an
// answer keeps it, whoever is in doubt asks again with the same request id and
// is told the truth, and the log verifies.
func TestKillUnderLoad(t *testing.T) {
	const rounds, clients, before = 3, 8, 40
	s := startServer(t)
	answers := make(map[atm.RequestID]client.Answer) // as they were acknowledged
	var doubtful []atm.RequestID
	var mu sync.Mutex
	for round := range rounds {
		enough := make(chan struct{}, clients*before)
		var wg sync.WaitGroup
		for n := range clients {
			c := s.demo(t, 1)
			wg.Go(func() {
				for i := 0; ; i++ {
					id := atm.RequestID(fmt.Sprintf("%d-%d-%d", round, n, i))
					a, err := c.Deposit(t.Context(), 100, 1, id)
					var unknown *client.OutcomeUnknownError
					mu.Lock()
					switch {
					case err == nil:
						answers[id] = *a
					case errors.As(err, &unknown):
						doubtful = append(doubtful, id)
					}
					mu.Unlock()
					if err != nil {
						return
					}
					select {
					case enough <- struct{}{}:
					default:
					}
				}
			})
		}
		for range before {
			<-enough
		}
		s.kill(t)
		wg.Wait()
		s.start(t)
	}
	c := s.demo(t, 4)
	for id, first := range answers {
		again, err := c.Deposit(t.Context(), 100, 1, id)
		if err != nil || *again != first {
			t.Errorf("%s was answered %+v, and is now %+v, %v", id, first, again, err)
		}
	}
	for _, id := range doubtful { // done before the kill or now, but once
		if a, err := c.Deposit(t.Context(), 100, 1, id); err != nil || !a.OK() {
			t.Errorf("%s: %+v, %v", id, a, err)
		}
	}
	want := atm.Amount(100000 + len(answers) + len(doubtful)).String()
	if a, err := c.Inquiry(t.Context(), 100); err != nil || a.Text() != want {
		t.Errorf("balance %+v, %v, want %s", a, err, want)
	}
	t.Logf("%d kills, %d acknowledged, %d in doubt", rounds, len(answers), len(doubtful))
	s.stop(t)
	s.verify(t)
}
