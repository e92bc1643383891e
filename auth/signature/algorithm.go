package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"math/big"
)

// An algorithm is one of RFC 9421, section 3.3.
type algorithm struct {
	name string
	hash crypto.Hash // 0 if the message itself is signed
	half int         // bytes of r, and of s
}

var (
	byEd25519 = algorithm{name: "ed25519"}
	byP256    = algorithm{"ecdsa-p256-sha256", crypto.SHA256, 32}
	byP384    = algorithm{"ecdsa-p384-sha384", crypto.SHA384, 48}
)

// algorithmOf returns the one algorithm that a public key is for.
func algorithmOf(key crypto.PublicKey) (algorithm, error) {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return byEd25519, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return byP256, nil
		case elliptic.P384():
			return byP384, nil
		}
	}
	return algorithm{}, errors.New("the key of the certificate is not of Ed25519, P-256 or P-384")
}

// digest is what of a message is signed.
func (a algorithm) digest(message []byte) []byte {
	if a.hash == 0 {
		return message
	}
	h := a.hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// verify reports whether signature is one of key, which must be for a, over message.
func (a algorithm) verify(key crypto.PublicKey, message, signature []byte) bool {
	if key, ok := key.(ed25519.PublicKey); ok {
		return ed25519.Verify(key, message, signature)
	}
	if len(signature) != 2*a.half {
		return false
	}
	r := new(big.Int).SetBytes(signature[:a.half])
	s := new(big.Int).SetBytes(signature[a.half:])
	return ecdsa.Verify(key.(*ecdsa.PublicKey), a.digest(message), r, s)
}

// sign signs message by key, which must be for a.
func (a algorithm) sign(key crypto.Signer, message []byte) ([]byte, error) {
	der, err := key.Sign(rand.Reader, a.digest(message), a.hash)
	if err != nil || a.hash == 0 {
		return der, err
	}
	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &pair); err != nil {
		return nil, err
	}
	both := make([]byte, 2*a.half)
	pair.R.FillBytes(both[:a.half])
	pair.S.FillBytes(both[a.half:])
	return both, nil
}
