package sealing_test

import (
	"bytes"
	"crypto/fips140"
	"errors"
	"testing"

	"example.com/atm/vault/sealing"
)

func TestSuitesOpenOnlyWhatWasSealedInPlace(t *testing.T) {
	for name, s := range map[string]sealing.Suite{
		"XChaCha20-Poly1305": sealing.XChaCha,
		"AES-256-GCM":        sealing.AESGCM,
	} {
		t.Run(name, func(t *testing.T) {
			aead, err := s.Derive(make([]byte, sealing.KeyBytes), "a purpose")
			if s == sealing.XChaCha && fips140.Enforced() {
				if !errors.Is(err, sealing.ErrSuite) {
					t.Errorf("not refused: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			value, place := []byte("a value"), []byte("its place")
			sealed := sealing.SealTo([]byte("before"), aead, value, place)[len("before"):]
			if len(sealed) != len(value)+sealing.Overhead {
				t.Errorf("%d bytes are %d sealed", len(value), len(sealed))
			}
			if again := sealing.SealTo(nil, aead, value, place); bytes.Equal(again, sealed) {
				t.Error("sealed to the same bytes twice")
			}
			if opened, err := sealing.Open(aead, sealed, place); err != nil ||
				!bytes.Equal(opened, value) {
				t.Errorf("opened as %q: %v", opened, err)
			}
			if _, err := sealing.Open(aead, sealed, []byte("another place")); err == nil {
				t.Error("opened in another place")
			}
			other, err := s.Derive(make([]byte, sealing.KeyBytes), "another purpose")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := sealing.Open(other, sealed, place); err == nil {
				t.Error("opened with the key of another purpose")
			}
			for i := range sealed {
				sealed[i] ^= 1
				if _, err := sealing.Open(aead, sealed, place); err == nil {
					t.Errorf("opened with byte %d changed", i)
				}
				sealed[i] ^= 1
			}
		})
	}
}

func TestUnknownSuiteDerivesNoCipher(t *testing.T) {
	if _, err := sealing.Suite(7).Derive(make([]byte, sealing.KeyBytes), "a purpose"); err == nil {
		t.Error("a cipher of no known number was derived")
	}
}
