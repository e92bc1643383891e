package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"example.com/atm/audit"
	"example.com/atm/feed/webhook"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// A line is the delivery of one subscription that this server has claimed.
type line struct {
	owner      string
	sub        feeds.Subscription
	cursor     feeds.Cursor // as far as it was delivered
	dirty      bool         // the store has an older one
	stored     feeds.Cursor // the one that the store has
	matcher    *matcher
	keys       []webhook.Key // of the newest generations
	generation uint64        // of the first of them

	until time.Time // nothing is sent after it, because another server may have the claim

	queue   []item // what comes next, the oldest first
	queued  int    // bytes of it
	scanned feeds.Position
	last    feeds.Position // of what was queued; -1 for nothing in this chain

	busy    bool      // a try is under way
	again   time.Time // when the next try may begin
	checked time.Time // when a checkpoint was queued last; zero for never
}

// An item is something to send.
type item struct {
	kind  kind
	index feeds.Position // of the entry; for a checkpoint, of the first one after it
	prev  feeds.Position // what was queued before it in this chain; -1 for nothing
	leaf  []byte         // of the entry; for a checkpoint, the note
	size  int64          // of the log, for a checkpoint
	test  uint64         // number of a test event

	// Of an entry, what its event says of it: an entry is parsed once.
	at           time.Time
	typ, subject string
}

type kind uint8

const (
	entryItem kind = iota
	checkpointItem
	testItem
)

// What one line holds in memory at most.
const (
	maxQueue      = 32
	maxQueueBytes = 64 << 10
)

func newLine(owner string, s feeds.Subscription, cursor feeds.Cursor) *line {
	l := &line{
		owner: owner, sub: s, cursor: cursor, stored: cursor, matcher: newMatcher(&s.Filter),
	}
	if cursor.Chain == s.Chain {
		l.begin(cursor.Next, cursor.Last)
		l.again = cursor.Again
		if latest := time.Now().Add(usual.longest); l.again.After(latest) {
			l.again = latest // the clock was set back
		}
	} else {
		l.rewind()
	}
	return l
}

// isAt reports whether a cursor of the store is the one that this line has left there.
func (l *line) isAt(c *feeds.Cursor) bool {
	return c.Chain == l.stored.Chain && c.Next == l.stored.Next && c.Last == l.stored.Last &&
		c.Sent == l.stored.Sent
}

func (l *line) begin(next, last feeds.Position) {
	l.queue, l.queued, l.scanned, l.last = nil, 0, next, last
	l.checked = time.Time{}
}

// rewind begins the chain that the subscription is at.
func (l *line) rewind() {
	l.cursor = l.cursor.Anew(&l.sub)
	l.dirty, l.again = true, time.Time{}
	l.begin(l.sub.From, -1)
}

// update takes over what became of the subscription.
func (l *line) update(s feeds.Subscription) {
	before := l.sub
	l.sub = s
	switch {
	case l.cursor.Chain != s.Chain:
		l.rewind()
	case before.Resumed != s.Resumed: // try at once
		l.cursor.Failing, l.cursor.Tries, l.cursor.Again = time.Time{}, 0, time.Time{}
		l.again, l.dirty = time.Time{}, true
	}
}

// reads reports whether the line has space for more.
func (l *line) reads() bool {
	return l.sub.State == feeds.Active && len(l.queue) < maxQueue && l.queued < maxQueueBytes
}

// add queues an item.
func (l *line) add(it item) {
	if len(l.queue) == 1 && l.queue[0].kind == checkpointItem && !l.busy {
		// An event says more than a checkpoint before it. One that is newer follows.
		l.queue, l.queued, l.checked = nil, 0, time.Time{}
	}
	l.queue, l.queued = append(l.queue, it), l.queued+len(it.leaf)
	if it.kind == entryItem {
		l.last = it.index
	}
}

// next is the first entry that was not considered and delivered.
func (l *line) next() feeds.Position {
	for _, it := range l.queue {
		if it.kind == entryItem {
			return it.index
		}
	}
	return l.scanned
}

