package vaulttest

import (
	"fmt"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	gocmp "github.com/google/go-cmp/cmp"
)

// aPasskey returns a passkey of subject, with every field set but those that its rule sets.
func aPasskey(subject, id string) people.Passkey {
	return people.Passkey{
		ID: id, Subject: subject, Name: "Phone", Key: []byte("public"), Count: 7, Flags: 0x1d,
		Transports: []string{"internal", "hybrid"},
	}
}

// begin begins a session of subject with a passkey that counts so many signatures.
func begin(subject, id, passkey string, count uint32) vault.Command {
	return op("session.begin", vault.People(people.BeginSession{
		Session: people.Session{
			ID: id, Subject: subject, Method: "passkey", Passkey: passkey, Agent: "Firefox",
		},
		Count: count, Flags: 0x1d,
	}))
}

// furnishSessions gives a user passkeys and sessions of which some were removed and ended.
func furnishSessions(t testing.TB, l *ledger.Ledger, subject, id string) {
	t.Helper()
	for _, key := range []string{"a" + id, "b" + id} {
		must(t, l, op("passkey.add", vault.People(people.AddPasskey{
			Passkey: aPasskey(subject, key),
		})))
		must(t, l, begin(subject, key, key, 8))
	}
	must(t, l, op("session.begin", vault.People(people.BeginSession{Session: people.Session{
		ID: "c" + id, Subject: subject, Method: "secret", Bound: []byte("bound"),
	}})))
	must(t, l, op("session.begin", vault.People(people.BeginSession{Session: people.Session{
		ID: "d" + id, Subject: subject, Method: "oidc", Issuer: "https://login.example",
		Person: "0815", Agent: "Firefox", Bound: []byte("bound"),
	}})))
	must(t, l, op("passkey.remove", vault.People(people.RemovePasskey{
		Subject: subject, ID: "b" + id,
	})))
	must(t, l, op("session.end", vault.People(people.EndSession{Subject: subject, ID: "c" + id})))
}

