package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
	"github.com/golang-jwt/jwt/v5"
)

const provider = "https://login.example"

// providerRig is an authenticator that accepts the tokens of a provider, whose keys a real
// HTTPS server publishes.
type providerRig struct {
	*auth.Authenticator
	issuers   *auth.Issuers
	directory *auth.Directory
	now       time.Time
	roots     *x509.CertPool
	url       string
	set       atomic.Pointer[[]byte] // the published keys
	status    atomic.Int64
	fetches   atomic.Int64
	failures  atomic.Int64
}

func newProviderRig(t *testing.T) *providerRig {
	t.Helper()
	h := &providerRig{
		now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), directory: directory(),
		roots: x509.NewCertPool(),
	}
	h.status.Store(http.StatusOK)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h.fetches.Add(1)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(int(h.status.Load()))
		w.Write(*h.set.Load())
	}))
	t.Cleanup(server.Close)
	h.roots.AddCert(server.Certificate())
	h.url = server.URL
	clock := func() time.Time { return h.now }
	h.issuers = auth.NewIssuers(clock, func(string, error) { h.failures.Add(1) })
	h.Authenticator = auth.New(auth.Config{
		TrustDomain: domain, Realm: domain,
		Directory: h.directory, Issuers: h.issuers, Now: clock,
	})
	return h
}

func (h *providerRig) publish(t *testing.T, keys map[string]crypto.Signer) {
	t.Helper()
	var list []any
	for kid, key := range keys {
		list = append(list, published(t, kid, key.Public()))
	}
	text, err := json.Marshal(map[string]any{"keys": list})
	if err != nil {
		t.Fatal(err)
	}
	h.set.Store(&text)
}

func (h *providerRig) issuer(change func(*auth.Issuer)) auth.Issuer {
	i := auth.Issuer{
		Name: provider, Audience: "atm", Algorithm: "ES256", KeysURL: h.url + "/keys",
		Roots: h.roots,
		People: auth.People{Claim: "sub", Subjects: map[string]string{
			"0815": "user:demo", "carol@example.com": "user:demo",
			"4711": "user:nobody",
		}},
	}
	if change != nil {
		change(&i)
	}
	return i
}

func (h *providerRig) claims(change func(jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": provider, "aud": "atm", "sub": "0815", "iat": h.now.Unix() - 5,
		"exp": h.now.Unix() + 600, "jti": "J",
	}
	if change != nil {
		change(c)
	}
	return c
}

