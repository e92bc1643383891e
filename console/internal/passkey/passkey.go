// Package passkey makes the challenges that passkeys sign, and checks what they signed (WebAuthn).
//
// A challenge is kept by the browser that it was made for, sealed: the server keeps none, and any
// replica checks it. It says what it is for and until when. That it is used once is seen to where
// it is used; see sessions.Beginning.
package passkey

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/teller/sessions"
	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"
)

// Life is how long a challenge can be answered.
const Life = 5 * time.Minute

var (
	// ErrName reports a server that is reached by an address: a passkey is for a name.
	ErrName = errors.New("a passkey is for a server with a name")

	// ErrLate reports a challenge that was answered too late.
	ErrLate = errors.New("the challenge is over")

	// ErrForeign reports a challenge that was made for another browser or another purpose, or
	// by nobody here.
	ErrForeign = errors.New("challenge of another browser, or of nobody")

	// ErrOrigin reports a passkey that was used on a page of another site, and ErrUnknown one
	// that nobody has.
	ErrOrigin  = errors.New("passkey on a page of another site")
	ErrUnknown = errors.New("passkey of nobody")
)

// A Site is a server as passkeys know it: by its name, which they are bound to.
type Site struct {
	origin   string
	webauthn *webauthn.WebAuthn
	aead     cipher.AEAD
}

// New returns the site at a URL. Challenges are sealed with key, of 32 bytes.
func New(at, title string, key []byte) (*Site, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	if address, err := netip.ParseAddr(u.Hostname()); err == nil {
		if !address.IsLoopback() {
			return nil, ErrName
		}
		u.Host = "localhost:" + u.Port()
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s := &Site{origin: u.Scheme + "://" + u.Host}
	if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	s.webauthn, err = webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: title, RPOrigins: []string{s.origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey:        protocol.ResidentKeyRequirementRequired,
			RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification:   protocol.VerificationRequired,
		},
	})
	return s, err
}

// Origin is that of the pages on which the passkeys of the site work.
func (s *Site) Origin() string { return s.origin }

// A Purpose is what a challenge is for, and in which browser.
type Purpose struct {
	Act     string // such as "sign in"
	Browser string // a secret in a cookie of the browser
}

// A Challenge is what a page hands to a browser.
type Challenge struct {
	Options string // for navigator.credentials, in JSON
	State   string // comes back with the response
}

// seal keeps what the library has to know again.
func (s *Site) seal(p Purpose, options any, data *webauthn.SessionData) (Challenge, error) {
	data.Expires = time.Now().Add(Life)
	state, err := json.Marshal(data)
	if err != nil {
		return Challenge{}, err
	}
	shown, err := json.Marshal(options)
	if err != nil {
		return Challenge{}, err
	}
	sealed := s.aead.Seal(nil, nil, state, p.bytes())
	return Challenge{string(shown), base64.RawURLEncoding.EncodeToString(sealed)}, nil
}

func (s *Site) open(p Purpose, state string) (data webauthn.SessionData, err error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(state)
	if err != nil || p.Browser == "" {
		return data, ErrForeign
	}
	text, err := s.aead.Open(nil, nil, sealed, p.bytes())
	if err != nil || json.Unmarshal(text, &data) != nil {
		return data, ErrForeign
	}
	if time.Now().After(data.Expires) {
		return data, ErrLate
	}
	return data, nil
}

// bytes are what a challenge is sealed for. The hash has one length, so that a browser that chooses
// its secret cannot make it run together with an act.
func (p Purpose) bytes() []byte {
	browser := sha256.Sum256([]byte(p.Browser))
	return append(browser[:], p.Act...)
}

// user is a user as the library sees them.
type user struct {
	subject  string
	passkeys []sessions.Passkey
}

// handle is what an authenticator knows a subject by. It tells their name to nobody.
func handle(subject string) []byte {
	sum := sha256.Sum256([]byte("atm user " + subject))
	return sum[:]
}

func (u user) WebAuthnID() []byte          { return handle(u.subject) }
func (u user) WebAuthnName() string        { return u.subject }
func (u user) WebAuthnDisplayName() string { return u.subject }

func (u user) WebAuthnCredentials() []webauthn.Credential {
	list := make([]webauthn.Credential, len(u.passkeys))
	for i := range u.passkeys {
		list[i] = credential(&u.passkeys[i])
	}
	return list
}

func credential(p *sessions.Passkey) webauthn.Credential {
	id, err := base64.RawURLEncoding.DecodeString(p.ID)
	if err != nil { // nothing here has made it
		return webauthn.Credential{}
	}
	c := webauthn.Credential{
		ID: id, PublicKey: p.Key,
		Flags:         webauthn.NewCredentialFlags(protocol.AuthenticatorFlags(p.Flags)),
		Authenticator: webauthn.Authenticator{SignCount: p.Count},
	}
	for _, transport := range p.Transports {
		c.Transport = append(c.Transport, protocol.AuthenticatorTransport(transport))
	}
	return c
}

// algorithms are those of keys, the best first.
var algorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgRS256},
}

// Create asks for another passkey of a subject who has some.
func (s *Site) Create(p Purpose, subject string, have []sessions.Passkey) (Challenge, error) {
	u := user{subject, have}
	var known []protocol.CredentialDescriptor
	for _, c := range u.WebAuthnCredentials() {
		known = append(known, c.Descriptor())
	}
	options, data, err := s.webauthn.BeginRegistration(u, webauthn.WithExclusions(known),
		webauthn.WithCredentialParameters(algorithms))
	if err != nil {
		return Challenge{}, err
	}
	return s.seal(p, options.Response, data)
}

