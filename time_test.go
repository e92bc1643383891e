package atm_test

import (
	"testing"
	"time"

	"example.com/atm"
)

func TestParseTimeReadsTheFormsOfRFC3339(t *testing.T) {
	for _, tt := range []struct {
		in, want string // want is empty for an error
	}{
		{"2026-05-01T12:30:45Z", "2026-05-01T12:30:45Z"},
		{"2026-05-01t12:30:45z", "2026-05-01T12:30:45Z"},
		{"2026-05-01T12:30:45.25+02:00", "2026-05-01T10:30:45.25Z"},
		{"2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"},
		{"2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.5Z"},
		{"2017-01-01T01:59:60+02:00", "2017-01-01T00:00:00Z"},
		{"0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000001Z"},
		{"9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"},
		{"2026-05-01T12:30:60Z", ""},
		{"2026-05-01T23:59:61Z", ""},
		{"2026-05-01T12:30:45,5Z", ""},
		{"2026-05-01 12:30:45Z", ""},
		{"2026-05-01T12:30:45", ""},
		{"2026-05-01", ""},
		{"2026-02-30T00:00:00Z", ""},
		{"", ""},
	} {
		got, err := atm.ParseTime(tt.in)
		switch {
		case tt.want == "" && err == nil:
			t.Errorf("%q is read as %v", tt.in, got)
		case tt.want != "" && (err != nil || got.UTC().Format(time.RFC3339Nano) != tt.want ||
			got.IsZero()):
			t.Errorf("%q is %v, %v, not %s", tt.in, got, err, tt.want)
		}
	}
}
