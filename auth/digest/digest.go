// Package digest is the server side of HTTP Digest (RFC 7616), with SHA-256 and qop auth or
// auth-int.
//
// MD5 and the form of RFC 2069 are not implemented, so an attacker cannot downgrade to them.
// Each count of a nonce works once. An unknown user takes as long as a wrong password. No
// library has all of these properties, so this is our own implementation.
package digest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"example.com/atm/internal/budget"
)

// Config is everything a Checker needs.
type Config struct {
	// Realm is the realm for which the passwords are hashed.
	Realm string

	// HA1 returns the hash of a user's password (RFC 7616, section 3.4.2) in hexadecimal, or "" for
	// an unknown user and for a user without a password.
	HA1 func(user string) string

	// NonceTTL is how long a nonce is valid.
	NonceTTL time.Duration

	// MaxBody bounds a body that is read for auth-int, in bytes.
	MaxBody int64

	// Now is the clock.
	Now func() time.Time

	// NonceKey authenticates nonces. Servers that share it accept each other's nonces. Optional;
	// random.
	NonceKey []byte

	// Spend records uses for all servers with the same NonceKey. Optional; without it the server
	// records uses in memory.
	Spend SpendFunc
}

// A SpendFunc records the use of a count of a nonce, and reports whether it is the first use.
// The nonce is stale from until on.
type SpendFunc func(ctx context.Context, nonce string, count uint64, until time.Time) (first bool,
	err error)

// Refused is the reason why a digest is refused.
type Refused string

// Error implements error.
func (r Refused) Error() string { return string(r) }

// ErrUsed refuses a digest that was used before.
const ErrUsed = Refused("digest that was used before")

var (
	// ErrStale means that the nonce expired, or was issued by another server. Clients retry on
	// their own.
	ErrStale = errors.New("stale nonce")

	// ErrUnavailable means that the server cannot check whether the digest was used before. A new
	// challenge would not help: the client has to wait.
	ErrUnavailable = errors.New("sign-ins cannot be checked at the moment")

	// ErrBusy means that too many sign-ins are being checked.
	ErrBusy = errors.New("too many sign-ins are being checked")
)

const (
	// maxBodies bounds how many bodies of unauthenticated callers are read at the same time for
	// auth-int, and maxBodiesFrom how many from one address. Each takes at most MaxBody of memory:
	// 32 MiB together.
	maxBodies     = 128
	maxBodiesFrom = 32

	// bodyWait is how long a request waits for its turn to be read.
	bodyWait = time.Second
)

// A Checker issues challenges and checks the responses.
type Checker struct {
	cfg    Config
	nonces *nonces
	dummy  string                 // HA1 for unknown users
	bodies *budget.Budget         // of maxBodies
	last   atomic.Pointer[target] // of the last request
}

// New returns a checker.
func New(cfg Config) *Checker {
	nobody := make([]byte, sha256.Size)
	rand.Read(nobody) // never fails
	return &Checker{
		cfg: cfg, nonces: newNonces(cfg.NonceTTL, cfg.Now, cfg.NonceKey, cfg.Spend),
		dummy: hex.EncodeToString(nobody), bodies: budget.New(maxBodies, maxBodiesFrom),
	}
}

// Challenge returns a value of WWW-Authenticate. stale says that the credential failed only
// because its nonce expired.
func (c *Checker) Challenge(stale bool) string {
	challenge := fmt.Sprintf(
		`Digest realm=%q, qop="auth, auth-int", algorithm=SHA-256, nonce=%q, charset=UTF-8`,
		c.cfg.Realm, c.nonces.fresh())
	if stale {
		challenge += ", stale=true"
	}
	return challenge
}

