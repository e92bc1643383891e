// Package auth decides who is calling and what they may do.
//
// A caller proves a subject: by a client certificate whose identity is one URI
// name of this server's trust domain, by HTTP Digest, or by a token; and the
// directory must know the subject today. The proof is checked again on every
// request, so a credential that is revoked or expired stops working on open
// connections too. A caller who fails learns that, and not why; the reason is for
// the audit log.
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
	// TrustDomain is the name of the server, the host of every identity it
	// accepts. Required.
	TrustDomain string

	// Directory knows the subjects and their roles. Required.
	Directory *Directory

	// VerifyChain checks a client's certificates, the leaf first, at an
	// instant. Its errors are reasons for the audit log. Required.
	VerifyChain func(chain []*x509.Certificate, now time.Time) error

	// Backdate is how long before it was issued a certificate begins to be
	// valid. Optional.
	Backdate time.Duration

	// VerifyForeign is VerifyChain for the certificates of other authorities,
	// whose holders Mappings names. What such a certificate calls itself in
	// this server's trust domain does not count. Optional.
	VerifyForeign func(chain []*x509.Certificate, now time.Time) error

	// Mappings names holders of certificates that do not name them as ours do.
	// Optional.
	Mappings *Mappings

	// Tokens checks bearer tokens. Optional; without it none is good.
	Tokens *Tokens

	// Issuers are others whose tokens are good. Optional.
	Issuers *Issuers

	// Realm is of HTTP Digest. Required.
	Realm string

	// NonceTTL is how long a nonce of Digest can be used. Optional; 5 minutes.
	NonceTTL time.Duration

	// MaxBody bounds the body that Digest with auth-int reads. Optional; 256
	// KiB.
	MaxBody int64

	// Now is the clock. Optional; time.Now.
	Now func() time.Time

	// NonceKey is what nonces of Digest are known by. Optional; one of this server
	// alone.
	NonceKey []byte

	// Spend notes the use of a count of a nonce, and reports whether it is the
	// first one on any server with the same NonceKey. The nonce is stale from
	// until on. Optional; without it the server remembers by itself.
	Spend digest.SpendFunc

	// Refresh learns what other servers have learned, and reports whether there
	// was something new. It is asked before a caller is refused. Optional.
	Refresh func(ctx context.Context) bool
}

// An Authenticator finds the sender of a request.
type Authenticator struct {
	cfg    Config
	digest *digest.Checker

	secrets *secrets

	mu sync.RWMutex
	// guarded by mu: certificates whose chains were good, by their DER form
	verified map[string]*verified
	forgot   int // guarded by mu: how often Forget was called
}

const (
	// maxVerified bounds the certificates whose verification is remembered.
	maxVerified = 4096

	// verifiedFor bounds how long, so that a clock that was wrong or an
	// authority that was removed does not matter for long. The dates of the
	// certificate itself are looked at on every request.
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

// Challenges are the values of WWW-Authenticate that say how to sign in. stale
// says that only the nonce was at fault.
//
// Digest comes first, each in a line of its own: Python's urllib gives up when
// another scheme stands before it.
func (a *Authenticator) Challenges(stale bool) []string {
	return []string{a.digest.Challenge(stale), fmt.Sprintf("Bearer realm=%q", a.cfg.Realm)}
}

// ErrNothing reports a request without any credential. It is no failure: the
// caller is told how to sign in.
var ErrNothing = errors.New("no credentials were presented")

// ErrTwoHeaders reports a request with more than one Authorization header.
var ErrTwoHeaders = errors.New("more than one Authorization header")

// What Authenticate returns for a digest that is no failed sign-in: see package digest.
var (
	ErrStale       = digest.ErrStale
	ErrUnavailable = digest.ErrUnavailable
	ErrBusy        = digest.ErrBusy
)

// An Error is a failed sign-in. Its reason is for the audit log and the
// operator; the caller learns nothing of it.
type Error struct{ Reason string }

// Error implements error.
func (e *Error) Error() string { return e.Reason }

// Authenticate returns the sender of r, and header fields for the answer; or ErrNothing,
// ErrTwoHeaders, ErrStale, ErrUnavailable, ErrBusy or an *Error. It looks at the headers and the
// connection. It reads the body only when a digest is over it, and puts it back.
//
// Certificate and header must be of one subject. A header that proves nothing is refused even
// beside a good certificate.
func (a *Authenticator) Authenticate(r *http.Request) (*atm.Caller, http.Header, error) {
	caller, fields, err := a.authenticate(r)
	if err != nil && a.refreshed(r.Context(), err) {
		return a.authenticate(r)
	}
	return caller, fields, err
}

// refreshed reports whether a sign-in that failed is worth another try: this server
// may have known less than others. A digest that was good is used up.
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
	// Under a grant the certificate is the actor's.
	sender := caller.Subject
	if caller.Actor != "" {
		sender = caller.Actor
	}
	if byCertificate != nil && byCertificate.Subject != sender {
		return nil, nil, errTwoSubjects
	}
	return caller, fields, nil
}

