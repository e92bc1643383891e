package boltstore

import (
	"bytes"
	"crypto/fips140"
	"errors"
	"testing"
)

// TestSuites seals with each suite, and opens nothing but what was sealed.
func TestSuites(t *testing.T) {
	for name, s := range map[string]suite{"XChaCha20-Poly1305": xchacha, "AES-256-GCM": aesGCM} {
		t.Run(name, func(t *testing.T) {
			aead, err := s.derive(make([]byte, dataKeyBytes), "a purpose")
			if s == xchacha && fips140.Enforced() {
				if !errors.Is(err, ErrSuite) {
					t.Errorf("not refused: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			value, place := []byte("a value"), []byte("its place")
			sealed := sealTo([]byte("before"), aead, value, place)[len("before"):]
			if len(sealed) != len(value)+suiteOverhead {
				t.Errorf("%d bytes are %d sealed", len(value), len(sealed))
			}
			if again := sealTo(nil, aead, value, place); bytes.Equal(again, sealed) {
				t.Error("sealed to the same bytes twice")
			}
			if opened, err := openSealed(aead, sealed, place); err != nil || !bytes.Equal(opened, value) {
				t.Errorf("opened as %q: %v", opened, err)
			}
			if _, err := openSealed(aead, sealed, []byte("another place")); err == nil {
				t.Error("opened in another place")
			}
			other, err := s.derive(make([]byte, dataKeyBytes), "another purpose")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := openSealed(other, sealed, place); err == nil {
				t.Error("opened with the key of another purpose")
			}
			for i := range sealed {
				sealed[i] ^= 1
				if _, err := openSealed(aead, sealed, place); err == nil {
					t.Errorf("opened with byte %d changed", i)
				}
				sealed[i] ^= 1
			}
		})
	}
}

func TestUnknownSuite(t *testing.T) {
	if _, err := suite(7).derive(make([]byte, dataKeyBytes), "a purpose"); err == nil {
		t.Error("a cipher of no known number was derived")
	}
}
