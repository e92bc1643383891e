// Package audit keeps the trail of everything that was asked of the server.
//
// Each entry is one line of canonical JSON and one leaf of an RFC 6962 Merkle
// tree. The transaction that changes the books also stores the entry and a
// signed head of the tree, so no operation is missing from the log, and none
// is in it that did not happen. Publishing to files follows later and never
// leads. Leaves are bytes: they are hashed as they were stored and are never
// serialised a second time.
package audit

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/atm"
	"example.com/atm/audit/canonical"
	"github.com/go-json-experiment/json"
)

// An Event is what an entry is about.
type Event string

// The events.
const (
	EventOp              Event = "op"
	EventAdmin           Event = "admin"
	EventAuditRead       Event = "audit.read"
	EventAuthFail        Event = "auth.fail"
	EventAuthFailSummary Event = "auth.fail.summary"
	EventDeniedSummary   Event = "denied.summary"
	EventStart           Event = "start"
	EventStop            Event = "stop"
	EventHeartbeat       Event = "heartbeat"
	EventKeyRotate       Event = "key.rotate" // the log is signed with another key from here on
	EventClockStep       Event = "clock.step" // the clock was set
	EventRecover         Event = "recover"    // this log continues one that was given up
	EventSettings        Event = "settings"   // a file that the settings name was read again
	EventFeedStopped     Event = "feed.stopped"
	EventSnapshot        Event = "snapshot"
)

// MaxEntryBytes is the longest entry, in bytes.
const MaxEntryBytes = 8 << 10

// TimeFormat is RFC 3339 with exactly six decimals.
const TimeFormat = canonical.TimeFormat

// An Entry is one line of the log.
type Entry struct {
	ID        string // a UUID of version 7
	Time      time.Time
	Event     Event
	Operation atm.Operation

	// Args are the arguments of the operation by name, never a secret.
	Args []Arg

	// Status is the status dict of the answer, without its receipt. A result that is not a string
	// is kept as its hash.
	Status *atm.Status

	// State is every account that the entry changed.
	State []Change

	// Caller is the authenticated caller, or nil if the entry has none.
	Caller *atm.Caller

	// Reason and Source are the reason and the network address of a failed sign-in.
	Reason, Source string

	// Request is the keyed hash of the request id, in hex, and Minted the time in the id, to the
	// millisecond. Minted is zero for an id without one, and in entries from before the field
	// existed.
	Request string
	Minted  time.Time

	// ReplayOf is the index of the entry that first answered the request, or -1.
	ReplayOf int64

	// Expires is the end of the hold that the entry makes, to the second. It is zero in other
	// entries, and in entries of holds that were written before the field existed.
	Expires time.Time

	Reverses int64     // the entry whose money this one gives back; 0, which moves none, for none
	Debtor   string    // whose mandate it collects by; empty for none
	Next     time.Time // due date of the standing order that it makes or pays; zero for none

	// Summary counts failed sign-ins, or denials, that have no entries of their own.
	Summary *Summary

	// Program describes the program, in entries of a start, a stop and a heartbeat.
	Program *Program

	// Assertion is what a passkey signed to confirm the entry, over Shown; nil for none.
	Assertion *atm.Assertion
}

// A Program identifies the program that wrote an entry, its settings and its machine. Empty
// fields are not written.
type Program struct {
	Version string
	Build   string // the source revision, and the hash of the executable
	Boot    string // id of the machine's boot
	Clock   *Clock // nil if the kernel does not report it

	// Settings are the hashes of the settings and of each file that they name, by name.
	Settings []Arg
}

// A Clock is the state of the kernel's clock.
type Clock struct {
	Synchronised bool
	MaxError     time.Duration // upper bound; written in microseconds
}

// An Arg is one named argument.
type Arg struct{ Name, Value string }

// A Change is what one entry did to one account.
type Change struct {
	Account string
	Version uint64
	Before  atm.Amount
	After   atm.Amount
}

// A Summary counts failed sign-ins of one reason from one source, or denied operations of
// one caller.
type Summary struct {
	Denied *atm.Principal // the caller; nil for failed sign-ins, and for all other callers
	Source string         // a network such as "192.0.2.0/24", or "other"
	Reason string
	N      int64
	First  time.Time
	Last   time.Time
}

// ErrEntryTooLong reports an entry of more than MaxEntryBytes.
var ErrEntryTooLong = fmt.Errorf("audit entry of more than %d bytes", MaxEntryBytes)

// Written returns args as an entry keeps them: in order of name, long values shortened.
func Written(args []Arg) []Arg {
	kept := make([]Arg, len(args))
	for i, arg := range args {
		kept[i] = Arg{arg.Name, ArgText(arg.Value)}
	}
	slices.SortFunc(kept, byName)
	return kept
}

func byName(a, b Arg) int { return strings.Compare(a.Name, b.Name) }