// Created returns the passkey that a browser made, which has no name yet.
func (s *Site) Created(p Purpose, subject, state, response string) (made sessions.Passkey,
	err error,
) {
	data, err := s.open(p, state)
	if err != nil {
		return made, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(response))
	if err != nil {
		return made, refused(err)
	}
	if parsed.Response.CollectedClientData.Origin != s.origin {
		return made, ErrOrigin
	}
	c, err := s.webauthn.CreateCredential(user{subject: subject}, data, parsed)
	if err == nil {
		err = checkKey(c.PublicKey)
	}
	if err != nil {
		return made, refused(err)
	}
	made = sessions.Passkey{
		ID: base64.RawURLEncoding.EncodeToString(c.ID), Subject: subject, Key: c.PublicKey,
		Count: c.Authenticator.SignCount, Flags: flags(c),
	}
	for _, transport := range c.Transport {
		if known := string(transport); slices.Contains(transports, known) {
			made.Transports = append(made.Transports, known)
		}
	}
	return made, nil
}

// The modulus of an RSA key has 2,048 to 4,096 bits: a larger one takes long to verify with.
const minModulus, maxModulus = 2048 / 8, 4096 / 8

// checkKey refuses a public key with which nothing can be verified. The library looks at one when
// it has a signature, and there is none without an attestation.
func checkKey(key []byte) error {
	public, err := webauthncose.ParsePublicKey(key)
	if k, is := public.(webauthncose.RSAPublicKeyData); err == nil && is {
		if n := len(bytes.TrimLeft(k.Modulus, "\x00")); n < minModulus || n > maxModulus {
			return errors.New("RSA key of a size that is not used")
		}
	}
	return err
}

// transports are those that WebAuthn names. A browser may say others; they are no help.
var transports = []string{"ble", "hybrid", "internal", "nfc", "smart-card", "usb"}

func flags(c *webauthn.Credential) uint8 { return uint8(c.Flags.ProtocolValue()) }

// refused is an error of the library with its details, for the audit log.
func refused(err error) error {
	var e *protocol.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%w: %s", err, e.DevInfo)
	}
	return err
}

// Request asks for a passkey: any of those that the browser has, or one of allowed. about is what
// is signed, such as the hash of what the page shows; nil for something random.
func (s *Site) Request(p Purpose, about []byte, allowed ...sessions.Passkey) (Challenge, error) {
	var options []webauthn.LoginOption
	if about != nil {
		options = append(options, webauthn.WithChallenge(about))
	}
	var list []protocol.CredentialDescriptor
	for i := range allowed {
		c := credential(&allowed[i])
		list = append(list, c.Descriptor())
	}
	if list != nil {
		options = append(options, webauthn.WithAllowedCredentials(list))
	}
	request, data, err := s.webauthn.BeginDiscoverableLogin(options...)
	if err != nil {
		return Challenge{}, err
	}
	return s.seal(p, request.Response, data)
}

// An Assertion is what a passkey signed.
type Assertion struct {
	Passkey   string // its id
	Subject   string
	Count     uint32
	Flags     uint8
	Challenge string // in base64url
}

// Asserted returns the assertion in a response. find returns a passkey that counts, or nil.
// Whether its count is good is decided with what it is used for.
func (s *Site) Asserted(p Purpose, state, response string,
	find func(id string) (*sessions.Passkey, error),
) (*Assertion, error) {
	data, err := s.open(p, state)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(response))
	if err != nil {
		return nil, refused(err)
	}
	if parsed.Response.CollectedClientData.Origin != s.origin {
		return nil, ErrOrigin
	}
	var found *sessions.Passkey
	owner := func(id, _ []byte) (webauthn.User, error) {
		if found, err = find(base64.RawURLEncoding.EncodeToString(id)); err != nil {
			return nil, err
		}
		if found == nil {
			return nil, ErrUnknown
		}
		return user{found.Subject, []sessions.Passkey{*found}}, nil
	}
	_, c, invalid := s.webauthn.ValidatePasskeyLogin(owner, data, parsed)
	switch {
	case err != nil:
		return nil, &StoreError{err}
	case invalid != nil:
		return nil, refused(invalid)
	}
	return &Assertion{
		Passkey: found.ID, Subject: found.Subject,
		Count: parsed.Response.AuthenticatorData.Counter, Flags: flags(c),
		Challenge: data.Challenge,
	}, nil
}

// Confirmed reads what a passkey signed to confirm something, on a page of the site. Whose
// passkey it is, and what it has confirmed, is for the bank to check: see audit/assertion.
func (s *Site) Confirmed(response string) (*atm.Assertion, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(response))
	if err != nil {
		return nil, refused(err)
	}
	if parsed.Response.CollectedClientData.Origin != s.origin {
		return nil, ErrOrigin
	}
	raw := parsed.Raw.AssertionResponse
	return &atm.Assertion{
		Passkey:           base64.RawURLEncoding.EncodeToString(parsed.RawID),
		AuthenticatorData: raw.AuthenticatorData, ClientData: raw.ClientDataJSON,
		Signature: raw.Signature,
	}, nil
}

// A StoreError is a passkey that could not be looked up.
type StoreError struct{ err error }

// Error implements error.
func (e *StoreError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.err }
