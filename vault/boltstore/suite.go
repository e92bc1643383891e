package boltstore

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

// A suite is the cipher that a data key seals with. It is stored with the key.
type suite byte

const (
	xchacha suite = 1 // XChaCha20-Poly1305
	aesGCM  suite = 2 // AES-256-GCM, for FIPS 140
)

// suiteOverhead is how much longer a value is when it is sealed, with either
// suite: what is random, and a tag of 16 bytes.
const suiteOverhead = chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// currentSuite is the suite of new data keys.
func currentSuite() suite {
	if fips140.Enforced() {
		return aesGCM
	}
	return xchacha
}

// ErrSuite reports a vault whose cipher FIPS 140 does not allow.
var ErrSuite = errors.New("the vault is sealed with XChaCha20-Poly1305, which is not allowed where nothing but FIPS 140 is; it opens with GODEBUG=fips140=on or off")

// derive returns a cipher with a key derived from secret for one purpose.
func (s suite) derive(secret []byte, purpose string) (cipher.AEAD, error) {
	if s == xchacha && fips140.Enforced() {
		return nil, ErrSuite
	}
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, dataKeyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive the key of %q: %w", purpose, err)
	}
	switch s {
	case xchacha:
		return chacha20poly1305.NewX(key)
	case aesGCM:
		return saltedGCM(key), nil
	}
	return nil, fmt.Errorf("the vault is sealed with a cipher of no known number, %d", s)
}

// sealTo appends random bytes and the sealed value to dst.
func sealTo(dst []byte, aead cipher.AEAD, value, associated []byte) []byte {
	nonce := make([]byte, aead.NonceSize(), chacha20poly1305.NonceSizeX)
	rand.Read(nonce) // never fails
	return aead.Seal(append(dst, nonce...), nonce, value, associated)
}

// openSealed opens what sealTo appended.
func openSealed(aead cipher.AEAD, sealed, associated []byte) ([]byte, error) {
	n := aead.NonceSize()
	return aead.Open(nil, sealed[:n], sealed[n:], associated)
}

// saltedGCM is a key of which each value gets one of its own, derived with a
// random salt, to be sealed with AES-256-GCM and a random nonce. One key alone
// is good for 2^32 random nonces (NIST SP 800-38D, section 8.3), which a busy
// vault uses up in a month.
type saltedGCM []byte

const saltBytes = 12

func (k saltedGCM) NonceSize() int { return saltBytes }
func (k saltedGCM) Overhead() int  { return suiteOverhead - saltBytes }

func (k saltedGCM) gcm(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k, salt, "atm value", dataKeyBytes)
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
