// Package search finds the entries of a log that match a Filter, from the newest to the oldest.
//
// It needs only an EntryReader, so the same search runs over a vault and over a published log.
// An Index saves reading bundles that cannot match. Results never come from the index alone:
// each entry found has been read and compared with the filter.
package search

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
)

// A Filter selects entries. An empty field matches all entries.
type Filter struct {
	Account   string // an argument names it, or the entry changed it
	Who       string // subject of the caller
	Operation atm.Operation
	Event     audit.Event
	Status    string // OK or ERROR; failed sign-ins and their summaries are ERROR
	Code      atm.Code

	Since, Until time.Time // both inclusive
}

// Fits reports whether an entry matches.
func (f *Filter) Fits(e *audit.Entry) bool {
	switch {
	case f.Event != "" && e.Event != f.Event,
		f.Operation != "" && e.Operation != f.Operation,
		f.Who != "" && (e.Caller == nil || e.Caller.Subject != f.Who),
		f.Status != "" && outcome(e) != f.Status,
		f.Code != "" && (e.Status == nil || e.Status.Code != f.Code),
		!f.Since.IsZero() && e.Time.Before(f.Since),
		!f.Until.IsZero() && e.Time.After(f.Until):
		return false
	}
	return f.Account == "" || f.about(e)
}

// outcome is OK or ERROR, or empty for an event without an outcome.
func outcome(e *audit.Entry) string {
	switch {
	case e.Status != nil:
		return e.Status.Word()
	case isFailure(string(e.Event)):
		return wordError
	}
	return ""
}

const wordError = "ERROR" // of atm.Status.Word

// isFailure reports whether entries of an event are failures although they have no status.
func isFailure(event string) bool {
	switch audit.Event(event) {
	case audit.EventAuthFail, audit.EventAuthFailSummary, audit.EventDeniedSummary:
		return true
	}
	return false
}

func (f *Filter) about(e *audit.Entry) bool {
	for _, c := range e.State {
		if c.Account == f.Account {
			return true
		}
	}
	for _, arg := range e.Args {
		if slices.Contains(accountArgs, arg.Name) && arg.Value == f.Account {
			return true
		}
	}
	return false
}

// accountArgs are the arguments that name an account.
var accountArgs = []string{"account", "from", "to"}

// May reports whether a leaf may match, without parsing it.
func (f *Filter) May(leaf []byte) bool {
	for kind, value := range f.terms() {
		if value == "" {
			continue
		}
		found := false
		eachTerm(leaf, func(k byte, v []byte) { found = found || k == kind && string(v) == value })
		if !found {
			return false
		}
	}
	return true
}

// terms are the values that the filter asks for, by kind.
func (f *Filter) terms() map[byte]string {
	return map[byte]string{
		termAccount: f.Account, termWho: f.Who, termOperation: string(f.Operation),
		termEvent: string(f.Event), termStatus: f.Status, termCode: string(f.Code),
	}
}

const (
	termAccount   = 'a'
	termWho       = 'w'
	termOperation = 'o'
	termEvent     = 'e'
	termStatus    = 's'
	termCode      = 'c'
)

// termOf is the kind of an entry's member with this name, or 0 if filters do not ask for it.
func termOf(name []byte) byte {
	switch string(name) {
	case "account", "from", "to":
		return termAccount
	case "subject":
		return termWho
	case "op":
		return termOperation
	case "ev":
		return termEvent
	case "status":
		return termStatus
	case "code":
		return termCode
	}
	return 0
}

// eachTerm calls yield with each term of an entry, which is canonical JSON, and with a status
// for a failure without one. Values with escaped characters are decoded first.
func eachTerm(leaf []byte, yield func(kind byte, value []byte)) {
	for rest := leaf; ; {
		begin := bytes.IndexByte(rest, '"')
		if begin < 0 {
			return
		}
		name, after := cutString(rest[begin+1:])
		if rest = after; len(rest) < 2 || rest[0] != ':' || rest[1] != '"' {
			continue // not a name, or its value is not a string
		}
		of := rest[2:]
		value, after := cutString(of)
		rest = after
		kind := termOf(name)
		if kind == 0 {
			continue
		}
		if bytes.IndexByte(value, '\\') >= 0 {
			value = unescaped(of)
		}
		yield(kind, value)
		if kind == termEvent && isFailure(string(value)) {
			yield(termStatus, []byte(wordError))
		}
	}
}

// cutString cuts b at the end of the JSON string whose opening quotation mark precedes it. Most
// strings are short, so a loop over bytes is fast enough.
func cutString(b []byte) (inside, after []byte) {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			return b[:i], b[i+1:]
		case '\\':
			i++ // skip the escaped character
		}
	}
	return b, nil
}

// unescaped decodes the JSON string whose opening quotation mark precedes b.
func unescaped(b []byte) []byte {
	var s string
	if json.NewDecoder(strings.NewReader(`"`+string(b))).Decode(&s) != nil {
		return nil
	}
	return []byte(s)
}
