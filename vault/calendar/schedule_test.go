package calendar_test

import (
	"slices"
	"testing"
	"time"

	"example.com/atm/vault/calendar"
)

// clock is how the tables below write instants: in the zone, with its offset from UTC.
const clock = "2006-01-02 15:04 -0700"

func date(t *testing.T, text string) calendar.Date {
	t.Helper()
	d, ok := calendar.ParseDate(text)
	if !ok && text != "" {
		t.Fatalf("%q is no date", text)
	}
	return d
}

func TestOrdersAreDueAsBanksDoIt(t *testing.T) {
	const day, week, month = calendar.Day, calendar.Week, calendar.Month
	for _, tt := range []struct {
		name        string
		every       calendar.Period
		on          int
		at, zone    string
		from, until string
		want        []string
	}{
		{
			"a month without the 31st", month, 31, "09:00", "", "2023-12-31", "2024-06-29",
			[]string{
				"2023-12-31 09:00 +0000", "2024-01-31 09:00 +0000", "2024-02-29 09:00 +0000",
				"2024-03-31 09:00 +0000", "2024-04-30 09:00 +0000", "2024-05-31 09:00 +0000",
			},
		},
		{
			"29 February", month, 29, "00:00", "UTC", "2099-02-01", "2100-03-28",
			[]string{
				"2099-02-28 00:00 +0000", "2099-03-29 00:00 +0000", "2099-04-29 00:00 +0000",
				"2099-05-29 00:00 +0000", "2099-06-29 00:00 +0000", "2099-07-29 00:00 +0000",
				"2099-08-29 00:00 +0000", "2099-09-29 00:00 +0000", "2099-10-29 00:00 +0000",
				"2099-11-29 00:00 +0000", "2099-12-29 00:00 +0000", "2100-01-29 00:00 +0000",
				"2100-02-28 00:00 +0000",
			},
		},
		{
			"the first and the last day are inclusive", week, 7, "23:59", "Europe/Berlin",
			"2026-11-29", "2026-12-06",
			[]string{"2026-11-29 23:59 +0100", "2026-12-06 23:59 +0100"},
		},
		{
			"an end before the beginning", day, 0, "12:00", "", "2026-12-02", "2026-12-01", nil,
		},
		{
			"Berlin in spring", day, 0, "02:30", "Europe/Berlin", "2026-03-28", "2026-03-30",
			[]string{
				"2026-03-28 02:30 +0100", "2026-03-29 03:00 +0200", "2026-03-30 02:30 +0200",
			},
		},
		{
			"Berlin in autumn", day, 0, "02:30", "Europe/Berlin", "2026-10-24", "2026-10-26",
			[]string{
				"2026-10-24 02:30 +0200", "2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100",
			},
		},
		{
			"Berlin at the end of a leap year", day, 0, "23:30", "Europe/Berlin", "2040-12-30",
			"2041-01-01",
			[]string{
				"2040-12-30 23:30 +0100", "2040-12-31 23:30 +0100",
				"2041-01-01 23:30 +0100",
			},
		},
		{
			"New York in spring", week, 7, "02:00", "America/New_York", "2026-03-01",
			"2026-03-15",
			[]string{
				"2026-03-01 02:00 -0500", "2026-03-08 03:00 -0400", "2026-03-15 02:00 -0400",
			},
		},
		{
			"New York in autumn", month, 1, "01:15", "America/New_York", "2026-10-01",
			"2026-12-01",
			[]string{
				"2026-10-01 01:15 -0400", "2026-11-01 01:15 -0400", "2026-12-01 01:15 -0500",
			},
		},
		{
			"Santiago has no midnight in spring", day, 0, "00:00", "America/Santiago",
			"2026-09-05", "2026-09-07",
			[]string{
				"2026-09-05 00:00 -0400", "2026-09-06 01:00 -0300", "2026-09-07 00:00 -0300",
			},
		},
		{
			"Santiago has 23:30 twice in autumn", day, 0, "23:30", "America/Santiago",
			"2026-04-03", "2026-04-05",
			[]string{
				"2026-04-03 23:30 -0300", "2026-04-04 23:30 -0300", "2026-04-05 23:30 -0400",
			},
		},
		{
			"Beirut has no midnight in spring", month, 29, "00:00", "Asia/Beirut", "2026-02-28",
			"2026-04-29",
			[]string{
				"2026-02-28 00:00 +0200", "2026-03-29 01:00 +0300", "2026-04-29 00:00 +0300",
			},
		},
		{
			"Apia skipped a day", day, 0, "09:00", "Pacific/Apia", "2011-12-29", "2011-12-31",
			[]string{
				"2011-12-29 09:00 -1000", "2011-12-31 00:00 +1400", "2011-12-31 09:00 +1400",
			},
		},
		{
			"at midnight Apia's skipped day is due together with the next", day, 0, "00:00",
			"Pacific/Apia", "2011-12-29", "2012-01-01",
			[]string{
				"2011-12-29 00:00 -1000", "2011-12-31 00:00 +1400", "2012-01-01 00:00 +1400",
			},
		},
		{
			"Apia skipped a Friday", week, 5, "12:00", "Pacific/Apia", "2011-12-23",
			"2012-01-06",
			[]string{
				"2011-12-23 12:00 -1000", "2011-12-31 00:00 +1400", "2012-01-06 12:00 +1400",
			},
		},
		{
			"Lord Howe goes forward by half an hour", day, 0, "02:15", "Australia/Lord_Howe",
			"2026-10-03", "2026-10-05",
			[]string{
				"2026-10-03 02:15 +1030", "2026-10-04 02:30 +1100", "2026-10-05 02:15 +1100",
			},
		},
		{
			"Lord Howe goes back by half an hour", day, 0, "01:45", "Australia/Lord_Howe",
			"2026-04-04", "2026-04-06",
			[]string{
				"2026-04-04 01:45 +1100", "2026-04-05 01:45 +1100", "2026-04-06 01:45 +1030",
			},
		},
	} {
		at, _ := calendar.ParseTimeOfDay(tt.at)
		s := calendar.Schedule{
			Every: tt.every, On: tt.on, At: at, Zone: tt.zone,
			From: date(t, tt.from), Until: date(t, tt.until),
		}
		location, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for due := s.Next(time.Time{}); !due.IsZero() && len(got) < 20; due = s.Next(due) {
			got = append(got, due.In(location).Format(clock))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: due at\n%q, want\n%q", tt.name, got, tt.want)
		}
	}
}

