// Package ahead does work on all processors, and uses what it comes to in the order in which it
// was given.
//
// It is for many pieces of work that do not need each other, such as decoding entries, whose
// results are then needed one after the other, such as for a replay.
package ahead

import "runtime"

// each is how many pieces of work are under way for each processor: one that is done, and waits
// for those before it, keeps none idle.
const each = 2

// A Line is work under way. One goroutine uses it; the work itself runs on others.
type Line[T any] struct {
	use   func(T) error
	most  int
	under []<-chan T // the oldest first
}

// New returns a line of which each result is given to use, in order.
func New[T any](use func(T) error) *Line[T] {
	return &Line[T]{use: use, most: each * runtime.GOMAXPROCS(0)}
}

// Add begins work. When enough is under way, it first waits for the oldest and uses its result. It
// returns the error of use; nothing may be added after one.
func (l *Line[T]) Add(work func() T) error {
	if len(l.under) >= l.most {
		if err := l.next(); err != nil {
			return err
		}
	}
	done := make(chan T, 1) // so that work ends even if nobody waits for it
	go func() { done <- work() }()
	l.under = append(l.under, done)
	return nil
}

// End uses all that is still under way.
func (l *Line[T]) End() error {
	for len(l.under) > 0 {
		if err := l.next(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Line[T]) next() error {
	done := <-l.under[0]
	l.under = l.under[1:]
	return l.use(done)
}
