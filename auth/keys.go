package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// A KeyTable has the keys of tokens. All of them are published. The active key signs. Tokens of
// the retiring key are good until they expire. The next key is published before it signs, so
// that clients that cache the published keys know it in time.
//
// The keys are on the curve P-256. They may be in a file or in a hardware module.
type KeyTable struct {
	Active   crypto.Signer
	Next     crypto.Signer // nil for none
	Retiring crypto.Signer // nil for none

	Since time.Time // when the active key began to sign; zero if it is the first key
}

// Rotated returns the table after a rotation that makes fresh the next key.
func (k KeyTable) Rotated(fresh crypto.Signer, now time.Time) KeyTable {
	return KeyTable{Active: k.Next, Next: fresh, Retiring: k.Active, Since: now}
}

// Settled returns when the last token of the retiring key has expired. From then on the table
// can be rotated again without ending a token early.
func (k KeyTable) Settled() time.Time {
	if k.Since.IsZero() {
		return k.Since
	}
	return k.Since.Add(MaxTokenLife + tokenSlack)
}

// A tokenKey is a key and its name.
type tokenKey struct {
	signer crypto.Signer
	public *ecdsa.PublicKey
	kid    string
	x, y   string // as in a JWK
}

const coordinate = 32 // bytes

func newTokenKey(signer crypto.Signer) (*tokenKey, error) {
	public, ok := signer.Public().(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("the key of tokens is not on the curve P-256")
	}
	point, err := public.Bytes()
	if err != nil {
		return nil, err
	}
	k := &tokenKey{
		signer: signer, public: public,
		x: base64.RawURLEncoding.EncodeToString(point[1 : 1+coordinate]),
		y: base64.RawURLEncoding.EncodeToString(point[1+coordinate:]),
	}
	// RFC 7638
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, k.x, k.y))
	k.kid = base64.RawURLEncoding.EncodeToString(sum[:])
	return k, nil
}

// sign returns the ES256 signature of text (RFC 7518, section 3.4).
func (k *tokenKey) sign(text string) ([]byte, error) {
	sum := sha256.Sum256([]byte(text))
	der, err := k.signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var signature struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &signature); err != nil || len(rest) > 0 ||
		signature.R.BitLen() > 8*coordinate || signature.S.BitLen() > 8*coordinate {
		return nil, errors.New("the key of tokens does not make ECDSA signatures")
	}
	raw := make([]byte, 2*coordinate)
	signature.R.FillBytes(raw[:coordinate])
	signature.S.FillBytes(raw[coordinate:])
	return raw, nil
}

// keySet has the keys of a table in the order active, next, retiring.
type keySet struct {
	table KeyTable
	keys  []*tokenKey
}

func newKeySet(table KeyTable) (*keySet, error) {
	set := &keySet{table: table}
	for _, signer := range []crypto.Signer{table.Active, table.Next, table.Retiring} {
		if signer == nil {
			continue
		}
		key, err := newTokenKey(signer)
		if err != nil {
			return nil, err
		}
		set.keys = append(set.keys, key)
	}
	if table.Active == nil {
		return nil, errors.New("there is no active key of tokens")
	}
	return set, nil
}

func (s *keySet) active() *tokenKey { return s.keys[0] }

// named returns the key with the name kid, or nil if there is none.
func (s *keySet) named(kid string) *tokenKey {
	for _, key := range s.keys {
		if key.kid == kid {
			return key
		}
	}
	return nil
}

// Keys is the table in force.
func (t *Tokens) Keys() KeyTable { return t.keys.Load().table }

// Adopt replaces the table in force. Tokens of keys that the new table lacks are refused from
// then on.
func (t *Tokens) Adopt(table KeyTable) error {
	set, err := newKeySet(table)
	if err != nil {
		return err
	}
	t.keys.Store(set)
	return nil
}

// ActiveKey is the name of the signing key.
func (t *Tokens) ActiveKey() string { return t.keys.Load().active().kid }
