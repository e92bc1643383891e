package feed

import (
	"time"

	"example.com/atm/vault/feeds"
)

// A Cause says in one word why a subscription was stopped.
type Cause string

// The causes.
const (
	Unreachable Cause = "unreachable" // nothing could be delivered for too long
	Gone        Cause = "gone"        // the receiver said that it ends
	Denied      Cause = "denied"      // its owner may not see the entries any more
	Restored    Cause = "restored"    // it had been told more than the journal has
	Trimmed     Cause = "trimmed"     // the journal does not have what comes next any more
)

// Stats are what there is to deliver at the moment, of what this server has claimed.
type Stats struct {
	// Subscriptions, each in one of these states. Active ones have no error.
	Active, Failing, Paused, Stopped int

	// Lag is how many entries the slowest active subscription has before it. Oldest is the time
	// of the oldest event that waits to be sent to an active one; zero when none waits.
	Lag    int64
	Oldest time.Time

	// FailingLag and FailingOldest are the same of subscriptions that fail, and FailingSince is
	// since when the first of them does; zero when none does.
	FailingLag    int64
	FailingOldest time.Time
	FailingSince  time.Time
}

// Stats returns what there is to deliver.
func (f *Feed) Stats() Stats { return *f.stats.Load() }

// count tells what there is to deliver.
func (f *Feed) count() {
	var s Stats
	for _, l := range f.order {
		lag := int64(f.end) - int64(l.cursor.Next)
		switch {
		case l.sub.State == feeds.Stopped:
			s.Stopped++
		case l.sub.State == feeds.Paused:
			s.Paused++
		case l.cursor.Failing.IsZero():
			s.Active++
			s.Lag, s.Oldest = max(s.Lag, lag), earlier(s.Oldest, l.oldest())
		default:
			s.Failing++
			s.FailingLag = max(s.FailingLag, lag)
			s.FailingOldest = earlier(s.FailingOldest, l.oldest())
			s.FailingSince = earlier(s.FailingSince, l.cursor.Failing)
		}
	}
	f.stats.Store(&s)
}

// oldest is the time of the oldest event that waits to be sent; zero when none does.
func (l *line) oldest() time.Time {
	if len(l.queue) == 0 {
		return time.Time{}
	}
	return l.queue[0].at // of a checkpoint, zero
}

// earlier is the earlier one of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
