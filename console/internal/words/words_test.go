package words_test

import (
	"testing"

	"example.com/atm/audit"
	"example.com/atm/console/internal/words"
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
		if got := words.Sentence(in); got != want {
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
		if got := words.Label(tt.name); got != tt.label {
			t.Errorf("%s is labelled %q, want %q", tt.name, got, tt.label)
		}
		if got := words.Argument(audit.Arg{Name: tt.name, Value: tt.value}); got != tt.want {
			t.Errorf("%s %s is shown as %q, want %q", tt.name, tt.value, got, tt.want)
		}
	}
}
