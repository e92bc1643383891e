package boltstore

import (
	"testing"
	"time"

	"example.com/atm/vault/people"
)

// TestOlderCertificateIsRead reads a record of a certificate from before it said when it was
// issued and what for.
func TestOlderCertificateIsRead(t *testing.T) {
	want := people.Certificate{
		Serial: "5f", Subject: "user:demo",
		NotAfter: time.Unix(1_800_000_000,
			0).UTC(),
	}
	var older fields
	older.text(want.Subject)
	older.int(want.NotAfter.Unix())
	got, err := decodeCertificate(want.Serial, older.b)
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	want.Issued, want.Scope, want.Actor = want.NotAfter.Add(-time.Hour), "inquiry", "user:till"
	got, err = decodeCertificate(want.Serial, encodeCertificate(&want))
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}