// header returns the sender that an Authorization header proves.
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

// token returns the sender that a bearer token proves.
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
	// A token says in whole seconds when it was issued, by a clock that may be ahead.
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

// thumbprint is that of the certificate that came with r (RFC 8705, section 3.1); empty
// when none did.
func thumbprint(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Exchangeable returns the subject of a token that another caller presents to get a grant. The
// token is this server's, good now with the certificate of r, and not itself that of a grant.
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

// foreignToken returns the sender that a token of another issuer proves.
func (a *Authenticator) foreignToken(r *http.Request, issuer *issuerKeys, text string) (*atm.Caller,
	error,
) {
	f, err := issuer.verify(r.Context(), text)
	if err != nil {
		return nil, err
	}
	member, known := a.cfg.Directory.Member(f.subject)
	if !known {
		return nil, &Error{"token of nobody known"}
	}
	issued, revocation := f.issued.Add(-tokenSlack), "jti:"+issuer.Name+" "+f.id
	if a.cfg.Directory.isRevoked(revocation, f.subject, issued) {
		return nil, &Error{"token revoked"}
	}
	principal := atm.Principal{Subject: f.subject, Roles: member.Roles}
	for _, method := range issuer.Scope {
		principal.Scope = append(principal.Scope, atm.Operation(method))
	}
	return &atm.Caller{
		Principal: principal,
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
	// Certificates of this server are dated back a little, for clocks that are slow.
	// Whether those of other authorities are is not known.
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
// is not good. It does not check that the peer has its key.
func (a *Authenticator) Holder(chain []*x509.Certificate) (*atm.Caller, error) {
	caller, err := a.certificate(chain, "")
	if err == nil {
		caller.IP = ""
	}
	return caller, err
}

// HasCertificate reports whether r comes with a certificate that is good, whatever comes
// with it.
func (a *Authenticator) HasCertificate(r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	_, err := a.certificate(r.TLS.PeerCertificates, r.RemoteAddr)
	return err == nil
}

// A verified certificate is one of this server's authority, and what every
// request that comes with it needs of it.
type verified struct {
	at      time.Time // when its chain was good
	subject string    // whom it names
	unnamed error     // why it names nobody
	words   words
}

// words are a certificate in words.
type words struct {
	serial, sha256 string // as in the audit log
	revocation     string // the name of its revocation
}

func describe(leaf *x509.Certificate) words {
	serial, sum := leaf.SerialNumber.Text(16), sha256.Sum256(leaf.Raw)
	return words{
		serial: serial, sha256: base64.StdEncoding.EncodeToString(sum[:]),
		revocation: "cert:" + serial,
	}
}

// holder verifies a certificate and returns its holder, and whether this
// server's own authority names the holder.
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

// verify checks the chain, or remembers that it was good a moment ago.
func (a *Authenticator) verify(chain []*x509.Certificate, now time.Time) (*verified, error) {
	leaf := chain[0] // each connection has one of its own in memory
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
		clear(a.verified) // rare, and costs each of them one verification
	}
	if forgot == a.forgot { // otherwise an authority that was removed may have signed it
		a.verified[string(leaf.Raw)] = v
	}
	return v, nil
}

// Forget drops what was remembered of certificates that were good, because other
// authorities are in force.
func (a *Authenticator) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.verified)
	a.forgot++
}

// Address is the address of a peer without its port, and without the mark of
// an IPv4 address in IPv6. What is no address gives the zero Addr.
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
