package when_test

import (
	"strings"
	"testing"
	"time"

	"example.com/atm/cmd/internal/when"
)

func TestTimesAreReadAsPeopleTypeThem(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	// Noon of the day after the clocks went back: yesterday had 25 hours.
	now := time.Date(2026, 10, 26, 12, 0, 0, 0, berlin)
	const end = "23:59:59.999999999"
	for _, tt := range []struct{ in, since, until string }{
		{"now", "2026-10-26T12:00:00+01:00", ""},
		{"today", "2026-10-26T00:00:00+01:00", "2026-10-26T" + end + "+01:00"},
		{"Yesterday", "2026-10-25T00:00:00+02:00", "2026-10-25T" + end + "+01:00"},
		{"2026-10-25", "2026-10-25T00:00:00+02:00", "2026-10-25T" + end + "+01:00"},
		{"2026-12-31", "2026-12-31T00:00:00+01:00", "2026-12-31T" + end + "+01:00"},
		{"2026-07-01T14:30", "2026-07-01T14:30:00+02:00", ""},
		{"2026-07-01 14:30", "2026-07-01T14:30:00+02:00", ""},
		{"2026-07-01t14:30:05", "2026-07-01T14:30:05+02:00", ""},
		{"2026-07-01T14:30:05Z", "2026-07-01T14:30:05Z", ""},
		{"2026-07-01T14:30:05.25-07:00", "2026-07-01T14:30:05.25-07:00", ""},
		{"2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", ""}, // a leap second
		{"90s", "2026-10-26T11:58:30+01:00", ""},
		{"12h", "2026-10-26T00:00:00+01:00", ""},
		{"1h30m", "2026-10-26T10:30:00+01:00", ""},
		{"1d", "2026-10-25T12:00:00+01:00", ""},
		{"2d", "2026-10-24T13:00:00+02:00", ""}, // 48 hours
		{"1d12h", "2026-10-25T01:00:00+02:00", ""},
		{"2w", "2026-10-12T13:00:00+02:00", ""},
		{"1w1d", "2026-10-18T13:00:00+02:00", ""},
		{"0", "2026-10-26T12:00:00+01:00", ""},
	} {
		if tt.until == "" {
			tt.until = tt.since // it is not a day
		}
		since, err := when.Since(tt.in, now)
		if got := since.Format(time.RFC3339Nano); err != nil || got != tt.since {
			t.Errorf("since %q: %v, %v, want %v", tt.in, got, err, tt.since)
		}
		until, err := when.Until(tt.in, now)
		if got := until.Format(time.RFC3339Nano); err != nil || got != tt.until {
			t.Errorf("until %q: %v, %v, want %v", tt.in, got, err, tt.until)
		}
	}
}

func TestWhatIsNoTimeIsToldTheForms(t *testing.T) {
	for _, in := range []string{
		"", " ", "soon", "tomorrow", "-1h", "1d-2h", "1", "d", "w", "1d1w", "99999d", "99999w",
		"1000000h", "1e3h", "1d\n",
		"2026", "2026-11", "2026-13-01", "2026-02-30", "29.11.2026", "11/29/2026",
		"2026-11-29T25:00", "2026-11-29  14:30",
		"2026-11-29T14:30:05,5", "14:30", "2026-11-29T14:30+01:00",
	} {
		for _, read := range []func(string, time.Time) (time.Time, error){when.Since, when.Until} {
			got, err := read(in, time.Now())
			if err == nil || !strings.Contains(err.Error(), when.Forms) {
				t.Errorf("%q is %v, %v", in, got, err)
			}
		}
	}
}

func FuzzSince(f *testing.F) {
	for _, in := range []string{"1w2d3h", "yesterday", "2026-11-29 14:30", "0001-01-01", "x\ny"} {
		f.Add(in)
	}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, in string) {
		since, err := when.Since(in, now)
		until, again := when.Until(in, now)
		if (err == nil) != (again == nil) {
			t.Fatalf("%q: %v and %v", in, err, again)
		}
		if err == nil && (since.IsZero() || until.Before(since)) {
			t.Errorf("%q is %v to %v", in, since, until)
		}
	})
}
