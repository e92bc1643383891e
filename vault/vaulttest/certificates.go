package vaulttest

import (
	"crypto/rand"
	"encoding/hex"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
)

// testCertificates renews certificates and follows invitations before and after
// what forbids it. Revocations were committed when the transaction begins, or are
// made by a command before it in the same one.
func testCertificates(t *testing.T, p Place) {
	store := p.Open(t)
	now := time.Now().UTC()
	l := NewLedger(t, vault.Config{Store: store, Now: func() time.Time { return now }})
	serials := 0
	enrol := func(subject string) vault.Enrol {
		serials++
		next := vault.Certificate{Serial: string(rune('a' + serials)), Subject: subject, NotAfter: now.Truncate(time.Second)}
		return vault.Enrol{Subject: subject, Default: atm.Customer, Certificate: &next, Result: ""}
	}
	before, after := now.Add(-time.Hour), now.Add(time.Second)
	renew := func(subject, serial string, issued time.Time) vault.Command {
		return op(atm.CertRenew, vault.Renewed{Enrol: enrol(subject), Serial: serial, Issued: issued})
	}
	follow := func(subject string, issued time.Time) vault.Command {
		return op(atm.CertEnroll, vault.Invited{Enrol: enrol(subject), Issued: issued})
	}
	revoke := func(name string) vault.Command { return op(atm.CertRevoke, vault.Revoke{Name: name}) }

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
	must(t, l, op(atm.UserDisable, vault.SetDisabled{Subject: "user:b", Disabled: true}))
	refused(t, l, renew("user:b", "4", before), atm.PermissionDenied)
	refused(t, l, follow("user:b", before), atm.PermissionDenied)

	// Those that were begun together are decided in that order.
	must(t, l, follow("user:c", before))
	replies := []vault.Reply{
		l.Begin(t.Context(), renew("user:c", "5", before)), l.Begin(t.Context(), revoke("subject:user:c")), l.Begin(t.Context(), renew("user:c", "5", before)),
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

// testCertificatesEnd renews a certificate of five minutes for a month: what is
// over does not pile up, and nothing that is good is forgotten.
func testCertificatesEnd(t *testing.T, p Place) {
	const life, long, at = 5 * time.Minute, 20, 600
	store := p.Open(t)
	now := time.Now().UTC()
	l := NewLedger(t, vault.Config{Store: store, Now: func() time.Time { return now }})
	issue := func(life time.Duration) {
		serial := make([]byte, 16)
		rand.Read(serial)
		c := vault.Certificate{Serial: hex.EncodeToString(serial), Subject: "service:a", NotAfter: now.Add(life).Truncate(time.Second)}
		must(t, l, op(atm.CertIssue, vault.Enrol{Subject: c.Subject, Default: atm.Service, Certificate: &c, Result: ""}))
	}
	for range long {
		issue(365 * 24 * time.Hour)
	}
	for range at {
		now = now.Add(30 * 24 * time.Hour / at)
		issue(life)
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
