package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"testing"

	"example.com/atm/auth"
	"github.com/golang-jwt/jwt/v5"
)

// published is a public key as issuers publish it (RFC 7517).
func published(t *testing.T, kid string, public crypto.PublicKey) map[string]string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	key := map[string]string{"kid": kid, "use": "sig"}
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := len(point) / 2
		key["kty"], key["crv"] = "EC", public.Params().Name
		key["x"], key["y"] = encode(point[1:1+half]), encode(point[1+half:])
	case *rsa.PublicKey:
		key["kty"], key["n"] = "RSA", encode(public.N.Bytes())
		key["e"] = encode(big.NewInt(int64(public.E)).Bytes())
	case ed25519.PublicKey:
		key["kty"], key["crv"], key["x"] = "OKP", "Ed25519", encode(public)
	default:
		t.Fatalf("%T cannot be published", public)
	}
	return key
}

// TestKeyThatIsNotWellFormedIsNone signs in with a key, and then with malformed forms of it.
func TestKeyThatIsNotWellFormedIsNone(t *testing.T) {
	curve := ecKey(t, elliptic.P256())
	other := published(t, "k", ecKey(t, elliptic.P256()).Public())
	good := published(t, "k", curve.Public())
	with := func(name, value string) map[string]string {
		key := maps.Clone(good)
		key[name] = value
		return key
	}
	padded := with("x", good["x"]+"=")
	short, err := base64.RawURLEncoding.DecodeString(good["x"])
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		key  map[string]string
		want bool
	}{
		"as it is":                   {good, true},
		"with a member nobody knows": {with("x5u", "https://elsewhere.example"), true},
		"for its algorithm":          {with("alg", "ES256"), true},
		"for another algorithm":      {with("alg", "ES384"), false},
		"to encrypt":                 {with("use", "enc"), false},
		"without a name":             {with("kid", ""), false},
		"with its private part":      {with("d", good["x"]), false},
		"of another kind":            {with("kty", "oct"), false},
		"on another curve":           {with("crv", "P-384"), false},
		"off the curve":              {with("x", other["x"]), false},
		"with padding":               {padded, false},
		"with a short coordinate": {
			with("x", base64.RawURLEncoding.EncodeToString(short[1:])),
			false,
		},
		"without a coordinate": {with("y", ""), false},
	} {
		text, err := json.Marshal(map[string]any{"keys": []any{tt.key}})
		if err != nil {
			t.Fatal(err)
		}
		h := newProviderRig(t)
		h.set.Store(&text)
		if err := h.issuers.Update([]auth.Issuer{h.issuer(nil)}); err != nil {
			t.Fatal(err)
		}
		_, err = h.try(t, jwt.SigningMethodES256, curve, map[string]any{"kid": "k"}, h.claims(nil))
		if (err == nil) != tt.want {
			t.Errorf("a key %s: %v", name, err)
		}
	}
}

// TestKeyNamedTwiceInOneMemberIsNone has duplicate members, of which some parsers take the
// first and some the last.
func TestKeyNamedTwiceInOneMemberIsNone(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	good, err := json.Marshal(published(t, "k", key.Public()))
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(`{"keys":[{"kty":"RSA",` + string(good[1:]) + `]}`)
	h := newProviderRig(t)
	h.status.Store(http.StatusOK)
	h.set.Store(&text)
	if err := h.issuers.Update([]auth.Issuer{h.issuer(nil)}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.try(t, jwt.SigningMethodES256, key, map[string]any{"kid": "k"},
		h.claims(nil)); err == nil {
		t.Error("a key of two kinds is taken")
	}
}
