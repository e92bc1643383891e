// Package auth identifies callers and decides what they may do.
//
// A caller proves a subject by a client certificate with one URI name in this server's trust
// domain, by HTTP Digest, or by a token. The directory must know the subject at that time.
// Every request is checked anew, so a revoked or expired credential stops working on open
// connections too. A caller that fails does not learn the reason, which goes to the audit log.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"example.com/atm"
	"example.com/atm/auth/digest"
)

// Config is everything an Authenticator needs.
type Config struct {
	// TrustDomain is the name of the server, and the host of every identity that it accepts.
	// Required.
	TrustDomain string

	// Directory has the subjects and their roles. Required.
	Directory *Directory

	// VerifyChain checks a client's certificates, the leaf first, at a time. The texts of its
	// errors are reasons in the audit log. Required.
	VerifyChain func(chain []*x509.Certificate, now time.Time) error

	// Backdate is how long before its issue a certificate becomes valid. Optional.
	Backdate time.Duration

	// VerifyForeign is VerifyChain for certificates of other authorities, whose holders Mappings
	// names. An identity of this server's trust domain in such a certificate does not count.
	// Optional.
	VerifyForeign func(chain []*x509.Certificate, now time.Time) error

	// Mappings names the holders of foreign certificates. Optional.
	Mappings *Mappings

	// Tokens verifies bearer tokens. Optional; without it every token is refused.
	Tokens *Tokens

	// Issuers are other issuers whose tokens are accepted. Optional.
	Issuers *Issuers

	// Realm is the realm of HTTP Digest. Required.
	Realm string

	// NonceTTL is how long a nonce of Digest is valid. Optional; 5 minutes.
	NonceTTL time.Duration

	// MaxBody bounds a body that is read for Digest with auth-int, in bytes. Optional; 256 KiB.
	MaxBody int64

	// Now is the clock. Optional; time.Now.
	Now func() time.Time

	// NonceKey authenticates nonces of Digest. Servers that share it accept each other's nonces.
	// Optional; random.
	NonceKey []byte

	// Spend records the use of a count of a nonce, and reports whether it is the first use on any
	// server with the same NonceKey. The nonce is stale from until on. Optional; without it the
	// server records uses in memory.
	Spend digest.SpendFunc

	// Sessions returns a session that is not over, and nil for another id. Optional; without it
	// there are none.
	Sessions func(ctx context.Context, id string) (*Session, error)

	// Refresh reads what other servers have changed, and reports whether there was a change. It is
	// called before a caller is refused. Optional.
	Refresh func(ctx context.Context) bool
}

// An Authenticator identifies the sender of a request.
type Authenticator struct {
	cfg    Config
	digest *digest.Checker

	secrets *secrets

	mu sync.RWMutex
	// verified has the certificates with valid chains, by their DER form. Guarded by mu.
	verified map[string]*verified
	forgot   int // guarded by mu: number of calls of Forget
}

const (
	// maxVerified bounds the certificates whose verification is cached.
	maxVerified = 4096

	// verifiedFor bounds the age of a cached verification, so that a wrong clock or a removed
	// authority has no effect after it. The validity dates of the certificate are checked on every
	// request.
	verifiedFor = time.Minute
)

// New returns an authenticator.
func New(cfg Config) *Authenticator {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NonceTTL == 0 {
		cfg.NonceTTL = 5 * time.Minute
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 256 << 10
	}
	return &Authenticator{
		cfg: cfg, digest: digest.New(digest.Config{
			Realm: cfg.Realm, NonceTTL: cfg.NonceTTL, MaxBody: cfg.MaxBody, Now: cfg.Now,
			NonceKey: cfg.NonceKey, Spend: cfg.Spend,
			HA1: func(user string) string {
				member, _ := cfg.Directory.Member("user:" + user)
				return member.HA1
			},
		}), secrets: newSecrets(),
		verified: make(map[string]*verified),
	}
}

// Challenges returns the values of WWW-Authenticate, which say how to sign in. stale says that
// the credential failed only because its nonce expired.
//
// Digest comes first, each challenge in its own header line: Python's urllib gives up if it
// finds another scheme first.
func (a *Authenticator) Challenges(stale bool) []string {
	return []string{a.digest.Challenge(stale), fmt.Sprintf("Bearer realm=%q", a.cfg.Realm)}
}

