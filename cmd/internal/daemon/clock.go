package daemon

import (
	"context"
	"log/slog"
	"time"

	"example.com/atm/teller"
)

const (
	clockEvery = time.Second

	// clockSlack is by how much the clock may deviate from the elapsed time within clockEvery
	// before it counts as having been set.
	clockSlack = 500 * time.Millisecond
)

// watchClock records when the clock is set, because times in the log before and after that
// cannot be compared.
func watchClock(ctx context.Context, t *teller.Teller, log *slog.Logger) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		if by := clockStep(now.Round(0).Sub(last.Round(0)), now.Sub(last)); by != 0 {
			log.Warn("the clock was set", slog.Duration("by", by))
			t.ClockStepped(ctx, by)
		}
		last = now
	}
}

// clockStep returns by how much the clock was set while elapsed passed and the clock advanced
// by wall. It returns 0 for drift.
func clockStep(wall, elapsed time.Duration) time.Duration {
	if by := wall - elapsed; by.Abs() > clockSlack {
		return by.Round(time.Millisecond)
	}
	return 0
}
