package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"example.com/atm"
	"example.com/atm/internal/budget"
)

// HTTP Digest (RFC 7616) with SHA-256 and qop auth or auth-int. There is no
// MD5 and no form of RFC 2069, so there is nothing to be talked down to.
//
// A nonce keeps no state until it is used: it is a time and a random part with
// a MAC over both. From its first use on, each count works once.

const (
	nonceRandom = 12 // bytes
	nonceMAC    = 16
	nonceBytes  = 8 + nonceRandom + nonceMAC

	// maxNonces bounds the nonces whose counts are remembered, of about 200
	// bytes each. When there are more, all that were issued until then are
	// stale.
	maxNonces = 16 << 10

	// nonceWindow is how far a count may lag behind the highest one of its
	// nonce: what a client sends on many connections at once arrives in any
	// order.
	nonceWindow = 1024

	maxDigestHeader = 4 << 10

	// maxBodies bounds how many bodies of people who are not known yet are on their
	// way at the same time, because a digest is over them, and maxBodiesFrom how many
	// from one address. Each takes MaxBody of memory at most: 32 MiB together.
	maxBodies     = 128
	maxBodiesFrom = 32

	// bodyWait is how long one more body waits for its turn.
	bodyWait = time.Second
)

// digest is the server's side of HTTP Digest.
type digest struct {
	realm     string
	directory *Directory
	ttl       time.Duration
	now       func() time.Time
	maxBody   int64
	// nil for used
	spend func(ctx context.Context, nonce string, count uint64, until time.Time) (bool, error)

	key   []byte    // of the MACs of nonces
	macs  sync.Pool // of hash.Hash, keyed with it
	dummy string    // the HA1 of nobody

	bodies *budget.Budget // of maxBodies

	last atomic.Pointer[target] // of the request before

	mu     sync.Mutex
	used   map[string]*counts // guarded by mu; by nonce
	oldest time.Time          // guarded by mu; nonces of before it are stale
}

// counts are the counts of a nonce that were used.
type counts struct {
	issued  time.Time
	highest uint64
	bits    [nonceWindow / 64]uint64 // by count modulo the window
}

func newDigest(cfg Config) *digest {
	d := &digest{
		realm: cfg.Realm, directory: cfg.Directory, ttl: cfg.NonceTTL, now: cfg.Now,
		maxBody: cfg.MaxBody,
		spend:   cfg.Spend, key: cfg.NonceKey, used: make(map[string]*counts),
		bodies: budget.New(maxBodies, maxBodiesFrom),
	}
	if d.key == nil {
		d.key = make([]byte, sha256.Size)
		rand.Read(d.key) // never fails
	}
	d.macs.New = func() any { return hmac.New(sha256.New, d.key) }
	nobody := make([]byte, sha256.Size)
	rand.Read(nobody)
	d.dummy = hex.EncodeToString(nobody)
	return d
}

// challenge is the value of WWW-Authenticate.
func (d *digest) challenge(stale bool) string {
	c := fmt.Sprintf(
		`Digest realm=%q, qop="auth, auth-int", algorithm=SHA-256, nonce=%q, charset=UTF-8`,
		d.realm, d.nonce())
	if stale {
		c += ", stale=true"
	}
	return c
}

func (d *digest) nonce() string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, nonceBytes), uint64(d.now().UnixNano()))
	b = b[:8+nonceRandom]
	rand.Read(b[8:]) // never fails
	return base64.RawURLEncoding.EncodeToString(append(b, d.mac(b)...))
}

func (d *digest) mac(b []byte) []byte {
	mac := d.macs.Get().(hash.Hash)
	defer d.macs.Put(mac)
	mac.Reset()
	mac.Write(b)
	return mac.Sum(nil)[:nonceMAC]
}

// issued returns when a nonce was issued, and whether it was issued here.
func (d *digest) issued(nonce string) (time.Time, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(b) != nonceBytes || !hmac.Equal(d.mac(b[:8+nonceRandom]),
		b[8+nonceRandom:]) {
		return time.Time{}, false
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))), true
}

// errStale reports a right response to a nonce that is too old, or of another
// server. It is no failed sign-in: the client tries again by itself.
var errStale = errors.New("stale nonce")

