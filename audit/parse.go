package audit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/audit/canonical"
	"github.com/go-json-experiment/json"
)

// wire is an entry as JSON has it.
type wire struct {
	Args      wireArgs       `json:"args"`
	Assertion *wireAssertion `json:"assertion"`
	Boot      string         `json:"boot"`
	Build     string         `json:"build"`
	Clock     *struct {
		MaxError     int64 `json:"max_error_us"`
		Synchronised bool  `json:"synchronised"`
	} `json:"clock"`
	Code      *atm.Code         `json:"code"`
	Cred      wireCredential    `json:"cred"`
	Debtor    string            `json:"debtor"`
	Event     Event             `json:"ev"`
	Expires   string            `json:"expires"`
	First     string            `json:"first"`
	ID        string            `json:"id"`
	Last      string            `json:"last"`
	Minted    int64             `json:"minted"`
	N         int64             `json:"n"`
	Next      string            `json:"next"`
	Operation atm.Operation     `json:"op"`
	Reason    string            `json:"reason"`
	ReplayOf  *int64            `json:"replay_of"`
	Request   string            `json:"request"`
	Result    string            `json:"result"`
	Reverses  int64             `json:"reverses"`
	Settings  map[string]string `json:"settings"`
	Signature string            `json:"signature"`
	Source    wireSource        `json:"src"`
	State     wireChanges       `json:"state"`
	Status    string            `json:"status"`
	Time      string            `json:"t"`
	Version   int64             `json:"v"`
	Program   string            `json:"version"`
	Who       *wireCaller       `json:"who"`
}

type (
	wireCredential struct {
		Passkey string `json:"id"`
		Method  string `json:"method"`
		Session string `json:"session"`
		SHA256  string `json:"sha256"`
		Serial  string `json:"serial"`
		User    string `json:"user"`
		Issuer  string `json:"iss"`
		ID      string `json:"jti"`
		Key     string `json:"kid"`
		Person  string `json:"sub"`
	}
	wireSource struct {
		IP string `json:"ip"`
	}
	wireCaller struct {
		Actor   string     `json:"actor"`
		Roles   []atm.Role `json:"roles"`
		Subject string     `json:"subject"`
	}
)

// wireArgs are named arguments, in order of name.
type wireArgs []Arg

// UnmarshalJSON implements json.Unmarshaler.
func (a *wireArgs) UnmarshalJSON(text []byte) error {
	var args map[string]string
	if err := json.Unmarshal(text, &args); err != nil {
		return err
	}
	for name, value := range args {
		*a = append(*a, Arg{name, value})
	}
	slices.SortFunc(*a, byName)
	return nil
}

// wireChanges are what an entry did to accounts.
type wireChanges []Change

// UnmarshalJSON implements json.Unmarshaler.
func (c *wireChanges) UnmarshalJSON(text []byte) error {
	var changes []struct {
		Account string `json:"account"`
		After   string `json:"after"`
		Before  string `json:"before"`
		Version uint64 `json:"version"`
	}
	if err := json.Unmarshal(text, &changes, json.RejectUnknownMembers(true)); err != nil {
		return err
	}
	for _, in := range changes {
		before, okBefore := atm.ParseMoney(in.Before)
		after, okAfter := atm.ParseMoney(in.After)
		if !okBefore || !okAfter {
			return errBalance
		}
		*c = append(*c, Change{in.Account, in.Version, before, after})
	}
	return nil
}

var errBalance = errors.New("a balance is not a decimal")

// ParseEntry reads an entry of this version. A result that was kept as its
// hash comes back as that text.
func ParseEntry(leaf []byte) (*Entry, error) {
	if len(leaf) > MaxEntryBytes {
		return nil, ErrEntryTooLong
	}
	var in wire
	if !in.readUsual(string(leaf)) {
		other := &wire{} // on the heap, unlike in
		if err := json.Unmarshal(leaf, other, json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("audit entry: %w", err)
		}
		in = *other
	}
	if in.Version != 1 {
		return nil, fmt.Errorf("audit entry of version %d", in.Version)
	}
	e := &Entry{
		ID: in.ID, Event: in.Event, Operation: in.Operation, Request: in.Request, ReplayOf: -1,
		Reverses: in.Reverses, Debtor: in.Debtor, Args: in.Args, State: in.State,
	}
	if in.Minted != 0 {
		e.Minted = time.UnixMilli(in.Minted).UTC()
	}
	if in.ReplayOf != nil {
		e.ReplayOf = *in.ReplayOf
	}
	if in.Code != nil {
		e.Status = &atm.Status{Code: *in.Code, Reason: in.Reason, Result: in.Result}
	} else {
		e.Reason = in.Reason
	}
	if in.Who != nil {
		e.Caller = &atm.Caller{Principal: atm.Principal{
			Subject: in.Who.Subject,
			Roles:   in.Who.Roles, Actor: in.Who.Actor,
		}, Signature: in.Signature}
		e.Caller.Credential = atm.Credential{
			Method: in.Cred.Method, SHA256: in.Cred.SHA256, Serial: in.Cred.Serial,
			User: in.Cred.User, Issuer: in.Cred.Issuer,
			ID:  cmp.Or(in.Cred.ID, in.Cred.Passkey, in.Cred.Person),
			Key: in.Cred.Key,
		}
		e.Caller.Session, e.Caller.IP = in.Cred.Session, in.Source.IP
	} else {
		e.Source = in.Source.IP
	}
	e.Program, e.Assertion = in.program(), in.Assertion.parsed()
	return e, e.parseRest(&in)
}

// program is what the entry says of the program; nil for nothing.
func (in *wire) program() *Program {
	if in.Program == "" && in.Build == "" && in.Boot == "" && in.Clock == nil &&
		in.Settings == nil {
		return nil
	}
	p := &Program{Version: in.Program, Build: in.Build, Boot: in.Boot}
	if in.Clock != nil {
		p.Clock = &Clock{in.Clock.Synchronised, time.Duration(in.Clock.MaxError) * time.Microsecond}
	}
	for name, hash := range in.Settings {
		p.Settings = append(p.Settings, Arg{name, hash})
	}
	slices.SortFunc(p.Settings, byName)
	return p
}

// parseRest reads what has a form of its own: times and money.
func (e *Entry) parseRest(in *wire) error {
	failed := parseTime(&e.Time, in.Time)
	if in.Expires != "" {
		failed = errors.Join(failed, parseTime(&e.Expires, in.Expires))
	}
	if in.Next != "" {
		failed = errors.Join(failed, parseTime(&e.Next, in.Next))
	}
	if in.N == 0 {
		return failed
	}
	e.Summary = &Summary{Source: e.Source, Reason: e.Reason, N: in.N}
	if e.Caller != nil {
		e.Summary.Denied = &e.Caller.Principal
	}
	return errors.Join(failed, parseTime(&e.Summary.First, in.First),
		parseTime(&e.Summary.Last, in.Last))
}

func parseTime(to *time.Time, text string) (err error) {
	if *to, err = canonical.ParseTime(text); err != nil {
		return fmt.Errorf("audit entry: %w", err)
	}
	return nil
}
