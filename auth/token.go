package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm"
	"github.com/golang-jwt/jwt/v5"
)

// Tokens are JWT access tokens (RFC 9068): ES256, typ at+jwt, issued by this server for itself.
// A library verifies their signatures. Before that, their form is checked more strictly than
// the library would: a header of three known members, no member twice, every required claim,
// and times that are plain integers.

const (
	// MaxTokenLife is the longest life of a token.
	MaxTokenLife = time.Hour

	maxToken      = 4 << 10     // bytes
	tokenSlack    = time.Minute // how far the clocks of other issuers may be ahead
	maxKnownGood  = 4096        // tokens whose signatures are cached
	thumbprintKey = "x5t#S256"
)

// ownSlack is how far the clock of another server with the same keys may be ahead. A token with
// a later issue time is not good yet. A revocation of a subject therefore also covers tokens
// with an issue time up to ownSlack after it.
const ownSlack = 5 * time.Second

// Slack is how far the clocks of servers with the same keys may differ.
func (t *Tokens) Slack() time.Duration { return ownSlack }

// Issuer is the issuer in the tokens.
func (t *Tokens) Issuer() string { return t.issuer }

// IssuerOf is the issuer in the tokens of the server with this name.
func IssuerOf(name string) string { return "https://" + name }

// Tokens issues and verifies tokens.
type Tokens struct {
	issuer, audience string
	keys             atomic.Pointer[keySet]
	now              func() time.Time

	mu   sync.RWMutex
	good map[[sha256.Size]byte]*claims // guarded by mu; tokens with a valid signature and form
}

// NewTokens returns the tokens of the server with this name and these keys. now is the clock.
func NewTokens(name string, table KeyTable, now func() time.Time) (*Tokens, error) {
	t := &Tokens{
		issuer: IssuerOf(name), audience: "https://" + name + "/RPC2",
		now: now, good: make(map[[sha256.Size]byte]*claims),
	}
	return t, t.Adopt(table)
}

// JWKS returns the public keys (RFC 7517).
func (t *Tokens) JWKS() ([]byte, error) {
	var list []any
	for _, key := range t.keys.Load().keys {
		list = append(list, map[string]string{
			"kty": "EC", "crv": "P-256", "x": key.x, "y": key.y, "kid": key.kid, "alg": "ES256",
			"use": "sig",
		})
	}
	return json.Marshal(map[string]any{"keys": list})
}

// Metadata describes the endpoints (RFC 8414) at the URL that callers use, and in atm_logins the
// providers by which people sign in on command lines. The issuer is a name, as in every token. HTTP
// Digest is not among the methods: OAuth has no name for it.
func (t *Tokens) Metadata(at string, logins *Issuers) ([]byte, error) {
	methods := []string{"tls_client_auth", "client_secret_post"}
	return json.Marshal(map[string]any{
		"issuer": t.issuer, "token_endpoint": at + "/token", "revocation_endpoint": at +
			"/token/revoke",
		"jwks_uri": at + "/.well-known/jwks.json", "service_documentation": at + "/",
		"grant_types_supported": []string{
			"client_credentials",
			"urn:ietf:params:oauth:grant-type:token-exchange",
		},
		"token_endpoint_auth_methods_supported":      methods,
		"revocation_endpoint_auth_methods_supported": methods,
		"response_types_supported":                   []string{},
		"authorization_details_types_supported":      []string{GrantType},

		"tls_client_certificate_bound_access_tokens": true,
		"scopes_supported":                           []string{"*"},
		"atm_logins":                                 logins.commandLines(),
	})
}

// A Token is an issued token.
type Token struct {
	Text    string
	ID      string    // jti
	Issued  time.Time // as in atm.Credential
	Expires time.Time
}

// Issue issues a token for subject and the methods in scope, or "*". If bound is not empty, the
// token is good only beside the certificate with this SHA-256, in base64url (RFC 8705, section
// 3.1).
func (t *Tokens) Issue(subject, scope, bound string, life time.Duration) (Token, error) {
	var more jwt.MapClaims
	if bound != "" {
		more = jwt.MapClaims{"cnf": map[string]string{thumbprintKey: bound}}
	}
	return t.issue(subject, scope, life, more)
}

func (t *Tokens) issue(subject, scope string, life time.Duration, more jwt.MapClaims) (Token,
	error,
) {
	if life < time.Second || life > MaxTokenLife {
		return Token{}, fmt.Errorf("a token lives for a second to %v", MaxTokenLife)
	}
	now := t.now().Truncate(time.Second)
	issued := Token{ID: rand.Text(), Issued: now.Add(-ownSlack), Expires: now.Add(life)}
	all := jwt.MapClaims{
		"iss": t.issuer, "aud": t.audience, "sub": subject, "client_id": subject,
		"iat": now.Unix(), "exp": issued.Expires.Unix(), "jti": issued.ID, "scope": scope,
	}
	maps.Copy(all, more)
	var err error
	issued.Text, err = t.sign(accessType, all)
	return issued, err
}

