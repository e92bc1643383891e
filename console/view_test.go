package console

import (
	"net/url"
	"testing"
	"time"

	"example.com/atm/audit"
)

// TestSentencesKeepIdentifiersAsTheyAreWritten makes sentences of errors.
func TestSentencesKeepIdentifiersAsTheyAreWritten(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "",
		"insufficient Funds":          "Insufficient Funds.",
		"user:operator is there":      "user:operator is there.",
		"per_operation is no amount":  "per_operation is no amount.",
		"émile is no name of a grant": "Émile is no name of a grant.",
	} {
		if got := sentence(in); got != want {
			t.Errorf("%q is the sentence %q, want %q", in, got, want)
		}
	}
}

// TestArgumentsAreLabelledForPeople writes arguments as a slip does.
func TestArgumentsAreLabelledForPeople(t *testing.T) {
	for _, tt := range []struct{ name, value, label, want string }{
		{"amount", "1609.00", "Amount", "$1,609.00"},
		{"amount", "many", "Amount", "many"}, // as it was refused
		{"per_operation", "none", "Per operation", "none"},
		{"account", "100", "Account", "100"},
	} {
		if got := label(tt.name); got != tt.label {
			t.Errorf("%s is labelled %q, want %q", tt.name, got, tt.label)
		}
		if got := argument(audit.Arg{Name: tt.name, Value: tt.value}); got != tt.want {
			t.Errorf("%s %s is shown as %q, want %q", tt.name, tt.value, got, tt.want)
		}
	}
}

// TestFilterSaysWhichTimesItTakes gives the filter of the log times, and what is none.
func TestFilterSaysWhichTimesItTakes(t *testing.T) {
	const takes = " is a day such as 2026-01-31, a time such as 2026-01-31T12:00:00Z, or how " +
		"long ago, such as 24h."
	for query, want := range map[string]string{
		"since=24h&until=2026-01-31": "", "since=2026-01-31T12:00:00Z": "", "": "",
		"since=soon": "Since" + takes, "until=-24h": "Until" + takes,
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if f := filterOf(values, time.Now()); f.wrong != want {
			t.Errorf("%s: %q, want %q", query, f.wrong, want)
		}
	}
}
