// Package certificate is about account certificates: what a bank states of one account at one
// moment, for somebody who asks its owner for it.
//
// The statement has the name of the holder, which is never in the audit log. The log has its
// hash, in the entry that answers the owner, and the statement has a random salt, so that the
// hash tells nobody the name. Nothing but the public key of the log is needed to check a
// certificate.
package certificate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
)

// Form is the first line of a certificate.
const Form = "ATM account certificate 1"

// MaxBytes is the longest certificate that is read.
const MaxBytes = audit.MaxProof + audit.MaxEntryBytes + 4<<10

// SaltBytes is how many random bytes a salt is made of.
const SaltBytes = 16

// A Statement is what a bank states of an account.
type Statement struct {
	Bank     string
	Holder   string // empty if the bank knows no name
	Account  string
	Standing string
	At       time.Time
	Salt     string
}

// Bank is the name of the bank whose log has this origin. A log that continues one that was given
// up has a number after the name.
func Bank(origin string) string {
	name, number, found := strings.Cut(origin, "/")
	if _, err := strconv.ParseUint(number, 10, 31); !found || err != nil {
		return origin
	}
	return name
}

// names are those of the lines below the first.
var names = [...]string{"bank", "holder", "account", "standing", "at", "salt"}

// Text writes the statement, a line for each field.
func (s *Statement) Text() string {
	var b strings.Builder
	b.WriteString(Form + "\n")
	for i, value := range []string{
		s.Bank, s.Holder, s.Account, s.Standing, s.At.UTC().Format(audit.TimeFormat), s.Salt,
	} {
		b.WriteString(strings.TrimSuffix(names[i]+": "+value, " ") + "\n")
	}
	return b.String()
}

// Result is the result of the operation that makes the statement, of which its entry has the
// hash.
func (s *Statement) Result() atm.Record { return resultOf(s.Text()) }

func resultOf(text string) atm.Record { return atm.Record{{Name: "statement", Value: text}} }

// ErrForm reports text that is no certificate.
var ErrForm = errors.New("no account certificate")

// Parse reads what Text writes, and nothing else.
func Parse(text string) (*Statement, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != len(names)+2 || lines[0] != Form {
		return nil, ErrForm
	}
	s := &Statement{}
	var at string
	fields := [len(names)]*string{&s.Bank, &s.Holder, &s.Account, &s.Standing, &at, &s.Salt}
	for i, name := range names {
		value, ok := strings.CutPrefix(lines[i+1], name+":")
		if !ok {
			return nil, fmt.Errorf("%w: line %d does not begin with %q", ErrForm, i+2, name+":")
		}
		*fields[i] = strings.TrimPrefix(value, " ")
	}
	var err error
	if s.At, err = time.Parse(audit.TimeFormat, at); err != nil || s.Text() != text {
		return nil, ErrForm
	}
	return s, nil
}

// Join makes a certificate: the statement, the entry that has its hash, and the proof that the
// entry is in the log.
func Join(statement string, entry, proof []byte) string {
	return statement + "\n" + string(entry) + "\n\n" + string(proof)
}

// Is reports whether a text begins as a certificate does.
func Is(text []byte) bool { return strings.HasPrefix(string(text), Form[:len(Form)-1]) }

// Check verifies a certificate with the public keys of the log, one a line. The report has the
// codes of audit.Verify.
func Check(text, vkey string) (*Statement, *audit.Report) {
	statement, rest, ok := strings.Cut(text, "\n\n")
	entry, proof, ok2 := strings.Cut(rest, "\n\n")
	if !ok || !ok2 || len(text) > MaxBytes {
		return nil, audit.Unverifiable(fmt.Errorf("%w: it has no three parts", ErrForm))
	}
	statement += "\n"
	p, err := audit.ParseProof([]byte(proof))
	if err != nil {
		return nil, audit.Unverifiable(err)
	}
	report := p.CheckHash(merkle.LeafHash([]byte(entry)), vkey)
	if !report.OK() {
		return nil, report
	}
	s, err := Parse(statement)
	if err != nil {
		return nil, audit.Unverifiable(err)
	}
	if err := s.follows(entry, report.Origin); err != nil {
		report.Code, report.Sentence = audit.ContentDiffers, fmt.Sprintf("entry %d: %v", p.Index,
			err)
		return nil, report
	}
	return s, report
}

// follows reports what keeps an entry from proving s.
func (s *Statement) follows(line, origin string) error {
	entry, err := audit.ParseEntry([]byte(line))
	if err != nil {
		return err
	}
	switch {
	case entry.Event != audit.EventOp || entry.Operation != atm.Certificate ||
		entry.Status == nil || entry.Status.Code != atm.OK || entry.ReplayOf >= 0:
		return errors.New("it is that of no certificate")
	case len(entry.Args) != 1 || entry.Args[0].Value != s.Account:
		return fmt.Errorf("it is not about account %s", s.Account)
	case !entry.Time.Equal(s.At):
		return fmt.Errorf("it was made at %s, and the certificate says %s",
			entry.Time.Format(audit.TimeFormat), s.At.Format(audit.TimeFormat))
	case entry.Status.Result != audit.ResultText(s.Result()):
		return errors.New("it has the hash of another statement")
	case s.Bank != Bank(origin):
		return fmt.Errorf("the bank is %s, and the log that of %s", s.Bank, origin)
	}
	return nil
}
