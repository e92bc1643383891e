package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a webhook.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// MaxIDBytes bounds the id of a webhook.
const MaxIDBytes = 128

// maxSignatures bounds the signatures of one webhook. The receiver's work grows with it.
const maxSignatures = 16

const (
	secretPrefix = "whsec_"
	publicPrefix = "whpk_"
	schemeHMAC   = "v1"
	schemeEd     = "v1a"
)

// A Key signs webhooks: by HMAC with a secret that the receiver has too, and by Ed25519, for
// receivers who want to show others what they were sent. Printing a Key does not show it.
type Key struct {
	secret  [sha256.Size]byte
	private ed25519.PrivateKey
}

// NewKey returns the key of a secret and of an Ed25519 seed.
func NewKey(secret [sha256.Size]byte, seed [ed25519.SeedSize]byte) Key {
	return Key{secret, ed25519.NewKeyFromSeed(seed[:])}
}

// Secret returns the secret in the form in which a receiver is told it: whsec_ and base64.
func (k Key) Secret() string {
	return secretPrefix + base64.StdEncoding.EncodeToString(k.secret[:])
}

// Public returns the public key in the form in which a receiver is told it: whpk_ and base64.
func (k Key) Public() string {
	return publicPrefix + base64.StdEncoding.EncodeToString(k.private.Public().(ed25519.PublicKey))
}

// Format implements fmt.Formatter. It shows nothing of the key, whatever the verb.
func (Key) Format(s fmt.State, _ rune) { io.WriteString(s, "webhook key") }

// Sign sets the three headers of a webhook. All keys sign, so that a receiver who has one of
// them accepts it: a key is replaced by letting the old one and the new one sign for a while.
//
// An id is 1 to MaxIDBytes visible ASCII characters, and the same for every try.
func Sign(h http.Header, id string, at time.Time, body []byte, keys ...Key) error {
	if !isID(id) {
		return fmt.Errorf("webhook id: %w", errID)
	}
	if len(keys) == 0 || len(keys) > maxSignatures/2 {
		return fmt.Errorf("%d keys cannot sign a webhook", len(keys))
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	content := signed(id, stamp, body)
	signatures := make([]string, 0, 2*len(keys))
	for _, k := range keys {
		signatures = append(signatures,
			schemeHMAC+","+base64.StdEncoding.EncodeToString(mac(k.secret[:], content)),
			schemeEd+","+base64.StdEncoding.EncodeToString(ed25519.Sign(k.private, content)))
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, stamp)
	h.Set(HeaderSignature, strings.Join(signatures, " "))
	return nil
}

var errID = errors.New("not 1 to 128 visible ASCII characters")

func isID(id string) bool {
	return len(id) >= 1 && len(id) <= MaxIDBytes && !strings.ContainsFunc(id, isHidden)
}

// isHidden reports whether r is a space, or no character of ASCII that can be seen.
func isHidden(r rune) bool { return r <= ' ' || r > '~' }

// signed returns what a signature is about.
func signed(id, stamp string, body []byte) []byte {
	content := make([]byte, 0, len(id)+len(stamp)+len(body)+len(".."))
	content = append(content, id...)
	content = append(content, '.')
	content = append(content, stamp...)
	content = append(content, '.')
	return append(content, body...)
}

func mac(secret, content []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(content)
	return h.Sum(nil)
}
