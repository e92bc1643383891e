package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
)

// tokenRig is an authenticator with a clock and a key for tokens.
type tokenRig struct {
	*auth.Authenticator
	tokens    *auth.Tokens
	directory *auth.Directory
	key       *ecdsa.PrivateKey
	kid       string
	now       time.Time
}

func newTokenRig(t testing.TB) *tokenRig {
	t.Helper()
	h := &tokenRig{now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), directory: directory()}
	var err error
	if h.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return h.now }
	if h.tokens, err = auth.NewTokens(domain, auth.KeyTable{Active: h.key}, clock); err != nil {
		t.Fatal(err)
	}
	h.Authenticator = auth.New(auth.Config{
		TrustDomain: domain, Realm: domain, Directory: h.directory, Tokens: h.tokens, Now: clock,
		VerifyChain: func([]*x509.Certificate, time.Time) error { return nil },
	})
	jwks, err := h.tokens.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatal(err)
	}
	h.kid = set.Keys[0].Kid
	return h
}

func (h *tokenRig) try(token string) (*atm.Caller, error) {
	r := httptest.NewRequest(http.MethodPost, "/RPC2", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	caller, _, err := h.Authenticate(r)
	return caller, err
}

// sign makes a token with exactly this header and these claims.
func (h *tokenRig) sign(t testing.TB, header, claims string) string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64([]byte(header)) + "." + b64([]byte(claims))
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, h.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(append(r.FillBytes(make([]byte, 32)),
		s.FillBytes(make([]byte, 32))...))
}

func TestTokenSignsInItsSubject(t *testing.T) {
	h := newTokenRig(t)
	token, err := h.tokens.Issue("user:demo", "inquiry deposit", "", 15*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time its signature is cached
		caller, err := h.try(token.Text)
		if err != nil || caller.Subject != "user:demo" || caller.Method != "jwt" ||
			caller.ID != token.ID || caller.Key != h.kid ||
			caller.Issuer != "https://"+domain || fmt.Sprint(caller.Scope) != "[inquiry deposit]" {
			t.Fatalf("%+v, %v", caller, err)
		}
		if auth.Permit(caller.Principal, atm.Inquiry) != atm.Owned || auth.Permit(caller.Principal,
			atm.Withdraw) != atm.Nowhere {
			t.Error("the scope is not what the token may do")
		}
	}
	h.now = h.now.Add(15 * time.Minute)
	if _, err := h.try(token.Text); err == nil {
		t.Error("an expired token was let in")
	}
	if _, err := h.tokens.Issue("user:demo", "*", "", 61*time.Minute); err == nil {
		t.Error("a token of more than an hour was issued")
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := auth.NewTokens(domain, auth.KeyTable{Active: other}, time.Now); err == nil {
		t.Error("a key on another curve was taken")
	}
}

// onlySigns hides the type of a signer, like a key in a hardware module.
type onlySigns struct{ crypto.Signer }

// TestTokensOutliveOneRotation rotates the keys twice. Tokens of the previous key are good,
// those of the key before it are not, whether or not their signatures are cached.
func TestTokensOutliveOneRotation(t *testing.T) {
	h := newTokenRig(t)
	issue := func() string {
		t.Helper()
		token, err := h.tokens.Issue("user:demo", "*", "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return token.Text
	}
	fresh := func() crypto.Signer {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return onlySigns{key}
	}
	published := func() int {
		t.Helper()
		text, err := h.tokens.JWKS()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), `"kid"`)
	}
	table := auth.KeyTable{Active: onlySigns{h.key}, Next: fresh()}
	if !table.Settled().IsZero() {
		t.Error("a table that was never rotated is not settled")
	}
	if err := h.tokens.Adopt(table); err != nil || published() != 2 {
		t.Fatal(err)
	}
	seen, unseen := issue(), issue()
	if _, err := h.try(seen); err != nil {
		t.Fatal(err)
	}
	first := h.tokens.ActiveKey()
	if err := h.tokens.Adopt(table.Rotated(fresh(), h.now)); err != nil || published() != 3 {
		t.Fatal(err)
	}
	if h.tokens.ActiveKey() == first {
		t.Error("the same key signs")
	}
	if settled := h.tokens.Keys().Settled(); settled.Before(h.now.Add(auth.MaxTokenLife)) {
		t.Errorf("settled at %v", settled)
	}
	second := issue()
	for _, token := range []string{seen, unseen, second} {
		if caller, err := h.try(token); err != nil || (caller.Key == first) != (token != second) {
			t.Errorf("after a rotation: %+v, %v", caller, err)
		}
	}
	if err := h.tokens.Adopt(h.tokens.Keys().Rotated(fresh(), h.now)); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{seen, unseen} {
		if _, err := h.try(token); err == nil {
			t.Error("a token of a key that is gone was let in")
		}
	}
	if _, err := h.try(second); err != nil {
		t.Error(err)
	}
}

