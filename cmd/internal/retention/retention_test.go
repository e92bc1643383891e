package retention_test

import (
	"testing"
	"time"

	"example.com/atm/cmd/internal/retention"
)

func TestArchiveLagsAfterThreeIntervalsWithoutAChapter(t *testing.T) {
	begin := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		chapter time.Time
		now     time.Duration // since the beginning
		want    bool
	}{
		{"no chapter, at the start", time.Time{}, 0, false},
		{"no chapter for three intervals", time.Time{}, 3 * time.Hour, false},
		{"no chapter for longer", time.Time{}, 3*time.Hour + 1, true},
		{"a chapter", begin.Add(time.Hour), 4 * time.Hour, false},
		{"a chapter, three intervals ago", begin.Add(time.Hour), 4*time.Hour + 1, true},
		{"a chapter of before the start", begin.Add(-4 * time.Hour), 0, true},
		{"the clock was set back", begin.Add(time.Hour), -time.Hour, false},
	} {
		s := retention.State{Chapter: tt.chapter, Every: time.Hour, Since: begin}
		if got := s.Lags(begin.Add(tt.now)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