// ErrNothing reports a request without credentials. It is not a failure: the caller is sent a
// challenge.
var ErrNothing = errors.New("no credentials were presented")

// ErrTwoHeaders reports a request with more than one Authorization header.
var ErrTwoHeaders = errors.New("more than one Authorization header")

// Errors of Authenticate for a digest that are not failed sign-ins. See package digest.
var (
	ErrStale       = digest.ErrStale
	ErrUnavailable = digest.ErrUnavailable
	ErrBusy        = digest.ErrBusy
)

// An Error is a failed sign-in. Its reason is for the audit log and the operator. The caller
// does not learn it.
type Error struct{ Reason string }

// Error implements error.
func (e *Error) Error() string { return e.Reason }

// Authenticate returns the sender of r and header fields for the answer, or ErrNothing,
// ErrTwoHeaders, ErrStale, ErrUnavailable, ErrBusy or an *Error. It reads headers and the
// connection. It reads the body only if a digest covers it, and puts it back.
//
// A certificate and a header must be of the same subject. A header that fails is refused even
// beside a good certificate.
func (a *Authenticator) Authenticate(r *http.Request) (*atm.Caller, http.Header, error) {
	caller, fields, err := a.authenticate(r)
	if err != nil && a.refreshed(r.Context(), err) {
		return a.authenticate(r)
	}
	return caller, fields, err
}

// refreshed reports whether a failed sign-in should be tried again, because this server has
// just learned of a change on another server. A digest that was used is not tried again.
func (a *Authenticator) refreshed(ctx context.Context, err error) bool {
	var failed *Error
	if !errors.As(err, &failed) || failed == errUsed || failed == errTwoSubjects {
		return false
	}
	return a.cfg.Refresh != nil && a.cfg.Refresh(ctx)
}

var (
	errUsed        = &Error{digest.ErrUsed.Error()}
	errTwoSubjects = &Error{"certificate and header of two subjects"}
)

func (a *Authenticator) authenticate(r *http.Request) (*atm.Caller, http.Header, error) {
	headers := r.Header["Authorization"]
	if len(headers) > 1 {
		return nil, nil, ErrTwoHeaders
	}
	var byCertificate *atm.Caller
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		var err error
		if byCertificate, err = a.certificate(r.TLS.PeerCertificates, r.RemoteAddr); err != nil {
			return nil, nil, err
		}
	}
	if len(headers) == 0 {
		if byCertificate == nil {
			return nil, nil, ErrNothing
		}
		return byCertificate, nil, nil
	}
	caller, fields, err := a.header(r, headers[0])
	if err != nil {
		return nil, nil, err
	}
	// Under a grant, the certificate belongs to the actor.
	sender := caller.Subject
	if caller.Actor != "" {
		sender = caller.Actor
	}
	if byCertificate != nil && byCertificate.Subject != sender {
		return nil, nil, errTwoSubjects
	}
	return caller, fields, nil
}

// header authenticates by an Authorization header.
func (a *Authenticator) header(r *http.Request, header string) (*atm.Caller, http.Header, error) {
	scheme, rest, _ := strings.Cut(header, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer") && (a.cfg.Tokens != nil || a.cfg.Issuers != nil):
		caller, err := a.token(r, strings.TrimLeft(rest, " "))
		return caller, nil, err
	case !strings.EqualFold(scheme, "Digest"):
		return nil, nil, &Error{"authorization scheme not offered"}
	}
	name, fields, err := a.digest.Authenticate(r, header, Address(r.RemoteAddr).String())
	var refused digest.Refused
	switch {
	case errors.Is(err, digest.ErrUsed):
		return nil, nil, errUsed
	case errors.As(err, &refused):
		return nil, nil, &Error{refused.Error()}
	case err != nil:
		return nil, nil, err
	}
	subject := "user:" + name
	member, known := a.cfg.Directory.Member(subject)
	if !known {
		return nil, nil, &Error{"digest of a wrong user or password"}
	}
	return &atm.Caller{
		Principal:  atm.Principal{Subject: subject, Roles: member.Roles},
		Credential: atm.Credential{Method: "digest", User: name, Verifier: verifierOf(member.HA1)},
		IP:         Address(r.RemoteAddr).String(),
	}, fields, nil
}