// TestIssuedTokenIsBoundToItsCertificate issues a token for a certificate, and uses it with
// another certificate and with none.
func TestIssuedTokenIsBoundToItsCertificate(t *testing.T) {
	h := newTokenRig(t)
	mine, other := certificate(t, time.Hour, "spiffe://"+domain+"/user/demo"),
		certificate(t, time.Hour, "spiffe://"+domain+"/user/demo")
	sum := sha256.Sum256(mine.Raw)
	token, err := h.tokens.Issue("user:demo", "*", base64.RawURLEncoding.EncodeToString(sum[:]),
		time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cert *x509.Certificate
		good bool
	}{
		{"its certificate", mine, true},
		{"another one of the same subject", other, false},
		{"none", nil, false},
	} {
		_, _, err := h.Authenticate(request(tt.cert, "Bearer "+token.Text))
		if (err == nil) != tt.good {
			t.Errorf("with %s: %v", tt.name, err)
		}
	}
}

func TestRevokedTokenIsRefused(t *testing.T) {
	h := newTokenRig(t)
	issue := func() auth.Token {
		token, err := h.tokens.Issue("user:demo", "*", "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	first, second := issue(), issue()
	h.directory.Revoke(map[string]time.Time{"jti:" + first.ID: h.now})
	if _, err := h.try(first.Text); err == nil {
		t.Error("a revoked token was let in")
	}
	if _, err := h.try(second.Text); err != nil {
		t.Error(err)
	}
	h.now = h.now.Add(time.Second)
	h.directory.Revoke(map[string]time.Time{"subject:user:demo": h.now})
	if _, err := h.try(second.Text); err == nil {
		t.Error("a token from before now was let in")
	}
	h.now = h.now.Add(5 * time.Second)
	ahead := issue() // by a server whose clock is ahead by the allowed slack
	if _, err := h.try(ahead.Text); err == nil {
		t.Error("a token from before now, of a clock that is ahead, was let in")
	}
	h.now = h.now.Add(time.Second)
	if _, err := h.try(issue().Text); err != nil {
		t.Errorf("a token from after it: %v", err)
	}
}

func TestBoundTokenNeedsItsCertificate(t *testing.T) {
	h := newTokenRig(t)
	cert := certificate(t, time.Hour, "spiffe://atm.example/user/demo")
	sum := sha256.Sum256(cert.Raw)
	claims := strings.TrimSuffix(h.claims(), "}") + `,"cnf":{"x5t#S256":"` +
		base64.RawURLEncoding.EncodeToString(sum[:]) + `"}}`
	token := h.sign(t, h.header(), claims)
	if _, err := h.try(token); err == nil {
		t.Error("a bound token was let in without its certificate")
	}
	h.now = time.Now()
	token = h.sign(t, h.header(), strings.Replace(strings.TrimSuffix(h.claims(), "}"), "", "", 1)+
		`,"cnf":{"x5t#S256":"`+base64.RawURLEncoding.EncodeToString(sum[:])+`"}}`)
	r := httptest.NewRequest(http.MethodPost, "/RPC2", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	if caller, _, err := h.Authenticate(r); err != nil || caller.Subject != "user:demo" {
		t.Errorf("with its certificate: %+v, %v", caller, err)
	}
}

func (h *tokenRig) header() string {
	return fmt.Sprintf(`{"alg":"ES256","typ":"at+jwt","kid":%q}`, h.kid)
}

func (h *tokenRig) claims() string {
	return fmt.Sprintf(
		`{"iss":"https://%s","aud":"https://%s/RPC2","sub":"user:demo","iat":%d,"exp":%d,"jti":"x","scope":"*"}`,
		domain, domain, h.now.Unix(), h.now.Unix()+900)
}

// TestTokenWithOneThingChangedIsRefused changes one thing at a time. Each token is signed with
// the right key, unless the key is the change.
func TestTokenWithOneThingChangedIsRefused(t *testing.T) {
	h := newTokenRig(t)
	if _, err := h.try(h.sign(t, h.header(), h.claims())); err != nil {
		t.Fatal(err)
	}
	header := func(old, by string) string {
		return h.sign(t, strings.Replace(h.header(), old, by, 1), h.claims())
	}
	claims := func(old, by string) string {
		return h.sign(t, h.header(), strings.Replace(h.claims(), old, by, 1))
	}
	good := h.sign(t, h.header(), h.claims())
	parts := strings.Split(good, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	public, err := h.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	hs256 := func() string {
		signed := b64([]byte(strings.Replace(h.header(), "ES256", "HS256", 1))) + "." + parts[1]
		mac := hmac.New(sha256.New, public)
		mac.Write([]byte(signed))
		return signed + "." + b64(mac.Sum(nil))
	}
	iat, exp := fmt.Sprint(h.now.Unix()), fmt.Sprint(h.now.Unix()+900)
	for name, token := range map[string]string{
		"empty":              "",
		"no token":           "abc",
		"two parts":          parts[0] + "." + parts[1],
		"four parts":         good + ".x",
		"stripped signature": parts[0] + "." + parts[1] + ".",
		"alg none": b64([]byte(strings.Replace(h.header(), "ES256", "none",
			1))) + "." + parts[1] + ".",
		"HS256 with the public key":  hs256(),
		"alg in lower case":          header("ES256", "es256"),
		"alg ES384":                  header("ES256", "ES384"),
		"no alg":                     header(`"alg":"ES256",`, ""),
		"two algs":                   header(`"alg":"ES256",`, `"alg":"none","alg":"ES256",`),
		"typ JWT":                    header("at+jwt", "JWT"),
		"no typ":                     header(`"typ":"at+jwt",`, ""),
		"another kid":                header(h.kid, "other"),
		"a kid that is a path":       header(h.kid, "../../keys/token.key"),
		"a kid that is SQL":          header(h.kid, "x' OR '1'='1"),
		"no kid":                     header(`,"kid":"`+h.kid+`"`, ""),
		"jku":                        header(`{`, `{"jku":"https://evil.example/jwks.json",`),
		"jwk":                        header(`{`, `{"jwk":{"kty":"EC"},`),
		"x5u":                        header(`{`, `{"x5u":"https://evil.example/c.pem",`),
		"crit":                       header(`{`, `{"crit":["exp"],`),
		"b64":                        header(`{`, `{"b64":false,`),
		"a header that is an array":  h.sign(t, `["ES256"]`, h.claims()),
		"claims that are an array":   h.sign(t, h.header(), `[]`),
		"claims that are no JSON":    h.sign(t, h.header(), `{"iss"`),
		"something after the claims": h.sign(t, h.header(), h.claims()+`{}`),
		"another issuer": claims("https://"+domain+`","aud`,
			`https://evil.example","aud`),
		"no issuer":        claims(`"iss":"https://`+domain+`",`, ""),
		"another audience": claims(domain+"/RPC2", domain+"/other"),
		"no audience":      claims(`"aud":"https://`+domain+`/RPC2",`, ""),
		"two audiences": claims(`"https://`+domain+`/RPC2"`, `["https://`+domain+
			`/RPC2","https://evil.example"]`),
		"two subjects": claims(`"sub":"user:demo",`,
			`"sub":"user:demo","sub":"service:till-1",`),
		"no subject":                 claims(`"sub":"user:demo",`, ""),
		"nobody":                     claims("user:demo", "user:mallory"),
		"the program itself":         claims("user:demo", "system:init"),
		"a subject that is a number": claims(`"user:demo"`, "7"),
		"no jti":                     claims(`"jti":"x",`, ""),
		"an empty jti":               claims(`"jti":"x"`, `"jti":""`),
		"no scope":                   claims(`,"scope":"*"`, ""),
		"a scope that is an array":   claims(`"scope":"*"`, `"scope":["*"]`),
		"no iat":                     claims(`"iat":`+iat+",", ""),
		"no exp":                     claims(`"exp":`+exp+",", ""),
		"exp as text":                claims(exp, `"`+exp+`"`),
		"exp with an exponent":       claims(exp, "1e18"),
		"exp with a fraction":        claims(exp, exp+".5"),
		"exp negative":               claims(exp, "-1"),
		"exp huge":                   claims(exp, "99999999999999999999"),
		"exp null":                   claims(exp, "null"),
		"exp before iat":             claims(exp, iat),
		"more than an hour":          claims(exp, fmt.Sprint(h.now.Unix()+3601)),
		"expired": h.sign(t, h.header(), strings.NewReplacer(iat,
			fmt.Sprint(h.now.Unix()-1000), exp, fmt.Sprint(h.now.Unix()-1)).Replace(h.claims())),
		"of the future": h.sign(t, h.header(), strings.NewReplacer(iat,
			fmt.Sprint(h.now.Unix()+300), exp, fmt.Sprint(h.now.Unix()+600)).Replace(h.claims())),
		"not before much later": claims(`"jti"`, `"nbf":`+fmt.Sprint(h.now.Unix()+300)+
			`,"jti"`),
		"bound to a certificate":  claims(`"jti"`, `"cnf":{"x5t#S256":"abc"},"jti"`),
		"bound in an unknown way": claims(`"jti"`, `"cnf":{"jkt":"abc"},"jti"`),
		"bound to nothing":        claims(`"jti"`, `"cnf":{},"jti"`),
		"a grant without details": claims(`"jti"`, `"act":{"sub":"user:demo"},"jti"`),
		"a grant without an actor": claims(`"jti"`,
			`"authorization_details":[{"type":"atm_grant"}],"jti"`),
		"a grant of another type": claims(`"jti"`,
			`"act":{"sub":"user:demo"},"authorization_details":[{"type":"x"}],"jti"`),
		"two grants": claims(`"jti"`,
			`"act":{"sub":"user:demo"},"authorization_details":[{"type":"atm_grant"},{"type":"atm_grant"}],"jti"`),
		"a grant for nobody": claims(`"jti"`,
			`"act":{"sub":"user:mallory"},"authorization_details":[{"type":"atm_grant"}],"jti"`),
		"padded":              parts[0] + "=." + parts[1] + "." + parts[2],
		"a line break inside": parts[0] + ".\n" + parts[1] + "." + parts[2],
		"a space at the end":  good + " ",
		"too long":            good + strings.Repeat("A", 5000),
		"a flipped bit of the payload": parts[0] + "." + strings.Replace(parts[1], parts[1][10:11],
			"_", 1) + "." + parts[2],
		"deep nesting": claims(`"jti"`, `"x":`+strings.Repeat("[", 50)+
			strings.Repeat("]", 50)+`,"jti"`),
		"a name twice deep inside": claims(`"jti"`, `"x":{"a":1,"a":2},"jti"`),
	} {
		caller, err := h.try(token)
		var failure *auth.Error
		if !errors.As(err, &failure) {
			t.Errorf("%s: %+v, %v", name, caller, err)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/RPC2?access_token="+good, nil)
	if _, _, err := h.Authenticate(r); !errors.Is(err, auth.ErrNothing) {
		t.Errorf("a token in the query: %v", err)
	}
}

func FuzzToken(f *testing.F) {
	h := newTokenRig(f)
	good := h.sign(f, h.header(), h.claims())
	f.Add(good)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		if caller, err := h.try(token); err == nil && token != good {
			t.Fatalf("%q is %+v", token, caller)
		}
	})
}
