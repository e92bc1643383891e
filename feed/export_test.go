package feed

import (
	"time"

	"example.com/atm/vault/feeds"
)

// Hasten makes everything that a feed waits for short.
func (f *Feed) Hasten() {
	f.timing = timing{
		rest: time.Millisecond, poll: 10 * time.Millisecond, sync: 20 * time.Millisecond,
		claim: time.Minute, save: 10 * time.Millisecond, retry: 10 * time.Millisecond,
		longest: 100 * time.Millisecond, giveUp: time.Hour, checkpoint: 100 * time.Millisecond,
		drain: time.Second,
	}
}

// GiveUpAfter makes a feed stop subscriptions that could not be delivered for so long.
func (f *Feed) GiveUpAfter(d time.Duration) { f.timing.giveUp = d }

// Queue is how many events a subscription holds in memory at most, and their bytes.
const (
	MaxQueue      = maxQueue
	MaxQueueBytes = maxQueueBytes
)

// Queued is how many events a subscription holds in memory, and their bytes; of a feed that does
// not run.
func (f *Feed) Queued(id feeds.ID) (events, size int) {
	l := f.lines[id]
	return len(l.queue), l.queued
}

// Exhaust takes away what may be sent at once after a quiet time; of a feed that does not run.
func (f *Feed) Exhaust() { f.limiter.AllowN(time.Now(), burst) }

// RenewEvery makes a feed renew its claims, and look for subscriptions of other servers, so often.
func (f *Feed) RenewEvery(d time.Duration) { f.timing.sync = d }

// Leaves is how many leaves the queues of all subscriptions have in memory; of a feed that does
// not run.
func (f *Feed) Leaves() int {
	kept := make(map[*byte]bool)
	for _, l := range f.lines {
		for _, it := range l.queue {
			if it.kind == entryItem {
				kept[&it.leaf[0]] = true
			}
		}
	}
	return len(kept)
}

// LandOnRewound has an event arrive whose line has begun anew meanwhile, and returns the entry
// that was delivered last by its cursor.
func (f *Feed) LandOnRewound() feeds.Position {
	s := feeds.Subscription{Chain: 1}
	l := newLine("user:ada", s, feeds.Cursor{Chain: 1, Next: 7, Last: 6})
	l.add(item{kind: entryItem, index: 7, prev: 6})
	sent := l.queue[0]
	l.rewind()
	f.delivered(l, &sent, moment())
	return l.cursor.Last
}
