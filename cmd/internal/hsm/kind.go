//go:build pkcs11

package hsm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/asn1"
	"errors"
	"math/big"

	"github.com/miekg/pkcs11"
)

// What PKCS #11 3.0 calls Ed25519, which the binding does not name.
const (
	ckkECEdwards = 0x40
	ckmEdDSA     = 0x1057
)

// A kind is the kind of a key.
type kind int

const (
	ofEd25519 kind = iota
	onP256
)

var errKind = errors.New("it is neither of Ed25519 nor on P-256")

// parsePublic reads a public key from its type and its point.
func parsePublic(keyType, point []byte) (kind, crypto.PublicKey, error) {
	is := func(ckk uint) bool {
		return bytes.Equal(keyType, pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, ckk).Value)
	}
	// Modules have a point as an OCTET STRING, as the standard says, or as its bytes alone.
	var inside []byte
	if rest, err := asn1.Unmarshal(point, &inside); err == nil && len(rest) == 0 {
		point = inside
	}
	switch {
	case is(ckkECEdwards) && len(point) == ed25519.PublicKeySize:
		return ofEd25519, ed25519.PublicKey(point), nil
	case is(pkcs11.CKK_EC):
		if key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err == nil {
			return onP256, key, nil
		}
	}
	return 0, nil, errKind
}

// hash is what has to be signed: a SHA-256, or the text itself.
func (k kind) hash() crypto.Hash {
	if k == onP256 {
		return crypto.SHA256
	}
	return crypto.Hash(0)
}

func (k kind) mechanism() uint {
	if k == onP256 {
		return pkcs11.CKM_ECDSA
	}
	return ckmEdDSA
}

// encode encodes a signature of a module as package crypto has them: ECDSA in ASN.1.
func (k kind) encode(signature []byte) ([]byte, error) {
	if k == ofEd25519 {
		return signature, nil
	}
	half := len(signature) / 2
	return asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]),
	})
}

func (k kind) verifies(public crypto.PublicKey, digest, signature []byte) bool {
	if k == onP256 {
		return ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest, signature)
	}
	return ed25519.Verify(public.(ed25519.PublicKey), digest, signature)
}