// accessType is the type of access tokens (RFC 9068, section 2.1).
const accessType = "at+jwt"

// sign makes a JWT of this type with the active key.
func (t *Tokens) sign(typ string, all jwt.MapClaims) (string, error) {
	key := t.keys.Load().active()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, all)
	token.Header["typ"], token.Header["kid"] = typ, key.kid
	text, err := token.SigningString()
	if err != nil {
		return "", err
	}
	signature, err := key.sign(text)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), err
}

// claims are the claims of a valid token.
type claims struct {
	subject, id string
	key         string // name of the signing key
	issued      time.Time
	expires     time.Time
	scope       []string
	certificate string // thumbprint of the certificate it is bound to; empty if unbound
	actor       string // acts for the subject under a grant; empty without a grant
}

// verify returns the claims of a token that is good now. certificate is the SHA-256 of the
// certificate that came with it, in base64url, or "".
func (t *Tokens) verify(text, certificate string) (*claims, error) {
	if len(text) > maxToken {
		return nil, &Error{"token too long"}
	}
	sum := sha256.Sum256([]byte(text))
	t.mu.RLock()
	c := t.good[sum]
	t.mu.RUnlock()
	if c == nil {
		var err error
		if c, err = t.parse(text); err != nil {
			return nil, err
		}
		t.mu.Lock()
		if len(t.good) >= maxKnownGood {
			clear(t.good)
		}
		t.good[sum] = c
		t.mu.Unlock()
	}
	switch now := t.now(); {
	case t.keys.Load().named(c.key) == nil: // the cached signature is from before a rotation
		return nil, &Error{"token of an unknown key"}
	case !now.Before(c.expires):
		return nil, &Error{"token expired"}
	case c.issued.After(now.Add(ownSlack)):
		return nil, &Error{"token of the future"}
	case c.certificate != "" && c.certificate != certificate:
		return nil, &Error{"token bound to another certificate"}
	}
	return c, nil
}

var errToken = &Error{"malformed token"}

// parse checks form and signature of a token, regardless of the time.
func (t *Tokens) parse(text string) (*claims, error) {
	key, payload, err := t.signed(text, accessType)
	if err != nil {
		return nil, err
	}
	c, err := t.claims(payload)
	if err != nil {
		return nil, err
	}
	c.key = key.kid
	return c, nil
}

// signed checks form and signature of a JWT of this type, and returns the signing key and the
// claims.
func (t *Tokens) signed(text, typ string) (*tokenKey, map[string]json.RawMessage, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, nil, errToken
	}
	header, err := object(parts[0])
	if err != nil {
		return nil, nil, err
	}
	for name := range header {
		if name != "alg" && name != "typ" && name != "kid" {
			return nil, nil, &Error{"token with an unknown header"}
		}
	}
	key := t.keys.Load().named(word(header["kid"]))
	switch {
	case word(header["alg"]) != "ES256":
		return nil, nil, &Error{"token of another algorithm"}
	case word(header["typ"]) != typ:
		return nil, nil, &Error{"token of another type"}
	case key == nil:
		return nil, nil, &Error{"token of an unknown key"}
	}
	payload, err := object(parts[1])
	if err != nil {
		return nil, nil, err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithoutClaimsValidation(),
		jwt.WithStrictDecoding())
	if _, err := parser.Parse(text, func(*jwt.Token) (any, error) {
		return key.public, nil
	}); err != nil {
		return nil, nil, &Error{"token with a wrong signature"}
	}
	return key, payload, nil
}