func TestNextIsAfterEachInstantBeforeItAndNotItself(t *testing.T) {
	s := calendar.Schedule{Every: calendar.Month, On: 1, At: 8 * 60, Zone: "Europe/Berlin"}
	due := time.Date(2026, 12, 1, 7, 0, 0, 0, time.UTC)
	after := time.Date(2027, 1, 1, 7, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ from, want time.Time }{
		{due.Add(-time.Hour), due},
		{due.Add(-1), due},
		{due, after},
		{due.Add(1), after},
	} {
		got := s.Next(tt.from)
		if got != tt.want {
			t.Errorf("after %v it is due at %v, want %v", tt.from, got, tt.want)
		}
	}
}

func TestScheduleWithoutAnEndIsDueUntil9999(t *testing.T) {
	s := calendar.Schedule{Every: calendar.Month, On: 31}
	last := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	if got := s.Next(last.Add(-1)); got != last {
		t.Errorf("in December 9999 it is due at %v", got)
	}
	for _, after := range []time.Time{last, last.AddDate(1, 0, 0), last.AddDate(1e6, 0, 0)} {
		if got := s.Next(after); !got.IsZero() {
			t.Errorf("after %v it is due at %v", after, got)
		}
	}
}

func TestScheduleOutOfBoundsIsNeverDue(t *testing.T) {
	good := calendar.Schedule{Every: calendar.Week, On: 7, At: 24*60 - 1, Zone: "Asia/Tokyo"}
	if !good.Valid() || good.Next(time.Time{}).IsZero() {
		t.Fatal("a schedule in its bounds is not valid")
	}
	for name, change := range map[string]func(*calendar.Schedule){
		"no period":           func(s *calendar.Schedule) { s.Every = 0 },
		"an unknown period":   func(s *calendar.Schedule) { s.Every = 4 },
		"day 0 of a week":     func(s *calendar.Schedule) { s.On = 0 },
		"day 8 of a week":     func(s *calendar.Schedule) { s.On = 8 },
		"day 0 of a month":    func(s *calendar.Schedule) { s.Every, s.On = calendar.Month, 0 },
		"day 32 of a month":   func(s *calendar.Schedule) { s.Every, s.On = calendar.Month, 32 },
		"a day of a day":      func(s *calendar.Schedule) { s.Every, s.On = calendar.Day, 1 },
		"before midnight":     func(s *calendar.Schedule) { s.At = -1 },
		"24:00":               func(s *calendar.Schedule) { s.At = 24 * 60 },
		"an unknown zone":     func(s *calendar.Schedule) { s.Zone = "Europe/Atlantis" },
		"the machine's zone":  func(s *calendar.Schedule) { s.Zone = "Local" },
		"from before year 1":  func(s *calendar.Schedule) { s.From = -1 },
		"until after 9999":    func(s *calendar.Schedule) { s.Until = 3_652_060 },
		"a zone out of paths": func(s *calendar.Schedule) { s.Zone = "../Europe/Berlin" },
	} {
		s := good
		change(&s)
		if s.Valid() || !s.Next(time.Time{}).IsZero() {
			t.Errorf("%s is valid, and due at %v", name, s.Next(time.Time{}))
		}
	}
}

func TestLaterIsAtTheSameTimeOfDayOnTheNextDays(t *testing.T) {
	for _, tt := range []struct {
		zone, at, due string
		want          []string
	}{
		{
			"Europe/Berlin", "02:30", "2026-03-27T01:30:00Z",
			[]string{
				"2026-03-27T01:30:00Z", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z",
				"2026-03-30T00:30:00Z",
			},
		},
		{
			"Europe/Berlin", "02:30", "2026-03-29T01:00:00Z", // in the gap: at 03:00 in Berlin
			[]string{
				"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z",
				"2026-04-01T00:30:00Z",
			},
		},
		{
			"Europe/Berlin", "02:30", "2026-10-24T00:30:00Z",
			[]string{
				"2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z",
				"2026-10-27T01:30:00Z",
			},
		},
		{
			"", "23:59", "2026-12-31T23:59:00Z",
			[]string{
				"2026-12-31T23:59:00Z", "2027-01-01T23:59:00Z", "2027-01-02T23:59:00Z",
				"2027-01-03T23:59:00Z",
			},
		},
	} {
		at, _ := calendar.ParseTimeOfDay(tt.at)
		s := calendar.Schedule{Every: calendar.Day, At: at, Zone: tt.zone}
		due, err := time.Parse(time.RFC3339, tt.due)
		if err != nil {
			t.Fatal(err)
		}
		for days, want := range tt.want {
			if got := s.Later(due, days).Format(time.RFC3339); got != want {
				t.Errorf("%s: %d days after %s is %s, want %s", tt.zone, days, tt.due, got, want)
			}
		}
	}
}
