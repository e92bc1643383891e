// Package orders makes the payments of standing orders when they are due.
//
// A Runner asks: which orders are due? The rule vault.PayOrder decides, by the record of the
// order and in the transaction that moves the money. So each due date has one outcome, however
// many runners ask for it, on however many replicas, and whatever becomes of them meanwhile. What
// a runner remembers only keeps it from asking in vain.
package orders

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"example.com/atm"
	"example.com/atm/teller/bookings"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
)

const (
	// longest is how long a runner sleeps at most. After that it notices orders of other replicas
	// and clocks that were set.
	longest = time.Minute

	// rest is how long it sleeps at least.
	rest = 20 * time.Millisecond

	// retry is how long it waits when a payment was not due by the clock of the commit.
	retry = time.Second

	// pause is how long it waits when nothing can be read or committed.
	pause = 5 * time.Second

	// patience is how long the store may take to say what is due.
	patience = 30 * time.Second

	// atOnce is how many payments wait for the ledger at most.
	atOnce = 256
)

// Config is everything that a Runner needs.
type Config struct {
	// Ledger commits the payments. Required.
	Ledger *ledger.Ledger

	// Store has the orders. Required.
	Store vault.Store

	// Now is the clock of the commits, as far as it is known. Optional; time.Now.
	Now func() time.Time

	// Settled is told of the outcome of each due date. Optional.
	Settled func(atm.Code)

	// Log receives what keeps payments from being made. Optional.
	Log *slog.Logger
}

// A Runner makes payments when they are due.
type Runner struct {
	cfg  Config
	wake chan struct{} // has a token when soonest has become earlier

	mu      sync.Mutex
	soonest time.Time // guarded by mu: due date of orders committed since Pay began; zero for none

	// waiting are the orders whose next due date was asked for in vain; of the caller of Pay.
	waiting map[vault.OrderID]attempt
}

// An attempt is a due date that has no outcome yet.
type attempt struct {
	due   time.Time
	asked time.Time // when it was tried
	again time.Time // when it is tried next

	// refused says that the payment cannot be made now: due dates after it have to wait.
	refused bool
}

