// Package search finds entries in a log: those that fit a Filter, from the newest back.
//
// It needs no more than an EntryReader, so the same search runs over a vault and over a
// published log. An Index saves it from reading what cannot fit. An index is a help and no
// witness: what is found has always been read and held against the filter.
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

// A Filter says which entries somebody wants to see. An empty field fits all.
type Filter struct {
	Account   string // among the arguments, or changed
	Who       string // subject of the caller
	Operation atm.Operation
	Event     audit.Event
	Status    string // OK or ERROR, which failed sign-ins and summaries of failures are too
	Code      atm.Code

	Since, Until time.Time // both inclusive
}

// Fits reports whether an entry is wanted.
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

// outcome is OK or ERROR, and empty for an entry of which there is nothing to say.
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

// isFailure reports whether an event is a failure although its entries have no status.
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

// May reports whether a leaf may fit, without taking it apart.
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

// terms are what the filter asks for, by kind.
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

// termOf is the kind of the member of an entry with this name, and 0 for one that is
// not looked for.
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

// eachTerm calls yield with each term of an entry, which is canonical JSON, and with a
// status for a failure that has none. Values with characters that are escaped are passed on
// as they are decoded.
func eachTerm(leaf []byte, yield func(kind byte, value []byte)) {
	for rest := leaf; ; {
		begin := bytes.IndexByte(rest, '"')
		if begin < 0 {
			return
		}
		name, after := cutString(rest[begin+1:])
		if rest = after; len(rest) < 2 || rest[0] != ':' || rest[1] != '"' {
			continue // it was no name, or not that of a string
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

// cutString cuts b at the end of the JSON string whose opening quotation mark stood
// before it. Most are short, so it looks at one byte after the other.
func cutString(b []byte) (inside, after []byte) {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			return b[:i], b[i+1:]
		case '\\':
			i++ // what is escaped
		}
	}
	return b, nil
}

// unescaped decodes the JSON string whose opening quotation mark stood before b.
func unescaped(b []byte) []byte {
	var s string
	if json.NewDecoder(strings.NewReader(`"`+string(b))).Decode(&s) != nil {
		return nil
	}
	return []byte(s)
}
