package audit

import (
	"crypto/sha256"
	"encoding/base64"

	"example.com/atm"
)

// Shown is the hash of what a passkey confirms: the operation, its arguments, the keyed hash of
// its request id, and the subject that asks for it. It is the hash of their canonical JSON
// (RFC 8785).
func (e *Entry) Shown() [sha256.Size]byte {
	var w writer
	w.open('{')
	e.appendArgs(&w)
	w.field("op", string(e.Operation))
	w.field("request", e.Request)
	if e.Caller != nil {
		w.field("subject", e.Caller.Subject)
	}
	w.close('}')
	return sha256.Sum256(w.b)
}

// wireAssertion has the names of WebAuthn, and its base64url.
type wireAssertion struct {
	AuthenticatorData string `json:"authenticatorData"`
	ClientData        string `json:"clientDataJSON"`
	Passkey           string `json:"id"`
	Signature         string `json:"signature"`
}

func (e *Entry) appendAssertion(w *writer) {
	a := e.Assertion
	if a == nil {
		return
	}
	encode := base64.RawURLEncoding.EncodeToString
	w.key("assertion")
	w.open('{')
	w.field("authenticatorData", encode(a.AuthenticatorData))
	w.field("clientDataJSON", encode(a.ClientData))
	w.field("id", a.Passkey)
	w.field("signature", encode(a.Signature))
	w.close('}')
}

// parsed is the assertion. What is no base64url in it is left out, and so is not what was signed.
func (in *wireAssertion) parsed() *atm.Assertion {
	if in == nil {
		return nil
	}
	decode := func(text string) []byte {
		b, _ := base64.RawURLEncoding.Strict().DecodeString(text)
		return b
	}
	return &atm.Assertion{
		Passkey: in.Passkey, AuthenticatorData: decode(in.AuthenticatorData),
		ClientData: decode(in.ClientData), Signature: decode(in.Signature),
	}
}
