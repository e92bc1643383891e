// Package assertion checks what passkeys have confirmed (WebAuthn Level 3, section 7.2).
//
// The challenge that a passkey signs is the hash of what was shown, so its signature is good for
// that one operation, those accounts, that amount and that request id.
package assertion

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"example.com/atm"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
)

// MaxBytes bounds the parts of an assertion together, as they may be in a log.
const MaxBytes = 4 << 10

// The authenticator data has 32 bytes of hash, one of flags, and four of count.
const (
	hashBytes = 32
	minBytes  = hashBytes + 1 + 4

	flagPresent  = 1 << 0
	flagVerified = 1 << 2
	flagMayBack  = 1 << 3 // others of the user's devices may have the passkey
	flagBackedUp = 1 << 4 // they have it
)

// A Device is what the authenticator data says.
type Device struct {
	Count uint32 // of signatures; 0 from a device that counts none
	Flags uint8
}

// Said is what the device says in a, which is not checked.
func Said(a *atm.Assertion) Device {
	if len(a.AuthenticatorData) < minBytes {
		return Device{}
	}
	return Device{
		Flags: a.AuthenticatorData[hashBytes],
		Count: binary.BigEndian.Uint32(a.AuthenticatorData[hashBytes+1:]),
	}
}

// clientData is what the browser says (section 5.8.1).
type clientData struct {
	Type        string `json:"type"`
	Challenge   string `json:"challenge"`
	Origin      string `json:"origin"`
	CrossOrigin bool   `json:"crossOrigin"`
}

// Origin is the page on which a was made; empty when a does not say.
func Origin(a *atm.Assertion) string {
	var said clientData
	if json.Unmarshal(a.ClientData, &said) != nil {
		return ""
	}
	return said.Origin
}

// Check verifies that the passkey with this public key, in COSE form (RFC 9052), has signed the
// challenge, on a page of the site that the passkey is for, with its user present and verified.
func Check(a *atm.Assertion, key, challenge []byte) (Device, error) {
	if len(a.ClientData)+len(a.AuthenticatorData)+len(a.Signature) > MaxBytes ||
		len(a.AuthenticatorData) < minBytes {
		return Device{}, errors.New("assertion of a wrong size")
	}
	var said clientData
	if err := json.Unmarshal(a.ClientData, &said); err != nil {
		return Device{}, fmt.Errorf("what the browser says is no JSON: %w", err)
	}
	signed, err := base64.RawURLEncoding.Strict().DecodeString(said.Challenge)
	page, badPage := url.Parse(said.Origin)
	switch {
	case said.Type != "webauthn.get" || said.CrossOrigin:
		return Device{}, errors.New("no assertion of a page itself")
	case err != nil || subtle.ConstantTimeCompare(signed, challenge) != 1:
		return Device{}, errors.New("the passkey has confirmed something else")
	case badPage != nil || sha256.Sum256([]byte(page.Hostname())) !=
		[hashBytes]byte(a.AuthenticatorData[:hashBytes]):
		return Device{}, errors.New("the passkey is of another site than the page")
	}
	device := Said(a)
	if device.Flags&flagPresent == 0 || device.Flags&flagVerified == 0 {
		return Device{}, errors.New("the user was not verified")
	}
	if device.Flags&flagBackedUp != 0 && device.Flags&flagMayBack == 0 {
		return Device{}, errors.New("the device contradicts itself")
	}
	public, err := webauthncose.ParsePublicKey(key)
	if err != nil {
		return Device{}, fmt.Errorf("public key of the passkey: %w", err)
	}
	sum := sha256.Sum256(a.ClientData)
	data := append(append([]byte(nil), a.AuthenticatorData...), sum[:]...)
	if good, err := webauthncose.VerifySignature(public, data, a.Signature); err != nil || !good {
		return Device{}, errors.New("the signature is wrong")
	}
	return device, nil
}
