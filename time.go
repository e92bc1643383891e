package atm

import (
	"errors"
	"strings"
	"time"
)

// ErrTime reports text that is not a time in RFC 3339.
var ErrTime = errors.New("no time such as 2026-05-01T00:00:00Z")

// ParseTime parses a time in RFC 3339, such as 2026-05-01T00:00:00Z, with t and z in either
// case, and with the second 60 of a leap second, which is read as the second after it. It never
// returns the zero time, which means no time, so the year 1 is a valid time as well.
func ParseTime(text string) (time.Time, error) {
	text = strings.ToUpper(text)
	if strings.Contains(text, ",") { // package time accepts a comma in place of the point
		return time.Time{}, ErrTime
	}
	const second = len("2026-05-01T23:59:")
	leap := len(text) > second+2 && text[second:second+2] == "60"
	if leap {
		text = text[:second] + "59" + text[second+2:]
	}
	t, err := time.Parse(time.RFC3339, text)
	switch utc := t.UTC(); {
	case err != nil:
		return time.Time{}, ErrTime
	case leap && (utc.Hour() != 23 || utc.Minute() != 59): // not at the end of a day in UTC
		return time.Time{}, ErrTime
	case leap:
		return t.Add(time.Second), nil
	case t.IsZero():
		return t.Add(1), nil
	}
	return t, nil
}
