package codec

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/chunk"
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
	got, err := DecodeCertificate(want.Serial, older.b)
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	want.Issued, want.Scope, want.Actor = want.NotAfter.Add(-time.Hour), "inquiry", "user:till"
	got, err = DecodeCertificate(want.Serial, EncodeCertificate(&want))
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestRecordReadsBackAndNoPartOfItDoes encodes a record of each kind with every field set.
func TestRecordReadsBackAndNoPartOfItDoes(t *testing.T) {
	at := time.Unix(1_800_000_000, 0).UTC()
	account := vault.Account{
		Name: "7", Standing: vault.Frozen, Version: 3, Balance: -5, Owner: "user:demo",
		Holder:  "D. Emo",
		Pending: []vault.Pending{{ID: 9, Amount: 4, Expires: at}},
		Limits: vault.Limits{
			PerOperation: 1, DailyAmount: 2, DailyCount: 3,
			Zone: "Europe/Zurich",
		},
		Spent: vault.Spent{Day: 20000, Amount: 2, Count: 1},
		Agreements: []vault.Agreement{
			{ID: 11, Creditor: "service:gas", Until: at}, {ID: 300, Creditor: "user:b"}, {ID: 301},
		},
	}
	key, spine := AccountKey(account.Name), chunk.Spine{{Index: 8, Slot: 1}, {Index: 2}}
	holds := vault.Hold{ID: 9, State: vault.HoldReleased, Amount: 4, Account: "7"}
	user := people.User{
		Subject: "user:demo", Disabled: true, Roles: []atm.Role{atm.Operator},
		HA1: []byte("ha1"), Slow: []byte("slow"),
	}
	grant := vault.Grant{
		ID: "g", Grantor: "user:demo", Grantee: "user:till", Accounts: []vault.Name{"7"},
		Operations: []atm.Operation{atm.Deposit}, Cap: 10, Spent: 4, Expires: at,
	}
	mandate, order, reversal := agreedRecords()
	revocation := people.Revocation{Name: "token:5", At: at}
	passkey := people.Passkey{
		ID: "AAEC", Subject: "user:demo", Name: "Phone", Added: at, Key: []byte{1, 2}, Count: 300,
		Flags: 0x1d, Transports: []string{"internal", "hybrid"}, Removed: at.Add(time.Hour),
	}
	session := people.Session{
		ID: "s", Subject: "user:demo", Method: "passkey", Passkey: "AAEC", Agent: "Firefox",
		Bound: []byte{3}, Begun: at, Seen: at.Add(time.Microsecond), Ends: at.Add(time.Hour),
		Ended: at.Add(time.Minute),
	}
	login := people.Session{
		ID: "t", Subject: "user:demo", Method: "oidc", Issuer: "https://login.example",
		Person: "0815", Begun: at, Seen: at, Ends: at.Add(time.Hour),
	}
	for _, tt := range []struct {
		name   string
		record []byte
		want   any
		decode func([]byte) (any, error)
	}{
		{"account", EncodeAccount(&account, spine), account, func(v []byte) (any, error) {
			a, s, err := DecodeAccount(key, v)
			if err == nil && !slices.Equal(s, spine) {
				t.Errorf("the spine came back as %v", s)
			}
			return a, err
		}},
		{"hold", EncodeHold(&holds), holds, func(v []byte) (any, error) {
			return DecodeHold(holds.ID, v)
		}},
		{"user", EncodeUser(&user), user, func(v []byte) (any, error) {
			return DecodeUser(user.Subject, v)
		}},
		{"grant", EncodeGrant(&grant), grant, func(v []byte) (any, error) {
			return DecodeGrant(grant.ID, v)
		}},
		{"mandate", EncodeMandate(&mandate), mandate, func(v []byte) (any, error) {
			return DecodeMandate(mandate.ID, v)
		}},
		{"order", EncodeOrder(&order), order, func(v []byte) (any, error) {
			return DecodeOrder(order.ID, v)
		}},
		{"reversal", EncodeReversal(&reversal), reversal, func(v []byte) (any, error) {
			return DecodeReversal(reversal.Of, v)
		}},
		{"revocation", EncodeRevocation(&revocation), revocation, func(v []byte) (any, error) {
			return DecodeRevocation(revocation.Name, v)
		}},
		{"passkey", EncodePasskey(&passkey), passkey, func(v []byte) (any, error) {
			return DecodePasskey(passkey.ID, v)
		}},
		{"session", EncodeSession(&session), session, func(v []byte) (any, error) {
			return DecodeSession(session.ID, v)
		}},
		{"login", EncodeSession(&login), login, func(v []byte) (any, error) {
			return DecodeSession(login.ID, v)
		}},
	} {
		if got, err := tt.decode(tt.record); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
		for n := range tt.record {
			if _, err := tt.decode(tt.record[:n]); !errors.Is(err, ErrForm) {
				t.Errorf("%s cut after %d bytes: %v", tt.name, n, err)
			}
		}
		if _, err := tt.decode(append(tt.record, 0)); !errors.Is(err, ErrForm) {
			t.Errorf("%s with another byte: %v", tt.name, err)
		}
	}
}

// FuzzRecords takes records of the log apart that nobody wrote.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{1, 1, 'k', 1, 'v'})
	f.Add([]byte{9, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var again []byte
		err := EachValue(data, func(bucket int, key, value []byte) error {
			again = AppendValue(again, bucket, key, value)
			return nil
		})
		if err == nil && len(again) > len(data) {
			t.Errorf("%x was read as %x", data, again)
		}
	})
}
