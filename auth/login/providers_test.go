package login_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/atm/auth"
	"example.com/atm/auth/login"
	"github.com/golang-jwt/jwt/v5"
)

// An oddProvider answers with the ID tokens that it is told to. Its codes are nonces.
type oddProvider struct {
	*httptest.Server
	key    *ecdsa.PrivateKey
	change func(jwt.MapClaims)         // of the next ID token
	answer map[string]http.HandlerFunc // of a path, in place of its own
	issuer auth.Issuer
}

func startOdd(t *testing.T) *oddProvider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &oddProvider{key: key, change: func(jwt.MapClaims) {}}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	p.issuer = auth.Issuer{
		Name: p.URL, Audience: "atm", Algorithm: "ES256", Roots: roots,
		KeysURL: p.URL + "/keys", Login: &auth.Login{ClientID: "atm-console"},
		People: auth.People{
			Claim: "sub", Subjects: map[string]string{"alice": "user:alice", "": "user:alice"},
		},
	}
	return p
}

func (p *oddProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
		}
	case "/keys":
		answer = map[string]any{"keys": []any{map[string]any{
			"kty": "EC", "crv": "P-256", "kid": "k", "x": encode(public[1:33]),
			"y": encode(public[33:]),
		}}}
	case "/token":
		now := time.Now()
		claims := jwt.MapClaims{
			"iss": p.URL, "aud": "atm-console", "sub": "alice", "nonce": r.FormValue("code"),
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		}
		p.change(claims)
		token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
		token.Header["kid"] = "k"
		signed, err := token.SignedString(p.key)
		if err != nil {
			panic(err)
		}
		answer = map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": signed}
	}
	json.NewEncoder(w).Encode(answer)
}

// signIn signs alice in with a provider.
func (p *oddProvider) signIn(t *testing.T) (*login.Person, error) {
	t.Helper()
	from := login.New(&p.issuer, redirect, time.Now)
	to, attempt := begin(t, from)
	there, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return from.Finish(t.Context(), attempt, url.Values{
		"state": {attempt.State}, "code": {there.Query().Get("nonce")},
	})
}

func TestIDTokensThatAreNotWhatTheyShouldBeAreRefused(t *testing.T) {
	p := startOdd(t)
	if person, err := p.signIn(t); err != nil || person.Subject != "user:alice" {
		t.Fatalf("a good one: %v, %v", person, err)
	}
	set := func(name string, value any) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) { c[name] = value }
	}
	for _, tt := range []struct {
		name   string
		change func(jwt.MapClaims)
	}{
		{"another issuer", set("iss", "https://other.example")},
		{"another audience", set("aud", "another")},
		{"no audience", set("aud", nil)},
		{"several audiences and no party", set("aud", []string{"atm-console", "another"})},
		{"another party", set("azp", "another")},
		{"expired", set("exp", time.Now().Add(-time.Minute).Unix())},
		{"of the future", set("nbf", time.Now().Add(time.Hour).Unix())},
		{"another nonce", set("nonce", "N")},
		{"no nonce", set("nonce", nil)},
		{"nobody", set("sub", "")},
		{"a person in two lines", set("sub", "alice\n")},
		{"a person of too many letters", set("sub", strings.Repeat("a", 256))},
		{"another person", set("sub", "mallory")},
		{"a person who is a number", set("sub", 5)},
	} {
		p.change = tt.change
		if person, err := p.signIn(t); !errors.As(err, new(*login.Error)) {
			t.Errorf("%s: %v, %v", tt.name, person, err)
		}
	}
	p.change = func(c jwt.MapClaims) {
		c["aud"], c["azp"] = []string{"atm-console", "another"}, "atm-console"
	}
	if _, err := p.signIn(t); err != nil {
		t.Errorf("several audiences, for this party: %v", err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.answer = map[string]http.HandlerFunc{"/token": func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": p.URL, "aud": "atm-console", "sub": "alice", "nonce": r.FormValue("code"),
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		})
		token.Header["kid"] = "k"
		signed, err := token.SignedString(other)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(w, `{"access_token":"a","token_type":"Bearer","id_token":%q}`, signed)
	}}
	if _, err := p.signIn(t); !errors.As(err, new(*login.Error)) {
		t.Errorf("signed with another key: %v", err)
	}
}

// TestProviderThatFailsRefusesNobody lets a part of a provider fail. Nobody's sign-in has failed
// then, so it must not count as one.
func TestProviderThatFailsRefusesNobody(t *testing.T) {
	status := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			w.Write([]byte(text))
		}
	}
	for _, tt := range []struct {
		name, path string
		answer     http.HandlerFunc
	}{
		{"its tokens", "/token", status(http.StatusBadGateway, "")},
		{"its keys", "/keys", status(http.StatusInternalServerError, "")},
		{"its keys, which are none", "/keys", status(http.StatusOK, "<html>")},
		{"the secret of this server", "/token", status(http.StatusUnauthorized,
			`{"error":"invalid_client"}`)},
		{"too much asked", "/token", status(http.StatusTooManyRequests, "")},
		{"a connection that breaks", "/token", func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}},
		{"a redirect", "/token", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}},
	} {
		p := startOdd(t)
		p.answer = map[string]http.HandlerFunc{tt.path: tt.answer}
		if person, err := p.signIn(t); err == nil || errors.As(err, new(*login.Error)) {
			t.Errorf("%s: %v, %v", tt.name, person, err)
		}
	}
	p := startOdd(t)
	p.answer = map[string]http.HandlerFunc{"/token": status(http.StatusBadRequest,
		`{"error":"invalid_grant"}`)}
	if _, err := p.signIn(t); !errors.As(err, new(*login.Error)) {
		t.Errorf("a code that it does not know: %v", err)
	}
}

