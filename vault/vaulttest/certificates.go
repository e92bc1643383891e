package vaulttest

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
)

// testCertificates renews certificates and follows invitations before and after
// what forbids it. Revocations were committed when the transaction begins, or are
// made by a command before it in the same one.
func testCertificates(t *testing.T, p Place) {
	store := p.Open(t)
	now := time.Now().UTC()
	l := NewLedger(t, ledger.Config{Store: store, Now: func() time.Time { return now }})
	serials := 0
	enrol := func(subject string) people.Enrol {
		serials++
		next := people.Certificate{
			Serial: string(rune('a' + serials)), Subject: subject,
			NotAfter: now.Truncate(time.Second),
		}
		return people.Enrol{Subject: subject, Default: atm.Customer, Certificate: &next, Result: ""}
	}
	before, after := now.Add(-time.Hour), now.Add(time.Second)
	renew := func(subject, serial string, issued time.Time) vault.Command {
		return op(atm.CertRenew, vault.People(people.Renewed{
			Enrol: enrol(subject), Serial: serial,
			Issued: issued,
		}))
	}
	follow := func(subject string, issued time.Time) vault.Command {
		return op(atm.CertEnroll, vault.People(people.Invited{
			Enrol:  enrol(subject),
			Issued: issued,
		}))
	}
	revoke := func(name string) vault.Command {
		return op(atm.CertRevoke, vault.People(people.Revoke{Name: name}))
	}

	refused(t, l, renew("user:a", "1", before), atm.PermissionDenied) // nobody knows them
	must(t, l, follow("user:a", before))
	must(t, l, renew("user:a", "1", before))
	must(t, l, revoke("cert:1"))
	refused(t, l, renew("user:a", "1", before), atm.PermissionDenied)
	must(t, l, renew("user:a", "2", before))
	must(t, l, revoke("subject:user:a"))
	refused(t, l, renew("user:a", "2", before), atm.PermissionDenied)
	refused(t, l, follow("user:a", before), atm.PermissionDenied)
	must(t, l, renew("user:a", "3", after))
	must(t, l, follow("user:a", after))

	must(t, l, follow("user:b", before))
	must(t, l, op(atm.UserDisable, vault.People(people.SetDisabled{
		Subject:  "user:b",
		Disabled: true,
	})))
	refused(t, l, renew("user:b", "4", before), atm.PermissionDenied)
	refused(t, l, follow("user:b", before), atm.PermissionDenied)

	// Those that were begun together are decided in that order.
	must(t, l, follow("user:c", before))
	replies := []ledger.Reply{
		l.Begin(t.Context(), renew("user:c", "5", before)), l.Begin(t.Context(),
			revoke("subject:user:c")), l.Begin(t.Context(), renew("user:c", "5", before)),
	}
	for i, want := range []atm.Code{atm.OK, atm.OK, atm.PermissionDenied} {
		if s := replies[i](); s.Code != want {
			t.Errorf("command %d of several: %v, want %s", i, s, want)
		}
	}
	issued, err := store.Certificates(t.Context())
	if err != nil || len(issued) != 8 {
		t.Errorf("%d were issued, %v", len(issued), err)
	}
}

// testSomebody has rules that are about somebody who is known, or not yet, decided for the
// opposite too: in the order of the commits, not of what was looked up before.
func testSomebody(t *testing.T, p Place) {
	l := NewLedger(t, ledger.Config{Store: p.Open(t)})
	enrol := func(expect people.Expected, role atm.Role) vault.Command {
		return op(atm.UserAdd, vault.People(people.Enrol{
			Subject: "user:a", Roles: []atm.Role{role},
			Expect: expect, Result: "",
		}))
	}
	refused(t, l, enrol(people.ExpectKnown, atm.Teller), atm.AccountNotFound)
	refused(t, l, op(atm.UserShow, vault.People(people.ShowUser{Subject: "user:a"})),
		atm.AccountNotFound)
	refused(t, l, op(atm.UserRevoke, vault.People(people.RevokeSubject{Subject: "user:a"})),
		atm.AccountNotFound)
	must(t, l, op(atm.UserRevoke, vault.People(people.RevokeSubject{
		Subject: "user:a",
		Invited: true,
	})))
	replies := []ledger.Reply{
		l.Begin(t.Context(), enrol(people.ExpectNew, atm.Customer)),
		l.Begin(t.Context(), enrol(people.ExpectNew, atm.Operator)),
		l.Begin(t.Context(), enrol(people.ExpectKnown, atm.Teller)),
	}
	for i, want := range []atm.Code{atm.OK, atm.AccountExists, atm.OK} {
		if s := replies[i](); s.Code != want {
			t.Errorf("enrolment %d: %v, want %s", i, s, want)
		}
	}
	must(t, l, op(atm.UserRevoke, vault.People(people.RevokeSubject{Subject: "user:a"})))
	shown, _ := must(t, l,
		op(atm.UserShow, vault.People(people.ShowUser{Subject: "user:a"}))).Result.(atm.Record)
	if roles, _ := shown.Get("roles").([]string); !slices.Equal(roles, []string{"teller"}) {
		t.Errorf("roles: %v", shown)
	}
}