func (t *Tokens) claims(payload map[string]json.RawMessage) (*claims, error) {
	c := &claims{subject: word(payload["sub"]), id: word(payload["jti"])}
	iat, okIat := seconds(payload["iat"])
	exp, okExp := seconds(payload["exp"])
	c.issued, c.expires = iat, exp
	_, _, okSub := atm.ParseSubject(c.subject)
	scope, okScope := text(payload["scope"])
	switch {
	case word(payload["iss"]) != t.issuer:
		return nil, &Error{"token of another issuer"}
	case !t.isAudience(payload["aud"]):
		return nil, &Error{"token for another audience"}
	case !okSub || c.id == "" || !okIat || !okExp || !okScope:
		return nil, &Error{"token without a claim that it needs"}
	case exp.Sub(iat) > MaxTokenLife || !exp.After(iat):
		return nil, &Error{"token that lives too long"}
	}
	c.scope = strings.Fields(scope)
	// A claim that narrows a token must not be ignored.
	if c.actor, okSub = grantee(payload); !okSub {
		return nil, &Error{"token with a malformed grant"}
	}
	if nbf := payload["nbf"]; nbf != nil {
		from, ok := seconds(nbf)
		if !ok || from.After(iat.Add(tokenSlack)) {
			return nil, errToken
		}
	}
	if cnf := payload["cnf"]; cnf != nil {
		var bound map[string]string
		if json.Unmarshal(cnf, &bound) != nil || len(bound) != 1 || bound[thumbprintKey] == "" {
			return nil, &Error{"token bound in an unknown way"}
		}
		c.certificate = bound[thumbprintKey]
	}
	return c, nil
}

// grantee reads the actor of a token for a grant (RFC 8693, section 4.1), or returns "" for a
// token without one. The vault has what the grant allows; the token must say that it is for a
// grant (RFC 9396).
func grantee(payload map[string]json.RawMessage) (string, bool) {
	act, details := payload["act"], payload["authorization_details"]
	if act == nil && details == nil {
		return "", true
	}
	var actor map[string]string
	var grants []struct{ Type string }
	if json.Unmarshal(act, &actor) != nil || json.Unmarshal(details, &grants) != nil ||
		len(actor) != 1 || len(grants) != 1 || grants[0].Type != GrantType {
		return "", false
	}
	_, _, ok := atm.ParseSubject(actor["sub"])
	return actor["sub"], ok
}

// GrantType is the type of the authorization details of a grant (RFC 9396).
const GrantType = "atm_grant"

// A GrantToken is what a token for a grant has beyond other tokens.
type GrantToken struct {
	Grantee    string
	Accounts   []string
	Operations []string
	Cap        string
}

// IssueGrant issues the token of a grant by grantor.
func (t *Tokens) IssueGrant(grantor string, g GrantToken, life time.Duration) (Token, error) {
	return t.issue(grantor, strings.Join(g.Operations, " "), life, jwt.MapClaims{
		"act": map[string]string{"sub": g.Grantee},
		"authorization_details": []any{map[string]any{
			"type": GrantType, "accounts": g.Accounts, "actions": g.Operations, "cap": g.Cap,
		}},
	})
}

func (t *Tokens) isAudience(raw json.RawMessage) bool {
	if word(raw) == t.audience {
		return true
	}
	var several []string
	return json.Unmarshal(raw, &several) == nil && slices.Contains(several, t.audience) &&
		len(several) == 1
}

// object decodes a part of a token: a JSON object in base64url without padding, in which no
// member occurs twice, at any depth.
func object(part string) (map[string]json.RawMessage, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil || !bytes.HasPrefix(data, []byte("{")) || !distinct(data) {
		return nil, errToken
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return nil, errToken
	}
	return members, nil
}

// distinct reports whether data is one JSON value in which no object has a member twice.
func distinct(data []byte) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	var walk func(depth int) bool
	walk = func(depth int) bool {
		token, err := d.Token()
		if err != nil || depth > 8 {
			return false
		}
		switch token {
		case json.Delim('{'):
			names := make(map[string]bool)
			for d.More() {
				name, err := d.Token()
				key, isText := name.(string)
				if err != nil || !isText || names[key] || !walk(depth+1) {
					return false
				}
				names[key] = true
			}
		case json.Delim('['):
			for d.More() {
				if !walk(depth + 1) {
					return false
				}
			}
		default:
			return true
		}
		_, err = d.Token()
		return err == nil
	}
	if !walk(0) {
		return false
	}
	_, err := d.Token()
	return errors.Is(err, io.EOF)
}

// text parses a JSON string.
func text(raw json.RawMessage) (string, bool) {
	var s *string
	if raw == nil || json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

func word(raw json.RawMessage) string {
	s, _ := text(raw)
	return s
}

// plainSeconds is the form of a time: no sign, fraction or exponent.
var plainSeconds = regexp.MustCompile(`^[1-9][0-9]{0,11}$`)

func seconds(raw json.RawMessage) (time.Time, bool) {
	if !plainSeconds.Match(raw) {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return time.Unix(n, 0), err == nil
}

// Read returns subject and id of a token that this server issued, regardless of the time.
func (t *Tokens) Read(text string) (subject, id string, ok bool) {
	if len(text) > maxToken {
		return "", "", false
	}
	c, err := t.parse(text)
	if err != nil {
		return "", "", false
	}
	return c.subject, c.id, true
}