func (h *providerRig) try(t *testing.T, method jwt.SigningMethod, key crypto.Signer,
	header map[string]any, claims jwt.MapClaims,
) (*atm.Caller, error) {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for name, value := range header {
		if token.Header[name] = value; value == nil {
			delete(token.Header, name)
		}
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	caller, _, err := h.Authenticate(request(nil, "Bearer "+text))
	return caller, err
}

func ecKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestTokenOfAnIssuerSignsInWhomItIsMappedTo(t *testing.T) {
	h := newProviderRig(t)
	key, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	h.publish(t, map[string]crypto.Signer{"k1": key})
	if err := h.issuers.Update([]auth.Issuer{h.issuer(nil)}); err != nil {
		t.Fatal(err)
	}
	k1 := map[string]any{"kid": "k1"}
	caller, err := h.try(t, jwt.SigningMethodES256, key, k1, h.claims(nil))
	if err != nil || caller.Subject != "user:demo" || caller.Issuer != provider ||
		caller.ID != "J" || caller.Key != "k1" || len(caller.Roles) != 1 {
		t.Fatalf("%+v, %v", caller, err)
	}
	set := func(name string, value any) jwt.MapClaims {
		return h.claims(func(c jwt.MapClaims) { c[name] = value })
	}
	for name, bad := range map[string]struct {
		key    crypto.Signer
		header map[string]any
		claims jwt.MapClaims
	}{
		"another key":         {other, k1, h.claims(nil)},
		"an unknown key":      {key, map[string]any{"kid": "k2"}, h.claims(nil)},
		"no kid":              {key, nil, h.claims(nil)},
		"jku":                 {key, map[string]any{"kid": "k1", "jku": h.url}, h.claims(nil)},
		"another type":        {key, map[string]any{"kid": "k1", "typ": "at+jwt"}, h.claims(nil)},
		"another audience":    {key, k1, set("aud", "other")},
		"two other audiences": {key, k1, set("aud", []string{"other", "atm2"})},
		"no audience in one":  {key, k1, set("aud", []string{})},
		"an odd audience":     {key, k1, set("aud", []any{"atm", 1})},
		"a nested audience":   {key, k1, set("aud", []any{[]string{"atm"}})},
		"expired":             {key, k1, set("exp", h.now.Unix())},
		"no end":              {key, k1, set("exp", nil)},
		"an end in text":      {key, k1, set("exp", "9999999999")},
		"a life of two days":  {key, k1, set("exp", h.now.Unix()+2*86400)},
		"of the future":       {key, k1, set("iat", h.now.Unix()+300)},
		"not yet":             {key, k1, set("nbf", h.now.Unix()+300)},
		"nobody who is known": {key, k1, set("sub", "1234")},
		"somebody not here":   {key, k1, set("sub", "4711")},
		"of an actor":         {key, k1, set("act", map[string]string{"sub": "other"})},
		"bound":               {key, k1, set("cnf", map[string]string{"x5t#S256": "x"})},
		"another issuer":      {key, k1, set("iss", provider+"/")},
	} {
		if _, err := h.try(t, jwt.SigningMethodES256, bad.key, bad.header, bad.claims); err == nil {
			t.Errorf("%s: let in", name)
		}
	}
	// Revoke everything of the subject from before now.
	h.directory.Revoke(map[string]time.Time{"subject:user:demo": h.now})
	if _, err := h.try(t, jwt.SigningMethodES256, key, k1, h.claims(nil)); err == nil {
		t.Error("a token from before it was let in")
	}
	ahead := set("iat", h.now.Unix()+60)
	if _, err := h.try(t, jwt.SigningMethodES256, key, k1, ahead); err == nil {
		t.Error("a token from before it, by a clock that is ahead, was let in")
	}
	h.now = h.now.Add(66 * time.Second)
	if _, err := h.try(t, jwt.SigningMethodES256, key, k1, h.claims(nil)); err != nil {
		t.Error(err)
	}
}

// TestIssuerKeysFollowWhatIsPublished changes the published keys, removes them, and replaces
// them by nonsense.
func TestIssuerKeysFollowWhatIsPublished(t *testing.T) {
	h := newProviderRig(t)
	one, two := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	h.publish(t, map[string]crypto.Signer{"k1": one})
	if err := h.issuers.Update([]auth.Issuer{h.issuer(nil)}); err != nil {
		t.Fatal(err)
	}
	good := func(kid string, key crypto.Signer) bool {
		_, err := h.try(t, jwt.SigningMethodES256, key, map[string]any{"kid": kid}, h.claims(nil))
		return err == nil
	}
	for range 20 {
		if !good("k1", one) || good("k2", two) || good("k3", two) {
			t.Fatal("keys are not as they were published")
		}
	}
	if n := h.fetches.Load(); n > 2 {
		t.Errorf("fetched %d times within a minute", n)
	}
	h.publish(t, map[string]crypto.Signer{"k2": two})
	h.now = h.now.Add(61 * time.Second)
	if !good("k2", two) { // an unknown key causes a fetch, once a minute
		t.Error("the new key is not known")
	}
	if good("k1", one) {
		t.Error("a key that is published no longer is good")
	}
	for name, bad := range map[string]func(){
		"an error":         func() { h.status.Store(500) },
		"a redirection":    func() { h.status.Store(302) },
		"an error in JSON": func() { text := []byte(`{"error":"x"}`); h.set.Store(&text) },
		"no JSON":          func() { text := []byte("x"); h.set.Store(&text) },
		"a lot of bytes": func() {
			text := []byte(`{"keys":[],"x":"` + strings.Repeat("x", 100<<10) + `"}`)
			h.set.Store(&text)
		},
	} {
		bad()
		h.now = h.now.Add(6 * time.Minute)
		if !good("k2", two) {
			t.Errorf("after %s the last good keys are gone", name)
		}
		h.status.Store(200)
	}
	if n := h.failures.Load(); n < 4 {
		t.Errorf("%d failures were reported", n)
	}
	// Keys of unsupported kinds are ignored, and a reload of the settings keeps the fetched keys.
	h.publish(t, map[string]crypto.Signer{"k2": two})
	text := []byte(strings.Replace(string(*h.set.Load()), `{"keys":[`,
		`{"keys":[{"kty":"EC","crv":"secp256k1","kid":"x","x":"AA","y":"AA"},{"kty":"new","kid":"y"},`, 1))
	h.set.Store(&text)
	h.now = h.now.Add(6 * time.Minute)
	if !good("k2", two) {
		t.Error("a key of another kind makes all of them unreadable")
	}
	h.status.Store(500)
	if err := h.issuers.Update([]auth.Issuer{h.issuer(func(i *auth.Issuer) {
		i.Audience = "atm"
	})}); err != nil {
		t.Fatal(err)
	}
	if !good("k2", two) {
		t.Error("a reload forgot the keys")
	}
	h.now = h.now.Add(25 * time.Hour)
	if good("k2", two) {
		t.Error("keys are good that could not be fetched for a day")
	}
}

func TestIssuerHasOneAlgorithm(t *testing.T) {
	h := newProviderRig(t)
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]crypto.Signer{
		"ES256": ecKey(t, elliptic.P256()),
		"ES384": ecKey(t, elliptic.P384()), "RS256": strong, "PS256": strong, "EdDSA": edwards,
	}
	for pinned := range keys {
		for used, key := range keys {
			h.publish(t, map[string]crypto.Signer{"k": key})
			if err := h.issuers.Update([]auth.Issuer{h.issuer(func(i *auth.Issuer) {
				i.Algorithm = pinned
			})}); err != nil {
				t.Fatal(err)
			}
			_, err := h.try(t, jwt.GetSigningMethod(used), key, map[string]any{"kid": "k"},
				h.claims(nil))
			if (err == nil) != (used == pinned) {
				t.Errorf("%s where %s is pinned: %v", used, pinned, err)
			}
		}
	}
}

