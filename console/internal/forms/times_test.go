package forms_test

import (
	"net/url"
	"testing"

	"example.com/atm/console/internal/forms"
)

// TestDaysTimesAndZonesAreReadAsPeopleWriteThem types them into the form of a standing order.
func TestDaysTimesAndZonesAreReadAsPeopleWriteThem(t *testing.T) {
	for _, tt := range []struct{ field, typed, want string }{ // nothing is wanted of what is none
		{"from", "2027-01-31", "2027-01-31"},
		{"from", "31.1.2027", "2027-01-31"},
		{"from", "31.01.2027", "2027-01-31"},
		{"from", "31. January 2027", "2027-01-31"},
		{"from", "31 jan 2027", "2027-01-31"},
		{"from", "  January   31, 2027 ", "2027-01-31"},
		{"from", "1/2/2027", ""}, // 1 February, or 2 January
		{"from", "31.1.27", ""},
		{"from", "30 February 2027", ""},
		{"from", "tomorrow", ""},
		{"at", "06:30", "06:30"},
		{"at", "6:30", "06:30"},
		{"at", "18.30", "18:30"},
		{"at", "6:30 pm", "18:30"},
		{"at", "6 PM", "18:00"},
		{"at", "12am", "00:00"},
		{"at", "24:00", ""},
		{"at", "half past six", ""},
		{"zone", "Europe/Zurich", "Europe/Zurich"},
		{"zone", "europe/zurich", "Europe/Zurich"},
		{"zone", "america/new york", "America/New_York"},
		{"zone", "Europe/Isle_of_Man", "Europe/Isle_of_Man"},
		{"zone", "utc", "UTC"},
		{"zone", "../etc/passwd", ""},
		{"on", "1st", "1"},
		{"on", "22nd", "22"},
		{"on", "3.", "3"},
		{"on", "Last day", "31"},
		{"on", "0", ""},
		{"on", "32", ""},
		{"on", "moonday", ""},
	} {
		values, problems := forms.At("orders/give").Values(url.Values{
			tt.field: {tt.typed}, "every": {"month"},
		})
		switch problem := problems[tt.field]; {
		case tt.want == "" && problem == "":
			t.Errorf("%s %q is read as %q", tt.field, tt.typed, values.Get(tt.field))
		case tt.want != "" && (problem != "" || values.Get(tt.field) != tt.want):
			t.Errorf("%s %q is read as %q: %s", tt.field, tt.typed, values.Get(tt.field), problem)
		}
	}
}