// advance notes in the cursor how far the line has come.
func (l *line) advance() {
	if next := l.next(); next != l.cursor.Next {
		l.cursor.Next, l.dirty = next, true
	}
}

// errEnough ends the reading of entries.
var errEnough = errors.New("enough")

// behind is a line that has space for entries which are there; nil when none has. One that has
// nothing to send comes first, and one whose queue is fuller than half has time.
func (f *Feed) behind() (first *line) {
	for _, l := range f.order {
		switch {
		case !l.reads() || vault.JournalIndex(l.scanned) >= f.end:
		case len(l.queue) == 0:
			return l
		case first == nil && len(l.queue) <= maxQueue/2 && l.queued <= maxQueueBytes/2:
			first = l
		}
	}
	return first
}

// scan reads the next entries for all lines that have space and come to them. Each turn it begins
// with another line, so that one that is far behind does not hold up those that are not.
func (f *Feed) scan(ctx context.Context) error {
	first := f.behind()
	if first == nil {
		return nil
	}
	f.order = append(f.order[1:], f.order[0])
	from := vault.JournalIndex(first.scanned)
	to := min(from+scanned, f.end)
	err := f.cfg.Store.Entries(ctx, from, to, func(index vault.JournalIndex, leaf []byte) error {
		read := reading{leaf: leaf}
		some := false
		for _, l := range f.order {
			if vault.JournalIndex(l.scanned) != index || !l.reads() {
				continue
			}
			if err := f.consider(ctx, l, &read); err != nil {
				return err
			}
			l.scanned++
			some = true
		}
		if !some {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || errors.Is(err, vault.ErrTrimmed) { // the next turn sees it
		err = nil
	}
	for _, l := range f.order {
		l.advance()
	}
	return err
}

// A reading is an entry that is being read. It is parsed once, and kept once, for all lines.
type reading struct {
	leaf  []byte
	entry *audit.Entry // nil when it was not parsed yet
	kept  bool         // leaf stays as it is
}

// consider queues the entry that a line comes to, if it is one for it.
func (f *Feed) consider(ctx context.Context, l *line, r *reading) (err error) {
	if !l.matcher.may(r.leaf) {
		return nil
	}
	if r.entry == nil {
		if r.entry, err = audit.ParseEntry(r.leaf); err != nil {
			return fmt.Errorf("entry %d: %w", l.scanned, err)
		}
	}
	if is, err := l.matcher.matches(ctx, r.entry, &f.owners); err != nil || !is {
		return err
	}
	if !l.sub.Everything {
		view, err := f.cfg.See(ctx, l.owner, &l.sub, r.leaf)
		if err != nil && !errors.Is(err, ErrNotAllowed) { // which the try will say
			return err
		}
		if err == nil && view == nil {
			return nil
		}
	}
	if !r.kept {
		r.leaf, r.kept = bytes.Clone(r.leaf), true
	}
	l.add(item{
		kind: entryItem, index: l.scanned, prev: l.last, leaf: r.leaf, at: r.entry.Time,
		typ: typeOf(r.entry, l.sub.Filter.Below > 0), subject: subjectOf(r.entry),
	})
	return nil
}

// addCheckpoints queues a checkpoint, behind what is to be sent, for each line that has come to the
// end, when one is due.
func (f *Feed) addCheckpoints(now time.Time) {
	for _, l := range f.order {
		if l.sub.State != feeds.Active || vault.JournalIndex(l.scanned) != f.end ||
			now.Sub(l.checked) < f.timing.checkpoint ||
			slices.ContainsFunc(l.queue, func(it item) bool { return it.kind == checkpointItem }) {
			continue
		}
		l.checked = now
		l.add(item{
			kind: checkpointItem, index: l.scanned, prev: l.last, leaf: f.signed,
			size: f.head.Size,
		})
	}
}

// pause is how long the next try waits after so many that failed.
func pause(tries int64, t *timing) time.Duration {
	wait := t.retry
	for range min(tries, 20) - 1 {
		wait = min(2*wait, t.longest)
	}
	return min(wait+rand.N(wait/2+1), t.longest)
}
