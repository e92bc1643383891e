package daemon

import (
	"context"
	"log/slog"
	"time"

	"example.com/atm/teller"
)

const (
	clockEvery = time.Second

	// clockSlack is how far the clock may run from the time that has passed
	// within clockEvery before somebody has set it.
	clockSlack = 500 * time.Millisecond
)

// watchClock records when the clock is set: times in the log before and after
// it cannot be compared.
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

// clockStep returns by how much the clock was set while elapsed passed and it
// went on by wall, and 0 when it only drifted.
func clockStep(wall, elapsed time.Duration) time.Duration {
	if by := wall - elapsed; by.Abs() > clockSlack {
		return by.Round(time.Millisecond)
	}
	return 0
}
