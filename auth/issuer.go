package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm"
	"github.com/golang-jwt/jwt/v5"
)

// The keys of issuers are fetched and parsed here, and not by MicahParks/jwkset, the library
// that goes with golang-jwt. That library reads answers of any size, rejects a whole set for
// one bad key, keeps keys for ever if they cannot be fetched again, accepts two keys with one
// name, and makes sign-ins wait for its rate limit.

// An Issuer is another issuer whose tokens are accepted, such as an OpenID provider. Its trust
// is configured here alone: a token cannot make the server fetch anything or choose an
// algorithm.
type Issuer struct {
	Name      string // iss, compared exactly
	Audience  string // aud, compared exactly
	Algorithm string // ES256, ES384, RS256, PS256 or EdDSA
	Type      string // typ of its tokens, such as "at+jwt"; empty for JWT or none
	People
	Scope []string // operations its tokens allow; nil for all that the roles allow

	// KeysURL is the https URL of its keys (RFC 7517), and KeysFile a file with a copy of them.
	// Exactly one of the two is set.
	KeysURL, KeysFile string

	// Roots are the authorities trusted for KeysURL; nil for those of the system.
	Roots *x509.CertPool

	// Login is set if people sign in to the console with it, and CommandLine if they sign in on
	// their machines.
	Login       *Login
	CommandLine *CommandLine
}

// A Login is how an OpenID provider knows this server.
type Login struct {
	ClientID string
	Secret   string // empty for a public client, which PKCE protects alone
}

func (i *Issuer) check() error {
	switch {
	case i.Name == "" || i.Audience == "":
		return errors.New("an issuer needs issuer and audience")
	case !slices.Contains([]string{"ES256", "ES384", "RS256", "PS256", "EdDSA"}, i.Algorithm):
		return fmt.Errorf("%s: the algorithm is ES256, ES384, RS256, PS256 or EdDSA, not %q",
			i.Name, i.Algorithm)
	case (i.KeysURL == "") == (i.KeysFile == ""):
		return fmt.Errorf("%s: it needs one of jwks_url and jwks_file", i.Name)
	case i.KeysURL != "" && !strings.HasPrefix(i.KeysURL, "https://"):
		return fmt.Errorf("%s: %s is not an https URL", i.Name, i.KeysURL)
	case i.Login != nil && (i.Login.ClientID == "" || !strings.HasPrefix(i.Name, "https://")):
		return fmt.Errorf("%s: signing in needs a client_id, and an issuer that is an https URL",
			i.Name)
	}
	for _, method := range i.Scope {
		if method != "*" && !Covers(atm.Operation(method)) {
			return fmt.Errorf("%s: there is no method %q for a scope", i.Name, method)
		}
	}
	if i.CommandLine != nil {
		if err := i.CommandLine.check(i); err != nil {
			return fmt.Errorf("%s: %w", i.Name, err)
		}
	}
	if err := i.People.check(); err != nil {
		return fmt.Errorf("%s: %w", i.Name, err)
	}
	return nil
}

const (
	keysEvery   = 5 * time.Minute // how often keys are fetched
	keysAgain   = time.Minute     // shortest time between fetches for an unknown key
	keysStale   = 24 * time.Hour  // how long keys stay good if they cannot be fetched again
	keysTimeout = 5 * time.Second // of a fetch
	maxKeys     = 16              // of an issuer
	maxKeySet   = 64 << 10        // bytes
	maxForeign  = 24 * time.Hour  // longest life of a token of another issuer
	minRSA      = 2048            // bits
	maxRSA      = 8192            // bits
	maxMapped   = 10_000          // subjects of an issuer
	maxGroups   = 1_000           // groups of a person, and groups of an issuer that have roles
	maxIssuers  = 16
)

// Issuers are the issuers in force. They are replaced as a whole.
type Issuers struct {
	now    func() time.Time
	report func(issuer string, err error)
	list   atomic.Pointer[map[string]*issuerKeys]
}

// NewIssuers returns an empty set of issuers. now is the clock. report is called if the keys of
// an issuer could not be fetched.
func NewIssuers(now func() time.Time, report func(issuer string, err error)) *Issuers {
	return &Issuers{now: now, report: report}
}

// Trusts reports whether tokens of an issuer are accepted.
func (s *Issuers) Trusts(issuer string) bool {
	if s == nil {
		return false
	}
	list := s.list.Load()
	return list != nil && (*list)[issuer] != nil
}