// testWarrants has acts decided behind, in the same group, what takes away what they rest
// on: none of them happens.
func testWarrants(t *testing.T, p Place) {
	l := NewLedger(t, ledger.Config{Store: p.Open(t)})
	known := func(subject string, roles ...atm.Role) {
		must(t, l, op(atm.UserAdd, vault.People(people.Enrol{
			Subject: subject, Roles: roles,
			HA1: []byte("password of " + subject), Result: "",
		})))
	}
	operates := func(roles []atm.Role) bool { return slices.Contains(roles, atm.Operator) }
	issued := time.Now().Add(-time.Minute)
	for i, take := range []func(subject string) vault.Rule{
		func(s string) vault.Rule {
			return vault.People(people.SetDisabled{Subject: s, Disabled: true})
		},
		func(s string) vault.Rule { return vault.People(people.Revoke{Name: "subject:" + s}) },
		func(s string) vault.Rule { return vault.People(people.Revoke{Name: "cert:" + s}) },
		func(s string) vault.Rule {
			return vault.People(people.Enrol{
				Subject: s, Roles: []atm.Role{atm.Customer},
				Result: "",
			})
		},
		func(s string) vault.Rule {
			return vault.People(people.Enrol{Subject: s, HA1: []byte("another"), Result: ""})
		},
	} {
		subject := fmt.Sprintf("user:w%d", i)
		known(subject, atm.Operator)
		act := func(made string) vault.Command {
			c := op(atm.UserAdd, vault.People(people.Enrol{
				Subject: made, Default: atm.Customer,
				Result: "",
			}))
			c.Warrants = []people.Warrant{{
				Subject: subject, Permits: operates, Revocation: "cert:" + subject, Issued: issued,
				Verifier: people.VerifierOf([]byte("password of " + subject)),
			}}
			return c
		}
		replies := []ledger.Reply{
			l.Begin(t.Context(), act("user:x")), l.Begin(t.Context(),
				op(atm.UserAdd, take(subject))), l.Begin(t.Context(), act("user:y")),
		}
		for j, want := range []atm.Code{atm.OK, atm.OK, atm.PermissionDenied} {
			if s := replies[j](); s.Code != want {
				t.Errorf("way %d, command %d: %v, want %s", i, j, s, want)
			}
		}
	}

	// Who is named, and need not have shown anything.
	known("user:n", atm.Customer)
	must(t, l, op(atm.UserDisable, vault.People(people.SetDisabled{
		Subject:  "user:n",
		Disabled: true,
	})))
	for _, tt := range []struct {
		w    people.Warrant
		want atm.Code
	}{
		{people.Warrant{Subject: "user:n", Named: true}, atm.PermissionDenied},
		{people.Warrant{Subject: "user:nobody", Named: true}, atm.AccountNotFound},
		{people.Warrant{Subject: "user:nobody", Named: true, Stranger: true}, atm.OK},
	} {
		c := op(atm.TokenIssue, vault.People(people.IssueToken{
			For: tt.w.Subject, ID: "T",
			Ends: time.Now().UTC().Truncate(time.Second), Result: "",
		}))
		c.Warrants = []people.Warrant{tt.w}
		if s := l.Do(t.Context(), c); s.Code != tt.want {
			t.Errorf("%+v: %v, want %s", tt.w, s, tt.want)
		}
	}
}

