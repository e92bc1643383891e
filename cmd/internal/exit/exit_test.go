package exit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
)

// A sentence of a server is printed on one line without control characters, so it cannot look
// like a line of the program.
func TestSentencesOfAServerStayOneLine(t *testing.T) {
	const evil = "no\x1b[2J\nverified: 9 entries\r\u009b2J\u202e\u2028"
	for _, err := range []error{
		&client.FaultError{Code: -32602, Text: evil},
		&client.HTTPError{StatusCode: 503, Sentence: evil},
		exit.FromAnswer(&client.Answer{Code: atm.AccountNotFound, Reason: evil}),
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

// The code is the server's, or the word for the exit code.
func TestErrorsInJSONHaveOneShape(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{
			exit.FromAnswer(&client.Answer{Code: atm.AccountNotFound, Reason: "Unknown account 7"}),
			`{"error":{"code":"ACCOUNT_NOT_FOUND","reason":"Unknown account 7","exit":3}}`,
		},
		{exit.Usagef("<%s>", "no"), `{"error":{"code":"USAGE","reason":"<no>","exit":2}}`},
		{errors.New("disk full"), `{"error":{"code":"FAILED","reason":"disk full","exit":1}}`},
		{
			client.ErrNoCredentials,
			`{"error":{"code":"NOT_AUTHENTICATED","reason":"there are no credentials","exit":4}}`,
		},
		{
			client.ErrConnect,
			`{"error":{"code":"NO_CONNECTION","reason":"cannot connect","exit":5}}`,
		},
		{
			&client.FaultError{Code: -32601, Text: "no"},
			`{"error":{"code":"FAULT","reason":"no (fault -32601)","exit":3}}`,
		},
		{
			&exit.Error{
				Code: exit.OutcomeUnknown, Err: errors.New("no answer"), Request: "r-1",
				Advice: []string{"Ask again."},
			},
			`{"error":{"code":"OUTCOME_UNKNOWN","reason":"no answer","exit":6,"advice":"Ask again.","request_id":"r-1"}}`,
		},
		{
			&exit.Error{Code: 12, Err: errors.New("differs")},
			`{"error":{"code":"CONTENT_DIFFERS","reason":"differs","exit":12}}`,
		},
	} {
		var b bytes.Buffer
		exit.Report(&b, "atmctl", exit.FromClient(tt.err), true)
		if got := strings.TrimSpace(b.String()); got != tt.want {
			t.Errorf("%v is printed as %s, want %s", tt.err, got, tt.want)
		}
	}
}

func isOneLine(s string) bool {
	return strings.Count(s, "\n") == 1 && !strings.ContainsAny(s, "\x1b\r\u009b\u202e\u2028")
}

func TestAdviceHasLinesOfItsOwn(t *testing.T) {
	var b bytes.Buffer
	err := &exit.Error{
		Code: exit.OutcomeUnknown, Err: errors.New("the outcome is unknown"),
		Advice: []string{"Ask again."},
	}
	if code := exit.Report(&b, "atmclient", err, false); code != exit.OutcomeUnknown {
		t.Errorf("exit code %d", code)
	}
	if got, want := b.String(), "atmclient: the outcome is unknown\nAsk again.\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}
