package daemontest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
)

// Flags of authenticator data (WebAuthn, section 6.1).
const (
	UserPresent  = 1 << 0
	UserVerified = 1 << 2
	hasPasskey   = 1 << 6
)

// An Authenticator is a device with one passkey, as a browser uses it. Its fields can be changed
// to those of a device that lies.
type Authenticator struct {
	Origin string // of the page
	RP     string // name of the server
	ID     []byte
	Handle []byte // of the user
	Count  uint32 // of the next signature; 0 for a device that counts none
	Flags  byte

	Says   func(client map[string]any) // changes what the browser says; nil for nothing
	Device func(data []byte) []byte    // changes what the device says; nil for nothing

	key *ecdsa.PrivateKey
}

// NewAuthenticator returns a device on a page of a server.
func NewAuthenticator(t testing.TB, origin, rp string) *Authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &Authenticator{
		Origin: origin, RP: rp, ID: []byte(rand.Text()), Count: 1,
		Flags: UserPresent | UserVerified, key: key,
	}
}

// options are what a page asks for.
type options struct {
	Challenge string `json:"challenge"`
	User      struct {
		ID string `json:"id"`
	} `json:"user"`
}

func parsed(t testing.TB, text string) (o options) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &o); err != nil || o.Challenge == "" {
		t.Fatalf("the page asks for %q: %v", text, err)
	}
	return o
}

func (a *Authenticator) clientData(kind, challenge string) []byte {
	said := map[string]any{
		"type": kind, "challenge": challenge, "origin": a.Origin, "crossOrigin": false,
	}
	if a.Says != nil {
		a.Says(said)
	}
	text, _ := json.Marshal(said) // of strings, so it never fails
	return text
}

func (a *Authenticator) authData(flags byte) []byte {
	sum := sha256.Sum256([]byte(a.RP))
	data := append(sum[:], flags)
	data = binary.BigEndian.AppendUint32(data, a.Count)
	if a.Count > 0 {
		a.Count++
	}
	return data
}

// Create makes the passkey that a page asks for, and returns what the browser sends.
func (a *Authenticator) Create(t testing.TB, asked string) string {
	t.Helper()
	o := parsed(t, asked)
	handle, err := base64.RawURLEncoding.DecodeString(o.User.ID)
	if err != nil {
		t.Fatal(err)
	}
	a.Handle = handle
	data := append(a.authData(a.Flags|hasPasskey), make([]byte, 16)...) // of no known make
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.ID)))
	data = append(data, a.ID...)
	point, err := a.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	// COSE (RFC 9053): an EC2 key for ES256 on P-256, with x and y.
	data = append(data, 0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32)
	data = append(data, point[1:33]...)
	data = append(append(data, 0x22, 0x58, 32), point[33:]...)
	if a.Device != nil {
		data = a.Device(data)
	}
	attestation := append([]byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59"),
		byte(len(data)>>8), byte(len(data)))
	return a.response(t, map[string]any{
		"clientDataJSON":    encoded(a.clientData("webauthn.create", o.Challenge)),
		"attestationObject": encoded(append(attestation, data...)),
		"transports":        []string{"internal", "telepathy"},
	})
}

// Sign signs what a page asks for, and returns what the browser sends.
func (a *Authenticator) Sign(t testing.TB, asked string) string {
	t.Helper()
	client := a.clientData("webauthn.get", parsed(t, asked).Challenge)
	data := a.authData(a.Flags)
	if a.Device != nil {
		data = a.Device(data)
	}
	hash := sha256.Sum256(client)
	signed := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, signed[:])
	if err != nil {
		t.Fatal(err)
	}
	return a.response(t, map[string]any{
		"clientDataJSON": encoded(client), "authenticatorData": encoded(data),
		"signature": encoded(signature), "userHandle": encoded(a.Handle),
	})
}

func (a *Authenticator) response(t testing.TB, members map[string]any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"id": encoded(a.ID), "rawId": encoded(a.ID), "type": "public-key",
		"response": members, "clientExtensionResults": map[string]any{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
