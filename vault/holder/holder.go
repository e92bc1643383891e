// Package holder has the names of accounts' holders in the form that the audit log keeps.
//
// Everybody may have the log, for ever, so a name is never in it: an entry has a keyed hash in its
// place. The key stays with the bank, and each account has hashes of its own, so the log does
// not tell the name, not even whether two accounts have one holder. With the key the name that a
// store has can be held against the log.
package holder

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// form begins each hash, and says what it is.
const form = "hmac-sha256:"

// A Hasher makes the hashes of one installation.
type Hasher struct{ key []byte }

// NewHasher derives the key of the hashes from the secret of the vault.
func NewHasher(secret []byte) (*Hasher, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "atm holder name", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("key of the names of holders: %w", err)
	}
	return &Hasher{key}, nil
}

// Hash returns the hash of the name of an account's holder. No name has no hash.
func (h *Hasher) Hash(account, name string) string {
	if name == "" {
		return ""
	}
	mac := hmac.New(sha256.New, h.key)
	mac.Write([]byte(account + "\x00" + name)) // neither has that character
	return form + hex.EncodeToString(mac.Sum(nil))
}

// Logged returns the hash of the name that an entry has: entries of earlier versions have the
// name itself.
func (h *Hasher) Logged(account, text string) string {
	if Hashed(text) {
		return text
	}
	return h.Hash(account, text)
}

// Hashed reports whether the text of an entry is a hash.
func Hashed(text string) bool {
	digits, is := strings.CutPrefix(text, form)
	sum, err := hex.DecodeString(digits)
	return is && err == nil && len(sum) == sha256.Size
}
