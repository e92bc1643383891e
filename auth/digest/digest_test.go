package digest_test

import (
	"crypto/sha256"
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

	"example.com/atm/auth/digest"
)

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

const password = "correct horse battery"

// A rig is a checker with a clock. Its user alice has a password, and demo has none.
type rig struct {
	*digest.Checker
	now time.Time
}

const realm = "atm.example"

func newRig() *rig {
	h := &rig{now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
	h.Checker = digest.New(digest.Config{
		Realm: realm, NonceTTL: 5 * time.Minute, MaxBody: 256 << 10,
		Now: func() time.Time { return h.now },
		HA1: func(user string) string {
			if user != "alice" {
				return ""
			}
			return hash("alice:" + realm + ":" + password)
		},
	})
	return h
}

func (h *rig) authenticate(r *http.Request) (string, http.Header, error) {
	return h.Authenticate(r, r.Header.Get("Authorization"), "192.0.2.1")
}

var nonceOf = regexp.MustCompile(`nonce="([^"]+)"`)

func (h *rig) nonce(t testing.TB) string {
	t.Helper()
	m := nonceOf.FindStringSubmatch(h.Challenge(false))
	if m == nil {
		t.Fatal("no nonce in the challenge")
	}
	return m[1]
}

// A call is the input of a response.
type call struct {
	user, password, realm, method, uri, nonce, nc, cnonce, qop, body string

	alter func(header string) string
}

// request makes the request that a client with these values sends.
func (c call) request() *http.Request {
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

func (h *rig) call(t testing.TB) call {
	return call{
		user: "alice", password: password, realm: realm, method: "POST", uri: "/RPC2",
		nonce: h.nonce(t), nc: "00000001", cnonce: "c", qop: "auth", body: "<methodCall/>",
	}
}

func TestRightDigestSignsInAndProvesTheServer(t *testing.T) {
	h := newRig()
	for _, qop := range []string{"auth", "auth-int"} {
		c := h.call(t)
		c.qop = qop
		r := c.request()
		user, fields, err := h.authenticate(r)
		if err != nil || user != "alice" {
			t.Fatalf("%s: %+v, %v", qop, user, err)
		}
		if (fields.Get("Authentication-Info") != "") != (qop == "auth") {
			t.Errorf("%s: %v", qop, fields)
		}
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != c.body {
			t.Errorf("%s: the body is %q afterwards, %v", qop, body, err)
		}
	}
	c := h.call(t)
	_, fields, err := h.authenticate(c.request())
	want := hash(hash("alice:"+realm+":"+password) + ":" + c.nonce + ":00000001:c:auth:" +
		hash(":/RPC2"))
	if err != nil || !strings.Contains(fields.Get("Authentication-Info"), `rspauth="`+want+`"`) {
		t.Errorf("%v, %v, want rspauth %s", fields, err, want)
	}
}

// TestDigestWithOneThingChangedIsRefused changes one thing at a time.
func TestDigestWithOneThingChangedIsRefused(t *testing.T) {
	replace := func(old, by string) func(string) string {
		return func(h string) string { return strings.Replace(h, old, by, 1) }
	}
	for name, change := range map[string]func(*call){
		"wrong password":      func(c *call) { c.password = "wrong" },
		"no password":         func(c *call) { c.password = "" },
		"unknown user":        func(c *call) { c.user = "bob" },
		"a user without one":  func(c *call) { c.user = "demo" },
		"an odd user":         func(c *call) { c.user = "alice/../bob" },
		"a user with a colon": func(c *call) { c.user = "a:b" },
		"another realm":       func(c *call) { c.realm = "other.example" },
		"another uri":         func(c *call) { c.uri = "/RPC3" },
		"another method":      func(c *call) { c.method = "GET" },
		"uri changed after": func(c *call) {
			c.alter = replace(`uri="/RPC2"`, `uri="/"`)
		},
		"count changed after": func(c *call) {
			c.alter = replace("nc=00000001", "nc=00000002")
		},
		"cnonce changed after": func(c *call) {
			c.alter = replace(`cnonce="c"`, `cnonce="d"`)
		},
		"qop changed after": func(c *call) {
			c.alter = replace("qop=auth", "qop=auth-int")
		},
		"user changed after": func(c *call) { c.alter = replace(`"alice"`, `"demo"`) },
		"MD5":                func(c *call) { c.alter = replace("SHA-256", "MD5") },
		"SHA-256-sess": func(c *call) {
			c.alter = replace("SHA-256", "SHA-256-sess")
		},
		"no algorithm": func(c *call) {
			c.alter = replace(", algorithm=SHA-256", "")
		},
		"RFC 2069": func(c *call) {
			c.alter = replace(", qop=auth, nc=00000001", "")
		},
		"no cnonce": func(c *call) { c.cnonce = "" },
		"no user": func(c *call) {
			c.alter = replace(`username="alice", `, "")
		},
		"two users": func(c *call) {
			c.alter = replace(`realm=`, `username="demo", realm=`)
		},
		"two users, one extended": func(c *call) {
			c.alter = replace(`realm=`, `username*=UTF-8\'\'alice, realm=`)
		},
		"two responses": func(c *call) {
			c.alter = replace(`algorithm`, `response="`+strings.Repeat("0", 64)+`", algorithm`)
		},
		"a hashed user": func(c *call) {
			c.alter = replace(`realm=`, `userhash=true, realm=`)
		},
		"a short response": func(c *call) {
			c.alter = func(h string) string {
				return regexp.MustCompile(`response="[^"]{4}`).ReplaceAllString(h, `response="`)
			}
		},
		"no response": func(c *call) {
			c.alter = func(h string) string {
				return regexp.MustCompile(`response="[^"]*", `).ReplaceAllString(h, "")
			}
		},
		"count 0":                   func(c *call) { c.nc = "00000000" },
		"a short count":             func(c *call) { c.nc = "1" },
		"a count that is no number": func(c *call) { c.nc = "0000000g" },
		"an open string": func(c *call) {
			c.alter = func(h string) string { return h + `, x="` }
		},
		"semicolons": func(c *call) {
			c.alter = func(h string) string { return strings.ReplaceAll(h, ",", ";") }
		},
		"a control character": func(c *call) {
			c.alter = func(h string) string { return h + ", x=\"\x01\"" }
		},
		"a header without end": func(c *call) {
			c.alter = func(h string) string { return h + `, x="` + strings.Repeat("x", 5000) + `"` }
		},
		"nothing but the scheme": func(c *call) {
			c.alter = func(string) string { return "Digest" }
		},
	} {
		h := newRig()
		c := h.call(t)
		change(&c)
		user, _, err := h.authenticate(c.request())
		var refused digest.Refused
		if !errors.As(err, &refused) {
			t.Errorf("%s: %+v, %v", name, user, err)
		}
	}
}

// TestFormsThatClientsMaySendAreRead writes the same credentials in the forms of RFC 9110,
// section 5.6.1.2, and RFC 8187.
func TestFormsThatClientsMaySendAreRead(t *testing.T) {
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
		h := newRig()
		c := h.call(t)
		c.alter = alter
		if user, _, err := h.authenticate(c.request()); err != nil ||
			user != "alice" {
			t.Errorf("%s: %+v, %v", what, user, err)
		}
	}
	for what, as := range map[string]string{
		"another charset": `username*=ISO-8859-1''alice`, "no charset": `username*=''alice`,
		"no quotes": `username*=alice`,
		"one quote": `username*=UTF-8'alice`, "no hexadecimal digits": `username*=UTF-8''%6lice`,
		"bytes that are no UTF-8": `username*=UTF-8''alice%ff`,
	} {
		h := newRig()
		c := h.call(t)
		c.alter = name(as)
		if user, _, err := h.authenticate(c.request()); err == nil {
			t.Errorf("%s: %+v", what, user)
		}
	}
}

// TestAnswerEchoesTheCnonceByteForByte sends any characters that a quoted string may have; RFC
// 7616, section 3.5, requires the server to return them.
func TestAnswerEchoesTheCnonceByteForByte(t *testing.T) {
	for _, cnonce := range []string{
		"c", `a\"b\\c`, "J\u00e4s\u00f8n", "\xe9\xff",
		"\u202e\u00ad\u2028", "%00'{}",
	} {
		h := newRig()
		c := h.call(t)
		c.cnonce = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(cnonce) // what the client hashes
		c.alter = func(header string) string {
			return strings.Replace(header, `cnonce="`+c.cnonce+`"`, `cnonce="`+cnonce+`"`, 1)
		}
		_, fields, err := h.authenticate(c.request())
		if got := fields.Get("Authentication-Info"); err != nil ||
			!strings.Contains(got, `, cnonce="`+cnonce+`", `) {
			t.Errorf("%q: %s, %v", cnonce, got, err)
		}
	}
}

func TestDigestOverAnotherBodyIsRefused(t *testing.T) {
	h := newRig()
	c := h.call(t)
	c.qop = "auth-int"
	r := c.request()
	r.Body = io.NopCloser(strings.NewReader("<methodCall>another</methodCall>"))
	if _, _, err := h.authenticate(r); err == nil {
		t.Error("another body was let in")
	}
}

// TestEachCountOfANonceWorksOnce uses each count of a nonce once, in any order, and sends 20
// copies of one request at the same time.
func TestEachCountOfANonceWorksOnce(t *testing.T) {
	h := newRig()
	c := h.call(t)
	try := func(nc uint64) error {
		one := c
		one.nc = fmt.Sprintf("%08x", nc)
		_, _, err := h.authenticate(one.request())
		return err
	}
	for _, nc := range []uint64{1, 3, 2, 900, 4, 1500, 600, 0xffffffff} {
		if err := try(nc); err != nil {
			t.Errorf("count %d: %v", nc, err)
		}
		var refused digest.Refused
		if err := try(nc); !errors.As(err, &refused) {
			t.Errorf("count %d again: %v", nc, err)
		}
	}
	if err := try(5); !errors.Is(err, digest.ErrStale) {
		t.Errorf("a count far behind: %v", err)
	}
	fresh := h.call(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	good := 0
	for range 20 {
		r := fresh.request()
		wg.Go(func() {
			if _, _, err := h.authenticate(r); err == nil {
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

func TestOldNonceIsStaleAndNotRefused(t *testing.T) {
	h := newRig()
	c := h.call(t)
	h.now = h.now.Add(5*time.Minute + time.Second)
	if _, _, err := h.authenticate(c.request()); !errors.Is(err, digest.ErrStale) {
		t.Errorf("an old nonce: %v", err)
	}
	if challenge := h.Challenge(true); !strings.Contains(challenge, "stale=true") ||
		strings.Contains(h.Challenge(false), "stale") {
		t.Error(challenge)
	}
	wrong := h.call(t)
	wrong.password = "wrong"
	h.now = h.now.Add(6 * time.Minute)
	var refused digest.Refused
	if _, _, err := h.authenticate(wrong.request()); !errors.As(err, &refused) {
		t.Errorf("an old nonce with a wrong password: %v", err) // the stranger learns nothing
	}
	other := newRig().call(t)
	if _, _, err := h.authenticate(other.request()); !errors.Is(err, digest.ErrStale) {
		t.Errorf("a nonce of another server: %v", err)
	}
}

// TestNoNonceWorksTwiceHoweverManyThereAre uses more nonces than are remembered.
func TestNoNonceWorksTwiceHoweverManyThereAre(t *testing.T) {
	h := newRig()
	first := h.call(t)
	if _, _, err := h.authenticate(first.request()); err != nil {
		t.Fatal(err)
	}
	for range 20_000 {
		h.now = h.now.Add(time.Millisecond)
		if _, _, err := h.authenticate(h.call(t).request()); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := h.authenticate(first.request()); err == nil {
		t.Error("a request was let in twice")
	}
}

// TestNoNonceWorksTwiceWhenTheClockGoesBack has a nonce expire and be forgotten before that.
func TestNoNonceWorksTwiceWhenTheClockGoesBack(t *testing.T) {
	h := newRig()
	begun, first := h.now, h.call(t)
	if _, _, err := h.authenticate(first.request()); err != nil {
		t.Fatal(err)
	}
	for range 16<<10 - 1 { // as many as are remembered
		if _, _, err := h.authenticate(h.call(t).request()); err != nil {
			t.Fatal(err)
		}
	}
	h.now = begun.Add(6 * time.Minute)
	if _, _, err := h.authenticate(h.call(t).request()); err != nil {
		t.Fatal(err)
	}
	h.now = begun.Add(time.Minute)
	if _, _, err := h.authenticate(first.request()); !errors.Is(err, digest.ErrStale) {
		t.Errorf("a request that was used before is answered %v, want %v", err, digest.ErrStale)
	}
}

func FuzzHeader(f *testing.F) {
	h := newRig()
	f.Add(h.call(f).request().Header.Get("Authorization"))
	f.Add(
		`Digest username*=UTF-8''al%69ce, realm="a\"b", nonce=x , uri="/", qop=auth-int,nc=00000001`)
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest(http.MethodPost, "/RPC2", nil)
		r.Header["Authorization"] = []string{header}
		if user, _, err := h.authenticate(r); err == nil && !strings.Contains(header, "alice") {
			t.Fatalf("%q is %+v", header, user)
		}
	})
}
