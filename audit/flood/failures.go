package flood

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"example.com/atm/audit"
)

const (
	// failureEntries is how many failed sign-ins of one network with one reason get entries of
	// their own within a minute.
	failureEntries = 5

	// maxFailureKinds bounds the pairs of network and reason that are counted separately within a
	// minute, and so bounds memory and entries. Failures beyond it are counted together as "other".
	maxFailureKinds = 1024
)

// Failures decides which failed sign-ins get an entry and counts the rest, so that a flood
// neither fills the disk nor hides an operation. A minute has at most
// maxFailureKinds·failureEntries entries and maxFailureKinds summaries. Failures does no I/O
// and is not safe for concurrent use.
type Failures struct {
	kinds map[failureKind]*failureCount
}

type failureKind struct{ source, reason string }

type failureCount struct {
	whole int // failures that got an entry
	n     int64
	first time.Time
	last  time.Time
}

// NewFailures returns an empty count.
func NewFailures() *Failures { return &Failures{kinds: make(map[failureKind]*failureCount)} }

// otherNetworks is the network of failures beyond maxFailureKinds.
const otherNetworks = "other"

// Note counts a failed sign-in, and reports whether it gets an entry of its own.
func (f *Failures) Note(now time.Time, from netip.Addr, reason string) (whole bool) {
	kind := failureKind{network(from), reason}
	c := f.kinds[kind]
	if c == nil && len(f.kinds) >= maxFailureKinds {
		kind.source = otherNetworks
		c = f.kinds[kind]
	}
	if c == nil {
		c = &failureCount{}
		f.kinds[kind] = c
	}
	if kind.source != otherNetworks && c.whole < failureEntries {
		c.whole++
		return true
	}
	c.count(now)
	return false
}

// count counts a failure without an entry of its own.
func (c *failureCount) count(now time.Time) {
	if c.n == 0 {
		c.first = now
	}
	c.n++
	c.last = now
}

// Flush returns the counts since the last flush, in the order of networks, and resets them. The
// owner calls it each minute.
func (f *Failures) Flush() []audit.Summary {
	var all []audit.Summary
	for kind, c := range f.kinds {
		if c.n > 0 {
			all = append(all, audit.Summary{
				Source: kind.source, Reason: kind.reason, N: c.n,
				First: c.first, Last: c.last,
			})
		}
	}
	clear(f.kinds)
	slices.SortFunc(all, func(a, b audit.Summary) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// network is the network under which failures from an address are counted: /24 for IPv4, /48
// for IPv6.
func network(from netip.Addr) string {
	bits := 48
	if from.Is4() {
		bits = 24
	}
	prefix, err := from.Prefix(bits)
	if err != nil {
		return otherNetworks
	}
	return prefix.String()
}
