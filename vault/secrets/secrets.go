// Package secrets seals the secrets that rows of the database hold.
//
// What seals a value depends on what it is for, and the record that it belongs to is
// associated data. So a value opens in its own place alone.
package secrets

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"example.com/atm/vault/sealing"
)

// A Purpose is what a value is for.
type Purpose string

// The purposes.
const (
	HA1    Purpose = "atm pgstore ha1"
	Slow   Purpose = "atm pgstore slow"
	File   Purpose = "atm pgstore file"
	Holder Purpose = "atm pgstore holder"
)

// ErrWrong reports a secret that is not the one of the installation.
var ErrWrong = errors.New("the database belongs to another keys/vault.key")

// ErrSealed reports a value that does not open: it was changed, or moved.
var ErrSealed = errors.New("a sealed value does not open")

// Keys are what values are sealed under.
type Keys struct {
	secret  []byte
	suite   sealing.Suite
	ciphers map[Purpose]cipher.AEAD
	mark    []byte
}

// New derives the keys of a secret.
func New(secret []byte) (*Keys, error) {
	k := &Keys{
		secret: secret, suite: sealing.Current(), ciphers: make(map[Purpose]cipher.AEAD),
	}
	var err error
	for _, purpose := range []Purpose{HA1, Slow, File, Holder} {
		if k.ciphers[purpose], err = k.suite.Derive(secret, string(purpose)); err != nil {
			return nil, err
		}
	}
	k.mark, err = hkdf.Key(sha256.New, secret, nil, "atm vault key mark", 8)
	return k, err
}

// Mark names the secret without telling it.
func (k *Keys) Mark() []byte { return k.mark }

// Seal returns a value as it is stored; nil for none. It begins with the suite.
func (k *Keys) Seal(purpose Purpose, record string, value []byte) []byte {
	if len(value) == 0 {
		return nil
	}
	return sealing.SealTo([]byte{byte(k.suite)}, k.ciphers[purpose], value, []byte(record))
}

// Open returns the value that Seal was given.
func (k *Keys) Open(purpose Purpose, record string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	aead := k.ciphers[purpose]
	if of := sealing.Suite(sealed[0]); of != k.suite {
		var err error
		if aead, err = of.Derive(k.secret, string(purpose)); err != nil {
			return nil, err
		}
	}
	value, err := sealing.Open(aead, sealed[1:], []byte(record))
	if err != nil {
		return nil, fmt.Errorf("%s of %q: %w", purpose, record, ErrSealed)
	}
	return value, nil
}
