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
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit/canonical"
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
