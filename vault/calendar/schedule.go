package calendar

import (
	"time"

	"example.com/atm/vault/zone"
)

// A Schedule says when a standing order is due. Schedules compare by ==.
type Schedule struct {
	Every Period
	On    int    // Week: 1 Monday to 7 Sunday. Month: day 1 to 31. Day: 0
	At    int    // minutes after midnight
	Zone  string // IANA; "" is UTC
	From  Date   // the first day on which it may be due; the zero Date for none
	Until Date   // the last one, inclusive; the zero Date for none
}

// minutesOfDay is one more than At can be.
const minutesOfDay = 24 * 60

// Valid reports whether each field is in its bounds and the zone is known. A valid schedule may
// still never be due, as one that ends before it begins.
func (s Schedule) Valid() bool {
	inDate := func(d Date) bool { return d >= 0 && d <= lastDate }
	return s.Every.allows(s.On) && s.At >= 0 && s.At < minutesOfDay && zone.Known(s.Zone) &&
		inDate(s.From) && inDate(s.Until)
}

// allows reports whether a schedule of this period can have this On.
func (p Period) allows(on int) bool {
	switch p {
	case Day:
		return on == 0
	case Week:
		return on >= 1 && on <= 7
	case Month:
		return on >= 1 && on <= 31
	}
	return false
}

// Next is the first instant after t at which s is due, in UTC, and the zero time if there is none
// or s is not Valid.
//
// Zones are less than a day from UTC. So what is due after t is no earlier than the day before
// it, and at most the fifth date is after t.
func (s Schedule) Next(t time.Time) time.Time {
	if !s.Valid() || t.UTC().Year() > 9999 {
		return time.Time{}
	}
	until := s.Until
	if until == 0 {
		until = lastDate
	}
	for date := s.onOrAfter(max(s.From, DateOf(t, "")-2, 1)); date <= until; {
		if due := first(date.at(s.At), s.Zone); due.After(t) {
			return due
		}
		date = s.onOrAfter(date + 1)
	}
	return time.Time{}
}

// Following is when s is due after the instant due, at which it was due before.
//
// That is Next, unless a zone has changed since due was worked out: the same day may then be due
// again, an hour later. So what is due within zoneMoves is the same due date, and not another one.
func (s Schedule) Following(due time.Time) time.Time { return s.Next(due.Add(zoneMoves)) }

// zoneMoves is more than a government moves its clock by when it gives up daylight saving or
// takes another offset. Due dates of one schedule are further apart, but for a day that a calendar
// skips.
const zoneMoves = 3 * time.Hour

// onOrAfter is the first date of the schedule from this one on, without From and Until.
func (s Schedule) onOrAfter(date Date) Date {
	switch s.Every {
	case Week:
		weekday := int(date-1)%7 + 1
		return date + Date((s.On-weekday+7)%7)
	case Month:
		year, month, _ := date.Civil()
		for {
			// Day 0 of the next month is the last one of this month.
			_, _, last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Date()
			if day := Date(civil(year, month, min(s.On, last))); day >= date {
				return day
			}
			month++
		}
	}
	return date
}

// Later is the instant some calendar days after the instant due, at the time of day of s: when
// what lacked funds is tried again. For no days it is due itself.
func (s Schedule) Later(due time.Time, days int) time.Time {
	if days == 0 {
		return due.UTC()
	}
	return first((DateOf(due, s.Zone) + Date(days)).at(s.At), s.Zone)
}
