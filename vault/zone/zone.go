// Package zone is the calendars of time zones, for rules, which do no input. A machine's own time
// zone files come before those in the program.
package zone

import (
	"path"
	"sync"
	"time"
	_ "time/tzdata" // for machines without time zone files
)

// zones keeps the time zones that have been read.
var zones sync.Map // string → *time.Location

// Known reports whether there is a time zone of this name in the IANA database.
func Known(name string) bool { return name != "Local" && of(name) != nil }

// of returns a time zone, and nil when there is none of this name.
func of(name string) *time.Location {
	if known, ok := zones.Load(name); ok {
		return known.(*time.Location)
	}
	// A machine with zone files would find one under any number of paths, such as
	// Europe/./Berlin. All of them would be kept, and another machine would not know them.
	if name != "" && path.Clean(name) != name {
		return nil
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	zones.Store(name, location)
	return location
}

// Location is the time zone of this name, and UTC when it is not Known.
func Location(name string) *time.Location {
	if location := of(name); location != nil && name != "Local" {
		return location
	}
	return time.UTC
}

// Day is the day of t by the calendar of a zone, since 1970.
func Day(t time.Time, name string) int64 {
	year, month, date := t.In(Location(name)).Date()
	return time.Date(year, month, date, 0, 0, 0, 0, time.UTC).Unix() / (24 * 60 * 60)
}
