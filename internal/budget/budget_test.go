package budget_test

import (
	"testing"
	"testing/synctest"
	"time"

	"example.com/atm/internal/budget"
)

func TestOneKeyHasItsShareAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(10, 4)
		releaseA, ok := b.Take("a", 4, time.Second)
		if !ok {
			t.Fatal("no space in an empty budget")
		}
		begun := time.Now()
		if _, ok := b.Take("a", 1, time.Second); ok || time.Since(begun) != time.Second {
			t.Error("more than a share")
		}
		if _, ok := b.Take("b", 99, time.Second); !ok {
			t.Error("a share is all that one key can ask for")
		}
		if _, ok := b.Take("c", 3, time.Second); ok {
			t.Error("more than the total")
		}
		releaseA()
		if b.Used() != 4 {
			t.Errorf("%d are taken, not 4", b.Used())
		}
	})
}

func TestTakerThatWaitsForItsShareIsPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(10, 6)
		releaseA, _ := b.Take("a", 6, 0)
		order := make(chan string, 4)
		wait := func(key string, n int64) {
			go func() {
				if _, ok := b.Take(key, n, time.Minute); ok {
					order <- key
				}
			}()
			synctest.Wait()
		}
		wait("a", 1) // over its share: others pass it
		wait("b", 4)
		wait("c", 2)
		if got := <-order; got != "b" || len(order) != 0 {
			t.Errorf("%q was served first", got)
		}
		releaseA()
		synctest.Wait()
		if first, second := <-order, <-order; first == second {
			t.Errorf("then %q and %q", first, second)
		}
	})
}
