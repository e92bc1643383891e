package calendar

import (
	"time"

	"example.com/atm/vault/zone"
)

// A Date is a day of the years 1 to 9999, counted from 1 January of the year 1, which is 1: dates
// compare by < and ==, and date+1 is the day after. The zero Date is none.
type Date int32

const (
	epoch    Date = 719_163   // 1970-01-01
	lastDate Date = 3_652_059 // 9999-12-31

	secondsOfDay = 24 * 60 * 60
)

// NewDate is a date of the Gregorian calendar. As in time.Date, 32 March is 1 April. A date
// before the year 1 or after 9999 is the zero Date.
func NewDate(year int, month time.Month, day int) Date {
	date := civil(year, month, day)
	if date < 1 || date > int64(lastDate) {
		return 0
	}
	return Date(date)
}

// civil is NewDate without its bounds.
func civil(year int, month time.Month, day int) int64 {
	seconds := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix()
	return seconds/secondsOfDay + int64(epoch)
}

// DateOf is the day of t by the calendar of a zone. What is before the year 1 is its first day,
// and what is after 9999 its last.
func DateOf(t time.Time, name string) Date {
	year, month, day := t.In(zone.Location(name)).Date()
	switch {
	case year < 1:
		return 1
	case year > 9999:
		return lastDate
	}
	return NewDate(year, month, day)
}

// ParseDate reads a date such as 2026-12-01.
func ParseDate(text string) (Date, bool) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, false
	}
	date := NewDate(t.Date())
	return date, date != 0
}

// String returns a date as ParseDate reads it, and "" for the zero Date.
func (d Date) String() string {
	if d == 0 {
		return ""
	}
	return d.midnight().Format(time.DateOnly)
}

// Civil returns year, month and day of the month.
func (d Date) Civil() (year int, month time.Month, day int) { return d.midnight().Date() }

// Begin is the first instant of the day in a zone. A day that the zone skipped begins and ends at
// the same instant.
func (d Date) Begin(zone string) time.Time { return first(d.at(0), zone) }

// End is the first instant of the next day in a zone.
func (d Date) End(zone string) time.Time { return first((d + 1).at(0), zone) }

func (d Date) sinceEpoch() int64 { return int64(d - epoch) }

// at is a time of the day as seconds since 1970, if the zone were UTC.
func (d Date) at(minute int) int64 { return d.sinceEpoch()*secondsOfDay + int64(minute)*60 }

func (d Date) midnight() time.Time { return time.Unix(d.at(0), 0).UTC() }
