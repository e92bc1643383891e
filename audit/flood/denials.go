package flood

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
)

const (
	// DenialsWhole is how many denials of one caller and minute get entries of their own.
	DenialsWhole = 60

	// maxDenied bounds the callers that are told apart within a minute; those of all others
	// are counted together.
	maxDenied = 1024

	// otherCallers is the reason in the summary of those that are counted together.
	otherCallers = "callers beyond the first 1024 of the minute"
)

// Denials decides which operations that were denied get an entry, and counts the rest, so
// that nobody fills the log by asking for what is not theirs: at most maxDenied·DenialsWhole
// entries and maxDenied+1 summaries in a minute, whatever is asked for.
type Denials struct {
	mu      sync.Mutex
	callers map[denied]*denialCount // guarded by mu
}

// denied is somebody whose operations were denied; the zero value is all others.
type denied struct{ subject, actor string }

type denialCount struct {
	failureCount
	roles []atm.Role
}

// NewDenials returns an empty count.
func NewDenials() *Denials { return &Denials{callers: make(map[denied]*denialCount)} }

// A DenialBatch is the denials of operations that are decided together. Nothing of it
// counts until it is kept, so it can be dropped and decided again.
type DenialBatch struct {
	d       *Denials
	denials []denial
	whole   map[denied]int // of the batch
}

type denial struct {
	of    denied
	roles []atm.Role
	at    time.Time
	whole bool
}

// Batch begins a batch. Only one may be kept of those that were begun at the same time.
func (d *Denials) Batch() *DenialBatch { return &DenialBatch{d: d} }

// Note notes that an operation of caller was denied, and reports whether that gets an entry
// of its own.
func (b *DenialBatch) Note(now time.Time, caller *atm.Caller) (whole bool) {
	of := denied{caller.Subject, caller.Actor}
	b.d.mu.Lock()
	known := b.d.callers[of]
	full := len(b.d.callers)+len(b.whole) >= maxDenied
	b.d.mu.Unlock()
	already, ours := b.whole[of]
	switch {
	case known != nil:
		whole = known.whole+already < DenialsWhole
	case ours:
		whole = already < DenialsWhole
	case full:
		of = denied{}
	default:
		whole = true
	}
	if of != (denied{}) {
		if b.whole == nil {
			b.whole = make(map[denied]int)
		}
		if whole {
			already++
		}
		b.whole[of] = already
	}
	b.denials = append(b.denials, denial{of, caller.Roles, now, whole})
	return whole
}

// Keep counts what the batch noted.
func (b *DenialBatch) Keep() {
	if len(b.denials) == 0 {
		return
	}
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	for _, n := range b.denials {
		c := b.d.callers[n.of]
		if c == nil {
			c = &denialCount{}
			b.d.callers[n.of] = c
		}
		if n.whole {
			c.whole++
			continue
		}
		c.roles = n.roles
		c.count(n.at)
	}
}

// Flush returns what was counted since the last flush, in order of subject, and begins
// anew. It is to be called each minute.
func (d *Denials) Flush() []audit.Summary {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []audit.Summary
	for of, c := range d.callers {
		if c.n == 0 {
			continue
		}
		s := audit.Summary{N: c.n, First: c.first, Last: c.last}
		if of == (denied{}) {
			s.Reason = otherCallers
		} else {
			s.Denied = &atm.Principal{Subject: of.subject, Roles: c.roles, Actor: of.actor}
		}
		all = append(all, s)
	}
	clear(d.callers)
	slices.SortFunc(all, func(a, b audit.Summary) int {
		return cmp.Or(cmp.Compare(subjectOf(a), subjectOf(b)), cmp.Compare(actorOf(a), actorOf(b)))
	})
	return all
}

func subjectOf(s audit.Summary) string {
	if s.Denied == nil {
		return ""
	}
	return s.Denied.Subject
}

func actorOf(s audit.Summary) string {
	if s.Denied == nil {
		return ""
	}
	return s.Denied.Actor
}
