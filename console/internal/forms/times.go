package forms

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// dayForms are the forms in which people write a day. 1/2/2027 is not among them: it is another
// day in another country.
var dayForms = []string{
	time.DateOnly, "2.1.2006", "2. January 2006", "2 January 2006", "2 Jan 2006",
	"January 2, 2006", "Jan 2, 2006",
}

// clockForms are those of a time of the day, in capital letters.
var clockForms = []string{"15:04", "15.04", "3:04PM", "3:04 PM", "3PM", "3 PM"}

// plainTime is what was typed into a field of a kind, as the protocol has it. What is none stays
// as it was typed.
func plainTime(kind Kind, written string) string {
	written = strings.Join(strings.Fields(written), " ")
	switch kind {
	case Date:
		return inForm(written, dayForms, time.DateOnly)
	case Clock:
		return inForm(strings.ToUpper(written), clockForms, "15:04")
	case Zone:
		return plainZone(written)
	case DueDay:
		return plainDueDay(strings.ToLower(written))
	}
	return written
}

func inForm(written string, forms []string, want string) string {
	for _, form := range forms {
		if t, err := time.Parse(form, written); err == nil {
			return t.Format(want)
		}
	}
	return written
}

// plainZone writes a zone as it is named: europe/zurich is Europe/Zurich.
func plainZone(written string) string {
	written = strings.ReplaceAll(written, " ", "_")
	if !strings.Contains(written, "/") || written != strings.ToLower(written) {
		return strings.Replace(written, "utc", "UTC", 1)
	}
	begins := true
	return strings.Map(func(r rune) rune {
		if begins {
			r = unicode.ToUpper(r)
		}
		begins = r == '/' || r == '_'
		return r
	}, written)
}

// last is what people call the last day of a month, and lastDay what it is.
const (
	last    = "last"
	lastDay = "31"
)

var ordinal = regexp.MustCompile(`^([0-9]{1,2})(\.|st|nd|rd|th)$`)

func plainDueDay(written string) string {
	if written == last || written == last+" day" {
		return lastDay
	}
	return ordinal.ReplaceAllString(written, "$1")
}

// weekday is the name of a day of the week, of which the first three letters are enough; empty for
// none.
func weekday(written string) string {
	for day := time.Sunday; day <= time.Saturday; day++ {
		name := day.String()
		if lower := strings.ToLower(name); written == lower || written == lower[:3] {
			return name
		}
	}
	return ""
}

var zoneName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$`)

// checkTime says what is wrong with a day, a time, a zone or a due day.
func checkTime(kind Kind, value string) string {
	switch kind {
	case Date:
		if _, err := time.Parse(time.DateOnly, value); err != nil {
			return "A day is written like 2027-01-31, 31.1.2027 or 31 January 2027."
		}
	case Clock:
		if _, err := time.Parse("15:04", value); err != nil {
			return "A time of the day is written like 06:30 or 6:30 pm."
		}
	case Zone:
		if !zoneName.MatchString(value) {
			return "A time zone is named like Europe/Zurich."
		}
	case DueDay:
		day, err := strconv.Atoi(value)
		if (err != nil || day < 1 || day > 31) && weekday(value) == "" {
			return "This is a day of the month, 1 to 31, or of the week, such as Monday."
		}
	}
	return ""
}

// dayInWords writes a day as people read it everywhere: 31 January 2027.
func dayInWords(day string) string {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return day
	}
	return t.Format("2 January 2006")
}

// dueDays says when something is due that is due every day, week or month.
func dueDays(every, on string) string {
	name := weekday(on)
	if day, err := strconv.Atoi(on); err == nil && every == "week" && day >= 1 && day <= 7 {
		name = time.Weekday(day % 7).String() // Monday is 1
	}
	switch {
	case every == "week":
		return "every " + name
	case every == "month" && on == lastDay:
		return "on the last day of every month"
	case every == "month":
		return "on day " + on + " of every month"
	}
	return "every day"
}

// checkDueDay finds a due day that its period does not have.
func checkDueDay(every, on string) string {
	_, err := strconv.Atoi(on)
	switch {
	case every == "day" && on != "":
		return "Leave this empty: it is every day."
	case every == "week" && on == "":
		return "Say on which day of the week."
	case every == "week" && err == nil && (len(on) > 1 || on > "7"):
		return "A week has the days Monday to Sunday."
	case every == "month" && on == "":
		return "Say on which day of the month, 1 to 31."
	case every == "month" && err != nil:
		return "A day of a month is 1 to 31."
	}
	return ""
}
