//go:build unix

package daemon

import (
	"testing"
	"time"
)

func TestClockThatWasSetIsToldFromOneThatDrifts(t *testing.T) {
	for _, tt := range []struct{ wall, elapsed, want time.Duration }{
		{time.Second, time.Second, 0},
		{time.Second + 100*time.Millisecond, time.Second, 0}, // the clock is slewed
		{time.Hour, time.Second, time.Hour - time.Second},
		{-time.Minute, time.Second, -time.Minute - time.Second},
		{10 * time.Second, 10 * time.Second, 0}, // the machine is busy
	} {
		if got := clockStep(tt.wall, tt.elapsed); got != tt.want {
			t.Errorf("clockStep(%v, %v) = %v, want %v", tt.wall, tt.elapsed, got, tt.want)
		}
	}
}