// token authenticates by a bearer token.
func (a *Authenticator) token(r *http.Request, text string) (*atm.Caller, error) {
	if issuer := a.cfg.Issuers.of(text); issuer != nil {
		return a.foreignToken(r, issuer, text)
	}
	if a.cfg.Tokens == nil {
		return nil, &Error{"token of another issuer"}
	}
	c, err := a.cfg.Tokens.verify(text, thumbprint(r))
	if err != nil {
		return nil, err
	}
	member, known := a.cfg.Directory.Member(c.subject)
	if !known {
		return nil, &Error{"token of nobody known"}
	}
	// The issue time of a token is in whole seconds, from a clock that may be ahead.
	issued := c.issued.Add(-ownSlack)
	if a.cfg.Directory.isRevoked("jti:"+c.id, c.subject, issued) {
		return nil, &Error{"token revoked"}
	}
	principal := atm.Principal{Subject: c.subject, Roles: member.Roles}
	if c.actor != "" {
		if _, known := a.cfg.Directory.Member(c.actor); !known {
			return nil, &Error{"token for somebody unknown"}
		}
		if a.cfg.Directory.isRevoked("", c.actor, issued) {
			return nil, &Error{"token revoked"}
		}
		principal.Actor, principal.Grant = c.actor, c.id
	}
	scope := make([]atm.Operation, len(c.scope))
	for i, method := range c.scope {
		scope[i] = atm.Operation(method)
	}
	principal.Scope = scope
	return &atm.Caller{
		Principal: principal,
		Credential: atm.Credential{
			Method: "jwt", Issuer: a.cfg.Tokens.issuer, ID: c.id, Key: c.key,
			Issued: issued, Expires: c.expires, Revocation: "jti:" + c.id,
		},
		IP: Address(r.RemoteAddr).String(),
	}, nil
}

