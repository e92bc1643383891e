// Package calendar says when a standing order is due, as banks do it:
//
//   - In a month that does not have the day, an order is due on the last day of the month: one
//     for the 31st is due on 30 April, and on 28 February or, in a leap year, the 29th.
//   - A time of day that the clock skips, in spring, is due at the first instant after the gap.
//     A day that the calendar skips, as Samoa skipped 30 December 2011, is such a gap. Where two
//     due dates so become the same instant, they are one.
//   - A time of day that comes twice, in autumn, is due at the first of the two.
//
// So a later day is never due at an earlier instant, whatever a zone does to its clock.
//
// Governments change zones at short notice, and the program learns of it by an update. An instant
// that was due must therefore be kept, and not be worked out again later.
package calendar

import (
	"time"

	"example.com/atm/vault/zone"
)

// A Period is how often. The zero value is none.
type Period uint8

// The periods.
const (
	Day   Period = iota + 1
	Week         // Monday to Sunday, as ISO 8601 has it
	Month        // by the calendar
)

var periods = [...]string{Day: "day", Week: "week", Month: "month"}

// String returns "day", "week" or "month", and "" for no period.
func (p Period) String() string {
	if int(p) < len(periods) {
		return periods[p]
	}
	return ""
}

// ParsePeriod reads what String writes.
func ParsePeriod(text string) (Period, bool) {
	for p := Day; p <= Month; p++ {
		if periods[p] == text {
			return p, true
		}
	}
	return 0, false
}

// Number numbers the day, week or month that holds t in a zone: two instants are in one period
// exactly if their numbers are equal. Numbers grow by one from each period to the next.
func (p Period) Number(t time.Time, zone string) int64 {
	switch date := DateOf(t, zone); p {
	case Day:
		return date.sinceEpoch()
	case Week:
		return int64(date-1) / 7 // the first day of the year 1 was a Monday
	case Month:
		year, month, _ := date.Civil()
		return int64(year)*12 + int64(month)
	}
	return 0
}

// first is the first instant at which the clock of a zone shows this time or a later one. The
// time is given as the seconds since 1970 that it would be in UTC.
//
// It takes the stretches between changes of the clock one after the other, from one that is early
// enough: no zone is a day from UTC. time.Date does not say which of two instants it returns.
func first(clock int64, name string) time.Time {
	for t := time.Unix(clock-secondsOfDay, 0).In(zone.Location(name)); ; {
		_, offset := t.Zone()
		at := max(clock-int64(offset), t.Unix()) // t is after a gap if that is later
		_, end := t.ZoneBounds()
		if !end.IsZero() && !end.After(t) {
			// On the last day of a leap year, the end can be its beginning (golang/go#81583).
			// The true one is not on this day.
			const day = secondsOfDay * time.Second
			end = t.Truncate(day).Add(day)
		}
		if end.IsZero() || at < end.Unix() {
			return time.Unix(at, 0).UTC()
		}
		t = end
	}
}
