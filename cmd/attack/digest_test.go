//go:build unix

package attack_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// digestFields are the fields of Digest credentials. The zero value of a field means the right
// value.
type digestFields struct {
	user, password, realm, nonce, method, uri, sentURI, qop, nc, cnonce, body string

	change func(string) string // changes the whole header value at the end
}

func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// header is the header line Authorization for d.
func (a *arena) digestHeader(d digestFields, nonce string) string {
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	user, realm, nonce := or(d.user, "alice"), or(d.realm, a.domain), or(d.nonce, nonce)
	uri, qop, nc, cnonce := or(d.uri, "/RPC2"), or(d.qop, "auth"), or(d.nc, "00000001"),
		or(d.cnonce, "0a4f113b")
	ha1 := sha(user + ":" + realm + ":" + or(d.password, daemontest.AliceSecret))
	ha2 := or(d.method, "POST") + ":" + uri
	if qop == "auth-int" {
		ha2 += ":" + sha(or(d.body, daemontest.Call("inquiry", "200")))
	}
	response := sha(ha1 + ":" + nonce + ":" + nc + ":" + cnonce + ":" + qop + ":" + sha(ha2))
	value := fmt.Sprintf(
		`Digest username="%s", realm="%s", nonce="%s", uri="%s", algorithm=SHA-256, response="%s", qop=%s, nc=%s, cnonce="%s"`,
		user, realm, nonce, or(d.sentURI, uri), response, qop, nc, cnonce)
	if d.change != nil {
		value = d.change(value)
	}
	return "Authorization: " + value
}

var nonceIn = regexp.MustCompile(`nonce="([^"]+)"`)

// nonce requests a challenge.
func (a *arena) nonce(t *testing.T, from *net.TCPAddr) string {
	t.Helper()
	code, answer := a.exchange(t, from, nil,
		(&attack{body: daemontest.Call("inquiry", "200")}).bytes())
	found := nonceIn.FindStringSubmatch(answer)
	if code != 401 || found == nil {
		t.Fatalf("no challenge: %d %s", code, answer)
	}
	return found[1]
}

func replaced(old, by string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, by, 1) }
}