// testPasskeys adds passkeys of two users, and lets neither use those of the other.
func testPasskeys(t *testing.T, p Place) {
	store := p.Open(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	l := ledger.New(ledger.Config{
		Store: store, Signer: NewSigner(t), Now: func() time.Time { return now },
	})
	for _, subject := range []string{"user:a", "user:b"} {
		must(t, l, op(atm.UserAdd, vault.People(people.Enrol{
			Subject: subject, Default: atm.Customer,
		})))
	}
	add := func(subject, id string) vault.Command {
		return op("passkey.add", vault.People(people.AddPasskey{Passkey: aPasskey(subject, id)}))
	}
	must(t, l, add("user:a", "k"))
	must(t, l, add("user:b", "other"))
	refused(t, l, add("user:b", "k"), atm.PermissionDenied)
	refused(t, l, add("user:nobody", "n"), atm.AccountNotFound)
	rename := people.RenamePasskey{Subject: "user:b", ID: "k", Name: "Mine"}
	refused(t, l, op("passkey.rename", vault.People(rename)), atm.AccountNotFound)
	rename.Subject = "user:a"
	must(t, l, op("passkey.rename", vault.People(rename)))

	refused(t, l, begin("user:b", "s1", "k", 8), atm.PermissionDenied)
	refused(t, l, begin("user:a", "s1", "k", 7), atm.PermissionDenied) // as before
	refused(t, l, begin("user:a", "s1", "k", 6), atm.PermissionDenied)
	must(t, l, begin("user:a", "s1", "k", 9))
	refused(t, l, begin("user:a", "s1", "k", 10), atm.PermissionDenied) // the session exists

	remove := people.RemovePasskey{Subject: "user:b", ID: "k"}
	refused(t, l, op("passkey.remove", vault.People(remove)), atm.AccountNotFound)
	remove.Subject = "user:a"
	must(t, l, op("passkey.remove", vault.People(remove)))
	refused(t, l, op("passkey.remove", vault.People(remove)), atm.AccountNotFound)
	refused(t, l, begin("user:a", "s2", "k", 11), atm.PermissionDenied)
	refused(t, l, add("user:a", "k"), atm.PermissionDenied) // nor is it added again

	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = p.Open(t)
	want := aPasskey("user:a", "k")
	want.Name, want.Count, want.Added, want.Removed = "Mine", 9, now, now
	got, err := store.Passkeys(t.Context(), "user:a")
	if err != nil || gocmp.Diff(got, []people.Passkey{want}) != "" {
		t.Errorf("passkeys: %v, %s", err, gocmp.Diff(got, []people.Passkey{want}))
	}
	one, err := store.Passkey(t.Context(), "other")
	if err != nil || one == nil || one.Subject != "user:b" || !one.Removed.IsZero() {
		t.Errorf("the other passkey is %+v, %v", one, err)
	}
	if one, err := store.Passkey(t.Context(), "none"); err != nil || one != nil {
		t.Errorf("a passkey of nobody: %+v, %v", one, err)
	}
}

// A browser begins sessions of one user with one passkey, at a clock of its own.
type browser struct {
	t     *testing.T
	store vault.Store
	l     *ledger.Ledger
	now   time.Time
	count uint32
}

func newBrowser(t *testing.T, p Place) *browser {
	t.Helper()
	b := &browser{
		t: t, store: p.Open(t), now: time.Now().UTC().Truncate(time.Microsecond), count: 7,
	}
	b.l = NewLedger(t, ledger.Config{Store: b.store, Now: func() time.Time { return b.now }})
	must(t, b.l, open("100", 1000))
	must(t, b.l, op(atm.UserAdd, vault.People(people.Enrol{
		Subject: "user:a", Default: atm.Customer,
	})))
	must(t, b.l, op("passkey.add", vault.People(people.AddPasskey{
		Passkey: aPasskey("user:a", "k"),
	})))
	return b
}

func (b *browser) signIn(id string) {
	b.t.Helper()
	b.count++
	b.now = b.now.Add(time.Second)
	must(b.t, b.l, begin("user:a", id, "k", b.count))
}

// inside is an operation in a session.
func (b *browser) inside(id string) vault.Command {
	c := deposit("100", 1)
	c.Caller = &atm.Caller{
		Principal:  atm.Principal{Subject: "user:a", Roles: []atm.Role{atm.Customer}},
		Credential: atm.Credential{Method: "passkey", ID: "k"}, Session: id,
	}
	return c
}

// over fails the test if a session is not over.
func (b *browser) over(id string) {
	b.t.Helper()
	refused(b.t, b.l, b.inside(id), atm.PermissionDenied)
}

// seen is how long after its begin a session was seen.
func (b *browser) seen(id string) time.Duration {
	b.t.Helper()
	s, err := b.store.Session(b.t.Context(), id)
	if err != nil || s == nil {
		b.t.Fatalf("session %s: %v", id, err)
	}
	return s.Seen.Sub(s.Begun)
}

// testSessionsEnd lets sessions end by themselves: when they are idle, and when they are old.
func testSessionsEnd(t *testing.T, p Place) {
	b := newBrowser(t, p)
	b.over("none")
	b.signIn("idle")
	b.now = b.now.Add(59 * time.Second)
	must(t, b.l, b.inside("idle"))
	if d := b.seen("idle"); d != 0 {
		t.Errorf("what was seen less than a minute ago is noted, after %v", d)
	}
	b.now = b.now.Add(people.SessionIdle - time.Minute)
	must(t, b.l, b.inside("idle"))
	if d := b.seen("idle"); d != people.SessionIdle-time.Second {
		t.Errorf("the session was seen after %v", d)
	}
	b.now = b.now.Add(people.SessionIdle)
	b.over("idle")

	const step = 10 * time.Minute
	b.signIn("long")
	for range people.SessionLife/step - 1 {
		b.now = b.now.Add(step)
		must(t, b.l, b.inside("long"))
	}
	b.now = b.now.Add(step)
	b.over("long")

	b.now = b.now.Add(2 * people.SessionKept)
	for i := range 40 {
		b.signIn(fmt.Sprint(i))
	}
	listed, err := b.store.Sessions(t.Context(), "user:a")
	if err != nil || len(listed) != 40 {
		t.Errorf("%d sessions are kept, and not 40: %v", len(listed), err)
	}
	for _, id := range []string{"idle", "long"} {
		if s, err := b.store.Session(t.Context(), id); s != nil || err != nil {
			t.Errorf("the session %s is kept: %v", id, err)
		}
	}
}

// testSessionsAreEnded ends sessions in each way. What a caller does in one that was ended is
// refused in the transaction, whatever was looked at before.
func testSessionsAreEnded(t *testing.T, p Place) {
	b := newBrowser(t, p)
	b.signIn("other")
	b.signIn("ended")
	end := people.EndSession{Subject: "user:b", ID: "ended"}
	refused(t, b.l, op("session.end", vault.People(end)), atm.AccountNotFound)
	must(t, b.l, b.inside("ended"))
	end.Subject = "user:a"
	must(t, b.l, op("session.end", vault.People(end)))
	b.over("ended")
	must(t, b.l, b.inside("other"))

	for _, tt := range []struct {
		name string
		rule people.Rule
	}{
		{"revoked", people.Revoke{Name: people.SessionsRevocation("user:a")}},
		{"revoked with everything", people.RevokeSubject{Subject: "user:a"}},
		{"disabled", people.SetDisabled{Subject: "user:a", Disabled: true}},
		{"without its passkey", people.RemovePasskey{Subject: "user:a", ID: "k"}},
	} {
		must(t, b.l, op(atm.UserEnable, vault.People(people.SetDisabled{Subject: "user:a"})))
		b.signIn(tt.name)
		must(t, b.l, b.inside(tt.name))
		must(t, b.l, op("any", vault.People(tt.rule)))
		b.over(tt.name)
	}
	listed, err := b.store.Sessions(t.Context(), "user:a")
	if err != nil || len(listed) != 6 || listed[0].ID != "disabled" {
		t.Errorf("%d sessions, %v", len(listed), err)
	}
	if backend, is := b.store.(vault.Backend); is {
		Sound(t, backend)
	}
}
