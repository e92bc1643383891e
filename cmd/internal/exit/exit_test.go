package exit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
)

// TestSentencesOfAServerStayOneLine: whatever a server says, a terminal does not obey it, and
// it looks like no line of the program's.
func TestSentencesOfAServerStayOneLine(t *testing.T) {
	const evil = "no\x1b[2J\nverified: 9 entries\r\u009b2J\u202e\u2028"
	for _, err := range []error{
		&client.FaultError{Code: -32602, Text: evil},
		&client.HTTPError{StatusCode: 503, Sentence: evil},
		&exit.Error{Code: exit.Refused, Err: errors.New("Error from ATM Server: " + evil), Plain: true},
		errors.Join(errors.New(evil), errors.New("and this")),
	} {
		var b bytes.Buffer
		exit.Report(&b, "atmctl", exit.FromClient(err), false)
		if got := b.String(); !isOneLine(got) {
			t.Errorf("%T is printed as %q", err, got)
		}
		b.Reset()
		exit.Report(&b, "atmctl", exit.FromClient(err), true)
		if got := b.String(); !isOneLine(got) || !json.Valid(b.Bytes()) {
			t.Errorf("%T is printed as %q in JSON", err, got)
		}
	}
}

func isOneLine(s string) bool {
	return strings.Count(s, "\n") == 1 && !strings.ContainsAny(s, "\x1b\r\u009b\u202e\u2028")
}

func TestAdviceHasLinesOfItsOwn(t *testing.T) {
	var b bytes.Buffer
	err := &exit.Error{Code: exit.OutcomeUnknown, Err: errors.New("the outcome is unknown"), Advice: []string{"Ask again."}}
	if code := exit.Report(&b, "atmclient", err, false); code != exit.OutcomeUnknown {
		t.Errorf("exit code %d", code)
	}
	if got, want := b.String(), "atmclient: the outcome is unknown\nAsk again.\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}