// Update replaces the issuers in force, unless one of the new ones is invalid. Keys are fetched
// when the first token needs them. An issuer that was in force before keeps the keys that it
// has.
func (s *Issuers) Update(list []Issuer) error {
	if len(list) > maxIssuers {
		return fmt.Errorf("there are more than %d issuers", maxIssuers)
	}
	next := make(map[string]*issuerKeys, len(list))
	for i := range list {
		if err := list[i].check(); err != nil {
			return err
		}
		if next[list[i].Name] != nil {
			return fmt.Errorf("%s is listed twice", list[i].Name)
		}
		keys := newIssuerKeys(list[i], s.now, s.report)
		if before := s.list.Load(); before != nil {
			keys.inherit((*before)[list[i].Name])
		}
		next[list[i].Name] = keys
	}
	s.list.Store(&next)
	return nil
}

// of returns the issuer that a token claims, or nil if it is not accepted.
func (s *Issuers) of(token string) *issuerKeys {
	if s == nil || s.list.Load() == nil || len(token) > maxForeignToken {
		return nil
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := object(parts[1])
	if err != nil {
		return nil
	}
	return (*s.list.Load())[word(payload["iss"])]
}

// maxForeignToken bounds a token of another issuer, in bytes. Such tokens have more claims than
// ours.
const maxForeignToken = 8 << 10

// issuerKeys is an issuer with its fetched keys.
type issuerKeys struct {
	Issuer
	now    func() time.Time
	report func(issuer string, err error)
	client *http.Client
	values map[string][]string // of the claim, that name a subject
	sets   [][]atm.Role        // see People.sets

	fetching sync.Mutex // held while keys are fetched

	mu      sync.RWMutex
	keys    map[string]any // guarded by mu; public keys by kid
	fetched time.Time      // guarded by mu; time of the last successful fetch
	tried   time.Time      // guarded by mu
}

func newIssuerKeys(i Issuer, now func() time.Time, report func(string, error)) *issuerKeys {
	values := make(map[string][]string, len(i.Subjects))
	for value, subject := range i.Subjects {
		values[subject] = append(values[subject], value)
	}
	return &issuerKeys{
		Issuer: i, now: now, report: report, values: values, sets: i.sets(),
		client: &http.Client{
			Timeout: keysTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
			Transport: &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: i.Roots, MinVersion: tls.VersionTLS12},
				DisableKeepAlives: true,

				MaxResponseHeaderBytes: maxKeySet,
			},
		},
	}
}

// inherit takes over the keys of the issuer's previous configuration.
func (k *issuerKeys) inherit(before *issuerKeys) {
	if before == nil || before.KeysURL != k.KeysURL || before.KeysFile != k.KeysFile ||
		before.Algorithm != k.Algorithm {
		return
	}
	before.mu.RLock()
	defer before.mu.RUnlock()
	// The keys are fetched again for the first unknown key.
	k.keys, k.fetched = before.keys, before.fetched
}

// foreign is the content of a valid token of another issuer.
type foreign struct {
	Person
	id, key         string
	issued, expires time.Time
}

// claimSet are the claims of a token.
type claimSet = map[string]json.RawMessage