// authenticate returns who sent r by its header, and the fields of the answer
// that prove the server. With auth-int it reads the body and puts it back.
//
// User, nonce and count are looked at before the body. If one of them is bad, the
// answer is settled; but the body is hashed nevertheless, without being kept, so
// that nobody learns from the time which users there are.
func (d *digest) authenticate(r *http.Request, header string) (subject string, fields http.Header,
	err error,
) {
	p, err := parseDigest(header)
	if err != nil {
		return "", nil, err
	}
	if p.realm != d.realm {
		return "", nil, &Error{"digest of another realm"}
	}
	if p.uri != r.RequestURI {
		return "", nil, &Error{"digest of another uri"}
	}
	// Somebody unknown takes as long as a wrong password.
	subject, ha1 := "user:"+p.username, d.dummy
	member, known := d.directory.Member(subject)
	known = known && member.HA1 != ""
	if known {
		ha1 = member.HA1
	}
	of := d.targetOf(r.Method, p.uri)
	ha2, kept := of.ha2, true
	if p.qop == "auth-int" {
		body, err := d.body(r, known && d.unused(p.nonce, p.number))
		if err != nil {
			return "", nil, err
		}
		ha2, kept = hexHash([]byte(r.Method+":"+p.uri+":"+body.hash)), body.kept
	}
	want := p.hash(ha1, ha2)
	if subtle.ConstantTimeCompare([]byte(want), []byte(p.response)) != 1 || !known {
		return "", nil, &Error{"digest of a wrong user or password"}
	}
	if err := d.use(r.Context(), p.nonce, p.number); err != nil {
		return "", nil, err
	}
	if !kept {
		return "", nil, errStale // the user became known just now: the client sends the body again
	}
	fields = http.Header{}
	if p.qop == "auth" { // with auth-int it would be over an answer that is not there yet
		fields["Authentication-Info"] = []string{`qop=auth, rspauth="` + p.hash(ha1, of.answer) +
			`", cnonce=` + quoted(p.cnonce) + `, nc=` + p.count}
	}
	return subject, fields, nil
}

// A target is what a request is for, hashed as a response to a challenge has it (A2 of
// RFC 7616, section 3.4.3).
type target struct {
	method, uri string
	ha2         string // for qop auth
	answer      string // as the server's own response has it (section 3.5)
}

// targetOf returns the hashes of a target. Nearly always it is the one of before.
func (d *digest) targetOf(method, uri string) *target {
	last := d.last.Load()
	if last == nil || last.method != method || last.uri != uri {
		last = &target{
			method, strings.Clone(uri), hexHash([]byte(method + ":" + uri)),
			hexHash([]byte(":" + uri)),
		}
		d.last.Store(last)
	}
	return last
}

