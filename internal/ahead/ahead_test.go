package ahead_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"example.com/atm/internal/ahead"
)

// TestResultsAreUsedInOrder has work that takes longer and shorter, and counts how much of it is
// under way at once.
func TestResultsAreUsedInOrder(t *testing.T) {
	const all = 1000
	var under, most atomic.Int64
	used := 0
	line := ahead.New(func(n int) error {
		if n != used {
			t.Errorf("%d is used where %d should be", n, used)
		}
		used++
		under.Add(-1)
		return nil
	})
	for n := range all {
		turns := rand.IntN(50)
		if err := line.Add(func() int {
			most.Store(max(most.Load(), under.Add(1)))
			for range turns {
				runtime.Gosched()
			}
			return n
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := line.End(); err != nil || used != all {
		t.Errorf("%d of %d were used: %v", used, all, err)
	}
	if bound := int64(2 * runtime.GOMAXPROCS(0)); most.Load() > bound {
		t.Errorf("%d were under way, which is more than %d", most.Load(), bound)
	}
}

func TestNothingIsUsedAfterAnError(t *testing.T) {
	wrong := errors.New("wrong")
	used := 0
	line := ahead.New(func(n int) error {
		if used++; n == 7 {
			return wrong
		}
		return nil
	})
	var err error
	for n := 0; err == nil && n < 1000; n++ {
		err = line.Add(func() int { return n })
	}
	if !errors.Is(err, wrong) || used != 8 {
		t.Errorf("%v after %d", err, used)
	}
	if err := ahead.New(func(int) error { return wrong }).End(); err != nil {
		t.Errorf("a line without work: %v", err)
	}
}
