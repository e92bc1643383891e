package atm

import (
	"errors"
	"strings"
	"time"
)

// ErrTime reports text that is no time in RFC 3339.
var ErrTime = errors.New("no time such as 2026-05-01T00:00:00Z")

// ParseTime reads a time in RFC 3339, such as 2026-05-01T00:00:00Z: with t and z in either
// case, and with the second 60 of a leap second, which is the one after it. It never
// returns the zero time, which stands for none, so that the year 1 is a time as well.
func ParseTime(text string) (time.Time, error) {
	text = strings.ToUpper(text)
	if strings.Contains(text, ",") { // which package time takes for a point
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
	case leap && (utc.Hour() != 23 || utc.Minute() != 59): // leap seconds end a day of UTC
		return time.Time{}, ErrTime
	case leap:
		return t.Add(time.Second), nil
	case t.IsZero():
		return t.Add(1), nil
	}
	return t, nil
}