// New returns a runner. Run runs it.
func New(cfg Config) *Runner {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Settled == nil {
		cfg.Settled = func(atm.Code) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Runner{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Run makes payments until ctx is done, and returns when what it has begun is answered.
func (r *Runner) Run(ctx context.Context) {
	for failing := false; ctx.Err() == nil; {
		next, err := r.Pay(ctx)
		if ctx.Err() != nil {
			return
		}
		if failed := err != nil; failed && !failing {
			r.cfg.Log.Warn("standing orders cannot be paid at the moment", slog.Any("error", err))
		} else if !failed && failing {
			r.cfg.Log.Info("standing orders are paid again")
		}
		failing = err != nil
		r.sleep(ctx, next)
	}
}

// sleep waits until an instant by the clock of the commits, and less if an order is committed
// that is due sooner.
func (r *Runner) sleep(ctx context.Context, next time.Time) {
	least := time.NewTimer(rest)
	defer least.Stop()
	select {
	case <-least.C:
	case <-ctx.Done():
		return
	}
	for {
		if soonest := r.committed(); !soonest.IsZero() && soonest.Before(next) {
			next = soonest
		}
		left := min(next.Sub(r.cfg.Now()), longest)
		if left <= 0 {
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
			return
		case <-r.wake: // look again
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// Committed is told of each commit of this server, and does not block.
func (r *Runner) Committed(c ledger.Commit) {
	if len(c.Orders) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range c.Orders {
		next := c.Orders[i].Next
		if next.IsZero() || !r.soonest.IsZero() && !next.Before(r.soonest) {
			continue
		}
		r.soonest = next
		select {
		case r.wake <- struct{}{}:
		default: // it is awake
		}
	}
}

// committed is the first due date of the orders that were committed since Pay began.
func (r *Runner) committed() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.soonest
}

// Pay makes the payments that are due now, the oldest first, and returns when it is to be called
// again: at the next due date or try, or in a minute if that is sooner. One call runs at a time.
// Run calls it; a program that has a clock of its own may call it instead.
//
// If the server was down, an order can be due many times. Its payments are made one after the
// other, and in the order of all due dates, so that what one order pays in another can pay out.
func (r *Runner) Pay(ctx context.Context) (next time.Time, err error) {
	r.mu.Lock()
	r.soonest = time.Time{} // what is committed from now on may be missing in what is read
	r.mu.Unlock()
	now := r.cfg.Now()
	due, next, err := r.read(ctx, now)
	if err != nil {
		return now.Add(pause), err
	}
	round := round{runner: r, now: now, due: due, next: next}
	for round.failed == nil && ctx.Err() == nil && round.advance(ctx) {
	}
	for len(round.begun) > 0 {
		round.settle()
	}
	if round.failed != nil {
		return now.Add(pause), round.failed
	}
	return round.next, nil
}

// read returns the orders that are to be tried now, and when there is something to do next.
func (r *Runner) read(ctx context.Context, now time.Time) (due queue, next time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	next = now.Add(longest)
	still := make(map[vault.OrderID]attempt)
	err = r.cfg.Store.Orders(ctx, next, func(o *vault.Order) error {
		at := o.Next
		tried, is := r.waiting[o.ID]
		// When the clock has gone back since it was asked, that tells nothing about now.
		if is && tried.due.Equal(o.Next) && !now.Before(tried.asked) {
			at = tried.again
			still[o.ID] = tried
		}
		if at.After(now) {
			next = earlier(next, at)
		} else {
			due = append(due, *o)
		}
		return nil
	})
	if err != nil {
		return nil, next, fmt.Errorf("reading the standing orders that are due: %w", err)
	}
	r.waiting = still
	heap.Init(&due)
	return due, next, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// A round is one call of Pay.
type round struct {
	runner *Runner
	now    time.Time
	due    queue     // what is to be begun
	begun  []payment // and has not been settled, the oldest first
	next   time.Time // when there is something to do again
	failed error     // why the round ends early
}

// A payment is on its way through the ledger.
type payment struct {
	order vault.Order // as it was before
	alone bool        // the next due date of the order is not begun before this one is settled
	reply ledger.Reply
}

// advance begins or settles a payment, and reports whether there was one.
func (r *round) advance(ctx context.Context) bool {
	if len(r.due) == 0 || len(r.begun) == atOnce {
		if len(r.begun) == 0 {
			return false
		}
		r.settle()
		return true
	}
	o := r.due[0]
	tried := r.runner.waiting[o.ID]
	if tried.refused && tried.again.After(r.now) { // an earlier due date was, meanwhile
		heap.Pop(&r.due)
		return true
	}
	reply := r.runner.cfg.Ledger.Begin(ctx, bookings.PayOrder(&o))
	r.begun = append(r.begun, payment{o, tried.refused, reply})
	if tried.refused { // it may be again
		heap.Pop(&r.due)
		return true
	}
	// One goroutine begins all payments, and so they are decided in this order. If this one gets
	// no outcome, the rule has nothing to do for the next one.
	if r.due[0].Next = o.Schedule.Following(o.Next); r.isDue(&r.due[0]) {
		heap.Fix(&r.due, 0)
	} else {
		heap.Pop(&r.due)
	}
	return true
}

func (r *round) isDue(o *vault.Order) bool { return !o.Next.IsZero() && !o.Next.After(r.now) }

// errRefused reports that the ledger takes no payments at the moment.
var errRefused = errors.New("the ledger does not commit")

// settle waits for the oldest payment.
func (r *round) settle() {
	p := r.begun[0]
	r.begun = r.begun[1:]
	o, waiting := &p.order, r.runner.waiting
	switch status := p.reply(); {
	case status.Receipt != "":
		delete(waiting, o.ID)
		r.runner.cfg.Settled(status.Code)
		if o.Next = o.Schedule.Following(o.Next); p.alone && r.isDue(o) {
			heap.Push(&r.due, *o)
		}
	case status.Code == atm.Unavailable || status.Code == atm.OutcomeUnknown:
		r.failed = fmt.Errorf("%w: %s", errRefused, status.Reason)
	default:
		tried := attempt{o.Next, r.now, r.again(o, status), status.Reason != ""}
		first := waiting[o.ID]
		if first.refused && first.due.Before(tried.due) && first.again.After(r.now) {
			return // that one has to have its outcome first
		}
		waiting[o.ID] = tried
		r.next = earlier(r.next, tried.again)
	}
}

// again is when a payment without an outcome is tried next.
func (r *round) again(o *vault.Order, status atm.Status) time.Time {
	switch {
	case status.Code != "": // a record is damaged; the ledger has told the operator
		return r.now.Add(longest)
	case status.Reason == "": // done by another replica, or not due by the clock of the commit
		return r.now.Add(retry)
	}
	for days := 1; days <= vault.PaymentTries; days++ {
		if at := o.Schedule.Later(o.Next, days); at.After(r.now) {
			return at
		}
	}
	return r.now.Add(retry) // the last try was not due by the clock of the commit
}

// A queue is a heap of orders, the one that is due first on top.
type queue []vault.Order

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q queue) Less(i, j int) bool {
	if q[i].Next.Equal(q[j].Next) {
		return q[i].ID < q[j].ID
	}
	return q[i].Next.Before(q[j].Next)
}

// Push implements heap.Interface.
func (q *queue) Push(o any) { *q = append(*q, o.(vault.Order)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	o := (*q)[last]
	*q = (*q)[:last]
	return o
}
