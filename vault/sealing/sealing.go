// Package sealing seals values with keys that are derived from a secret, so that
// they can lie where others read and write.
//
// A value opens only with the key of the purpose that it was sealed for, beside
// the associated data that it was sealed with, and as it was.
package sealing

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// A Suite is the cipher that a data key seals with. It is stored with the key.
type Suite byte

// The suites.
const (
	XChaCha Suite = 1 // XChaCha20-Poly1305
	AESGCM  Suite = 2 // AES-256-GCM, for FIPS 140
)

// Overhead is how much longer a value is when it is sealed, with either
// suite: what is random, and a tag of 16 bytes.
const Overhead = chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// Current is the suite of new data keys.
func Current() Suite {
	if fips140.Enforced() {
		return AESGCM
	}
	return XChaCha
}

// KeyBytes is the length of a secret and of each derived key, in bytes.
const KeyBytes = 32

// ErrSuite reports a vault whose cipher FIPS 140 does not allow.
var ErrSuite = errors.New("the vault is sealed with XChaCha20-Poly1305, which is not allowed " +
	"where nothing but FIPS 140 is; it opens with GODEBUG=fips140=on or off")

// Derive returns a cipher with a key derived from secret for one purpose.
func (s Suite) Derive(secret []byte, purpose string) (cipher.AEAD, error) {
	if s == XChaCha && fips140.Enforced() {
		return nil, ErrSuite
	}
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, KeyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive the key of %q: %w", purpose, err)
	}
	switch s {
	case XChaCha:
		return chacha20poly1305.NewX(key)
	case AESGCM:
		return saltedGCM(key), nil
	}
	return nil, fmt.Errorf("the vault is sealed with a cipher of no known number, %d", s)
}

// ErrShort reports a value that is too short to have been sealed.
var ErrShort = errors.New("too short for a sealed value")

// SealTo appends random bytes and the sealed value to dst.
func SealTo(dst []byte, aead cipher.AEAD, value, associated []byte) []byte {
	nonce := make([]byte, aead.NonceSize(), chacha20poly1305.NonceSizeX)
	rand.Read(nonce) // never fails
	return aead.Seal(append(dst, nonce...), nonce, value, associated)
}

// Open opens what SealTo appended.
func Open(aead cipher.AEAD, sealed, associated []byte) ([]byte, error) {
	return OpenTo(nil, aead, sealed, associated)
}

// OpenTo is Open, and appends the value to dst.
func OpenTo(dst []byte, aead cipher.AEAD, sealed, associated []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrShort
	}
	n := aead.NonceSize()
	return aead.Open(dst, sealed[:n], sealed[n:], associated)
}

// saltedGCM is a key of which each value gets one of its own, derived with a
// random salt, to be sealed with AES-256-GCM and a random nonce. One key alone
// is good for 2^32 random nonces (NIST SP 800-38D, section 8.3), which a busy
// vault uses up in a month.
type saltedGCM []byte

const saltBytes = 12

func (k saltedGCM) NonceSize() int { return saltBytes }
func (k saltedGCM) Overhead() int  { return Overhead - saltBytes }

func (k saltedGCM) gcm(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k, salt, "atm value", KeyBytes)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Seal implements cipher.AEAD. It panics where there is no AES-256-GCM with a
// derived key, which FIPS 140 has.
func (k saltedGCM) Seal(dst, salt, value, associated []byte) []byte {
	gcm, err := k.gcm(salt)
	if err != nil {
		panic(err)
	}
	return gcm.Seal(dst, nil, value, associated)
}

// Open implements cipher.AEAD.
func (k saltedGCM) Open(dst, salt, sealed, associated []byte) ([]byte, error) {
	gcm, err := k.gcm(salt)
	if err != nil {
		return nil, err
	}
	return gcm.Open(dst, nil, sealed, associated)
}
