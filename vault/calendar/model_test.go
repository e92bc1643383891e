package calendar_test

import (
	"archive/zip"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/atm/vault/calendar"
)

// zones are all time zones of the IANA database that comes with Go.
func zones(t *testing.T) (all []*time.Location) {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output() // -trimpath leaves it out
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)),
		"lib/time/zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, file := range archive.File {
		if strings.HasSuffix(file.Name, "/") {
			continue
		}
		location, err := time.LoadLocation(file.Name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, location)
	}
	if len(all) < 500 {
		t.Fatalf("there are only %d time zones", len(all))
	}
	return all
}

// shows is what the clock of a zone shows at t, as the seconds since 1970 of the same reading in
// UTC.
func shows(t time.Time, zone *time.Location) int64 {
	_, offset := t.In(zone).Zone()
	return t.Unix() + int64(offset)
}

// slowFirst finds the first instant at which the clock shows this day and time or a later one, as
// somebody with a watch would: it looks every 30 seconds. No zone changed its clock at other
// seconds since 1970.
func slowFirst(day time.Time, minutes int, zone *time.Location) time.Time {
	want := day.Unix() + int64(minutes)*60
	t := time.Unix(want, 0).Add(-16 * time.Hour).UTC()
	for shows(t, zone) < want {
		t = t.Add(30 * time.Second)
	}
	return t
}

// slowNext looks at one day after the other.
func slowNext(s calendar.Schedule, zone *time.Location, after time.Time) time.Time {
	year, month, date := after.UTC().Date()
	day := time.Date(year, month, date-3, 0, 0, 0, 0, time.UTC)
	if from := s.From.String(); from > day.Format(time.DateOnly) {
		day, _ = time.Parse(time.DateOnly, from)
	}
	for range 100 {
		due := false
		switch lastOfMonth := day.AddDate(0, 0, 1).Day() == 1; s.Every {
		case calendar.Day:
			due = true
		case calendar.Week:
			due = day.Weekday() == time.Weekday(s.On%7)
		case calendar.Month:
			due = day.Day() == s.On || lastOfMonth && day.Day() < s.On
		}
		if until := s.Until.String(); until != "" && day.Format(time.DateOnly) > until {
			break
		}
		if due {
			if at := slowFirst(day, s.At, zone); at.After(after) {
				return at
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}
}

func TestNextIsWhatLookingAtEachDayFinds(t *testing.T) {
	all := zones(t)
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(all).Draw(t, "zone")
		at := time.Unix(rapid.Int64Range(0, 7_289_654_399).Draw(t, "after"), 0) // 1970 to 2200
		if near := changes(zone); len(near) > 0 && rapid.Bool().Draw(t, "near a change") {
			at = rapid.SampledFrom(near).Draw(t, "change")
			at = at.AddDate(0, 0, rapid.IntRange(-3, 1).Draw(t, "days from it"))
		}
		s := calendar.Schedule{
			Every: rapid.SampledFrom([]calendar.Period{
				calendar.Day, calendar.Week, calendar.Month,
			}).Draw(t, "every"),
			At:   rapid.IntRange(0, 24*60-1).Draw(t, "at"),
			Zone: zone.String(),
		}
		switch s.Every {
		case calendar.Week:
			s.On = rapid.IntRange(1, 7).Draw(t, "on")
		case calendar.Month:
			s.On = rapid.IntRange(1, 31).Draw(t, "on")
		}
		bound := rapid.IntRange(-20, 70)
		if rapid.Bool().Draw(t, "has from") {
			s.From = calendar.DateOf(at, s.Zone) + calendar.Date(bound.Draw(t, "from"))
		}
		if rapid.Bool().Draw(t, "has until") {
			s.Until = calendar.DateOf(at, s.Zone) + calendar.Date(bound.Draw(t, "until"))
		}
		for range 4 {
			got, want := s.Next(at), slowNext(s, zone, at)
			if got != want {
				t.Fatalf("after %v it is due at %v, want %v", at.In(zone), got.In(zone),
					want.In(zone))
			}
			if got.IsZero() {
				return
			}
			at = got
		}
	})
}

// soak is 1 with ATM_SOAK, and stride without: one case of so many is tried then.
func soak(stride int) int {
	if os.Getenv("ATM_SOAK") != "" {
		return 1
	}
	return stride
}

// changes finds when a zone changed its clock, from 1970 to 2040.
func changes(zone *time.Location) (all []time.Time) {
	offset := func(unix int64) int64 { return shows(time.Unix(unix, 0), zone) - unix }
	for day := int64(0); day < 2_240_524_800; day += secondsOfDay {
		before := offset(day)
		if offset(day+secondsOfDay) == before {
			continue
		}
		second := sort.Search(secondsOfDay, func(n int) bool {
			return offset(day+int64(n)) != before
		})
		all = append(all, time.Unix(day+int64(second), 0).UTC())
	}
	return all
}

// TestEachChangeOfEachClockIsHandled looks at the days around the changes of all zones from 1970
// to 2040: at each with ATM_SOAK, and at some of them without.
func TestEachChangeOfEachClockIsHandled(t *testing.T) {
	seen, stride := 0, soak(61)
	for _, zone := range zones(t) {
		for _, at := range changes(zone) {
			if seen++; seen%stride != 0 {
				continue
			}
			before, after := shows(at.Add(-1), zone)+1, shows(at, zone)
			for _, shown := range []int64{before - 60, before, (before + after) / 2, after} {
				minutes := int(shown % secondsOfDay / 60)
				s := calendar.Schedule{Every: calendar.Day, At: minutes, Zone: zone.String()}
				due := at.Add(-12 * time.Hour)
				for range 2 {
					want := slowNext(s, zone, due)
					if got := s.Next(due); got != want {
						t.Fatalf("in %v at %s, after %v: due at %v, want %v", zone,
							calendar.FormatTimeOfDay(minutes), due, got, want)
					}
					due = want
				}
			}
		}
	}
	if seen < 10_000 {
		t.Fatalf("saw only %d changes", seen)
	}
}

const secondsOfDay = 24 * 60 * 60

// TestDueDatesAndDaysOnlyGoForward takes zones through 231 years, a month at a time.
func TestDueDatesAndDaysOnlyGoForward(t *testing.T) {
	const first, last = "1970-01-01", "2200-12-31"
	stride := soak(5)
	for i, zone := range zones(t) {
		if i%stride != 0 {
			continue
		}
		name := zone.String()
		s := calendar.Schedule{
			Every: calendar.Month, On: 1 + i%31, At: i * 37 % (24 * 60), Zone: name,
			From: date(t, first), Until: date(t, last),
		}
		count, previous := 0, time.Time{}
		for due := s.Next(previous); !due.IsZero(); due = s.Next(due) {
			if !due.After(previous) {
				t.Fatalf("%s: %v is due after %v", name, due, previous)
			}
			for days := 1; days <= 3; days++ {
				if later := s.Later(due, days); !later.After(s.Later(due, days-1)) {
					t.Fatalf("%s: %d days after %v is %v", name, days, due, later)
				}
			}
			if day := calendar.DateOf(due, name); due.Before(day.Begin(name)) ||
				!due.Before(day.End(name)) || day.End(name) != (day+1).Begin(name) {
				t.Fatalf("%s: %v is outside of %v, from %v to %v", name, due, day,
					day.Begin(name), day.End(name))
			}
			count, previous = count+1, due
		}
		if want := 231 * 12; count != want {
			t.Errorf("%s: due %d times, want %d", name, count, want)
		}
	}
}
