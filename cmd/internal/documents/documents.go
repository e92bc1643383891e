// Package documents writes the statement of an account as a file, and checks such files offline.
//
// A file says nothing that the server did not answer, and says it in one way: each of its lines
// follows from the statement. So a file is checked by writing it again from what is proved, and
// every difference is found, whichever program made it. What proves a statement is in a file
// beside it: the answers of the server, whose hashes the audit log has, and the proof that each
// entry is in the log. The only thing that is trusted is the public key of the log.
package documents

import (
	"fmt"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
)

// A Form is the form of a statement in a file.
type Form string

// The forms.
const (
	CSV  Form = "csv"
	JSON Form = "json"
	Camt Form = "camt.053" // ISO 20022, camt.053.001.08
)

// Forms are all forms.
var Forms = []Form{CSV, JSON, Camt}

// Bounds of what is read.
const (
	MaxVersions = 50_000 // of an account in one statement
	MaxFile     = 128 << 20
	MaxProof    = 256 << 20
)

// ProofSuffix is what the name of the file with the proof ends in, beside that of the statement.
const ProofSuffix = ".proof"

// A Statement is that of an account over a time.
type Statement struct {
	Bank     string // the name in the origin of the log
	Account  string
	From, To string    // as they were asked for, in RFC 3339; empty for no bound
	Index    int64     // of the entry of its first page, in the log
	Created  time.Time // by that entry

	Opening, Closing atm.Amount
	Movements        []Movement // the newest first
}

// A Movement is one line of a statement.
type Movement struct {
	Index        int64 // of its entry in the log
	Time         time.Time
	Operation    atm.Operation
	Amount       atm.Amount // what the balance grew by
	Balance      atm.Amount // after it
	Counterparty string
	Memo         string
	Reverses     int64 // index of the entry that it gives back; 0 for none

	record atm.Record // as the server answered it, and as JSON has it
}

// A Line is one line of a file.
type Line struct {
	Text  string // without the end of the line
	Entry int64  // index of the entry that it is about; -1 for the statement as a whole
}

// Lines are the lines of the file with the statement in this form, the oldest movement first.
func (s *Statement) Lines(form Form) ([]Line, error) {
	switch form {
	case CSV:
		return s.csv(), nil
	case JSON:
		return s.json(), nil
	case Camt:
		return s.camt(), nil
	}
	return nil, fmt.Errorf("there is no form %q", form)
}

// Text is what a file of these lines has in it.
func Text(lines []Line) []byte {
	var text []byte
	for _, line := range lines {
		text = append(append(text, line.Text...), '\n')
	}
	return text
}

// id names the statement among all of the bank.
func (s *Statement) id() string { return fmt.Sprintf("%s-%d", s.Account, s.Index) }

func written(t time.Time) string { return t.UTC().Format(audit.TimeFormat) }
