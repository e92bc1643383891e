// Package digest is the server's side of HTTP Digest (RFC 7616), with SHA-256 and qop auth or
// auth-int.
//
// There is no MD5 and no form of RFC 2069, so there is nothing to be talked down to. Each count
// of a nonce works once. A user who does not exist takes as long as a wrong password. No library
// keeps all of that, so this is code of our own.
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

// Config is what a Checker needs.
type Config struct {
	// Realm is that of the passwords.
	Realm string

	// HA1 returns what the password of a user is checked by (RFC 7616, section 3.4.2), in
	// hexadecimal; "" for an unknown user, and for one without a password.
	HA1 func(user string) string

	// NonceTTL is how long a nonce can be used.
	NonceTTL time.Duration

	// MaxBody bounds a body that a digest is over.
	MaxBody int64

	// Now is the clock.
	Now func() time.Time

	// NonceKey is what nonces are known by. Optional; one of this server alone.
	NonceKey []byte

	// Spend notes uses for all servers with the same NonceKey. Optional; without it the server
	// remembers by itself.
	Spend SpendFunc
}

// A SpendFunc notes the use of a count of a nonce, and reports whether it is the first one. The
// nonce is stale from until on.
type SpendFunc func(ctx context.Context, nonce string, count uint64, until time.Time) (first bool,
	err error)

// Refused says why a digest proves nothing.
type Refused string

// Error implements error.
func (r Refused) Error() string { return string(r) }

// ErrUsed refuses a digest that was good once.
const ErrUsed = Refused("digest that was used before")

var (
	// ErrStale means that the nonce expired, or is another server's. Clients retry on their own.
	ErrStale = errors.New("stale nonce")

	// ErrUnavailable reports a digest that cannot be told from a repetition at the moment. A new
	// challenge would not help: the client has to wait.
	ErrUnavailable = errors.New("sign-ins cannot be checked at the moment")

	// ErrBusy reports a sign-in that was not checked, because too many others are.
	ErrBusy = errors.New("too many sign-ins are being checked")
)

const (
	// maxBodies bounds how many bodies of callers who are not known yet are read at the same
	// time, because a digest is over them, and maxBodiesFrom how many from one address. Each
	// takes MaxBody of memory at most: 32 MiB together.
	maxBodies     = 128
	maxBodiesFrom = 32

	// bodyWait is how long one more body waits for its turn.
	bodyWait = time.Second
)

// A Checker challenges callers, and checks what they answer.
type Checker struct {
	cfg    Config
	nonces *nonces
	dummy  string                 // the HA1 of nobody
	bodies *budget.Budget         // of maxBodies
	last   atomic.Pointer[target] // of the request before
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

// Challenge is a value of WWW-Authenticate. stale says that only the nonce was at fault.
func (c *Checker) Challenge(stale bool) string {
	challenge := fmt.Sprintf(
		`Digest realm=%q, qop="auth, auth-int", algorithm=SHA-256, nonce=%q, charset=UTF-8`,
		c.cfg.Realm, c.nonces.fresh())
	if stale {
		challenge += ", stale=true"
	}
	return challenge
}

// Authenticate returns the user who sent r from an address, by an Authorization header, and the
// fields of the answer that prove the server; or a Refused, ErrStale, ErrUnavailable or ErrBusy.
// With auth-int it reads the body and puts it back.
//
// User, nonce and count are looked at before the body. If one of them is bad, the
// answer is settled; but the body is hashed nevertheless, without being kept, so
// that the time does not tell which users there are.
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
		return "", nil, ErrStale // the user became known just now: the client sends the body again
	}
	fields = http.Header{}
	if p.qop == "auth" { // with auth-int it would be over an answer that is not there yet
		fields["Authentication-Info"] = []string{`qop=auth, rspauth="` + p.hash(ha1, of.answer) +
			`", cnonce=` + quoted(p.cnonce) + `, nc=` + p.count}
	}
	return p.username, fields, nil
}

const errWrong = Refused("digest of a wrong user or password")

// A target is what a request is for, hashed as a response to a challenge has it (A2 of
// RFC 7616, section 3.4.3).
type target struct {
	method, uri string
	ha2         string // for qop auth
	answer      string // as the server's own response has it (section 3.5)
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

// A hashedBody is a body that was read because a digest is over it.
type hashedBody struct {
	io.Reader
	hash string
	kept bool
}

// Close implements io.Closer.
func (*hashedBody) Close() error { return nil }

// body hashes the body of r as it comes, bounded, and puts it back if it is to be kept.
func (c *Checker) body(r *http.Request, from string, keep bool) (*hashedBody, error) {
	if before, hashed := r.Body.(*hashedBody); hashed {
		return before, nil // Authenticate tries again what failed
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
