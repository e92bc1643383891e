package teller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/auth"
	"example.com/atm/teller"
	"example.com/atm/teller/replay"
	"example.com/atm/teller/sessions"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

// addPasskey gives a caller a passkey.
func (b *bank) addPasskey(caller *atm.Caller, id string) {
	b.t.Helper()
	s, err := b.AddPasskey(b.t.Context(), caller, people.Passkey{
		ID: id, Name: "Phone", Key: []byte(strings.Repeat("k", 300)), Count: 1, Flags: 5,
		Transports: []string{"internal", "hybrid"},
	})
	if err != nil || s.Code != atm.OK {
		b.t.Fatalf("passkey %s: %v, %v", id, s, err)
	}
}

// signIn begins a session of a caller with a passkey, and returns the caller in it.
func (b *bank) signIn(caller *atm.Caller, session, passkey, challenge string,
	count uint32,
) (*atm.Caller, atm.Status) {
	b.t.Helper()
	in := *caller
	in.Credential = atm.Credential{Method: "passkey", ID: passkey}
	s := b.BeginSession(b.t.Context(), &in, &sessions.Beginning{
		Session: people.Session{
			ID: session, Subject: in.Subject, Method: "passkey", Passkey: passkey, Agent: "Firefox",
		},
		Count: count, Flags: 5, Challenge: challenge,
	})
	in.Session = session
	return &in, s
}

// reconciled fails the test unless everything in the store is as the journal says.
func (b *bank) reconciled() {
	b.t.Helper()
	if _, err := replay.Compare(b.t.Context(), b.store.(vault.Backend), replay.Rules{
		Permit: auth.Permit,
	}, func(problem string) { b.t.Error(problem) }); err != nil {
		b.t.Error(err)
	}
}

func rowsOf(t *testing.T, s atm.Status, name string) (ids []string) {
	t.Helper()
	if s.Code != atm.OK {
		t.Fatalf("the list of %s is answered %s %s", name, s.Code, s.Reason)
	}
	for _, row := range s.Result.(atm.Record).Get(name).([]atm.Record) {
		ids = append(ids, row.Get("id").(string))
	}
	return ids
}

// known makes somebody known in the way whose entry a replay understands.
func (b *bank) known(subject string, role atm.Role) *atm.Caller {
	b.t.Helper()
	root := &atm.Caller{Principal: atm.Principal{
		Subject: "user:root", Roles: []atm.Role{atm.Operator},
	}}
	s := b.do(root, atm.UserAdd, text(subject), text(string(role)))
	if s.Code != atm.OK {
		b.t.Fatalf("%s: %s", subject, s.Reason)
	}
	return &atm.Caller{Principal: atm.Principal{Subject: subject, Roles: []atm.Role{role}}}
}

func TestUsersActOnTheirOwnPasskeysAndSessionsAlone(t *testing.T) {
	b := newBank(t)
	ada, bob := b.known("user:ada", atm.Customer), b.known("user:bob", atm.Customer)
	operator := b.known("user:operator", atm.Operator)
	b.addPasskey(ada, "a")
	b.addPasskey(bob, "b")
	inside, s := b.signIn(ada, "sa", "a", "c1", 2)
	if s.Code != atm.OK {
		t.Fatalf("signing in: %v", s)
	}
	b.signIn(bob, "sb", "b", "c1", 2)

	for _, tt := range []struct {
		op   atm.Operation
		args []atm.Arg
	}{
		{atm.PasskeyRename, []atm.Arg{text("b"), text("Mine")}},
		{atm.PasskeyRemove, []atm.Arg{text("b")}},
		{atm.SessionEnd, []atm.Arg{text("sb")}},
	} {
		if s := b.do(inside, tt.op, tt.args...); s.Code != atm.AccountNotFound {
			t.Errorf("%s of what is another's is answered %s %s", tt.op, s.Code, s.Reason)
		}
	}
	if got := rowsOf(t, b.do(inside, atm.PasskeyList), "passkeys"); fmt.Sprint(got) != "[a]" {
		t.Errorf("the passkeys are %v", got)
	}
	if got := rowsOf(t, b.do(inside, atm.SessionList), "sessions"); fmt.Sprint(got) != "[sa]" {
		t.Errorf("the sessions are %v", got)
	}
	for op, list := range map[atm.Operation]string{
		atm.UserPasskeys: "passkeys", atm.UserSessions: "sessions",
	} {
		if got := rowsOf(t, b.do(operator, op, text("user:bob")), list); len(got) != 1 {
			t.Errorf("%s of bob: %v", op, got)
		}
		if s := b.do(ada, op, text("user:bob")); s.Code != atm.PermissionDenied {
			t.Errorf("%s of a customer is answered %s", op, s.Code)
		}
	}
	for _, name := range []string{"", " x", "a\u202eb", strings.Repeat("n", 141)} {
		if s := b.do(inside, atm.PasskeyRename, text("a"), text(name)); s.Code != atm.Fault {
			t.Errorf("a passkey is called %q: %s", name, s.Code)
		}
	}
	b.do(inside, atm.PasskeyRename, text("a"), text("My phone"))
	b.do(operator, atm.UserPasskeyRemove, text("user:bob"), text("b"))
	b.do(operator, atm.UserSessionEnd, text("user:bob"), text("sb"))
	b.do(inside, atm.SessionEnd, text("*"))
	if s := b.do(inside, atm.Whoami); s.Code != atm.PermissionDenied {
		t.Errorf("after signing out everywhere: %s", s.Code)
	}
	b.reconciled()
}