// attackDigest signs in by Digest as alice with wrong credentials.
func (a *arena) attackDigest(t *testing.T) {
	post := func(t *testing.T, from *net.TCPAddr, header string) (int, string) {
		t.Helper()
		return a.exchange(t, from, nil,
			(&attack{body: daemontest.Call("inquiry", "200"), header: []string{header}}).bytes())
	}
	// The same requests without an attack succeed, with both kinds of protection.
	for _, qop := range []string{"auth", "auth-int"} {
		from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}
		if code, answer := post(t, from, a.digestHeader(digestFields{qop: qop},
			a.nonce(t, from))); code != 200 || !strings.Contains(answer, "60.00") {
			t.Fatalf("%s: %d %s", qop, code, answer)
		}
	}
	for name, d := range map[string]digestFields{
		"a wrong password": {password: "incorrect horse battery staple"},
		"an empty user": {change: replaced(`username="alice"`,
			`username=""`)},
		"no user":                         {change: replaced(`username="alice", `, ``)},
		"somebody unknown":                {user: "bob"},
		"somebody disabled":               {user: "dave"},
		"somebody without a password":     {user: "nina"},
		"a service with a password":       {user: "till"},
		"a service by its subject":        {user: "service:till"},
		"a user by their subject":         {user: "user:alice"},
		"a user in upper case":            {user: "ALICE"},
		"a user with a space behind":      {user: "alice "},
		"a user with a NUL":               {user: "alice\x00"},
		"a user with a quote":             {user: `ali\"ce`},
		"a user with a path":              {user: "../alice"},
		"a user of 10 kB":                 {user: strings.Repeat("a", 10<<10)},
		"a user in other letters":         {user: "аlice"},
		"the operator without a password": {user: "operator"},
		"another method":                  {method: "GET"},
		"another uri":                     {uri: "/"},
		"a uri that was not asked for":    {sentURI: "/token"},
		"a uri with a query":              {uri: "/RPC2?x"},
		"a whole URL":                     {uri: "https://localhost/RPC2"},
		"another realm":                   {realm: "atm.example"},
		"an empty realm": {change: func(s string) string {
			return regexp.MustCompile(`realm="[^"]*"`).ReplaceAllString(s, `realm=""`)
		}},
		"a foreign nonce": {nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093"},
		"an empty nonce": {change: func(s string) string {
			return nonceIn.ReplaceAllString(s, `nonce=""`)
		}},
		"no quality of protection": {change: func(s string) string {
			return strings.Replace(s, "qop=auth, nc=00000001, ", "", 1)
		}},
		"MD5":                        {change: replaced("SHA-256", "MD5")},
		"no algorithm, which is MD5": {change: replaced("algorithm=SHA-256, ", "")},
		"MD5-sess":                   {change: replaced("SHA-256", "MD5-sess")},
		"SHA-256-sess":               {change: replaced("SHA-256", "SHA-256-sess")},
		"SHA-512-256":                {change: replaced("SHA-256", "SHA-512-256")},
		"an unknown protection":      {qop: "auth-conf"},
		"both protections": {change: replaced("qop=auth",
			`qop="auth,auth-int"`)},
		"protection for a body that is another": {
			qop:  "auth-int",
			body: daemontest.Call("deposit", "200", "1"),
		},
		"a count of zero":      {nc: "00000000"},
		"a short count":        {nc: "1"},
		"a long count":         {nc: "000000001"},
		"a negative count":     {nc: "-0000001"},
		"a count that is none": {nc: "0000000g"},
		"an empty cnonce": {change: func(s string) string {
			return strings.Replace(s, `cnonce="0a4f113b"`, `cnonce=""`, 1)
		}},
		"an empty response": {change: func(s string) string {
			return regexp.MustCompile(`response="[^"]*"`).ReplaceAllString(s, `response=""`)
		}},
		"a response cut short": {change: func(s string) string {
			return regexp.MustCompile(`response="([^"]{63}).`).ReplaceAllString(s, `response="$1`)
		}},
		"a response with more behind it": {change: func(s string) string {
			return regexp.MustCompile(`response="([^"]*)`).ReplaceAllString(s, `response="${1}0`)
		}},
		"a response with one bit changed": {change: func(s string) string {
			return flip(s, `response="`)
		}},
		"two users": {change: replaced(`username="alice"`,
			`username="demo", username="alice"`)},
		"two responses": {change: replaced(`response=`,
			`response="00", response=`)},
		"two nonces": {change: replaced(`nonce=`, `nonce="x", nonce=`)},
		"a hashed user": {change: func(s string) string {
			return s + ", userhash=true"
		}},
		"two spellings of the user": {change: func(s string) string {
			return s + ", username*=UTF-8''demo"
		}},
		"an unfinished string": {change: func(s string) string {
			return s + `, opaque="`
		}},
		"two users behind empty elements": {change: replaced(`username=`,
			`, ,username="demo",,username=`)},
		"no parameters": {change: func(string) string { return "Digest" }},
		"another scheme's parameters": {change: func(string) string {
			return "Digest YWxpY2U6c2VjcmV0"
		}},
		"what is stored in place of a password": {password: sha("alice:" + a.domain + ":" +
			daemontest.AliceSecret)},
	} {
		t.Run(name, func(t *testing.T) {
			from := a.address(t.Name())
			want := 401
			if name == "a user with a NUL" {
				want = 400 // from net/http
			}
			if code, answer := post(t, from, a.digestHeader(d, a.nonce(t, from))); code != want {
				t.Errorf("answered %d %.300s", code, answer)
			}
		})
	}
	t.Run("the same again", func(t *testing.T) {
		from := a.address(t.Name() + " " + harmless)
		header := a.digestHeader(digestFields{}, a.nonce(t, from))
		for try, want := range []int{200, 401, 401} {
			if code, answer := post(t, from, header); code != want {
				t.Errorf("try %d: %d %s", try, code, answer)
			}
		}
	})
	t.Run("the same count for another call", func(t *testing.T) {
		from := a.address(t.Name() + " " + harmless)
		nonce := a.nonce(t, from)
		if code, _ := post(t, from, a.digestHeader(digestFields{}, nonce)); code != 200 {
			t.Fatal(code)
		}
		if code, answer := post(t, from, a.digestHeader(digestFields{cnonce: "another"},
			nonce)); code != 401 {
			t.Errorf("%d %s", code, answer)
		}
	})
	t.Run("twenty at once", func(t *testing.T) {
		from := a.address(t.Name() + " " + harmless)
		header := a.digestHeader(digestFields{}, a.nonce(t, from))
		var wg sync.WaitGroup
		codes := make(chan int, 20)
		for range cap(codes) {
			wg.Go(func() {
				code := 0 // of a connection whose handshake takes too long on a busy machine
				for range 20 {
					if code, _ = post(t, from, header); code != 0 {
						break
					}
				}
				codes <- code
			})
		}
		wg.Wait()
		close(codes)
		got := map[int]int{}
		for code := range codes {
			got[code]++
		}
		if got[200] != 1 || got[401] != 19 {
			t.Errorf("answered %v", got)
		}
	})
	t.Run("a nonce with one bit changed", func(t *testing.T) {
		from := a.address(t.Name())
		nonce := []byte(a.nonce(t, from))
		for _, i := range []int{0, 10, 25, len(nonce) - 2} {
			changed := append([]byte(nil), nonce...)
			changed[i] ^= 1
			if code, answer := post(t, from, a.digestHeader(digestFields{nonce: string(changed)},
				"")); code != 401 {
				t.Errorf("at %d: %d %s", i, code, answer)
			}
		}
	})
	t.Run("the nonce of another server", func(t *testing.T) {
		other := daemontest.Start(t, nil)
		_, answer := (&arena{Server: other, roots: other.TLS(t, "demo").RootCAs}).exchange(t,
			nil,
			nil, (&attack{}).bytes())
		found := nonceIn.FindStringSubmatch(answer)
		if found == nil {
			t.Fatal(answer)
		}
		if code, answer := post(t, a.address(t.Name()),
			a.digestHeader(digestFields{nonce: found[1]}, "")); code != 401 ||
			!strings.Contains(answer, "stale=true") {
			t.Errorf("%d %s", code, answer)
		}
	})
}

// flip flips one bit of the text after prefix.
func flip(s, prefix string) string {
	i := strings.Index(s, prefix) + len(prefix)
	return s[:i] + string(s[i]^1) + s[i+1:]
}