// Append appends the entry in canonical JSON (RFC 8785): no white space, keys
// in order, one way to write each value.
func (e *Entry) Append(b []byte) ([]byte, error) {
	start := len(b)
	w := writer{b: b}
	w.open('{')
	e.appendArgs(&w)
	e.appendAssertion(&w)
	e.appendMachine(&w)
	if e.Status != nil {
		w.field("code", string(e.Status.Code))
	}
	e.appendCredential(&w)
	if e.Debtor != "" {
		w.field("debtor", e.Debtor)
	}
	w.field("ev", string(e.Event))
	if !e.Expires.IsZero() {
		w.time("expires", e.Expires)
	}
	if e.Summary != nil {
		w.time("first", e.Summary.First)
	}
	w.field("id", e.ID)
	if e.Summary != nil {
		w.time("last", e.Summary.Last)
	}
	if !e.Minted.IsZero() {
		w.key("minted")
		w.int(e.Minted.UnixMilli())
	}
	if e.Summary != nil {
		w.key("n")
		w.int(e.Summary.N)
	}
	if !e.Next.IsZero() {
		w.time("next", e.Next)
	}
	if e.Operation != "" {
		w.field("op", string(e.Operation))
	}
	e.appendReason(&w)
	if e.ReplayOf >= 0 {
		w.key("replay_of")
		w.int(e.ReplayOf)
	}
	if e.Request != "" {
		w.field("request", e.Request)
	}
	if e.Status != nil {
		w.field("result", ResultText(e.Status.Result))
	}
	if e.Reverses > 0 {
		w.key("reverses")
		w.int(e.Reverses)
	}
	e.appendSettings(&w)
	e.appendSource(&w)
	e.appendState(&w)
	if e.Status != nil {
		w.field("status", e.Status.Word())
	}
	w.time("t", e.Time)
	w.key("v")
	w.int(1)
	if e.Program != nil && e.Program.Version != "" {
		w.field("version", e.Program.Version)
	}
	e.appendWho(&w)
	w.close('}')
	if len(w.b)-start > MaxEntryBytes {
		return b, ErrEntryTooLong
	}
	return w.b, nil
}

func (e *Entry) appendArgs(w *writer) {
	if (e.Operation == "" || e.Event == EventAuditRead) && len(e.Args) == 0 {
		return
	}
	w.key("args")
	w.open('{')
	args := e.Args
	if !slices.IsSortedFunc(args, byName) {
		args = slices.SortedFunc(slices.Values(args), byName)
	}
	for _, arg := range args {
		if e.Event != EventKeyRotate { // a key of ML-DSA-44 is long, and must be whole
			arg.Value = ArgText(arg.Value)
		}
		w.field(arg.Name, arg.Value)
	}
	w.close('}')
}

func (e *Entry) appendState(w *writer) {
	if len(e.State) == 0 {
		return
	}
	w.key("state")
	w.open('[')
	for _, c := range e.State {
		w.item()
		w.open('{')
		w.field("account", c.Account)
		w.money("after", c.After)
		w.money("before", c.Before)
		w.key("version")
		w.int(int64(c.Version))
		w.close('}')
	}
	w.close(']')
}

// appendMachine appends what stands between "args" and "code".
func (e *Entry) appendMachine(w *writer) {
	p := e.Program
	if p == nil {
		return
	}
	if p.Boot != "" {
		w.field("boot", p.Boot)
	}
	if p.Build != "" {
		w.field("build", p.Build)
	}
	if p.Clock != nil {
		w.key("clock")
		w.open('{')
		w.key("max_error_us")
		w.int(p.Clock.MaxError.Microseconds())
		w.key("synchronised")
		w.value(p.Clock.Synchronised)
		w.close('}')
	}
}

func (e *Entry) appendSettings(w *writer) {
	if e.Program == nil || len(e.Program.Settings) == 0 {
		return
	}
	w.key("settings")
	w.open('{')
	for _, hash := range slices.SortedFunc(slices.Values(e.Program.Settings), byName) {
		w.field(hash.Name, hash.Value)
	}
	w.close('}')
}

func (e *Entry) appendCredential(w *writer) {
	if e.Caller == nil || e.Caller.Method == "" {
		return
	}
	w.key("cred")
	w.open('{')
	switch e.Caller.Method {
	case "passkey", "webhook":
		w.field("id", e.Caller.ID)
	case "jwt":
		w.field("iss", e.Caller.Issuer)
		w.field("jti", e.Caller.ID)
		w.field("kid", e.Caller.Key)
	case "oidc":
		w.field("iss", e.Caller.Issuer)
	}
	w.field("method", e.Caller.Method)
	if e.Caller.Method == "mtls" {
		w.field("serial", e.Caller.Serial)
	}
	if e.Caller.Session != "" {
		w.field("session", e.Caller.Session)
	}
	switch e.Caller.Method {
	case "digest", "secret", "invitation":
		w.field("user", e.Caller.User)
	case "mtls":
		w.field("sha256", e.Caller.SHA256)
	case "oidc":
		w.field("sub", e.Caller.ID)
	}
	w.close('}')
}

