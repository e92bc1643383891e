package calendar

import (
	"fmt"
	"strings"
	"time"
)

// ParseTimeOfDay reads a time of day, from 00:00 to 23:59, as minutes after midnight.
func ParseTimeOfDay(text string) (minutes int, ok bool) {
	hour, minute, found := strings.Cut(text, ":")
	if !found || len(hour) != 2 || len(minute) != 2 {
		return 0, false
	}
	h, isHour := digits(hour)
	m, isMinute := digits(minute)
	if !isHour || !isMinute || h > 23 || m > 59 {
		return 0, false
	}
	return h*60 + m, true
}

// FormatTimeOfDay writes what ParseTimeOfDay reads.
func FormatTimeOfDay(minutes int) string {
	return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60)
}

// ParseOn reads the day of a week or month: digits, and for a week also the English name of the
// day or its first three letters. A day has nothing but "".
func ParseOn(p Period, text string) (on int, ok bool) {
	if p == Day {
		return 0, text == ""
	}
	if p == Week {
		for day := time.Sunday; day <= time.Saturday; day++ {
			name := strings.ToLower(day.String())
			if lower := strings.ToLower(text); lower == name || lower == name[:3] {
				return (int(day)+6)%7 + 1, true
			}
		}
	}
	on, ok = digits(text)
	if !ok || !p.allows(on) {
		return 0, false
	}
	return on, true
}

// digits reads one or two decimal digits.
func digits(text string) (number int, ok bool) {
	if text == "" || len(text) > 2 {
		return 0, false
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
		number = number*10 + int(c-'0')
	}
	return number, true
}