// Authenticate returns the user that the Authorization header of r proves, and header fields
// for the answer that authenticate the server; or a Refused, ErrStale, ErrUnavailable or
// ErrBusy. from is the address of the sender. With auth-int it reads the body and puts it back.
//
// User, nonce and count are checked before the body. If one of them is bad, the request is
// refused; but the body is still hashed, without being kept, so that the time does not reveal
// which users exist.
func (c *Checker) Authenticate(r *http.Request, header, from string) (user string,
	fields http.Header, err error,
) {
	p, err := parse(header)
	if err != nil {
		return "", nil, err
	}
	if p.realm != c.cfg.Realm {
		return "", nil, Refused("digest of another realm")
	}
	if p.uri != r.RequestURI {
		return "", nil, Refused("digest of another uri")
	}
	ha1 := c.cfg.HA1(p.username)
	known := ha1 != ""
	if !known {
		ha1 = c.dummy // takes as long as a wrong password
	}
	of := c.targetOf(r.Method, p.uri)
	ha2, kept := of.ha2, true
	if p.qop == "auth-int" {
		body, err := c.body(r, from, known && c.nonces.unused(p.nonce, p.number))
		if err != nil {
			return "", nil, err
		}
		ha2, kept = hexHash([]byte(r.Method+":"+p.uri+":"+body.hash)), body.kept
	}
	want := p.hash(ha1, ha2)
	if subtle.ConstantTimeCompare([]byte(want), []byte(p.response)) != 1 || !known {
		return "", nil, errWrong
	}
	if err := c.nonces.use(r.Context(), p.nonce, p.number); err != nil {
		return "", nil, err
	}
	if !kept {
		return "", nil, ErrStale // the user has just become known: the client sends the body again
	}
	fields = http.Header{}
	if p.qop == "auth" { // with auth-int the hash would need the body of the answer
		fields["Authentication-Info"] = []string{`qop=auth, rspauth="` + p.hash(ha1, of.answer) +
			`", cnonce=` + quoted(p.cnonce) + `, nc=` + p.count}
	}
	return p.username, fields, nil
}

const errWrong = Refused("digest of a wrong user or password")

// A target is a method and URI, hashed for a response to a challenge (A2 of RFC 7616, section
// 3.4.3).
type target struct {
	method, uri string
	ha2         string // for qop auth
	answer      string // for the server's own response (section 3.5)
}

// targetOf returns the hashes of a target. Clients repeat one target, so the last one is cached.
func (c *Checker) targetOf(method, uri string) *target {
	last := c.last.Load()
	if last == nil || last.method != method || last.uri != uri {
		last = &target{
			method, strings.Clone(uri), hexHash([]byte(method + ":" + uri)),
			hexHash([]byte(":" + uri)),
		}
		c.last.Store(last)
	}
	return last
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// A hashedBody is a body that was read for auth-int.
type hashedBody struct {
	io.Reader
	hash string
	kept bool
}

// Close implements io.Closer.
func (*hashedBody) Close() error { return nil }

// body reads and hashes the body of r, bounded by MaxBody, and puts it back if keep is set.
func (c *Checker) body(r *http.Request, from string, keep bool) (*hashedBody, error) {
	if before, hashed := r.Body.(*hashedBody); hashed {
		return before, nil // Authenticate is retrying after a refresh
	}
	if r.ContentLength > c.cfg.MaxBody {
		return nil, Refused("digest over a body that is too large")
	}
	release, ok := c.bodies.Take(from, 1, bodyWait)
	if !ok {
		return nil, ErrBusy
	}
	defer release()
	hash, body := sha256.New(), new(bytes.Buffer)
	to := io.Writer(hash)
	if keep {
		to = io.MultiWriter(hash, body)
	}
	n, err := io.Copy(to, io.LimitReader(r.Body, c.cfg.MaxBody+1))
	if err != nil || n > c.cfg.MaxBody {
		return nil, Refused("digest over a body that did not arrive")
	}
	hashed := &hashedBody{Reader: body, hash: hex.EncodeToString(hash.Sum(nil)), kept: keep}
	r.Body = hashed
	return hashed, nil
}
