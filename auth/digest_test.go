package auth_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
)

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

const password = "correct horse battery"

// digestRig is an authenticator with a clock, in which alice has a password.
type digestRig struct {
	*auth.Authenticator
	now time.Time
}

func newDigestRig() *digestRig {
	h := &digestRig{now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
	d := auth.NewDirectory()
	d.Update(map[string]auth.Member{
		"user:alice": {
			Roles: []atm.Role{atm.Customer},
			HA1:   hash("alice:" + domain + ":" + password),
		},
		"user:demo": {Roles: []atm.Role{atm.Customer}},
	})
	h.Authenticator = auth.New(auth.Config{
		TrustDomain: domain, Realm: domain, Directory: d,
		VerifyChain: func([]*x509.Certificate, time.Time) error { return nil },
		Now:         func() time.Time { return h.now },
	})
	return h
}

var nonceOf = regexp.MustCompile(`nonce="([^"]+)"`)

func (h *digestRig) nonce(t testing.TB) string {
	t.Helper()
	m := nonceOf.FindStringSubmatch(h.Challenges(false)[0])
	if m == nil {
		t.Fatal("no nonce in the challenge")
	}
	return m[1]
}

// a digestCall is what goes into a response.
type digestCall struct {
	user, password, realm, method, uri, nonce, nc, cnonce, qop, body string

	alter func(header string) string
}

// request makes the request that a client with these values would send.
func (c digestCall) request() *http.Request {
	a2 := c.method + ":" + c.uri
	if c.qop == "auth-int" {
		a2 += ":" + hash(c.body)
	}
	response := hash(hash(c.user+":"+c.realm+":"+c.password) + ":" + c.nonce + ":" + c.nc + ":" +
		c.cnonce + ":" + c.qop + ":" + hash(a2))
	header := fmt.Sprintf(
		`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", algorithm=SHA-256, qop=%s, nc=%s, cnonce="%s"`,
		c.user, c.realm, c.nonce, c.uri, response, c.qop, c.nc, c.cnonce)
	if c.alter != nil {
		header = c.alter(header)
	}
	r := httptest.NewRequest(http.MethodPost, "/RPC2", strings.NewReader(c.body))
	r.Header.Set("Authorization", header)
	return r
}

func (h *digestRig) call(t testing.TB) digestCall {
	return digestCall{
		user: "alice", password: password, realm: domain, method: "POST", uri: "/RPC2",
		nonce: h.nonce(t), nc: "00000001", cnonce: "c", qop: "auth", body: "<methodCall/>",
	}
}

func TestDigest(t *testing.T) {
	h := newDigestRig()
	for _, qop := range []string{"auth", "auth-int"} {
		c := h.call(t)
		c.qop = qop
		r := c.request()
		caller, fields, err := h.Authenticate(r)
		if err != nil || caller.Subject != "user:alice" || caller.Method != "digest" ||
			caller.User != "alice" {
			t.Fatalf("%s: %+v, %v", qop, caller, err)
		}
		if (fields.Get("Authentication-Info") != "") != (qop == "auth") {
			t.Errorf("%s: %v", qop, fields)
		}
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != c.body {
			t.Errorf("%s: the body is %q afterwards, %v", qop, body, err)
		}
	}
	c := h.call(t)
	_, fields, err := h.Authenticate(c.request())
	want := hash(hash("alice:"+domain+":"+password) + ":" + c.nonce + ":00000001:c:auth:" +
		hash(":/RPC2"))
	if err != nil || !strings.Contains(fields.Get("Authentication-Info"), `rspauth="`+want+`"`) {
		t.Errorf("%v, %v, want rspauth %s", fields, err, want)
	}
}

// TestDigestAttacks changes one thing at a time.
func TestDigestAttacks(t *testing.T) {
	replace := func(old, by string) func(string) string {
		return func(h string) string { return strings.Replace(h, old, by, 1) }
	}
	for name, change := range map[string]func(*digestCall){
		"wrong password":      func(c *digestCall) { c.password = "wrong" },
		"no password":         func(c *digestCall) { c.password = "" },
		"unknown user":        func(c *digestCall) { c.user = "bob" },
		"a user without one":  func(c *digestCall) { c.user = "demo" },
		"an odd user":         func(c *digestCall) { c.user = "alice/../bob" },
		"a user with a colon": func(c *digestCall) { c.user = "a:b" },
		"another realm":       func(c *digestCall) { c.realm = "other.example" },
		"another uri":         func(c *digestCall) { c.uri = "/RPC3" },
		"another method":      func(c *digestCall) { c.method = "GET" },
		"uri changed after": func(c *digestCall) {
			c.alter = replace(`uri="/RPC2"`, `uri="/"`)
		},
		"count changed after": func(c *digestCall) {
			c.alter = replace("nc=00000001", "nc=00000002")
		},
		"cnonce changed after": func(c *digestCall) {
			c.alter = replace(`cnonce="c"`, `cnonce="d"`)
		},
		"qop changed after": func(c *digestCall) {
			c.alter = replace("qop=auth", "qop=auth-int")
		},
		"user changed after": func(c *digestCall) { c.alter = replace(`"alice"`, `"demo"`) },
		"MD5":                func(c *digestCall) { c.alter = replace("SHA-256", "MD5") },
		"SHA-256-sess": func(c *digestCall) {
			c.alter = replace("SHA-256", "SHA-256-sess")
		},
		"no algorithm": func(c *digestCall) {
			c.alter = replace(", algorithm=SHA-256", "")
		},
		"RFC 2069": func(c *digestCall) {
			c.alter = replace(", qop=auth, nc=00000001", "")
		},
		"no cnonce": func(c *digestCall) { c.cnonce = "" },
		"no user": func(c *digestCall) {
			c.alter = replace(`username="alice", `, "")
		},
		"two users": func(c *digestCall) {
			c.alter = replace(`realm=`, `username="demo", realm=`)
		},
		"two users, one extended": func(c *digestCall) {
			c.alter = replace(`realm=`, `username*=UTF-8\'\'alice, realm=`)
		},
		"two responses": func(c *digestCall) {
			c.alter = replace(`algorithm`, `response="`+strings.Repeat("0", 64)+`", algorithm`)
		},
		"a hashed user": func(c *digestCall) {
			c.alter = replace(`realm=`, `userhash=true, realm=`)
		},
		"a short response": func(c *digestCall) {
			c.alter = func(h string) string {
				return regexp.MustCompile(`response="[^"]{4}`).ReplaceAllString(h, `response="`)
			}
		},
		"no response": func(c *digestCall) {
			c.alter = func(h string) string {
				return regexp.MustCompile(`response="[^"]*", `).ReplaceAllString(h, "")
			}
		},
		"count 0":                   func(c *digestCall) { c.nc = "00000000" },
		"a short count":             func(c *digestCall) { c.nc = "1" },
		"a count that is no number": func(c *digestCall) { c.nc = "0000000g" },
		"an open string": func(c *digestCall) {
			c.alter = func(h string) string { return h + `, x="` }
		},
		"semicolons": func(c *digestCall) {
			c.alter = func(h string) string { return strings.ReplaceAll(h, ",", ";") }
		},
		"a control character": func(c *digestCall) {
			c.alter = func(h string) string { return h + ", x=\"\x01\"" }
		},
		"a header without end": func(c *digestCall) {
			c.alter = func(h string) string { return h + `, x="` + strings.Repeat("x", 5000) + `"` }
		},
		"nothing but the scheme": func(c *digestCall) {
			c.alter = func(string) string { return "Digest" }
		},
	} {
		h := newDigestRig()
		c := h.call(t)
		change(&c)
		caller, _, err := h.Authenticate(c.request())
		var failure *auth.Error
		if !errors.As(err, &failure) {
			t.Errorf("%s: %+v, %v", name, caller, err)
		}
	}
}

// TestDigestFormsThatClientsMaySendAreRead writes the same credentials in the forms of
// RFC 9110, section 5.6.1.2, and RFC 8187.
func TestDigestFormsThatClientsMaySendAreRead(t *testing.T) {
	name := func(as string) func(string) string {
		return func(h string) string { return strings.Replace(h, `username="alice"`, as, 1) }
	}
	for what, alter := range map[string]func(string) string{
		"an empty element": func(h string) string {
			return strings.Replace(h, ", ", ", , ", 1)
		},
		"empty elements everywhere": func(h string) string {
			return strings.ReplaceAll(h, ", ", ",,\t, ,")
		},
		"an empty first element": func(h string) string {
			return strings.Replace(h, "Digest ", "Digest ,", 1)
		},
		"an empty last element": func(h string) string { return h + ", ,," },
		"an extended name":      name(`username*=UTF-8''%61lice`),
		"one with a language":   name(`username*=UTF-8'en'alice`),
		"one in small letters":  name(`username*=utf-8'de-CH'%61%6Cice`),
		"one that is quoted":    name(`username*="UTF-8''alice"`),
	} {
		h := newDigestRig()
		c := h.call(t)
		c.alter = alter
		if caller, _, err := h.Authenticate(c.request()); err != nil ||
			caller.Subject != "user:alice" {
			t.Errorf("%s: %+v, %v", what, caller, err)
		}
	}
	for what, as := range map[string]string{
		"another charset": `username*=ISO-8859-1''alice`, "no charset": `username*=''alice`,
		"no quotes": `username*=alice`,
		"one quote": `username*=UTF-8'alice`, "no hexadecimal digits": `username*=UTF-8''%6lice`,
		"bytes that are no UTF-8": `username*=UTF-8''alice%ff`,
	} {
		h := newDigestRig()
		c := h.call(t)
		c.alter = name(as)
		if caller, _, err := h.Authenticate(c.request()); err == nil {
			t.Errorf("%s: %+v", what, caller)
		}
	}
}

// TestDigestEchoesTheCnonceByteForByte sends what a quoted string may hold, as RFC
// 7616, section 3.5, has it sent back.
func TestDigestEchoesTheCnonceByteForByte(t *testing.T) {
	for _, cnonce := range []string{
		"c", `a\"b\\c`, "J\u00e4s\u00f8n", "\xe9\xff",
		"\u202e\u00ad\u2028", "%00'{}",
	} {
		h := newDigestRig()
		c := h.call(t)
		c.cnonce = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(cnonce) // what is hashed
		c.alter = func(header string) string {
			return strings.Replace(header, `cnonce="`+c.cnonce+`"`, `cnonce="`+cnonce+`"`, 1)
		}
		_, fields, err := h.Authenticate(c.request())
		if got := fields.Get("Authentication-Info"); err != nil ||
			!strings.Contains(got, `, cnonce="`+cnonce+`", `) {
			t.Errorf("%q: %s, %v", cnonce, got, err)
		}
	}
}

func TestDigestBodySwapped(t *testing.T) {
	h := newDigestRig()
	c := h.call(t)
	c.qop = "auth-int"
	r := c.request()
	r.Body = io.NopCloser(strings.NewReader("<methodCall>another</methodCall>"))
	if _, _, err := h.Authenticate(r); err == nil {
		t.Error("another body was let in")
	}
}

// TestDigestCounts uses each count of a nonce once, in whatever order, and 20
// copies of one request at the same time.
func TestDigestCounts(t *testing.T) {
	h := newDigestRig()
	c := h.call(t)
	try := func(nc uint64) error {
		one := c
		one.nc = fmt.Sprintf("%08x", nc)
		_, _, err := h.Authenticate(one.request())
		return err
	}
	for _, nc := range []uint64{1, 3, 2, 900, 4, 1500, 600, 0xffffffff} {
		if err := try(nc); err != nil {
			t.Errorf("count %d: %v", nc, err)
		}
		var failure *auth.Error
		if err := try(nc); !errors.As(err, &failure) {
			t.Errorf("count %d again: %v", nc, err)
		}
	}
	if err := try(5); !errors.Is(err, auth.ErrStale) {
		t.Errorf("a count far behind: %v", err)
	}
	fresh := h.call(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	good := 0
	for range 20 {
		r := fresh.request()
		wg.Go(func() {
			if _, _, err := h.Authenticate(r); err == nil {
				mu.Lock()
				good++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if good != 1 {
		t.Errorf("%d of 20 copies were let in", good)
	}
}

func TestDigestStale(t *testing.T) {
	h := newDigestRig()
	c := h.call(t)
	h.now = h.now.Add(5*time.Minute + time.Second)
	if _, _, err := h.Authenticate(c.request()); !errors.Is(err, auth.ErrStale) {
		t.Errorf("an old nonce: %v", err)
	}
	if challenge := h.Challenges(true)[0]; !strings.Contains(challenge, "stale=true") ||
		strings.Contains(h.Challenges(false)[0], "stale") {
		t.Error(challenge)
	}
	wrong := h.call(t)
	wrong.password = "wrong"
	h.now = h.now.Add(6 * time.Minute)
	var failure *auth.Error
	if _, _, err := h.Authenticate(wrong.request()); !errors.As(err, &failure) {
		t.Errorf("an old nonce with a wrong password: %v", err) // who cannot answer learns nothing
	}
	other := newDigestRig().call(t)
	if _, _, err := h.Authenticate(other.request()); !errors.Is(err, auth.ErrStale) {
		t.Errorf("a nonce of another server: %v", err)
	}
}

// TestDigestFlood uses more nonces than are remembered: none works twice.
func TestDigestFlood(t *testing.T) {
	h := newDigestRig()
	first := h.call(t)
	if _, _, err := h.Authenticate(first.request()); err != nil {
		t.Fatal(err)
	}
	for range 20_000 {
		h.now = h.now.Add(time.Millisecond)
		if _, _, err := h.Authenticate(h.call(t).request()); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := h.Authenticate(first.request()); err == nil {
		t.Error("a request was let in twice")
	}
}

func FuzzDigestHeader(f *testing.F) {
	h := newDigestRig()
	f.Add(h.call(f).request().Header.Get("Authorization"))
	f.Add(
		`Digest username*=UTF-8''al%69ce, realm="a\"b", nonce=x , uri="/", qop=auth-int,nc=00000001`)
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest(http.MethodPost, "/RPC2", nil)
		r.Header["Authorization"] = []string{header}
		if caller, _, err := h.Authenticate(r); err == nil && !strings.Contains(header, "alice") {
			t.Fatalf("%q is %+v", header, caller)
		}
	})
}
