package canonical

import (
	"strings"
	"testing"
	"time"
)

func TestEntryTimeIsWrittenAsPackageTimeWritesIt(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(2026, 11, 25, 9, 8, 7, 6_000, time.UTC),
		time.Unix(0, 0), time.Unix(0, 1999), time.Date(999, 12, 31, 23, 59, 59,
			999_999_999, time.UTC),
		time.Date(9999, 1, 2, 3, 4, 5, 6_000, time.UTC), time.Date(12345, 1, 1, 0, 0, 0, 0,
			time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got, want := string(AppendTime(nil, at.UTC())),
			at.UTC().Format(TimeFormat); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestPlainBytesStopAtTheFirstByteToEscape tries each byte at each of 20 positions.
func TestPlainBytesStopAtTheFirstByteToEscape(t *testing.T) {
	for c := range 256 {
		want := 20
		for at := range 20 {
			s := []byte(strings.Repeat("x", 20))
			s[at] = byte(c)
			if c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
				want = at
			}
			if got := plainBytes(string(s)); got != want {
				t.Fatalf("%q: %d bytes, want %d", s, got, want)
			}
		}
	}
}
