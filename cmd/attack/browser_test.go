//go:build unix

package attack_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// firefox is what the browsers of these attacks call themselves.
const firefox = "User-Agent: Mozilla/5.0 Firefox/140.0"

var cookieSet = regexp.MustCompile(`Set-Cookie: __Host-atm=([^;]+);`)

// posted is a request that posts a form to a page of the console.
func posted(path, body string, header ...string) string {
	lines := append([]string{
		"POST " + path + " HTTP/1.1", "Host: localhost", "Connection: close",
		"Content-Type: application/x-www-form-urlencoded",
		fmt.Sprintf("Content-Length: %d", len(body)),
	}, header...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// opened is a request for a page.
func opened(path string, header ...string) string {
	lines := append([]string{
		"GET " + path + " HTTP/1.1", "Host: localhost", "Connection: close",
	}, header...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// session begins a session of a user, and returns the secret in its cookie.
func (a *arena) session(t *testing.T, name string) string {
	t.Helper()
	form := url.Values{"name": {name}, "secret": {daemontest.AliceSecret}}
	_, answer := a.exchange(t, a.address(harmless+" "+name), nil,
		posted("/console/sign-in", form.Encode(), firefox))
	set := cookieSet.FindStringSubmatch(answer)
	if set == nil {
		t.Fatalf("%s cannot sign in: %s", name, answer)
	}
	return set[1]
}

// attackBrowsers uses the session of somebody else, and the forms by which people sign in.
func (a *arena) attackBrowsers(t *testing.T) {
	secret := a.session(t, "alice")
	cookie := "Cookie: __Host-atm=" + secret
	t.Run("session", func(t *testing.T) { a.run(t, a.stolenCookies(secret)) })
	t.Run("elsewhere", func(t *testing.T) { a.run(t, a.cookieElsewhere(cookie)) })
	t.Run("other site", func(t *testing.T) { a.run(t, otherSites(cookie)) })
	t.Run("sign-in", func(t *testing.T) { a.run(t, signInForms()) })
	t.Run("passkey", func(t *testing.T) { a.run(t, passkeyForms()) })
	t.Run("invitation", func(t *testing.T) { a.run(t, a.invitations(t)) })

	// What all of them were after is still alice's.
	code, answer := a.exchange(t, a.address(harmless+" alice at the end"), nil,
		opened("/console/me", firefox, cookie))
	if code != 200 || !strings.Contains(answer, "user:alice") {
		t.Errorf("the session of alice is answered %d %s", code, answer)
	}
}

// stolenCookies are requests with what somebody saw, guessed or changed of a cookie.
func (a *arena) stolenCookies(secret string) (attacks []attack) {
	const page = "/console/me"
	sum := sha256.Sum256([]byte(secret))
	id := base64.RawURLEncoding.EncodeToString(sum[:]) // as entries and lists tell it
	last := "A"
	if strings.HasSuffix(secret, last) {
		last = "B"
	}
	for name, value := range map[string]string{
		"the id of the session":          id,
		"the id in hexadecimal":          fmt.Sprintf("%x", sum),
		"another last letter":            secret[:len(secret)-1] + last,
		"one letter less":                secret[:len(secret)-1],
		"one letter more":                secret + "A",
		"twice":                          secret + secret,
		"in small letters":               strings.ToLower(secret),
		"half of it":                     secret[:len(secret)/2],
		"nothing":                        "",
		"a wildcard":                     "*",
		"a path":                         "../../" + secret,
		"SQL":                            "' OR '1'='1",
		"ten thousand letters":           strings.Repeat("A", 10_000),
		"percent signs":                  "%41" + secret[1:],
		"another cookie before it":       "x; __Host-atm=" + secret,
		"another cookie of the same":     secret[:4] + "; __Host-atm=" + secret,
		"a word of the cookie's grammar": "Path=/; __Host-atm",
	} {
		attacks = append(attacks, attack{
			name: name, request: opened(page, firefox, "Cookie: __Host-atm="+value), want: 401,
		})
	}
	for name, agent := range map[string]string{
		"another browser":                 "User-Agent: curl/8.0",
		"a newer browser":                 firefox[:len(firefox)-1] + "1",
		"the browser in other letters":    strings.ToUpper(firefox[12:]),
		"a browser that does not say so":  "X-User-Agent: " + firefox[12:],
		"a browser that says more":        firefox + " Safari",
		"a browser that says half of it":  firefox[:20],
		"two browsers, of which one fits": "User-Agent: curl/8.0\r\n" + firefox,
	} {
		if !strings.Contains(agent, ":") {
			agent = "User-Agent: " + agent
		}
		attacks = append(attacks, attack{
			name: name, request: opened(page, agent, "Cookie: __Host-atm="+secret), want: 401,
		})
	}
	for _, name := range []string{"atm", "__host-atm", "__Secure-atm", "__Host-ATM", "__Host-atm-"} {
		attacks = append(attacks, attack{
			name: "a cookie called " + name, want: 401,
			request: opened(page, firefox, "Cookie: "+name+"="+secret),
		})
	}
	for name, header := range map[string]string{
		"as a bearer token": "Authorization: Bearer " + secret,
		"as a password": "Authorization: Basic " +
			base64.StdEncoding.EncodeToString([]byte("alice:"+secret)),
		"beside a token": "Cookie: __Host-atm=" + secret + "\r\nAuthorization: Bearer x.y.z",
		"in the address": "X-Original-URL: /console/me?__Host-atm=" + secret,
	} {
		attacks = append(attacks, attack{
			name: name, request: opened(page, firefox, header), want: 401,
		})
	}
	return attacks
}

// cookieElsewhere are requests with a good cookie to what programs use.
func (a *arena) cookieElsewhere(cookie string) []attack {
	withdraw := daemontest.Call("withdraw", "200", "1.00", "stolen")
	return []attack{
		{name: "a call", header: []string{firefox, cookie}, body: withdraw, want: 401},
		{
			name: "a call to the first page", path: "/", header: []string{firefox, cookie},
			body: withdraw, want: 401,
		},
		{
			name: "a call of somebody else", by: a.mallory, header: []string{firefox, cookie},
			body: withdraw, want: 200, says: "ACCOUNT_NOT_FOUND",
		},
		{
			name: "a token", path: "/token", header: []string{firefox, cookie},
			body: "grant_type=client_credentials", want: 401,
		},
		{
			name: "a token given up", path: "/token/revoke", header: []string{firefox, cookie},
			body: "token=x.y.z", want: 401,
		},
		{
			name: "a backup", want: 401,
			request: posted("/admin/backup", "x=y", firefox, cookie),
		},
		{
			name: "an entry of the log", want: 403,
			request: opened("/audit/tile/entries/000", firefox, cookie),
		},
		{
			name: "a page of operators", want: 403,
			request: opened("/console/admin/users", firefox, cookie),
		},
		{
			name: "an account of somebody else", want: 404,
			request: opened("/console/accounts/100", firefox, cookie),
		},
		{
			name: "money of somebody else", want: 303, says: "Location: /console/slips/",
			request: posted("/console/accounts/100/act",
				"act=withdraw&amount=1.00&request_id=b1", firefox, cookie),
		},
		{name: "the passkey of nobody", want: 404, request: posted(
			"/console/me/passkeys/remove", "passkey=none&request_id=b2", firefox, cookie)},
		{name: "a session of nobody", want: 404, request: posted(
			"/console/me/sessions/end", "session=none&request_id=b3", firefox, cookie)},
		{name: "a passkey of no device, on a page by right", want: 422, request: posted(
			"/console/me/passkeys", "name=x&state=x&response={}", firefox, cookie)},
	}
}

// otherSites are requests that a page of another site makes a browser send.
func otherSites(cookie string) (attacks []attack) {
	for path, body := range map[string]string{
		"/console/accounts/200/act": "act=withdraw&amount=1.00&request_id=o1",
		"/console/me/sign-out":      "everywhere=1",
		"/console/me/passkeys":      "name=x&state=x&response={}",
		"/console/me/sessions/end":  "session=*&request_id=o2",
		"/console/sign-in":          "name=mallory&secret=" + daemontest.AliceSecret,
		"/console/grants/give":      "account=200&request_id=o3",
	} {
		for name, header := range map[string]string{
			"another site":   "Sec-Fetch-Site: cross-site",
			"a neighbour":    "Sec-Fetch-Site: same-site",
			"another origin": "Origin: https://evil.example",
			"no origin":      "Origin: null",
		} {
			attacks = append(attacks, attack{
				name: path + " from " + name, want: 403,
				request: posted(path, body, firefox, cookie, header),
			})
		}
	}
	for _, path := range []string{
		"/console/accounts/200/act?act=withdraw&amount=1.00&request_id=o4", "/console/me/sign-out",
		"/console/me/passkeys",
	} {
		attacks = append(attacks, attack{
			name: "a picture of " + path, want: 405,
			request: opened(path, firefox, cookie, "Sec-Fetch-Site: cross-site"),
		})
	}
	return attacks
}

// signInForms are forms of names and secrets that are not right.
func signInForms() (attacks []attack) {
	for name, tt := range map[string]struct {
		body string
		want int
	}{
		"nothing":              {"", 422},
		"a secret alone":       {"secret=x", 422},
		"a name alone":         {"name=alice", 422},
		"a wrong secret":       {"name=alice&secret=wrong", 401},
		"a part of the secret": {"name=alice&secret=" + daemontest.AliceSecret[:10], 401},
		"the secret and more":  {"name=alice&secret=" + daemontest.AliceSecret + "x", 401},
		"another's secret":     {"name=operator&secret=" + daemontest.AliceSecret, 401},
		"nobody":               {"name=zoe&secret=" + daemontest.AliceSecret, 401},
		"a user who is disabled": {
			"name=dave&secret=" + daemontest.AliceSecret, 401,
		},
		"a user without a secret": {"name=nina&secret=x", 401},
		"another realm":           {"name=alice:atm&secret=" + daemontest.AliceSecret, 401},
		"a zero byte":             {"name=alice%00&secret=" + daemontest.AliceSecret, 401},
		"capitals":                {"name=ALICE&secret=" + daemontest.AliceSecret, 401},
		"SQL":                     {"name=alice&secret='+OR+1=1--", 401},
		"a secret without end":    {"name=alice&secret=" + strings.Repeat("x", 7000), 401},
		"a form without end":      {"name=alice&secret=" + strings.Repeat("x", 20_000), 400},
		"percent signs":           {"name=alice&secret=%zz", 400},
		"a stored form of it":     {"name=alice&secret=$argon2id$v=19$m=19456,t=2,p=1$x$y", 401},
	} {
		attacks = append(attacks, attack{
			name: name, want: tt.want, request: posted("/console/sign-in", tt.body, firefox),
		})
	}
	return attacks
}

// passkeyForms are assertions that no device made.
func passkeyForms() (attacks []attack) {
	whole := `{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{"clientDataJSON":` +
		`"e30","authenticatorData":"AAAA","signature":"AAAA","userHandle":"AAAA"}}`
	for name, response := range map[string]string{
		"nothing in it":     "{}",
		"null":              "null",
		"a list":            "[]",
		"a number":          "1e400",
		"no JSON":           "<xml/>",
		"a device of zeros": whole,
		"no base64":         strings.ReplaceAll(whole, "AAAA", "%%%%"),
		"another type":      strings.ReplaceAll(whole, "public-key", "password"),
		"lists in lists":    strings.Repeat("[", 2000),
		"members twice":     strings.Replace(whole, `"id"`, `"id":"BBBB","id"`, 1),
		"a long id":         strings.ReplaceAll(whole, `"AAAA"`, `"`+strings.Repeat("A", 1000)+`"`),
	} {
		attacks = append(attacks, attack{
			name: name, want: 401, request: posted("/console/sign-in",
				url.Values{"state": {"AAAA"}, "response": {response}}.Encode(), firefox,
				"Cookie: __Host-atm-browser="+strings.Repeat("A", 26)),
		})
	}
	return attacks
}

// invitations are codes that invite nobody.
func (a *arena) invitations(t *testing.T) (attacks []attack) {
	t.Helper()
	operator := a.As(t, "operator")
	answer := func(method string, args ...any) string {
		record, _ := daemontest.Must(t)(operator.Call(t.Context(), method, args...)).
			Result.(map[string]any)
		return fmt.Sprint(record["code"], record["token"])
	}
	code := strings.TrimSuffix(answer("admin.cert.invite", "user:eve", "operator"), "<nil>")
	token := strings.TrimPrefix(answer("admin.token.issue", "user:alice"), "<nil>")
	parts := strings.Split(code, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(
		`{"alg":"none","typ":"atm-invitation+jwt"}`))
	for name, code := range map[string]string{
		"nothing":              "",
		"a word":               "code",
		"an access token":      token,
		"no signature":         parts[0] + "." + parts[1] + ".",
		"another signature":    parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86),
		"no algorithm":         none + "." + parts[1] + ".",
		"another's claims":     parts[0] + "." + strings.Split(token, ".")[1] + "." + parts[2],
		"a part less":          parts[0] + "." + parts[1],
		"a part more":          code + "." + parts[2],
		"a slash in it":        parts[0] + "/" + parts[1] + "/" + parts[2],
		"a code without end":   strings.Repeat("A", 6000),
		"a query in its place": "?code=" + code,
	} {
		attacks = append(attacks, attack{
			name: name, want: 401, request: opened("/console/invite/"+code, firefox),
		})
	}
	return append(attacks,
		attack{name: "a passkey that no device made", want: 422, request: posted(
			"/console/invite/"+code, "name=x&state=AAAA&response={}", firefox)},
		attack{name: "no passkey", want: 422, request: posted(
			"/console/invite/"+code, "name=x", firefox)},
	)
}
