package daemon

import (
	"log/slog"
	"testing"
	"time"

	"example.com/atm/cmd/internal/datadir"
)

func TestLogIsUnwatchedADayAfterItWasSeenLastAlsoAcrossStarts(t *testing.T) {
	paths := datadir.Paths{Root: t.TempDir()}
	begin := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	open := func(now time.Time) *watched {
		t.Helper()
		w, err := openWatched(paths.Watched(), now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := open(begin)
	if w.unwatched(begin.Add(24*time.Hour - time.Second)) {
		t.Error("it is unwatched within a day of the first start")
	}
	if !open(begin.Add(23 * time.Hour)).unwatched(begin.Add(24 * time.Hour)) {
		t.Error("a start counts as a look")
	}
	w.saw(begin.Add(30 * time.Hour))
	if w = open(begin.Add(31 * time.Hour)); w.unwatched(begin.Add(54*time.Hour - time.Second)) {
		t.Error("a look is forgotten at the next start")
	}
	if !w.unwatched(begin.Add(54 * time.Hour)) {
		t.Error("one look counts for ever")
	}
	if open(begin).last().After(begin) {
		t.Error("a look in the future counts")
	}
}
