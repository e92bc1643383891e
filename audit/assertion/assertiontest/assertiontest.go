// Package assertiontest is a device with a passkey, for tests.
package assertiontest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/url"
	"testing"

	"example.com/atm"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
)

// A Device has one passkey, on P-256.
type Device struct {
	ID    string // of the passkey, in base64url
	Count uint32 // of the signatures so far
	Flags uint8  // of the next ones

	key *ecdsa.PrivateKey
}

// NewDevice returns a device whose user is there and verified.
func NewDevice(t testing.TB) *Device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	rand.Read(id)
	return &Device{ID: base64.RawURLEncoding.EncodeToString(id), Flags: 1<<0 | 1<<2, key: key}
}

// Key is the public key in COSE form.
func (d *Device) Key(t testing.TB) []byte {
	t.Helper()
	point, err := d.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text, err := webauthncbor.Marshal(webauthncose.EC2PublicKeyData{
		PublicKeyData: webauthncose.PublicKeyData{
			KeyType: int64(webauthncose.EllipticKey), Algorithm: int64(webauthncose.AlgES256),
		},
		Curve: int64(webauthncose.P256), XCoord: point[1:33], YCoord: point[33:],
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Sign signs a challenge on a page of origin, and counts.
func (d *Device) Sign(t testing.TB, challenge []byte, origin string) *atm.Assertion {
	t.Helper()
	page, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	d.Count++
	site := sha256.Sum256([]byte(page.Hostname()))
	data := binary.BigEndian.AppendUint32(append(site[:], d.Flags), d.Count)
	said, err := json.Marshal(map[string]any{
		"type": "webauthn.get", "origin": origin, "crossOrigin": false,
		"challenge": base64.RawURLEncoding.EncodeToString(challenge),
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(said)
	digest := sha256.Sum256(append(append([]byte(nil), data...), sum[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, d.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return &atm.Assertion{
		Passkey: d.ID, AuthenticatorData: data, ClientData: said, Signature: signature,
	}
}
