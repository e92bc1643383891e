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

// TestCutStringReadsWhatAppendStringWrote tries each byte at each of 20 positions: what needs no
// escaping comes back, and anything else is refused.
func TestCutStringReadsWhatAppendStringWrote(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			s := []byte(strings.Repeat("x", 20))
			s[at] = byte(c)
			written := string(AppendString(nil, string(s)))
			got, rest, ok := CutString(written + ",")
			if want := !strings.Contains(written, `\`); ok != want || ok && (`"`+got+`"` != written ||
				rest != ",") {
				t.Fatalf("%q: %q, %q, %t", written, got, rest, ok)
			}
		}
	}
	for _, s := range []string{"", "x", `"`, `"x`, `"ä`, "\"\xff\"", "\"ä\x01\"", `"ä\n"`} {
		if got, _, ok := CutString(s); ok {
			t.Errorf("%q is read as %q", s, got)
		}
	}
	if got, rest, ok := CutString(`"Zürich €":1`); !ok || got != "Zürich €" || rest != ":1" {
		t.Errorf("%q, %q, %t", got, rest, ok)
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{
		"2026-11-25T09:08:07.000006Z", "2026-02-30T00:00:00.000000Z",
		"2026-11-25T24:00:00.000000Z", "0000-01-01T00:00:00.000000Z", "9999-12-31T23:59:60.999999Z",
		"2026-11-25 09:08:07.000006Z", "2026-1:-25T09:08:07.000006Z", "2026-11-25T09:08:07.00000Z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTime(s)
		want, wrong := time.Parse(TimeFormat, s)
		if got != want || (err == nil) != (wrong == nil) {
			t.Fatalf("%q: %v, %v, package time says %v, %v", s, got, err, want, wrong)
		}
	})
}
