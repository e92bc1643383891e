package atm

// An Assertion is what a passkey signed to confirm an operation (WebAuthn Level 3, section 5.2.2).
type Assertion struct {
	Passkey           string // its credential id, in base64url
	AuthenticatorData []byte // of the device: whose page it was, its flags and its count
	ClientData        []byte // of the browser: the challenge and the page, in JSON
	Signature         []byte // over the data of both
}
