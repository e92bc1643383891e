// Package when parses times as people type them.
//
// A day is a day in the time zone of now, which for the programs is the local one. A time with
// a zone keeps its zone.
package when

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
)

// Forms lists the forms of a time, for help texts.
const Forms = "2026-11-29, 2026-11-29T14:30, 2026-11-29T14:30:00Z, today, yesterday, now, or how " +
	"long ago: 15m, 12h, 1d, 2w"

// maxAgo bounds durations to about a century.
const maxAgo = 36_500 * 24 * time.Hour

// Since parses the start of a range. A day means its first instant.
func Since(text string, now time.Time) (time.Time, error) {
	t, _, err := parse(text, now)
	return t, err
}

// Until parses the end of a range. A day means its last nanosecond.
func Until(text string, now time.Time) (time.Time, error) {
	t, day, err := parse(text, now)
	if day {
		y, m, d := t.Date()
		t = time.Date(y, m, d+1, 0, 0, 0, 0, t.Location()).Add(-time.Nanosecond)
	}
	return t, err
}

// parse parses a time, and reports whether the text names a whole day. It never returns the
// zero time without an error.
func parse(text string, now time.Time) (t time.Time, day bool, err error) {
	y, m, d := now.Date()
	switch strings.ToLower(text) {
	case "now":
		return now, false, nil
	case "today":
		return time.Date(y, m, d, 0, 0, 0, 0, now.Location()), true, nil
	case "yesterday":
		return time.Date(y, m, d-1, 0, 0, 0, 0, now.Location()), true, nil
	}
	if ago, ok := ParseSpan(text); ok {
		return now.Add(-ago), false, nil
	}
	if t, err := atm.ParseTime(text); err == nil {
		return t, false, nil
	}
	for _, form := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		written := strings.Replace(strings.ToUpper(text), " ", "T", 1)
		if t, err := time.ParseInLocation(form, written, now.Location()); err == nil &&
			!strings.Contains(text, ",") {
			if t.IsZero() {
				t = t.Add(1) // the zero time means no time
			}
			return t, form == time.DateOnly, nil
		}
	}
	return t, false, fmt.Errorf("%q is no time; it is one of: %s", text, Forms)
}

var daysAgo = regexp.MustCompile(`(?s)^(?:(\d{1,5})w)?(?:(\d{1,5})d)?(.*)$`)

// ParseSpan parses a duration, which may begin with weeks and days of 24 hours.
func ParseSpan(text string) (ago time.Duration, ok bool) {
	part := daysAgo.FindStringSubmatch(text)
	weeks, _ := strconv.Atoi(part[1])
	days, _ := strconv.Atoi(part[2])
	if days += 7 * weeks; text == "" || days > int(maxAgo/(24*time.Hour)) {
		return 0, false
	}
	var rest time.Duration
	if part[3] != "" {
		var err error
		if rest, err = time.ParseDuration(part[3]); err != nil || rest < 0 || rest > maxAgo {
			return 0, false
		}
	}
	return time.Duration(days)*24*time.Hour + rest, true
}