// verify returns the content of a token of the issuer, if the token is good now.
func (k *issuerKeys) verify(ctx context.Context, token string) (*foreign, error) {
	parts := strings.Split(token, ".")
	header, err := object(parts[0])
	if err != nil {
		return nil, err
	}
	for name := range header {
		if !slices.Contains([]string{"alg", "typ", "kid", "x5t", "x5t#S256"}, name) {
			return nil, &Error{"token with an unknown header"}
		}
	}
	typ, kid := word(header["typ"]), word(header["kid"])
	switch {
	case kid == "":
		return nil, &Error{"token of an unknown key"}
	case word(header["alg"]) != k.Algorithm:
		return nil, &Error{"token of another algorithm"}
	case k.Type != "" && typ != k.Type, k.Type == "" && typ != "JWT" && header["typ"] != nil:
		return nil, &Error{"token of another type"}
	}
	public := k.key(ctx, kid)
	if public == nil {
		return nil, &Error{"token of an unknown key"}
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{k.Algorithm}),
		jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	if _, err := parser.Parse(token, func(*jwt.Token) (any, error) {
		return public, nil
	}); err != nil {
		return nil, &Error{"token with a wrong signature"}
	}
	payload, err := object(parts[1])
	if err != nil {
		return nil, err
	}
	content, err := k.claims(payload)
	if err != nil {
		return nil, err
	}
	if content.key = kid; content.id == "" { // an ID token has none, and can be revoked all the same
		sum := sha256.Sum256([]byte(token))
		content.id = "sha256:" + base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return content, nil
}

func (k *issuerKeys) claims(payload claimSet) (*foreign, error) {
	now := k.now()
	issued, okIssued := seconds(payload["iat"])
	expires, okExpires := seconds(payload["exp"])
	switch {
	case word(payload["iss"]) != k.Name:
		return nil, &Error{"token of another issuer"}
	case !hasAudience(payload["aud"], k.Audience) && !k.forCommandLine(payload):
		return nil, &Error{"token for another audience"}
	case !okIssued || !okExpires || expires.Sub(issued) > maxForeign || !expires.After(issued):
		return nil, &Error{"token without a claim that it needs"}
	case !now.Before(expires):
		return nil, &Error{"token expired"}
	case issued.After(now.Add(tokenSlack)):
		return nil, &Error{"token of the future"}
	case payload["cnf"] != nil || payload["act"] != nil || payload["authorization_details"] != nil:
		return nil, &Error{"token that is narrowed in an unknown way"} // and must not be ignored
	}
	if nbf := payload["nbf"]; nbf != nil {
		if from, ok := seconds(nbf); !ok || from.After(now.Add(tokenSlack)) {
			return nil, &Error{"token of the future"}
		}
	}
	person, err := k.Person(payload)
	if err != nil {
		return nil, err
	}
	return &foreign{
		Person: person, id: word(payload["jti"]), issued: issued, expires: expires,
	}, nil
}

// hasAudience reports whether audience is one of the audiences of a token (RFC 7519, section
// 4.1.3).
func hasAudience(raw json.RawMessage, audience string) bool {
	var several []string
	return word(raw) == audience || json.Unmarshal(raw, &several) == nil && slices.Contains(several,
		audience)
}

// key returns the public key with the name kid, or nil if there is none. It fetches keys when
// they are old, and for an unknown key.
func (k *issuerKeys) key(ctx context.Context, kid string) any {
	public, wait := k.known(kid)
	if wait {
		return public
	}
	if !k.fetching.TryLock() {
		if public != nil {
			return public // another request is fetching keys, and this key is still good
		}
		k.fetching.Lock()
	}
	defer k.fetching.Unlock()
	if public, wait := k.known(kid); wait { // another request has fetched them
		return public
	}
	// The fetch goes on if this caller disconnects, because other requests wait for it.
	keys, err := k.fetch(context.WithoutCancel(ctx))
	k.mu.Lock()
	k.tried = k.now()
	if err == nil {
		k.keys, k.fetched = keys, k.tried
	}
	k.mu.Unlock()
	if err != nil {
		k.report(k.Name, err)
	}
	public, _ = k.known(kid)
	return public
}

// known returns the key with the name kid if it is known and fresh enough, and whether the
// answer is final without a fetch.
func (k *issuerKeys) known(kid string) (public any, wait bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	now := k.now()
	age, since := now.Sub(k.fetched), now.Sub(k.tried)
	if age < keysStale {
		public = k.keys[kid]
	}
	if public != nil {
		return public, age < keysEvery || since < keysAgain
	}
	return nil, since < keysAgain
}

func (k *issuerKeys) fetch(ctx context.Context) (map[string]any, error) {
	if k.KeysFile != "" {
		f, err := os.Open(k.KeysFile)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return k.read(f)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.KeysURL, nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", k.KeysURL, resp.Status)
	}
	return k.read(resp.Body)
}

// read parses a set of keys. It skips keys that are not for the algorithm.
func (k *issuerKeys) read(r io.Reader) (map[string]any, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxKeySet+1))
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(text) > maxKeySet || json.Unmarshal(text, &set) != nil || len(set.Keys) > maxKeys {
		return nil, errors.New("the issuer has no keys, or too many")
	}
	keys := make(map[string]any)
	for _, text := range set.Keys {
		key, err := parseJWK(text)
		if err != nil || key.kid == "" { // of an unsupported kind
			continue
		}
		if key.use != "" && key.use != "sig" || key.algorithm != "" &&
			key.algorithm != k.Algorithm || !fits(k.Algorithm, key.public) {
			continue
		}
		if keys[key.kid] != nil {
			return nil, errors.New("two keys of the issuer have one name")
		}
		keys[key.kid] = key.public
	}
	if len(keys) == 0 {
		return nil, errors.New("no key of the issuer is for its algorithm")
	}
	return keys, nil
}

// fits reports whether a public key is strong and is for the algorithm.
func fits(algorithm string, key any) bool {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return algorithm == "ES256" && key.Curve == elliptic.P256() || algorithm == "ES384" &&
			key.Curve == elliptic.P384()
	case *rsa.PublicKey:
		return (algorithm == "RS256" || algorithm == "PS256") && key.N.BitLen() >= minRSA &&
			key.N.BitLen() <= maxRSA
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}
