package calendar_test

import (
	"testing"
	"time"

	"example.com/atm/vault/calendar"
)

func TestNumbersAreEqualExactlyWithinAPeriod(t *testing.T) {
	for _, tt := range []struct {
		period calendar.Period
		zone   string
		a, b   string
		same   bool
	}{
		{calendar.Day, "", "2026-12-01T00:00:00Z", "2026-12-01T23:59:59.999Z", true},
		{calendar.Day, "", "2026-12-01T23:59:59.999Z", "2026-12-02T00:00:00Z", false},
		{calendar.Day, "Asia/Tokyo", "2026-12-01T14:59:59Z", "2026-12-01T15:00:00Z", false},
		{calendar.Day, "Europe/Atlantis", "2026-12-01T00:00:00Z", "2026-12-01T23:00:00Z", true},
		{calendar.Week, "", "2026-11-29T23:59:59Z", "2026-11-30T00:00:00Z", false}, // a Monday
		{calendar.Week, "", "2026-11-30T00:00:00Z", "2026-12-06T23:59:59Z", true},
		{calendar.Week, "", "2026-12-31T12:00:00Z", "2027-01-03T12:00:00Z", true}, // 2026-W53
		{calendar.Week, "", "2027-01-03T12:00:00Z", "2027-01-04T12:00:00Z", false},
		{calendar.Week, "", "1969-12-29T00:00:00Z", "1970-01-04T00:00:00Z", true},
		{calendar.Month, "", "2026-12-01T00:00:00Z", "2026-12-31T23:59:59Z", true},
		{calendar.Month, "", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z", false},
		{calendar.Month, "", "2025-12-10T00:00:00Z", "2026-12-10T00:00:00Z", false},
		{calendar.Month, "America/New_York", "2026-12-01T04:59:59Z", "2026-12-01T05:00:00Z", false},
		{0, "", "1970-01-01T00:00:00Z", "2026-12-01T00:00:00Z", true},
	} {
		var at [2]time.Time
		for i, text := range []string{tt.a, tt.b} {
			var err error
			if at[i], err = time.Parse(time.RFC3339, text); err != nil {
				t.Fatal(err)
			}
		}
		first, second := tt.period.Number(at[0], tt.zone), tt.period.Number(at[1], tt.zone)
		if (first == second) != tt.same || second-first > 1 && tt.a[:4] != "2025" {
			t.Errorf("%s in %q: %s is number %d, and %s is %d, want the same: %v", tt.period,
				tt.zone, tt.a, first, tt.b, second, tt.same)
		}
	}
}

func TestWeeksAreThoseOfISO8601(t *testing.T) {
	day := time.Date(1969, 12, 22, 0, 0, 0, 0, time.UTC)
	number := calendar.Week.Number(day, "")
	for at := day; at.Year() < 2201; at = at.AddDate(0, 0, 1) {
		if at.Weekday() == time.Monday && at != day {
			number++
		}
		if got := calendar.Week.Number(at, ""); got != number {
			t.Fatalf("%v is in week %d, want %d", at, got, number)
		}
	}
}

func TestPeriodsAreReadAsTheyAreWritten(t *testing.T) {
	for period, text := range map[calendar.Period]string{
		calendar.Day: "day", calendar.Week: "week", calendar.Month: "month",
	} {
		if got, ok := calendar.ParsePeriod(text); !ok || got != period || period.String() != text {
			t.Errorf("%q is period %d, %v, want %d", text, got, ok, period)
		}
	}
	for _, text := range []string{"", "Day", "days", "year", " day"} {
		if got, ok := calendar.ParsePeriod(text); ok {
			t.Errorf("%q is period %v", text, got)
		}
	}
	if none, unknown := calendar.Period(0), calendar.Period(4); none.String()+unknown.String() != "" {
		t.Errorf("periods that there are not are called %q and %q", none, unknown)
	}
}

func TestDatesAreThoseOfTheGregorianCalendar(t *testing.T) {
	at := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	for d := calendar.Date(1); d < 3_652_060; d++ {
		if year, month, day := d.Civil(); year != at.Year() || month != at.Month() ||
			day != at.Day() || calendar.NewDate(at.Date()) != d || calendar.DateOf(at, "") != d {
			t.Fatalf("day %d is %d-%d-%d, want %v", d, year, month, day, at)
		}
		at = at.AddDate(0, 0, 1)
	}
	if calendar.NewDate(at.Date()) != 0 || calendar.DateOf(at, "") != 3_652_059 {
		t.Errorf("the year 10000 has dates")
	}
	if at = time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC); calendar.NewDate(at.Date()) != 0 ||
		calendar.DateOf(at, "") != 1 {
		t.Errorf("the year 0 has dates")
	}
}