// testLastOperator disables and demotes operators until there is one, who stays.
func testLastOperator(t *testing.T, p Place) {
	l := NewLedger(t, ledger.Config{Store: p.Open(t)})
	for _, s := range []string{"user:a", "user:b", "user:c"} {
		must(t, l, op(atm.UserAdd, vault.People(people.Enrol{Subject: s, Roles: []atm.Role{
			atm.Operator,
			atm.Auditor,
		}, Result: ""})))
	}
	others := []string{"user:a", "user:b", "user:c"}
	demote := func(s string) vault.Command {
		return op(atm.UserAdd, vault.People(people.KeepsOperator{Demoting: people.Enrol{
			Subject: s,
			Roles:   []atm.Role{atm.Auditor}, Result: "",
		}, Others: others}))
	}
	disable := func(s string) vault.Command {
		return op(atm.UserDisable, vault.People(people.KeepsOperator{Demoting: people.SetDisabled{
			Subject:  s,
			Disabled: true,
		}, Others: others}))
	}
	// Each would leave one of the other two, were it alone.
	replies := []ledger.Reply{
		l.Begin(t.Context(), demote("user:a")),
		l.Begin(t.Context(), disable("user:b")), l.Begin(t.Context(), disable("user:c")),
	}
	for i, want := range []atm.Code{atm.OK, atm.OK, atm.PermissionDenied} {
		if s := replies[i](); s.Code != want {
			t.Errorf("command %d: %v, want %s", i, s, want)
		}
	}
	refused(t, l, demote("user:c"), atm.PermissionDenied)
	must(t, l, demote("user:a")) // who is none
	must(t, l, op(atm.UserEnable, vault.People(people.SetDisabled{Subject: "user:b"})))
	must(t, l, demote("user:c"))
	refused(t, l, disable("user:b"), atm.PermissionDenied)
}

// issue issues a certificate that is good until then.
func issue(t *testing.T, l *ledger.Ledger, until time.Time) {
	t.Helper()
	serial := make([]byte, 16)
	rand.Read(serial)
	c := people.Certificate{
		Serial: hex.EncodeToString(serial), Subject: "service:a", NotAfter: until.Truncate(time.Second),
	}
	must(t, l, op(atm.CertIssue, vault.People(people.Enrol{
		Subject: c.Subject, Default: atm.Service,
		Certificate: &c, Result: "",
	})))
}

// testClockJumps issues all certificates that there are, and sets the clock ahead, as on a machine
// that learns the time late. The store may forget all of them.
func testClockJumps(t *testing.T, p Place) {
	store := p.Open(t)
	now := time.Now().UTC()
	l := NewLedger(t, ledger.Config{Store: store, Now: func() time.Time { return now }})
	for range 3 {
		issue(t, l, now.Add(time.Hour))
	}
	now = now.Add(30 * 24 * time.Hour)
	must(t, l, open("1", 100))
	if _, err := store.Certificates(t.Context()); err != nil {
		t.Error(err)
	}
	must(t, l, deposit("1", 1))
}

// testCertificatesEnd renews a certificate of five minutes for a month: what is
// over does not pile up, and nothing that is good is forgotten.
func testCertificatesEnd(t *testing.T, p Place) {
	const life, long, at = 5 * time.Minute, 20, 600
	store := p.Open(t)
	now := time.Now().UTC()
	l := NewLedger(t, ledger.Config{Store: store, Now: func() time.Time { return now }})
	for range long {
		issue(t, l, now.Add(365*24*time.Hour))
	}
	for range at {
		now = now.Add(30 * 24 * time.Hour / at)
		issue(t, l, now.Add(life))
	}
	issued, err := store.Certificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good, listed := 0, 0
	for _, c := range issued {
		if c.NotAfter.After(now.Add(life)) {
			good++
		}
		if !c.NotAfter.Before(now.Add(-24 * time.Hour)) {
			listed++
		}
	}
	if good != long {
		t.Errorf("%d of %d certificates that are good are listed", good, long)
	}
	if len(issued) > 2*listed {
		t.Errorf("%d certificates are kept, of which %d are to be listed", len(issued), listed)
	}
}