// thumbprint is the thumbprint of the certificate that came with r (RFC 8705, section 3.1), or
// empty if none did.
func thumbprint(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Exchangeable authenticates a token that another caller presents in exchange for a grant, and
// returns its subject. The token must be issued by this server, good now with the certificate
// of r, and not itself issued for a grant.
func (a *Authenticator) Exchangeable(r *http.Request, text string) (*atm.Caller, error) {
	if a.cfg.Tokens == nil || a.cfg.Issuers.of(text) != nil {
		return nil, &Error{"token of another issuer"}
	}
	caller, err := a.token(r, text)
	if err != nil && a.refreshed(r.Context(), err) {
		caller, err = a.token(r, text)
	}
	if err != nil {
		return nil, err
	}
	if caller.Actor != "" {
		return nil, &Error{"token of a grant"}
	}
	return caller, nil
}

// foreignToken authenticates by a token of another issuer.
func (a *Authenticator) foreignToken(r *http.Request, issuer *issuerKeys, text string) (*atm.Caller,
	error,
) {
	f, err := issuer.verify(r.Context(), text)
	if err != nil {
		return nil, err
	}
	member, known := a.cfg.Directory.Member(f.Subject)
	if !known {
		return nil, &Error{"token of nobody known"}
	}
	issued, revocation := f.issued.Add(-tokenSlack), "jti:"+issuer.Name+" "+f.id
	if a.cfg.Directory.isRevoked(revocation, f.Subject, issued) {
		return nil, &Error{"token revoked"}
	}
	roles, err := f.among(member.Roles)
	if err != nil {
		return nil, err
	}
	return &atm.Caller{
		Principal: atm.Principal{
			Subject: f.Subject, Roles: roles, Scope: issuer.operations(),
		},
		Credential: atm.Credential{
			Method: "jwt", Issuer: issuer.Name, ID: f.id, Key: f.key,
			Issued: issued, Expires: f.expires, Revocation: revocation,
		},
		IP: Address(r.RemoteAddr).String(),
	}, nil
}

func (a *Authenticator) certificate(chain []*x509.Certificate, remote string) (*atm.Caller, error) {
	leaf := chain[0]
	now := a.cfg.Now()
	subject, own, words, err := a.holder(chain, now)
	if err != nil {
		return nil, err
	}
	member, known := a.cfg.Directory.Member(subject)
	if !known {
		return nil, &Error{"certificate of nobody known"}
	}
	// Certificates of this server are backdated a little, for slow clocks. Whether other
	// authorities do so is unknown.
	issued := leaf.NotBefore
	if own {
		issued = issued.Add(a.cfg.Backdate)
	}
	if a.cfg.Directory.isRevoked(words.revocation, subject, issued) {
		return nil, &Error{"certificate revoked"}
	}
	credential := atm.Credential{
		Method: "mtls", SHA256: words.sha256, Serial: words.serial,
		Issued: issued, Expires: leaf.NotAfter, Revocation: words.revocation,
	}
	if own {
		credential.Life = leaf.NotAfter.Sub(issued)
	}
	return &atm.Caller{
		Principal:  atm.Principal{Subject: subject, Roles: member.Roles},
		Credential: credential,
		IP:         Address(remote).String(),
	}, nil
}

// Holder returns the holder of the first certificate of chain, or an *Error if the certificate
// is not good. It does not check that the peer has the private key.
func (a *Authenticator) Holder(chain []*x509.Certificate) (*atm.Caller, error) {
	caller, err := a.certificate(chain, "")
	if err == nil {
		caller.IP = ""
	}
	return caller, err
}

// HasCertificate reports whether r comes with a good certificate, regardless of other
// credentials.
func (a *Authenticator) HasCertificate(r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	_, err := a.certificate(r.TLS.PeerCertificates, r.RemoteAddr)
	return err == nil
}

// A verified is a certificate with a valid chain, and what each request with it needs.
type verified struct {
	at      time.Time // when the chain was verified
	subject string    // subject that the certificate names
	unnamed error     // why it names no subject
	words   words
}

// words are the names of a certificate in the audit log and the vault.
type words struct {
	serial, sha256 string // for the audit log
	revocation     string // name under which it is revoked
}

func describe(leaf *x509.Certificate) words {
	serial, sum := leaf.SerialNumber.Text(16), sha256.Sum256(leaf.Raw)
	return words{
		serial: serial, sha256: base64.StdEncoding.EncodeToString(sum[:]),
		revocation: "cert:" + serial,
	}
}

// holder verifies a certificate. It returns the holder, and whether the certificate is of this
// server's authority and names the holder itself, without a mapping.
func (a *Authenticator) holder(chain []*x509.Certificate, now time.Time) (subject string, own bool,
	w words, err error,
) {
	v, bad := a.verify(chain, now)
	if bad == nil {
		if v.unnamed == nil || a.cfg.Mappings == nil {
			return v.subject, v.unnamed == nil, v.words, v.unnamed
		}
		if mapped, other := a.cfg.Mappings.subject(chain[0]); !errors.Is(other, errNoMapping) {
			return mapped, false, v.words, other
		}
		return "", false, v.words, v.unnamed
	}
	if a.cfg.VerifyForeign == nil || a.cfg.Mappings == nil || a.cfg.VerifyForeign(chain,
		now) != nil {
		return "", false, w, &Error{bad.Error()}
	}
	subject, err = a.cfg.Mappings.subject(chain[0])
	if errors.Is(err, errNoMapping) {
		err = &Error{"certificate of another authority without an identity"}
	}
	return subject, false, describe(chain[0]), err
}

// verify verifies the chain, or uses a cached verification.
func (a *Authenticator) verify(chain []*x509.Certificate, now time.Time) (*verified, error) {
	leaf := chain[0] // each connection has its own copy in memory
	a.mu.RLock()
	v := a.verified[string(leaf.Raw)]
	forgot := a.forgot
	a.mu.RUnlock()
	if v != nil && now.Sub(v.at).Abs() < verifiedFor && !now.Before(leaf.NotBefore) &&
		!now.After(leaf.NotAfter) {
		return v, nil
	}
	if err := a.cfg.VerifyChain(chain, now); err != nil {
		return nil, err
	}
	v = &verified{at: now, words: describe(leaf)}
	v.subject, v.unnamed = identity(leaf, a.cfg.TrustDomain)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.verified) >= maxVerified {
		clear(a.verified) // rare; costs each certificate one more verification
	}
	if forgot == a.forgot { // otherwise an authority removed meanwhile may have signed it
		a.verified[string(leaf.Raw)] = v
	}
	return v, nil
}

// Forget drops cached verifications, because other authorities are now in force.
func (a *Authenticator) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.verified)
	a.forgot++
}

// Address parses the address of a peer without its port, and unmaps an IPv4 address in IPv6. It
// returns the zero Addr for text that is not an address.
func Address(remote string) netip.Addr {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}
