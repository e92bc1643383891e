package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Tolerance is how far the timestamp of a webhook may be from the clock, in both directions.
const Tolerance = 5 * time.Minute

// Errors of Verify.
var (
	ErrHeaders   = errors.New("the headers are not those of a webhook")
	ErrTooOld    = errors.New("the webhook is too old")
	ErrTooNew    = errors.New("the webhook is from the future")
	ErrSignature = errors.New("no signature of the webhook is good")
)

// ErrKey reports text that is neither a secret nor a public key of a sender.
var ErrKey = errors.New("not whsec_ with 24 to 64 bytes in base64, nor whpk_ with 32")

// The specification says how long a secret may be.
const (
	minSecretBytes = 24
	maxSecretBytes = 64
)

// A Verifier is what a sender gave us to verify its webhooks: a secret or a public key.
// Printing a Verifier does not show it.
type Verifier struct {
	secret []byte            // or nil
	public ed25519.PublicKey // or nil
}

// ParseVerifier reads a secret (whsec_…) or a public key (whpk_…) of a sender. The error does
// not repeat the text.
func ParseVerifier(text string) (Verifier, error) {
	if encoded, ok := strings.CutPrefix(text, secretPrefix); ok {
		secret, ok := decode(encoded)
		if ok && len(secret) >= minSecretBytes && len(secret) <= maxSecretBytes {
			return Verifier{secret: secret}, nil
		}
	} else if encoded, ok := strings.CutPrefix(text, publicPrefix); ok {
		public, ok := decode(encoded)
		if ok && len(public) == ed25519.PublicKeySize {
			return Verifier{public: public}, nil
		}
	}
	return Verifier{}, ErrKey
}

// decode reads base64 in the one form that a text has.
func decode(text string) ([]byte, bool) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	return b, err == nil && !strings.ContainsAny(text, "\r\n") // which base64 would skip
}

// Format implements fmt.Formatter. It shows nothing of the secret, whatever the verb.
func (Verifier) Format(s fmt.State, _ rune) { io.WriteString(s, "webhook verifier") }

// A Received is a webhook whose sender is known.
type Received struct {
	ID   string    // the same when the sender tries again: act once for each
	Time time.Time // of the try
}

// Verify checks that a webhook was signed for one of the verifiers, and less than Tolerance from
// now. The caller bounds the body, and sees to it that it acts once for each id.
//
// Several verifiers are those of a sender who is replacing a key.
func Verify(h http.Header, body []byte, now time.Time, verifiers ...Verifier) (Received, error) {
	id, err := only(h, HeaderID)
	if err != nil {
		return Received{}, err
	}
	if !isID(id) {
		return Received{}, fmt.Errorf("%w: %s is %w", ErrHeaders, HeaderID, errID)
	}
	stamp, err := only(h, HeaderTimestamp)
	if err != nil {
		return Received{}, err
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != stamp {
		return Received{}, fmt.Errorf("%w: %s is no number of seconds", ErrHeaders, HeaderTimestamp)
	}
	signatures, err := only(h, HeaderSignature)
	if err != nil {
		return Received{}, err
	}
	switch low, high := now.Add(-Tolerance).Unix(), now.Add(Tolerance).Unix(); {
	case seconds < low:
		return Received{}, ErrTooOld
	case seconds > high:
		return Received{}, ErrTooNew
	}
	list := strings.Split(signatures, " ")
	if len(list) > maxSignatures {
		return Received{}, fmt.Errorf("%w: more than %d signatures", ErrHeaders, maxSignatures)
	}
	content := signed(id, stamp, body)
	for _, v := range verifiers {
		if v.accepts(content, list) {
			return Received{id, time.Unix(seconds, 0).UTC()}, nil
		}
	}
	return Received{}, ErrSignature
}

// only returns the one value of a header. A second value would be for another reader to prefer.
func only(h http.Header, name string) (string, error) {
	values := h.Values(name)
	if len(values) != 1 {
		return "", fmt.Errorf("%w: %d of %s", ErrHeaders, len(values), name)
	}
	return values[0], nil
}

// accepts reports whether one of the signatures is of the sender. Signatures of schemes that are
// not known are of those that are to come, and are passed over.
func (v Verifier) accepts(content []byte, signatures []string) bool {
	var want []byte
	if v.secret != nil {
		want = mac(v.secret, content)
	}
	for _, text := range signatures {
		scheme, encoded, _ := strings.Cut(text, ",")
		signature, ok := decode(encoded)
		switch {
		case !ok:
		case scheme == schemeHMAC && v.secret != nil:
			if hmac.Equal(signature, want) {
				return true
			}
		case scheme == schemeEd && v.public != nil:
			if ed25519.Verify(v.public, content, signature) {
				return true
			}
		}
	}
	return false
}