// hash is the response that goes with these credentials (RFC 7616, section 3.4.1).
func (p *digestParams) hash(ha1, ha2 string) string {
	var buf [512]byte
	b := append(buf[:0], ha1...)
	for _, part := range [...]string{p.nonce, p.count, p.cnonce, p.qop, ha2} {
		b = append(append(b, ':'), part...)
	}
	return hexHash(b)
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
func (d *digest) body(r *http.Request, keep bool) (*hashedBody, error) {
	if before, hashed := r.Body.(*hashedBody); hashed {
		return before, nil // Authenticate tries again what failed
	}
	if r.ContentLength > d.maxBody {
		return nil, &Error{"digest over a body that is too large"}
	}
	release, ok := d.bodies.Take(Address(r.RemoteAddr).String(), 1, bodyWait)
	if !ok {
		return nil, ErrBusy
	}
	defer release()
	hash, body := sha256.New(), new(bytes.Buffer)
	to := io.Writer(hash)
	if keep {
		to = io.MultiWriter(hash, body)
	}
	n, err := io.Copy(to, io.LimitReader(r.Body, d.maxBody+1))
	if err != nil || n > d.maxBody {
		return nil, &Error{"digest over a body that did not arrive"}
	}
	hashed := &hashedBody{Reader: body, hash: hex.EncodeToString(hash.Sum(nil)), kept: keep}
	r.Body = hashed
	return hashed, nil
}

// unused reports whether a nonce is good and this count of it was not used, as far as
// this server knows. It uses nothing.
func (d *digest) unused(nonce string, number uint64) bool {
	issued, ours := d.issued(nonce)
	now := d.now()
	if !ours || now.Sub(issued) > d.ttl || issued.Sub(now) > d.ttl {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if issued.Before(d.oldest) {
		return false
	}
	c := d.used[nonce]
	return c == nil || number > c.highest || c.highest-number < nonceWindow && !c.has(number)
}

func (c *counts) has(number uint64) bool {
	return c.bits[number%nonceWindow/64]&(1<<(number%64)) != 0
}

// use makes sure that a nonce is good and that this count of it is used once.
func (d *digest) use(ctx context.Context, nonce string, number uint64) error {
	issued, ours := d.issued(nonce)
	now := d.now()
	if !ours || now.Sub(issued) > d.ttl || issued.Sub(now) > d.ttl {
		return errStale
	}
	if d.spend != nil {
		return d.spendOnce(ctx, nonce, number, issued)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if issued.Before(d.oldest) {
		return errStale
	}
	c := d.used[nonce]
	if c == nil {
		if len(d.used) >= maxNonces {
			d.forget(now)
		}
		if issued.Before(d.oldest) {
			return errStale
		}
		c = &counts{issued: issued}
		d.used[nonce] = c
	}
	if number > c.highest {
		for n := max(c.highest+1, number-min(number, nonceWindow-1)); n <= number; n++ {
			c.bits[n%nonceWindow/64] &^= 1 << (n % 64)
		}
		c.highest = number
	} else if c.highest-number >= nonceWindow {
		return errStale // nobody knows any more whether it was used
	}
	if c.has(number) {
		return errUsed
	}
	c.bits[number%nonceWindow/64] |= 1 << (number % 64)
	return nil
}

var errUsed = &Error{"digest that was used before"}

// spendOnce is use where other servers know of the nonce, too.
func (d *digest) spendOnce(ctx context.Context, nonce string, number uint64,
	issued time.Time,
) error {
	// it may be of a clock that is ahead
	first, err := d.spend(ctx, nonce, number, issued.Add(2*d.ttl))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err) // nobody knows whether it was used
	case !first:
		return errUsed
	}
	return nil
}

// forget makes space: for nonces that are too old anyway, and when that is not
// enough, by making all that were issued until now stale. The caller holds
// d.mu.
func (d *digest) forget(now time.Time) {
	for nonce, c := range d.used {
		if now.Sub(c.issued) > d.ttl {
			delete(d.used, nonce)
		}
	}
	if len(d.used) >= maxNonces {
		clear(d.used)
		d.oldest = now
	}
}

// Claimed is the user name that an Authorization header claims, and "" when it
// claims none. It proves nothing.
func Claimed(header string) string {
	if p, err := parseDigest(header); err == nil {
		return p.username
	}
	return ""
}

// digestParams are the parameters of an Authorization header.
type digestParams struct {
	username, realm, nonce, uri, response, qop, count, cnonce string

	number uint64 // count
}

var errDigest = &Error{"malformed digest"}

// parseDigest reads the credentials of an Authorization header with the scheme
// Digest. Each parameter stands in it once; those that are needed are there.
func parseDigest(header string) (*digestParams, error) {
	_, rest, found := strings.Cut(header, " ")
	if !found || len(header) > maxDigestHeader {
		return nil, errDigest
	}
	var params params
	// A list may have empty elements (RFC 9110, section 5.6.1.2).
	const between = " \t,"
	for rest = strings.TrimLeft(rest, between); rest != ""; {
		name, value, more, ok := cutParam(rest)
		if !ok || !params.add(strings.ToLower(name), value) {
			return nil, errDigest
		}
		rest = strings.TrimLeft(more, between)
	}
	p := &digestParams{
		username: params.get("username"), realm: params.get("realm"), nonce: params.get("nonce"),
		uri:      params.get("uri"),
		response: params.get("response"), qop: params.get("qop"), count: params.get("nc"),
		cnonce: params.get("cnonce"),
	}
	if extended, has := params.find("username*"); has {
		name, ok := decodeExtended(extended)
		if !ok || p.username != "" {
			return nil, errDigest
		}
		p.username = name
	}
	if hashed, has := params.find("userhash"); has && !strings.EqualFold(hashed, "false") {
		return nil, &Error{"digest with a hashed user name"}
	}
	if !strings.EqualFold(params.get("algorithm"), "SHA-256") {
		return nil, &Error{"digest of another algorithm"}
	}
	if p.qop != "auth" && p.qop != "auth-int" {
		return nil, &Error{"digest without qop"}
	}
	var err error
	if p.number, err = strconv.ParseUint(p.count, 16, 32); err != nil || len(p.count) != 8 ||
		p.number == 0 {
		return nil, errDigest
	}
	if p.username == "" || p.nonce == "" || p.uri == "" || p.cnonce == "" ||
		len(p.response) != 2*sha256.Size {
		return nil, errDigest
	}
	if _, _, ok := atm.ParseSubject("user:" + p.username); !ok {
		return nil, &Error{"digest of a wrong user or password"} // nobody can have this name
	}
	p.response = strings.ToLower(p.response)
	return p, nil
}

// decodeExtended reads an extended value of RFC 8187, such as UTF-8'en'J%C3%BCrgen. The
// language, which may be left out, says nothing of a name.
func decodeExtended(value string) (name string, ok bool) {
	charset, value, found := strings.Cut(value, "'")
	_, value, foundAgain := strings.Cut(value, "'")
	if !found || !foundAgain || !strings.EqualFold(charset, "UTF-8") {
		return "", false
	}
	name, err := url.PathUnescape(value)
	return name, err == nil && utf8.ValidString(name)
}

// quoted is s as a quoted string, byte for byte but for what has to be escaped.
func quoted(s string) string { return `"` + quoting.Replace(s) + `"` }

var quoting = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

// plainQuoted is the length of the quoted string at the beginning of s when it has no
// backslash and nothing that may not stand there, and 0 otherwise.
func plainQuoted(s string) int {
	if s == "" || s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c == '\\' || c < ' ' || c == 0x7f:
			return 0
		}
	}
	return 0
}

