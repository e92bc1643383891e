package flood

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"example.com/atm/audit"
)

const (
	// failuresWhole is how many failed sign-ins of one network, reason and
	// minute get entries of their own.
	failuresWhole = 5

	// maxFailureKinds bounds the networks and reasons that are told apart
	// within a minute, and with it memory and entries: a flood from more
	// networks than that is counted together, as "other".
	maxFailureKinds = 1024
)

// Failures decides which failed sign-ins get an entry and counts the rest, so
// that a flood neither fills the disk nor hides an operation: at most
// maxFailureKinds·failuresWhole entries and as many summaries in a minute,
// whatever arrives. It does no input or output and belongs to one goroutine.
type Failures struct {
	kinds map[failureKind]*failureCount
}

type failureKind struct{ source, reason string }

type failureCount struct {
	whole int // how many got an entry
	n     int64
	first time.Time
	last  time.Time
}

// NewFailures returns an empty count.
func NewFailures() *Failures { return &Failures{kinds: make(map[failureKind]*failureCount)} }

// otherNetworks stands for those that came when too many were known.
const otherNetworks = "other"

// Note notes a failed sign-in, and reports whether it gets an entry of its
// own.
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
	if kind.source != otherNetworks && c.whole < failuresWhole {
		c.whole++
		return true
	}
	c.count(now)
	return false
}

// count counts one more that has no entry of its own.
func (c *failureCount) count(now time.Time) {
	if c.n == 0 {
		c.first = now
	}
	c.n++
	c.last = now
}

// Flush returns what was counted since the last flush, in order of network,
// and begins anew. It is to be called each minute.
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

// network is the network that failures from an address are counted under: /24
// of IPv4, /48 of IPv6.
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
