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
	// DenialEntries is how many denials of one caller in one minute get entries of their own.
	DenialEntries = 60

	// maxDenied bounds the callers that are counted separately within a minute. All others are
	// counted together.
	maxDenied = 1024

	// otherCallers is the reason in the summary of the callers that are counted together.
	otherCallers = "callers beyond the first 1024 of the minute"
)

// Denials decides which denied operations get an entry, and counts the rest, so that a caller
// cannot fill the log with denied requests. A minute has at most maxDenied·DenialEntries
// entries and maxDenied+1 summaries.
type Denials struct {
	mu      sync.Mutex
	callers map[denied]*denialCount // guarded by mu
}

// denied identifies a caller whose operations were denied. The zero value is all other callers.
type denied struct{ subject, actor string }

type denialCount struct {
	failureCount
	roles []atm.Role
}

// NewDenials returns an empty count.
func NewDenials() *Denials { return &Denials{callers: make(map[denied]*denialCount)} }

// A DenialBatch is the denials among operations that are decided together. It counts only when
// it is kept, so a batch can be dropped and decided again.
type DenialBatch struct {
	d       *Denials
	denials []denial
	whole   map[denied]int // entries granted in this batch
}

type denial struct {
	of    denied
	roles []atm.Role
	at    time.Time
	whole bool
}

// Batch begins a batch. Of batches that were begun at the same time, only one may be kept.
func (d *Denials) Batch() *DenialBatch { return &DenialBatch{d: d} }

// Note counts a denied operation of caller, and reports whether it gets an entry of its own.
func (b *DenialBatch) Note(now time.Time, caller *atm.Caller) (whole bool) {
	of := denied{caller.Subject, caller.Actor}
	b.d.mu.Lock()
	known := b.d.callers[of]
	full := len(b.d.callers)+len(b.whole) >= maxDenied
	b.d.mu.Unlock()
	already, ours := b.whole[of]
	switch {
	case known != nil:
		whole = known.whole+already < DenialEntries
	case ours:
		whole = already < DenialEntries
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

// Keep adds the counts of the batch to d.
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

// Flush returns the counts since the last flush, in the order of subjects, and resets them. The
// owner calls it each minute.
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
