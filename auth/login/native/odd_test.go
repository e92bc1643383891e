package native_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/auth/login/native"
	"github.com/golang-jwt/jwt/v5"
)

// An oddProvider answers with the ID tokens that it is told to. Its codes are nonces.
type oddProvider struct {
	*httptest.Server

	mu     sync.Mutex
	key    *ecdsa.PrivateKey
	signer *ecdsa.PrivateKey           // of the next tokens; nil for key
	change func(jwt.MapClaims)         // of the next ID token
	answer map[string]http.HandlerFunc // of a path, in place of its own
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func startOdd(t *testing.T) *oddProvider {
	t.Helper()
	p := &oddProvider{key: newKey(t), change: func(jwt.MapClaims) {}}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *oddProvider) discover(t *testing.T) *native.Provider {
	t.Helper()
	found, err := native.Discover(t.Context(), native.Client{
		Issuer: p.URL, ClientID: "atm-cli", Token: "id", Scope: "openid",
	}, p.Client().Transport, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (p *oddProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if answer := p.answer[r.URL.Path]; answer != nil {
		answer(w, r)
		return
	}
	public, err := p.key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer = map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/begin",
			"token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"device_authorization_endpoint":         p.URL + "/device",
			"id_token_signing_alg_values_supported": []string{"ES256"},
		}
	case "/keys":
		answer = map[string]any{"keys": []any{map[string]any{
			"kty": "EC", "crv": "P-256", "kid": encode(public[1:9]), "x": encode(public[1:33]),
			"y": encode(public[33:]),
		}}}
	case "/device":
		answer = map[string]any{
			"device_code": "D", "user_code": "ABCD", "verification_uri": "http://" + r.Host,
			"expires_in": 60,
		}
	case "/token":
		now := time.Now()
		claims := jwt.MapClaims{
			"iss": p.URL, "aud": "atm-cli", "sub": "alice", "nonce": r.FormValue("code"),
			"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		}
		p.change(claims)
		answer = map[string]any{
			"access_token": "a", "token_type": "Bearer", "refresh_token": "r",
			"id_token": p.sign(claims, encode(public[1:9])),
		}
	}
	json.NewEncoder(w).Encode(answer)
}

func (p *oddProvider) sign(claims jwt.MapClaims, kid string) string {
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	token.Header["kid"] = kid
	key := p.signer
	if key == nil {
		key = p.key
	}
	signed, err := token.SignedString(key)
	if err != nil {
		panic(err)
	}
	return signed
}

// with changes the provider.
func (p *oddProvider) with(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// signIn signs alice in in a browser.
func (p *oddProvider) signIn(t *testing.T, from *native.Provider) (*native.Tokens, error) {
	t.Helper()
	var browser sync.WaitGroup
	defer browser.Wait()
	return from.In(t.Context(), native.Browser{Show: func(link string) {
		query := parse(t, link).Query()
		browser.Go(func() {
			answer, err := http.Get(query.Get("redirect_uri") + "?" + url.Values{
				"state": {query.Get("state")}, "code": {query.Get("nonce")},
			}.Encode())
			if err != nil {
				t.Error(err)
				return
			}
			answer.Body.Close()
		})
	}})
}

func parse(t *testing.T, link string) *url.URL {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func set(name, value string) func(url.Values) { return func(q url.Values) { q.Set(name, value) } }
func del(name string) func(url.Values)        { return func(q url.Values) { q.Del(name) } }

// claimsOf are the claims of a token, which is not verified.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	var claims map[string]any
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestIDTokensThatAreNotWhatTheyShouldBeSignNobodyIn(t *testing.T) {
	p := startOdd(t)
	from := p.discover(t)
	set := func(name string, value any) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) { c[name] = value }
	}
	for _, tt := range []struct {
		name   string
		change func(jwt.MapClaims)
	}{
		{"another issuer", set("iss", "https://other.example")},
		{"another audience", set("aud", "atm-console")},
		{"no audience", set("aud", nil)},
		{"several audiences and no party", set("aud", []string{"atm-cli", "another"})},
		{"another party", set("azp", "another")},
		{"expired", set("exp", time.Now().Add(-time.Minute).Unix())},
		{"of the future", set("nbf", time.Now().Add(time.Hour).Unix())},
		{"another nonce", set("nonce", "N")},
		{"no nonce", set("nonce", nil)},
		{"nobody", set("sub", "")},
	} {
		p.with(func() { p.change = tt.change })
		var refused *native.RefusedError
		if tokens, err := p.signIn(t, from); !errors.As(err, &refused) {
			t.Errorf("%s: %+v, %v", tt.name, tokens, err)
		}
	}
	p.with(func() { p.change, p.signer = func(jwt.MapClaims) {}, newKey(t) })
	if tokens, err := p.signIn(t, from); err == nil {
		t.Errorf("signed with another key: %+v", tokens)
	}
}

// TestProviderWhoseClockIsAMinuteOffSignsIn counts the life of a token by the clock here.
func TestProviderWhoseClockIsAMinuteOffSignsIn(t *testing.T) {
	p := startOdd(t)
	from := p.discover(t)
	for _, off := range []time.Duration{-time.Minute, time.Minute} {
		there := time.Now().Add(off)
		p.with(func() {
			p.change = func(c jwt.MapClaims) {
				c["iat"], c["exp"] = there.Unix(), there.Add(10*time.Minute).Unix()
			}
		})
		before := time.Now()
		tokens, err := p.signIn(t, from)
		if err != nil || tokens.Expires.Before(before.Add(10*time.Minute)) ||
			tokens.Expires.After(time.Now().Add(10*time.Minute)) ||
			tokens.Expires.Sub(tokens.Renew) != time.Minute {
			t.Errorf("off by %v: %+v, %v", off, tokens, err)
		}
	}
}

func TestProviderThatRotatesItsKeysSignsIn(t *testing.T) {
	p := startOdd(t)
	from := p.discover(t)
	first, err := p.signIn(t, from)
	if err != nil {
		t.Fatal(err)
	}
	p.with(func() { p.key = newKey(t) })
	if second, err := p.signIn(t, from); err != nil || second.Subject != "alice" {
		t.Errorf("by the new key: %+v, %v", second, err)
	}
	if third, err := from.Renew(t.Context(), first); err != nil || third.Subject != "alice" {
		t.Errorf("renewed by the new key: %+v, %v", third, err)
	}
}

func TestRenewalIsOfTheSamePerson(t *testing.T) {
	p := startOdd(t)
	from := p.discover(t)
	tokens, err := p.signIn(t, from)
	if err != nil {
		t.Fatal(err)
	}
	p.with(func() { p.change = func(c jwt.MapClaims) { c["sub"] = "mallory" } })
	var refused *native.RefusedError
	if got, err := from.Renew(t.Context(), tokens); !errors.As(err, &refused) {
		t.Errorf("%+v, %v", got, err)
	}
	p.with(func() {
		p.answer = map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"access_token":"a","token_type":"Bearer"}`))
		}}
	})
	if got, err := from.Renew(t.Context(), tokens); !errors.As(err, &refused) {
		t.Errorf("without an ID token: %+v, %v", got, err)
	}
}

// TestProviderThatFailsRefusesNobody tells a failure from a refusal, by which a person has to sign
// in again.
func TestProviderThatFailsRefusesNobody(t *testing.T) {
	p := startOdd(t)
	from := p.discover(t)
	tokens, err := p.signIn(t, from)
	if err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) },
		"an error in JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(503)
			w.Write([]byte(`{"error":"temporarily_unavailable"}`))
		},
		"a connection that breaks": func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		},
	} {
		p.with(func() { p.answer = map[string]http.HandlerFunc{"/token": answer} })
		if got, err := from.Renew(t.Context(), tokens); !errors.Is(err, native.ErrUnreachable) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	p.Close()
	if got, err := from.Renew(t.Context(), tokens); !errors.Is(err, native.ErrUnreachable) {
		t.Errorf("down: %+v, %v", got, err)
	}
}

func TestCodeIsEnteredOnHTTPSAlone(t *testing.T) {
	p := startOdd(t)
	var refused *native.RefusedError
	if got, err := p.discover(t).OnDevice(t.Context(), func(c native.Code) {
		t.Errorf("a person was sent to %s", c.URL)
	}); !errors.As(err, &refused) {
		t.Errorf("%+v, %v", got, err)
	}
}
