package flood

import (
	"net/netip"
	"testing"
	"time"
)

func TestRepeatedFailuresAreSummarized(t *testing.T) {
	f := NewFailures()
	now := time.Now()
	whole := 0
	for i := range 100 {
		if f.Note(now.Add(time.Duration(i)*time.Second), netip.MustParseAddr("192.0.2.200"),
			"expired") {
			whole++
		}
	}
	if !f.Note(now, netip.MustParseAddr("192.0.2.1"), "unknown") ||
		!f.Note(now, netip.MustParseAddr("198.51.100.1"), "expired") ||
		!f.Note(now, netip.MustParseAddr("2001:db8:1::1"), "expired") {
		t.Error("another reason or network counts for itself")
	}
	got := f.Flush()
	if whole != failureEntries || len(got) != 1 || got[0].N != 95 ||
		got[0].Source != "192.0.2.0/24" ||
		!got[0].First.Equal(now.Add(5*time.Second)) || !got[0].Last.Equal(now.Add(99*time.Second)) {
		t.Errorf("%d entries and %+v", whole, got)
	}
	if got := f.Flush(); len(got) != 0 {
		t.Errorf("flushed twice: %+v", got)
	}
	if !f.Note(now, netip.MustParseAddr("192.0.2.200"), "expired") {
		t.Error("a new minute begins with entries again")
	}
}

// TestFailuresOfManyNetworksAreBoundedAndCounted sends failures from more networks than are
// counted apart.
func TestFailuresOfManyNetworksAreBoundedAndCounted(t *testing.T) {
	f := NewFailures()
	entries := 0
	for i := range 200_000 {
		if f.Note(time.Now(), netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}),
			"x") {
			entries++
		}
	}
	if len(f.kinds) > maxFailureKinds+1 || entries > maxFailureKinds*failureEntries {
		t.Errorf("%d networks in memory, %d entries", len(f.kinds), entries)
	}
	summaries := f.Flush()
	var counted int64
	for _, s := range summaries {
		counted += s.N
	}
	if counted+int64(entries) != 200_000 {
		t.Errorf("%d entries and %d counted of 200000", entries, counted)
	}
}
