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

// A KeyTable is the keys of tokens. All of them are published. The active one
// signs; tokens of the retiring one are good until they end; the next one is
// there so that a client that caches the published keys knows it before it signs.
//
// The keys are on the curve P-256. They may be in a file or in a module.
type KeyTable struct {
	Active   crypto.Signer
	Next     crypto.Signer // nil for none
	Retiring crypto.Signer // nil for none

	Since time.Time // when the active key began to sign; zero for always
}

// Rotated is the table after k in which fresh is the next key.
func (k KeyTable) Rotated(fresh crypto.Signer, now time.Time) KeyTable {
	return KeyTable{Active: k.Next, Next: fresh, Retiring: k.Active, Since: now}
}

// Settled returns when the last token of the retiring key has ended. From then on
// the table can be rotated again without ending a token before its time.
func (k KeyTable) Settled() time.Time {
	if k.Since.IsZero() {
		return k.Since
	}
	return k.Since.Add(MaxTokenLife + tokenSlack)
}

// A tokenKey is one key, and what it is called.
type tokenKey struct {
	signer crypto.Signer
	public *ecdsa.PublicKey
	kid    string
	x, y   string // as JWK has them
}

const coordinate = 32 // bytes

func newTokenKey(signer crypto.Signer) (*tokenKey, error) {
	public, ok := signer.Public().(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("the key of tokens is none on the curve P-256")
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

// sign returns the signature of text as ES256 has it (RFC 7518, section 3.4).
func (k *tokenKey) sign(text string) ([]byte, error) {
	sum := sha256.Sum256([]byte(text))
	der, err := k.signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var signature struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &signature); err != nil || len(rest) > 0 ||
		signature.R.BitLen() > 8*coordinate || signature.S.BitLen() > 8*coordinate {
		return nil, errors.New("the key of tokens makes no signatures of ECDSA")
	}
	raw := make([]byte, 2*coordinate)
	signature.R.FillBytes(raw[:coordinate])
	signature.S.FillBytes(raw[coordinate:])
	return raw, nil
}

// keySet is a table of keys in the order active, next, retiring.
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
		return nil, errors.New("no key of tokens is active")
	}
	return set, nil
}

func (s *keySet) active() *tokenKey { return s.keys[0] }

// named returns the key that is called kid, and nil when none is.
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

// Adopt puts another table in force. Tokens of keys that are not in it are good
// no longer.
func (t *Tokens) Adopt(table KeyTable) error {
	set, err := newKeySet(table)
	if err != nil {
		return err
	}
	t.keys.Store(set)
	return nil
}

// ActiveKey is what the key that signs is called.
func (t *Tokens) ActiveKey() string { return t.keys.Load().active().kid }