// TestEmailCountsWhenItIsVerified identifies people by an address that the provider has
// verified, with keys from a file.
func TestEmailCountsWhenItIsVerified(t *testing.T) {
	h := newProviderRig(t)
	key := ecKey(t, elliptic.P256())
	h.publish(t, map[string]crypto.Signer{"k": key})
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, *h.set.Load(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.issuers.Update([]auth.Issuer{h.issuer(func(i *auth.Issuer) {
		i.Claim, i.KeysURL, i.KeysFile, i.Type, i.Scope = "email", "", file, "at+jwt",
			[]string{"inquiry"}
	})}); err != nil {
		t.Fatal(err)
	}
	for verified, want := range map[any]bool{true: true, false: false, "true": false, nil: false} {
		caller, err := h.try(t, jwt.SigningMethodES256, key, map[string]any{
			"kid": "k",
			"typ": "at+jwt",
		}, h.claims(func(c jwt.MapClaims) {
			c["email"], c["email_verified"] = "carol@example.com", verified
		}))
		if (err == nil) != want {
			t.Errorf("verified %v: %v", verified, err)
		}
		if err == nil && (auth.Permit(caller.Principal, atm.Inquiry) == atm.Nowhere ||
			auth.Permit(caller.Principal, atm.Withdraw) != atm.Nowhere) {
			t.Error("the scope is not what its tokens may do")
		}
	}
	if h.fetches.Load() != 0 {
		t.Error("keys were fetched that are in a file")
	}
}

func TestIncompleteIssuerIsRefused(t *testing.T) {
	h := newProviderRig(t)
	for name, bad := range map[string]func(*auth.Issuer){
		"no name":         func(i *auth.Issuer) { i.Name = "" },
		"no audience":     func(i *auth.Issuer) { i.Audience = "" },
		"HS256":           func(i *auth.Issuer) { i.Algorithm = "HS256" },
		"none":            func(i *auth.Issuer) { i.Algorithm = "none" },
		"another claim":   func(i *auth.Issuer) { i.Claim = "name" },
		"plain HTTP":      func(i *auth.Issuer) { i.KeysURL = "http://login.example/keys" },
		"URL and file":    func(i *auth.Issuer) { i.KeysFile = "x" },
		"neither":         func(i *auth.Issuer) { i.KeysURL = "" },
		"a scope of none": func(i *auth.Issuer) { i.Scope = []string{"sudo"} },
		"no subject":      func(i *auth.Issuer) { i.Subjects = map[string]string{"x": "demo"} },
		"no claim's text": func(i *auth.Issuer) { i.Subjects = map[string]string{"": "user:demo"} },
	} {
		if err := h.issuers.Update([]auth.Issuer{h.issuer(bad)}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := h.issuers.Update([]auth.Issuer{h.issuer(nil), h.issuer(nil)}); err == nil {
		t.Error("one issuer twice: taken")
	}
}

func FuzzIssuerToken(f *testing.F) {
	i := auth.NewIssuers(time.Now, func(string, error) {})
	if err := i.Update([]auth.Issuer{{
		Name: provider, Audience: "atm", Algorithm: "ES256",
		People: auth.People{Claim: "sub"}, KeysFile: os.DevNull,
	}}); err != nil {
		f.Fatal(err)
	}
	a := auth.New(auth.Config{
		TrustDomain: domain, Realm: domain, Directory: directory(),
		Issuers: i,
	})
	f.Add("e30.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUifQ.AA")
	f.Fuzz(func(t *testing.T, token string) {
		if caller, _, err := a.Authenticate(request(nil, "Bearer "+token)); err == nil {
			t.Errorf("%q is %v", token, caller)
		}
	})
}