func TestDayIsFromItsFirstInstantToThatOfTheNext(t *testing.T) {
	for _, tt := range []struct{ date, zone, begin, end string }{
		{"2026-12-01", "", "2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z"},
		{"2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"2026-10-25", "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"2026-09-05", "America/Santiago", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z"},
		{"2026-09-06", "America/Santiago", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		{"2026-04-04", "America/Santiago", "2026-04-04T03:00:00Z", "2026-04-05T04:00:00Z"},
		{"2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"9999-12-31", "", "9999-12-31T00:00:00Z", "10000-01-01T00:00:00Z"},
	} {
		d := date(t, tt.date)
		begin, end := d.Begin(tt.zone), d.End(tt.zone)
		if begin.Format(time.RFC3339) != tt.begin || end.Format(time.RFC3339) != tt.end {
			t.Errorf("%s in %q is from %v to %v, want %s to %s", tt.date, tt.zone, begin, end,
				tt.begin, tt.end)
		}
	}
}

func TestParsersReadOneFormAlone(t *testing.T) {
	for text, want := range map[string]int{
		"00:00": 0, "09:05": 545, "23:59": 1439, "24:00": -1, "9:00": -1, "12:60": -1, "12": -1,
		"": -1, "12:00:00": -1, "+1:00": -1, "12:-1": -1, "１２:00": -1,
	} {
		got, ok := calendar.ParseTimeOfDay(text)
		if ok != (want >= 0) || ok && (got != want || calendar.FormatTimeOfDay(got) != text) {
			t.Errorf("time of day %q is %d, %v, want %d", text, got, ok, want)
		}
	}
	for text, ok := range map[string]bool{
		"2026-12-01": true, "2024-02-29": true, "0001-01-01": true, "9999-12-31": true,
		"2026-02-29": false, "2026-13-01": false, "0000-12-31": false, "26-12-01": false,
		"2026-12-1": false, "2026-12-01T00:00:00Z": false, "": false, " 2026-12-01": false,
	} {
		got, parsed := calendar.ParseDate(text)
		if parsed != ok || ok && got.String() != text || !ok && got != 0 {
			t.Errorf("date %q is %q, %v, want %v", text, got, parsed, ok)
		}
	}
	if none := calendar.Date(0); none.String() != "" {
		t.Errorf("no date is written as %q", none)
	}
	const day, week, month = calendar.Day, calendar.Week, calendar.Month
	for _, tt := range []struct {
		period calendar.Period
		text   string
		want   int // -1 if it is refused
	}{
		{day, "", 0},
		{day, "1", -1},
		{day, "monday", -1},
		{week, "1", 1},
		{week, "7", 7},
		{week, "0", -1},
		{week, "8", -1},
		{week, "", -1},
		{week, "monday", 1},
		{week, "Tue", 2},
		{week, "WEDNESDAY", 3},
		{week, "sUN", 7},
		{week, "mo", -1},
		{week, "\u017fun", -1},
		{week, "sunda", -1},
		{week, "-1", -1},
		{month, "1", 1},
		{month, "31", 31},
		{month, "09", 9},
		{month, "32", -1},
		{month, "0", -1},
		{month, "", -1},
		{month, "mon", -1},
		{month, "+1", -1},
		{month, "001", -1},
		{0, "", -1},
		{0, "1", -1},
	} {
		got, ok := calendar.ParseOn(tt.period, tt.text)
		if ok != (tt.want >= 0) || ok && got != tt.want {
			t.Errorf("day %q of a %s is %d, %v, want %d", tt.text, tt.period, got, ok, tt.want)
		}
	}
}

func FuzzParsers(f *testing.F) {
	for _, text := range []string{"09:30", "2026-12-01", "monday", "31", "week", "", "-1:00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if minutes, ok := calendar.ParseTimeOfDay(text); ok &&
			(minutes < 0 || minutes >= 24*60 || calendar.FormatTimeOfDay(minutes) != text) {
			t.Errorf("time of day %q is %d", text, minutes)
		}
		if d, ok := calendar.ParseDate(text); ok && (d <= 0 || d.String() != text) {
			t.Errorf("date %q is %q", text, d)
		}
		if p, ok := calendar.ParsePeriod(text); ok && p.String() != text {
			t.Errorf("period %q is %q", text, p)
		}
		for p := calendar.Day; p <= calendar.Month; p++ {
			if on, ok := calendar.ParseOn(p, text); ok &&
				!(calendar.Schedule{Every: p, On: on}).Valid() {
				t.Errorf("day %q of a %s is %d, which no schedule has", text, p, on)
			}
		}
	})
}
