package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
)

// A jwk is a public key in JSON (RFC 7517), with its name, algorithm and use.
type jwk struct {
	public              any // *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey
	kid, use, algorithm string
}

var errJWK = errors.New("no public key of a known kind")

// parseJWK parses a public key on P-256, P-384 or Ed25519, or an RSA key. It refuses symmetric
// and private keys, which no issuer should publish.
func parseJWK(text []byte) (jwk, error) {
	var members map[string]json.RawMessage
	if !distinct(text) || json.Unmarshal(text, &members) != nil || members["d"] != nil {
		return jwk{}, errJWK
	}
	key := jwk{
		kid: word(members["kid"]), use: word(members["use"]), algorithm: word(members["alg"]),
	}
	switch word(members["kty"]) + " " + word(members["crv"]) {
	case "EC P-256":
		return key, key.onCurve(elliptic.P256(), members)
	case "EC P-384":
		return key, key.onCurve(elliptic.P384(), members)
	case "OKP Ed25519":
		x, ok := octets(members["x"])
		if !ok || len(x) != ed25519.PublicKeySize {
			return jwk{}, errJWK
		}
		key.public = ed25519.PublicKey(x)
		return key, nil
	case "RSA ":
		n, okN := octets(members["n"])
		e, okE := octets(members["e"])
		exponent := new(big.Int).SetBytes(e)
		if !okN || !okE || exponent.BitLen() > 31 || exponent.Bit(0) == 0 || len(e) == 0 {
			return jwk{}, errJWK
		}
		key.public = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}
		return key, nil
	}
	return jwk{}, errJWK
}

// onCurve reads the coordinates of a point, whose length must be that of the curve (RFC 7518,
// section 6.2.1.2).
func (k *jwk) onCurve(curve elliptic.Curve, members map[string]json.RawMessage) error {
	x, okX := octets(members["x"])
	y, okY := octets(members["y"])
	width := (curve.Params().BitSize + 7) / 8
	if !okX || !okY || len(x) != width || len(y) != width {
		return errJWK
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, bytes.Join([][]byte{{4}, x, y}, nil))
	if err != nil { // the point is not on the curve
		return errJWK
	}
	k.public = public
	return nil
}

// octets decodes a member in base64url.
func octets(raw json.RawMessage) ([]byte, bool) {
	s, ok := text(raw)
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, ok && err == nil
}