// TestProviderThatMovesIsAskedAgain moves where people sign in, and then takes the provider away.
func TestProviderThatMovesIsAskedAgain(t *testing.T) {
	p := startOdd(t)
	now := time.Now()
	from := login.New(&p.issuer, redirect, func() time.Time { return now })
	leads := func(to string) {
		t.Helper()
		if got, _ := begin(t, from); !strings.HasPrefix(got, p.URL+to+"?") {
			t.Errorf("the sign-in goes on at %s, not at %s", got, to)
		}
	}
	leads("/begin")
	p.answer = map[string]http.HandlerFunc{
		"/.well-known/openid-configuration": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"%s/moved",
				"token_endpoint":"%[2]s/token","jwks_uri":"%[2]s/keys"}`, p.URL, p.URL)
		},
	}
	leads("/begin")
	now = now.Add(time.Hour)
	leads("/moved")
	p.answer = map[string]http.HandlerFunc{"/.well-known/openid-configuration": http.NotFound}
	now = now.Add(time.Hour)
	leads("/moved")
}

// TestAttemptIsOfOneServerForAWhile opens what a browser has kept, and what it could not have.
func TestAttemptIsOfOneServerForAWhile(t *testing.T) {
	p := startOdd(t)
	p.issuer.Subjects = map[string]string{"alice": "user:alice"}
	now := time.Now()
	issuers := auth.NewIssuers(time.Now, func(string, error) {})
	if err := issuers.Update([]auth.Issuer{p.issuer}); err != nil {
		t.Fatal(err)
	}
	providers := func(key string) *login.Providers {
		made, err := login.NewProviders(issuers, redirect, []byte(key), func() time.Time {
			return now
		})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	const key, other = "the key that replicas do share!!", "the key of a server of strangers"
	here, replica := providers(key), providers(key)
	to, kept, err := here.Begin(t.Context(), p.URL, "/console/me")
	if err != nil || len(kept) > 2048 {
		t.Fatalf("%d bytes, %v", len(kept), err)
	}
	if strings.Contains(to, "/console/me") {
		t.Errorf("the provider learns what was asked for: %s", to)
	}
	attempt, err := replica.Open(kept)
	there, _ := url.Parse(to)
	if err != nil || attempt.Next != "/console/me" || attempt.State != there.Query().Get("state") {
		t.Errorf("on another replica: %+v, %v", attempt, err)
	}
	query := url.Values{"state": {attempt.State}, "code": {there.Query().Get("nonce")}}.Encode()
	if person, err := replica.Finish(t.Context(), attempt, query); err != nil ||
		person.Subject != "user:alice" {
		t.Errorf("on another replica: %+v, %v", person, err)
	}
	if _, err := replica.Finish(t.Context(), attempt, query+"&more="+strings.Repeat("a", 9000)); !errors.As(err, new(*login.Error)) {
		t.Errorf("an answer without end: %v", err)
	}
	_, long, err := here.Begin(t.Context(), p.URL, "/console/"+strings.Repeat("a", 5000))
	if err != nil || len(long) > 2048 {
		t.Errorf("of a long address, %d bytes are kept, %v", len(long), err)
	}
	changed := []byte(kept)
	changed[len(changed)/2] ^= 1
	for name, open := range map[string]func() (login.Attempt, error){
		"of another server": func() (login.Attempt, error) { return providers(other).Open(kept) },
		"changed":           func() (login.Attempt, error) { return here.Open(string(changed)) },
		"cut":               func() (login.Attempt, error) { return here.Open(kept[:20]) },
		"nothing":           func() (login.Attempt, error) { return here.Open("") },
		"after its time": func() (login.Attempt, error) {
			now = now.Add(login.Life)
			return here.Open(kept)
		},
	} {
		if a, err := open(); !errors.As(err, new(*login.Error)) || a != (login.Attempt{}) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if err := issuers.Update(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Finish(t.Context(), attempt, query); !errors.As(err, new(*login.Error)) {
		t.Errorf("after the issuer was removed: %v", err)
	}
	if _, _, err := here.Begin(t.Context(), p.URL, ""); !errors.As(err, new(*login.Error)) {
		t.Errorf("begun after the issuer was removed: %v", err)
	}
	if list := here.List(); len(list) != 0 {
		t.Errorf("%d providers are left", len(list))
	}
}
