package sessions

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/requestid"
)

// A Keeper begins sessions and adds passkeys.
type Keeper struct {
	ledger   *ledger.Ledger
	store    people.Store
	requests *requestid.Hasher
	warrants func(caller *atm.Caller, op atm.Operation) ([]people.Warrant, bool)
}

// NewKeeper returns a keeper. It asks warrants what an act of a caller rests on, and whether the
// caller may do it at all.
func NewKeeper(ledger *ledger.Ledger, store people.Store, requests *requestid.Hasher,
	warrants func(*atm.Caller, atm.Operation) ([]people.Warrant, bool),
) *Keeper {
	return &Keeper{ledger, store, requests, warrants}
}

// A Beginning is a session that begins.
type Beginning struct {
	people.Session        // without its times
	Count          uint32 // of the passkey, and its flags
	Flags          uint8

	// Challenge is what was signed; empty when nothing was. It begins one session, on whatever
	// server: it is the request id of the operation.
	Challenge string
}

// BeginSession begins a session for a caller who has shown a passkey or a secret. Every answer
// but OK is a sign-in that failed.
func (k *Keeper) BeginSession(ctx context.Context, caller *atm.Caller, b *Beginning) atm.Status {
	cmd := vault.Command{
		Event: audit.EventAdmin, Operation: atm.SessionBegin, Caller: caller,
		Rule: vault.People(people.BeginSession{
			Session: b.Session, Count: b.Count, Flags: b.Flags,
		}),
		Args:     BeginningArgs(b),
		Warrants: []people.Warrant{{Subject: caller.Subject, Verifier: caller.Verifier}},
	}
	if b.Challenge != "" {
		cmd.Request = k.requests.Hash(caller, atm.RequestID(b.Challenge))
	}
	return k.ledger.Do(ctx, cmd)
}

// BeginningArgs are the arguments in the entry of a session that begins.
func BeginningArgs(b *Beginning) []audit.Arg {
	args := []audit.Arg{{Name: "session", Value: b.ID}, {Name: "agent", Value: b.Agent}}
	if b.Passkey != "" {
		args = append(args,
			audit.Arg{Name: "count", Value: strconv.FormatUint(uint64(b.Count), 10)},
			audit.Arg{Name: "flags", Value: strconv.Itoa(int(b.Flags))})
	}
	return args
}

// PasskeyArgs are the arguments in the entry of a passkey that is added.
func PasskeyArgs(p *people.Passkey) []audit.Arg {
	return []audit.Arg{
		{Name: "passkey", Value: p.ID},
		{Name: "name", Value: p.Name},
		{Name: "key", Value: base64.StdEncoding.EncodeToString(p.Key)},
		{Name: "count", Value: strconv.FormatUint(uint64(p.Count), 10)},
		{Name: "flags", Value: strconv.Itoa(int(p.Flags))},
		{Name: "transports", Value: strings.Join(p.Transports, " ")},
	}
}

// ErrTooMany reports a user who has as many passkeys as a user can have.
var ErrTooMany = errors.New("a user has at most " + strconv.Itoa(people.MaxPasskeys) +
	" passkeys: remove one first")

// addWithin is how long after a sign-in with a passkey another one can be added.
const addWithin = 5 * time.Minute

// mayAdd reports whether a caller who has, or had, these passkeys may add one. A passkey confirms
// what moves money, so a session that was left open, or whose cookie was copied, must not be
// enough to make one, not even by removing the others first: its user has to have shown a passkey
// a moment ago. Callers in no session show a key or a password with each request.
func mayAdd(caller *atm.Caller, ever []people.Passkey) bool {
	return caller.Session == "" || len(ever) == 0 ||
		caller.Method == "passkey" && time.Since(caller.Issued) < addWithin
}

// AddPasskey adds a passkey to those of the caller.
func (k *Keeper) AddPasskey(ctx context.Context, caller *atm.Caller, p people.Passkey) (atm.Status,
	error,
) {
	if err := CheckName(p.Name); err != nil {
		return atm.Status{}, err
	}
	ever, err := k.store.Passkeys(ctx, caller.Subject)
	if err != nil {
		return atm.Status{}, err
	}
	if len(counting(ever)) >= people.MaxPasskeys {
		return atm.Status{}, ErrTooMany
	}
	p.Subject = caller.Subject
	cmd := vault.Command{
		Event: audit.EventAdmin, Operation: atm.PasskeyAdd, Caller: caller,
		Rule: vault.People(people.AddPasskey{Passkey: p}), Args: PasskeyArgs(&p),
	}
	var may bool
	// A passkey has no scope, no end and no grantor, so what has one makes none.
	if cmd.Warrants, may = k.warrants(caller, atm.PasskeyAdd); !may || caller.Derived() || !caller.InScope("*") {
		cmd.Rule = vault.Refuse(atm.PermissionDenied, "You may not do this")
	} else if !mayAdd(caller, ever) {
		cmd.Rule = vault.Refuse(atm.PermissionDenied, "Sign in with one of your passkeys again, "+
			"and add another one within five minutes")
	}
	return k.ledger.Do(ctx, cmd), nil
}

// Passkeys returns the passkeys of a subject that count.
func (k *Keeper) Passkeys(ctx context.Context, subject string) ([]people.Passkey, error) {
	all, err := k.store.Passkeys(ctx, subject)
	return counting(all), err
}

// counting are the passkeys that were not removed.
func counting(all []people.Passkey) []people.Passkey {
	return slices.DeleteFunc(slices.Clone(all), func(p people.Passkey) bool {
		return !p.Removed.IsZero()
	})
}

// Passkey returns a passkey that counts; nil when there is none with this id.
func (k *Keeper) Passkey(ctx context.Context, id string) (*people.Passkey, error) {
	p, err := k.store.Passkey(ctx, id)
	if p == nil || err != nil || !p.Removed.IsZero() {
		return nil, err
	}
	return p, nil
}

// Session returns a session that is not over at a time, and nil otherwise. Whether it was revoked
// together with others is for package auth.
func (k *Keeper) Session(ctx context.Context, id string, now time.Time) (*people.Session, error) {
	s, err := k.store.Session(ctx, id)
	if s == nil || err != nil || s.Over(now) {
		return nil, err
	}
	if s.Passkey != "" {
		if p, err := k.Passkey(ctx, s.Passkey); p == nil || err != nil {
			return nil, err
		}
	}
	return s, nil
}
