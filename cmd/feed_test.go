//go:build unix

package cmd_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
)

// A pair is two subscriptions to one receiver: one to everything, with proofs, and one to the
// deposits that were carried out.
type pair struct {
	sink          *sink
	all, deposits *follower
	from          int64        // the first entry that both consider
	moody         atomic.Bool  // the receiver answers as it likes
	quiet         atomic.Bool  // nobody deposits
	fails         atomic.Int64 // answers that were not 200

	seen func(path string, w *sent) // is told of each arrival; nil for nobody
}

// mood is what a receiver does that mostly works.
func (p *pair) mood() mood {
	if !p.moody.Load() || rand.IntN(20) > 0 {
		return accepts
	}
	p.fails.Add(1)
	return failsFirst + mood(rand.IntN(int(closesAfter-failsFirst)+1))
}

func subscribePair(t *testing.T, s *server) *pair {
	t.Helper()
	p := &pair{all: newFollower(), deposits: newFollower()}
	p.sink = newSink(t, s, func(path string, w *sent) mood {
		f := map[string]*follower{"all": p.all, "deposits": p.deposits}[path]
		if p.seen != nil {
			p.seen(path, w)
		}
		m := p.mood()
		f.check(w, m == accepts || m == closesAfter)
		return m
	})
	s.subscribe(t, "operator", "deposits", p.sink.url("deposits"), map[string]any{
		"operation": "deposit", "status": "OK",
	})
	id, _ := s.subscribe(t, "operator", "all", p.sink.url("all"), map[string]any{"proofs": "1"})
	made, err := strconv.ParseInt(strings.TrimPrefix(id, "f"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	p.from = made + 1
	return p
}

// resume is what an operator does when the receiver is back: both are tried at once.
func (p *pair) resume(ctx context.Context, c *client.Client) error {
	for _, name := range []string{"all", "deposits"} {
		if a, err := c.Call(ctx, "feed.resume", name); err != nil || !a.OK() {
			return fmt.Errorf("feed.resume %s: %+v, %w", name, a, err)
		}
	}
	return nil
}

// checkpoints is how many came of each subscription.
func (p *pair) checkpoints() (all, deposits int) { return p.all.reached(), p.deposits.reached() }

// catchUp waits until a server that took over from another one, or from itself, has sent all that
// there is and says so: until there are more checkpoints than before. Meanwhile nobody deposits,
// because a busy machine would not send as much as they make.
func (p *pair) catchUp(t *testing.T, operator *client.Client, all, deposits int) {
	t.Helper()
	defer p.moody.Store(p.moody.Swap(false))
	p.quiet.Store(true)
	defer p.quiet.Store(false)
	p.sink.on(t)
	eventually(t, "the subscriptions are resumed", func() bool {
		return p.resume(t.Context(), operator) == nil
	})
	for p.all.reached() <= all || p.deposits.reached() <= deposits {
		came := p.all.count() + p.deposits.count()
		eventually(t, "an event or a checkpoint arrives", func() bool {
			return p.all.count()+p.deposits.count() > came ||
				p.all.reached() > all && p.deposits.reached() > deposits
		})
	}
}

// finish waits until a deposit has arrived that is made now, stops the servers, and compares
// what came with the log of the first one.
func (p *pair) finish(t *testing.T, all ...*server) {
	t.Helper()
	p.moody.Store(false)
	p.sink.on(t)
	a, err := all[0].demo(t, 4).Deposit(t.Context(), 100, 1, "the last one")
	if err != nil || !a.OK() {
		t.Fatalf("%+v, %v", a, err)
	}
	receipt, _, _ := strings.Cut(a.Receipt, " ")
	last, err := strconv.ParseInt(receipt, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.resume(t.Context(), all[0].as(t, "operator", 4)); err != nil {
		t.Fatal(err)
	}
	for !p.all.has(last) || !p.deposits.has(last) { // there may be much to catch up with
		came := p.all.count() + p.deposits.count()
		eventually(t, "events arrive", func() bool {
			return p.all.count()+p.deposits.count() > came ||
				p.all.has(last) && p.deposits.has(last)
		})
	}
	for i := len(all) - 1; i >= 0; i-- { // the first one last: its log gets the others' entries
		all[i].stop(t)
	}
	all[0].verify(t)
	p.all.compare(t, all[0], p.from, func(*audit.Entry) bool { return true })
	p.deposits.compare(t, all[0], 0, func(e *audit.Entry) bool {
		return e.Operation == atm.Deposit && e.Status != nil && e.Status.Code == atm.OK
	})
	t.Logf("%d and %d events, %d and %d repeats, %d and %d checkpoints, %d answers that were bad",
		len(p.all.order), len(p.deposits.order), p.all.again, p.deposits.again,
		len(p.all.checkpoints), len(p.deposits.checkpoints), p.fails.Load())
}

// depositing has clients deposit, one call after the other with a rest between, until the
// function that it returns is called. A call that fails is not repeated.
func (p *pair) depositing(t *testing.T, rest time.Duration, clients ...*client.Client) (
	stop func(),
) {
	t.Helper()
	var over atomic.Bool
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for !over.Load() {
				if !p.quiet.Load() {
					c.Deposit(t.Context(), 100, 1, "")
				}
				time.Sleep(rest)
			}
		})
	}
	return func() { over.Store(true); wg.Wait() }
}

// TestKilledServerLosesNoEvent has a receiver that is off at first, for ten minutes with ATM_SOAK,
// and then on and off; when it is on it answers 500 now and then, hangs, or closes the connection
// before or in its answer. Meanwhile clients deposit, and the server is killed with SIGKILL. Every
// entry arrives, in order and the same each time, and checkpoints are true.
func TestKilledServerLosesNoEvent(t *testing.T) {
	t.Parallel()
	kills, clients := soak(8, 200), 4
	s := startFeedServer(t, "ATM_FEED_RATE=2000")
	p := subscribePair(t, s)
	callers := make([]*client.Client, clients)
	for i := range callers {
		callers[i] = s.demo(t, 1)
	}
	stop := p.depositing(t, time.Duration(soak(20, 200))*time.Millisecond, callers...)
	time.Sleep(time.Duration(soak(1, 600)) * time.Second) // the receiver is off
	p.moody.Store(true)
	p.sink.on(t)
	operator := s.as(t, "operator", 1)
	for n := range kills {
		p.resume(t.Context(), operator)
		time.Sleep(time.Duration(200+rand.IntN(1300)) * time.Millisecond)
		s.kill(t)
		all, deposits := p.checkpoints()
		s.start(t)
		if p.sink.off(); rand.IntN(3) > 0 {
			p.sink.on(t)
		}
		if n%4 == 3 {
			p.catchUp(t, operator, all, deposits)
		}
	}
	stop()
	t.Logf("%d kills", kills)
	p.finish(t, s)
}
