package vault

import (
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault/calendar"
)

// TestReplayKeepsTheDueDatesOfThen replays a standing order whose zone has other rules than
// when its entries were made: the entries say when it was due, an hour before what the schedule
// says now. The same date once more and one that is days away are not what any rules say, and are
// noticed.
func TestReplayKeepsTheDueDatesOfThen(t *testing.T) {
	schedule := calendar.Schedule{Every: calendar.Day, At: 12 * 60}
	noon := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	then := noon.Add(-time.Hour)
	replay := func(next time.Time) error {
		r := NewReplayer(nil)
		index, failed := JournalIndex(0), error(nil)
		add := func(e *audit.Entry, rule Rule) {
			if failed == nil {
				failed = r.Replay(index, e, rule)
			}
			index++
		}
		ok := &atm.Status{Code: atm.OK}
		add(&audit.Entry{
			Status: ok, State: []audit.Change{
				{Account: "equity:opening", Version: 1, After: -1000},
				{Account: "1", Version: 1, After: 1000},
			},
		}, OpenAccount{Account: "1", Opening: 1000})
		add(&audit.Entry{
			Status: ok, State: []audit.Change{{Account: "2", Version: 1}},
		}, OpenAccount{Account: "2"})
		add(&audit.Entry{
			Status: ok, Time: then.Add(-time.Minute), Next: then, State: []audit.Change{
				{Account: "1", Version: 2, Before: 1000, After: 1000},
			},
		}, CreateOrder{Account: "1", To: "2", Amount: 100, Schedule: schedule, First: then})
		add(&audit.Entry{
			Status: ok, Time: then, Next: next, State: []audit.Change{
				{Account: "1", Version: 3, Before: 1000, After: 900},
				{Account: "2", Version: 2, After: 100},
			},
		}, PayOrder{Order: 2, Due: then, Replayed: true, Next: next})
		return failed
	}
	if err := replay(then.AddDate(0, 0, 1)); err != nil {
		t.Error(err)
	}
	for _, next := range []time.Time{
		then, noon, then.AddDate(0, 0, 2), noon.AddDate(0, 0, 2), then.AddDate(0, 0, 3),
	} {
		if err := replay(next); err == nil {
			t.Errorf("%v after %v is not noticed", next, then)
		}
	}
}