func (e *Entry) appendReason(w *writer) {
	switch {
	case e.Status != nil:
		w.field("reason", e.Status.Reason)
	case e.Reason != "":
		w.field("reason", e.Reason)
	}
}

// appendSource appends what stands between "settings" and "state".
func (e *Entry) appendSource(w *writer) {
	if e.Caller != nil && e.Caller.Signature != "" {
		w.field("signature", e.Caller.Signature)
	}
	ip := e.Source
	if e.Caller != nil {
		ip = e.Caller.IP
	}
	if ip == "" {
		return
	}
	w.key("src")
	w.open('{')
	w.field("ip", ip)
	w.close('}')
}

func (e *Entry) appendWho(w *writer) {
	if e.Caller == nil {
		return
	}
	w.key("who")
	w.open('{')
	if e.Caller.Actor != "" {
		w.field("actor", e.Caller.Actor)
	}
	if len(e.Caller.Roles) > 0 {
		w.key("roles")
		w.open('[')
		for _, role := range e.Caller.Roles {
			w.item()
			w.text(string(role))
		}
		w.close(']')
	}
	w.field("subject", e.Caller.Subject)
	w.close('}')
}

// wire is an entry as JSON has it.
type wire struct {
	Args      map[string]string `json:"args"`
	Assertion *wireAssertion    `json:"assertion"`
	Boot      string            `json:"boot"`
	Build     string            `json:"build"`
	Clock     *struct {
		MaxError     int64 `json:"max_error_us"`
		Synchronised bool  `json:"synchronised"`
	} `json:"clock"`
	Code *atm.Code `json:"code"`
	Cred *struct {
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
	} `json:"cred"`
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
	Source    *struct {
		IP string `json:"ip"`
	} `json:"src"`
	State []struct {
		Account string `json:"account"`
		After   string `json:"after"`
		Before  string `json:"before"`
		Version uint64 `json:"version"`
	} `json:"state"`
	Status  string `json:"status"`
	Time    string `json:"t"`
	Version int    `json:"v"`
	Program string `json:"version"`
	Who     *struct {
		Actor   string     `json:"actor"`
		Roles   []atm.Role `json:"roles"`
		Subject string     `json:"subject"`
	} `json:"who"`
}

// ParseEntry reads an entry of this version. A result that was kept as its
// hash comes back as that text.
func ParseEntry(leaf []byte) (*Entry, error) {
	if len(leaf) > MaxEntryBytes {
		return nil, ErrEntryTooLong
	}
	var in wire
	if err := json.Unmarshal(leaf, &in, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("audit entry: %w", err)
	}
	if in.Version != 1 {
		return nil, fmt.Errorf("audit entry of version %d", in.Version)
	}
	e := &Entry{
		ID: in.ID, Event: in.Event, Operation: in.Operation, Request: in.Request, ReplayOf: -1,
		Reverses: in.Reverses, Debtor: in.Debtor,
	}
	if in.Minted != 0 {
		e.Minted = time.UnixMilli(in.Minted).UTC()
	}
	if in.ReplayOf != nil {
		e.ReplayOf = *in.ReplayOf
	}
	for name, value := range in.Args {
		e.Args = append(e.Args, Arg{name, value})
	}
	slices.SortFunc(e.Args, byName)
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
		if in.Cred != nil {
			e.Caller.Credential = atm.Credential{
				Method: in.Cred.Method, SHA256: in.Cred.SHA256, Serial: in.Cred.Serial,
				User:   in.Cred.User,
				Issuer: in.Cred.Issuer,
				ID:     cmp.Or(in.Cred.ID, in.Cred.Passkey, in.Cred.Person),
				Key:    in.Cred.Key,
			}
			e.Caller.Session = in.Cred.Session
		}
	}
	if in.Source != nil {
		if e.Caller != nil {
			e.Caller.IP = in.Source.IP
		} else {
			e.Source = in.Source.IP
		}
	}
	e.Program, e.Assertion = in.program(), in.Assertion.parsed()
	return e, e.parseRest(&in)
}

// ParseEntries reads many entries as ParseEntry does, on all processors. Each has an entry or an
// error, in the order of leaves.
func ParseEntries(leaves [][]byte) (entries []*Entry, errs []error) {
	entries, errs = make([]*Entry, len(leaves)), make([]error, len(leaves))
	var all sync.WaitGroup
	share := max(1, (len(leaves)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	for from := 0; from < len(leaves); from += share {
		all.Go(func() {
			for i := from; i < min(from+share, len(leaves)); i++ {
				entries[i], errs[i] = ParseEntry(leaves[i])
			}
		})
	}
	all.Wait()
	return entries, errs
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
	for _, c := range in.State {
		before, okBefore := atm.ParseMoney(c.Before)
		after, okAfter := atm.ParseMoney(c.After)
		if !okBefore || !okAfter {
			return errors.New("audit entry: a balance is not a decimal")
		}
		e.State = append(e.State, Change{c.Account, c.Version, before, after})
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
	if *to, err = time.Parse(TimeFormat, text); err != nil {
		return fmt.Errorf("audit entry: %w", err)
	}
	return nil
}
