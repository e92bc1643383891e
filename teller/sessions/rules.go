// Package sessions is what users sign in by in a browser: their passkeys, and the sessions that
// began with one or with a secret.
//
// The ceremony of a passkey is checked before; what is decided here is whose the passkey is, and
// whether it still counts.
package sessions

import (
	"context"
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

// A Call is an operation on the passkeys or sessions of a subject.
type Call struct {
	Subject string
	Args    []atm.Arg // behind the subject
	Session string    // of the caller; empty for none
}

// Rules are the operations on the caller's own passkeys and sessions, and those of an operator on
// those of others. A MalformedError is the caller's mistake.
var Rules = map[atm.Operation]func(context.Context, people.Store, Call) (vault.Rule, error){
	atm.PasskeyList:       listPasskeys,
	atm.PasskeyRename:     renamePasskey,
	atm.PasskeyRemove:     removePasskey,
	atm.SessionList:       listSessions,
	atm.SessionEnd:        endSession,
	atm.UserPasskeys:      listPasskeys,
	atm.UserPasskeyRemove: removePasskey,
	atm.UserSessions:      listSessions,
	atm.UserSessionEnd:    endSession,
}

// A MalformedError is an argument that makes no sense. Its text is for the caller.
type MalformedError string

// Error implements error.
func (e MalformedError) Error() string { return string(e) }

const maxID = 1400 // bytes: a credential id has up to 1,023, and it is in base64url

func id(arg atm.Arg) (string, error) {
	if arg.Text == "" || len(arg.Text) > maxID {
		return "", MalformedError("an id has 1 to 1400 characters")
	}
	return arg.Text, nil
}

// CheckName refuses what cannot be the name of a passkey.
func CheckName(name string) error {
	if err := atm.CheckText(name); err != nil {
		return MalformedError("the name of a passkey has " + err.Error())
	}
	return nil
}

func listPasskeys(ctx context.Context, store people.Store, c Call) (vault.Rule, error) {
	all, err := store.Passkeys(ctx, c.Subject)
	if err != nil {
		return nil, err
	}
	list := []atm.Record{}
	for i := range all {
		if all[i].Removed.IsZero() {
			list = append(list, all[i].Record())
		}
	}
	return vault.Report{Result: atm.Record{{Name: "passkeys", Value: list}}}, nil
}

func renamePasskey(_ context.Context, _ people.Store, c Call) (vault.Rule, error) {
	passkey, err := id(c.Args[0])
	if err == nil {
		err = CheckName(c.Args[1].Text)
	}
	return vault.People(people.RenamePasskey{
		Subject: c.Subject, ID: passkey, Name: c.Args[1].Text,
	}), err
}

func removePasskey(_ context.Context, _ people.Store, c Call) (vault.Rule, error) {
	passkey, err := id(c.Args[0])
	return vault.People(people.RemovePasskey{Subject: c.Subject, ID: passkey}), err
}

// listSessions lists those that are not over, the newest first.
func listSessions(ctx context.Context, store people.Store, c Call) (vault.Rule, error) {
	all, err := store.Sessions(ctx, c.Subject)
	if err != nil {
		return nil, err
	}
	passkeys, err := store.Passkeys(ctx, c.Subject)
	if err != nil {
		return nil, err
	}
	revoked, err := store.Revocations(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	all = slices.DeleteFunc(all, func(s people.Session) bool {
		return s.Over(now) || gone(&s, passkeys) || takenBack(&s, revoked)
	})
	slices.SortStableFunc(all, func(a, b people.Session) int { return b.Begun.Compare(a.Begun) })
	list := make([]atm.Record, min(len(all), methods.MaxRows))
	for i := range list {
		list[i] = append(all[i].Record(), atm.Field{
			Name: "current", Value: all[i].ID == c.Session,
		})
	}
	return vault.Report{Result: atm.Record{{Name: "sessions", Value: list}}}, nil
}

// gone reports whether the passkey by which s began was removed.
func gone(s *people.Session, passkeys []people.Passkey) bool {
	return s.Passkey != "" && !slices.ContainsFunc(passkeys, func(p people.Passkey) bool {
		return p.ID == s.Passkey && p.Removed.IsZero()
	})
}

// takenBack reports whether s was revoked together with others.
func takenBack(s *people.Session, revoked []people.Revocation) bool {
	return slices.ContainsFunc(revoked, func(r people.Revocation) bool {
		return (r.Name == people.SessionsRevocation(s.Subject) || r.Name == "subject:"+s.Subject) &&
			!s.Begun.After(r.At)
	})
}

// all stands for every session of a subject.
const all = "*"

func endSession(_ context.Context, _ people.Store, c Call) (vault.Rule, error) {
	session, err := id(c.Args[0])
	if session == all {
		return vault.People(people.Revoke{Name: people.SessionsRevocation(c.Subject)}), nil
	}
	return vault.People(people.EndSession{Subject: c.Subject, ID: session}), err
}