// maxParams bounds the parameters of a header; twelve are known.
const maxParams = 32

// params are the parameters of a header.
type params struct {
	list [maxParams]struct{ name, value string }
	n    int
}

// add adds a parameter, unless it is there already or there are too many.
func (p *params) add(name, value string) bool {
	if _, twice := p.find(name); twice || p.n == maxParams {
		return false
	}
	p.list[p.n].name, p.list[p.n].value = name, value
	p.n++
	return true
}

func (p *params) find(name string) (value string, has bool) {
	for i := range p.n {
		if p.list[i].name == name {
			return p.list[i].value, true
		}
	}
	return "", false
}

func (p *params) get(name string) string {
	value, _ := p.find(name)
	return value
}

// cutParam reads one parameter, a token or a quoted string, and the comma
// behind it.
func cutParam(s string) (name, value, rest string, ok bool) {
	name, s, found := strings.Cut(s, "=")
	name = strings.TrimRight(name, " \t")
	if !found || name == "" || strings.ContainsAny(name, " \t\",;") {
		return "", "", "", false
	}
	s = strings.TrimLeft(s, " \t")
	if end := plainQuoted(s); end > 0 {
		value, s = s[1:end-1], s[end:]
	} else if strings.HasPrefix(s, `"`) {
		var b strings.Builder
		i := 1
		for ; i < len(s) && s[i] != '"'; i++ {
			if s[i] == '\\' {
				i++
			}
			if i >= len(s) || s[i] < ' ' || s[i] == 0x7f {
				return "", "", "", false
			}
			b.WriteByte(s[i])
		}
		if i >= len(s) {
			return "", "", "", false
		}
		value, s = b.String(), s[i+1:]
	} else {
		end := strings.IndexAny(s, ", \t")
		if end < 0 {
			end = len(s)
		}
		value, s = s[:end], s[end:]
		if value == "" || strings.ContainsAny(value, "\"\\;") {
			return "", "", "", false
		}
	}
	s = strings.TrimLeft(s, " \t")
	if s == "" {
		return name, value, "", true
	}
	s, found = strings.CutPrefix(s, ",")
	return name, value, s, found
}