func TestChallengeBeginsOneSession(t *testing.T) {
	b := newBank(t)
	ada := b.known("user:ada", atm.Customer)
	b.addPasskey(ada, "a")
	if _, s := b.signIn(ada, "s1", "a", "challenge", 2); s.Code != atm.OK {
		t.Fatalf("signing in: %v", s)
	}
	second, s := b.signIn(ada, "s2", "a", "challenge", 3)
	if s.Code != atm.IdempotencyConflict || s.Receipt == "" {
		t.Errorf("the same challenge again is answered %v", s)
	}
	if s := b.do(second, atm.Whoami); s.Code != atm.PermissionDenied {
		t.Errorf("in a session that did not begin: %s", s.Code)
	}
	if _, s := b.signIn(ada, "s3", "a", "another", 2); s.Code != atm.PermissionDenied ||
		s.Reason != people.CountWentBack || s.Receipt == "" {
		t.Errorf("a count that does not grow is answered %v", s)
	}
	b.reconciled()
}

// TestSessionOfACompanyLoginIsAsItsEntriesSay begins one, acts in it, and replays the journal.
func TestSessionOfACompanyLoginIsAsItsEntriesSay(t *testing.T) {
	b := newBank(t)
	ada := *b.known("user:ada", atm.Customer)
	ada.Credential = atm.Credential{Method: "oidc", Issuer: "https://login.example", ID: "0815"}
	if s := b.BeginSession(t.Context(), &ada, &sessions.Beginning{
		Session: people.Session{
			ID: "s", Subject: ada.Subject, Method: "oidc", Issuer: ada.Issuer, Person: ada.ID,
			Agent: "Firefox", Bound: []byte("bound"),
		},
		Challenge: "state",
	}); s.Code != atm.OK {
		t.Fatalf("signing in: %v", s)
	}
	ada.Session = "s"
	if s := b.do(&ada, atm.Whoami); s.Code != atm.OK {
		t.Errorf("in the session: %v", s)
	}
	b.reconciled()
	s, err := b.Session(t.Context(), "s", time.Now())
	if err != nil || s == nil || s.Issuer != ada.Issuer || s.Person != "0815" {
		t.Errorf("the session is %+v, %v", s, err)
	}
}

// TestInvitationIsFollowedOnceForAPasskey follows it with two passkeys.
func TestInvitationIsFollowedOnceForAPasskey(t *testing.T) {
	b := newBank(t)
	b.known("user:ada", atm.Customer)
	i := teller.Invitation{Subject: "user:ada", ID: "I", By: "system:init", Known: true}
	p := people.Passkey{ID: "a", Name: "Phone", Key: []byte("k")}
	if err := b.EnrollPasskey(t.Context(), i, p, ""); err != nil {
		t.Fatal(err)
	}
	p.ID = "b"
	if err := b.EnrollPasskey(t.Context(), i, p, ""); !errors.Is(err, teller.ErrUsed) {
		t.Errorf("followed again: %v", err)
	}
	have, err := b.Passkeys(t.Context(), "user:ada")
	if err != nil || len(have) != 1 || have[0].ID != "a" {
		t.Errorf("the passkeys are %v, %v", have, err)
	}
	derived := *b.known("user:bob", atm.Customer)
	derived.Credential = atm.Credential{Method: "jwt", ID: "T"}
	if s, err := b.AddPasskey(t.Context(), &derived, p); err != nil ||
		s.Code != atm.PermissionDenied {
		t.Errorf("a token adds a passkey: %v, %v", s, err)
	}
	narrow := *b.known("user:eva", atm.Customer)
	narrow.Credential = atm.Credential{Method: "oidc", ID: "0815"}
	narrow.Scope = []atm.Operation{atm.Inquiry, atm.PasskeyAdd}
	if s, err := b.AddPasskey(t.Context(), &narrow, p); err != nil ||
		s.Code != atm.PermissionDenied {
		t.Errorf("a login with a scope adds a passkey, which has none: %v, %v", s, err)
	}
	entries := 0
	size, err := vault.JournalSize(t.Context(), b.store)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.Entries(t.Context(), 0, size, func(_ vault.JournalIndex, leaf []byte) error {
		e, err := audit.ParseEntry(leaf)
		if err == nil && e.Operation == atm.CertEnroll {
			entries++
		}
		return err
	}); err != nil || entries != 2 {
		t.Errorf("%d entries of following the invitation, %v", entries, err)
	}
}
