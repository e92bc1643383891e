//go:build unix

package attack_test

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/cmd/internal/daemontest"
)

var b64url = base64.RawURLEncoding.EncodeToString

// forge makes a token with exactly this header and these claims, signed by key with ES256.
func forge(t *testing.T, key *ecdsa.PrivateKey, header, claims string) string {
	t.Helper()
	text := b64url([]byte(header)) + "." + b64url([]byte(claims))
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64url(append(r.FillBytes(make([]byte, 32)),
		s.FillBytes(make([]byte, 32))...))
}

// attackTokens presents tokens with one defect each. Those with wrong claims are signed with
// the server's own key, which no attacker has.
func (a *arena) attackTokens(t *testing.T) {
	key := readKey(t, filepath.Join(a.Data, "keys/token.key"))
	other := daemontest.NewKey(t)
	_, jwks := a.exchange(t, nil, nil, "GET /.well-known/jwks.json HTTP/1.1\r\nHost: "+
		"localhost\r\nConnection: close\r\n\r\n")
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal([]byte(jwks[strings.Index(jwks, "\r\n\r\n"):]), &set); err != nil ||
		len(set.Keys) == 0 {
		t.Fatalf("%v: %s", err, jwks)
	}
	kid := set.Keys[0].Kid
	now := time.Now().Unix()
	head := fmt.Sprintf(`{"alg":"ES256","typ":"at+jwt","kid":%q}`, kid)
	claims := fmt.Sprintf(
		`{"iss":"https://%[1]s","aud":"https://%[1]s/RPC2","sub":"user:alice","client_id":"user:alice","iat":%[2]d,"exp":%[3]d,"jti":"J1","scope":"*"}`,
		a.domain, now-1, now+600)
	use := func(t *testing.T, name, token string) (int, string) {
		return a.exchange(t, a.address(name), nil,
			(&attack{
				body: daemontest.Call("inquiry", "200"),
				header: []string{"Authorization: Bearer " +
					token},
			}).bytes())
	}
	if code, answer := use(t, "control "+harmless, forge(t, key, head, claims)); code != 200 ||
		!strings.Contains(answer, "60.00") {
		t.Fatalf("a good token: %d %s", code, answer)
	}

	in := func(text, old, by string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%s has no %s", text, old)
		}
		return strings.Replace(text, old, by, 1)
	}
	header := func(old, by string) string { return forge(t, key, in(head, old, by), claims) }
	claim := func(old, by string) string { return forge(t, key, head, in(claims, old, by)) }
	more := func(extra string) string { return claim(`"scope"`, extra+`,"scope"`) }
	moreHead := func(extra string) string { return header(`{`, `{`+extra+`,`) }
	good := forge(t, key, head, claims)
	parts := strings.Split(good, ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	asDER, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	unsigned := func(h string) string { return b64url([]byte(h)) + "." + parts[1] }
	hs256 := func(secret []byte) string {
		text := unsigned(in(head, "ES256", "HS256"))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return text + "." + b64url(mac.Sum(nil))
	}
	exp, iat := fmt.Sprintf(`"exp":%d`, now+600), fmt.Sprintf(`"iat":%d`, now-1)
	embedded := fmt.Sprintf(`"jwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q}`,
		b64url(other.X.FillBytes(make([]byte, 32))), b64url(other.Y.FillBytes(make([]byte, 32))))
	grantOf := `"authorization_details":[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"cap":"50"}]`

	for name, token := range map[string]string{
		"alg none":                     unsigned(in(head, "ES256", "none")) + ".",
		"alg None":                     unsigned(in(head, "ES256", "None")) + "." + parts[2],
		"alg nOnE without a signature": unsigned(in(head, "ES256", "nOnE")) + ".",
		"no alg":                       forge(t, key, in(head, `"alg":"ES256",`, ``), claims),
		"HS256 with the public key":    hs256(public),
		"HS256 with the empty key":     hs256(nil),
		"HS256 with the kid":           hs256([]byte(kid)),
		"alg RS256":                    header("ES256", "RS256"),
		"alg ES384":                    header("ES256", "ES384"),
		"alg ES256K":                   header("ES256", "ES256K"),
		"alg in lower case":            header("ES256", "es256"),
		"alg as a list":                header(`"ES256"`, `["ES256"]`),
		"another key":                  forge(t, other, head, claims),
		"another key that it brings along": forge(t, other, in(head, `{`, `{`+embedded+`,`),
			claims),
		"no signature":       parts[0] + "." + parts[1] + ".",
		"no third part":      parts[0] + "." + parts[1],
		"a signature in DER": parts[0] + "." + parts[1] + "." + b64url(asDER),
		"a signature of zeros": parts[0] + "." + parts[1] + "." +
			b64url(make([]byte, 64)),
		"a signature that is longer":  good + "AA",
		"a signature that is shorter": good[:len(good)-2],
		"a signature of another token": forge(t, key, head,
			in(claims, "J1", "J2"))[:len(parts[0])+1] + parts[1] + "." +
			strings.Split(forge(t, key, head, in(claims, "J1", "J3")), ".")[2],
		"a payload that was changed": parts[0] + "." +
			b64url([]byte(in(claims, "user:alice", "user:demo"))) + "." + parts[2],
		"a header that was changed": b64url([]byte(in(head, "at+jwt", "at+JWT"))) + "." +
			parts[1] + "." + parts[2],
		"no kid":               header(fmt.Sprintf(`,"kid":%q`, kid), ``),
		"a kid that is a path": header(kid, "../../../../dev/null"),
		"a kid that is SQL":    header(kid, "x' UNION SELECT 'secret' -- "),
		"a kid that is a list": header(fmt.Sprintf("%q", kid),
			fmt.Sprintf("[%q]", kid)),
		"an empty kid": header(kid, ""),
		"jku":          moreHead(`"jku":"https://evil.example/jwks.json"`),
		"x5u":          moreHead(`"x5u":"https://evil.example/x.pem"`),
		"x5c": moreHead(fmt.Sprintf(`"x5c":[%q]`,
			base64.StdEncoding.EncodeToString(a.mallory.Certificate[0]))),
		"crit":                        moreHead(`"crit":["exp"]`),
		"b64 false":                   moreHead(`"b64":false,"crit":["b64"]`),
		"cty":                         moreHead(`"cty":"JWT"`),
		"zip":                         moreHead(`"zip":"DEF"`),
		"typ JWT":                     header("at+jwt", "JWT"),
		"typ in upper case":           header("at+jwt", "AT+JWT"),
		"no typ":                      header(`"typ":"at+jwt",`, ``),
		"a name twice in the header":  header(`{`, `{"alg":"none",`),
		"a name twice in the claims":  claim(`{`, `{"sub":"user:demo",`),
		"a name twice inside a claim": more(`"x":{"a":1,"a":2}`),
		"a name twice by an escape":   claim(`{`, `{"\u0073ub":"user:demo",`),
		"claims that are a list":      forge(t, key, head, `[1]`),
		"claims and more":             forge(t, key, head, claims+`{}`),
		"claims 100 deep": more(`"x":` + strings.Repeat("[", 100) +
			strings.Repeat("]", 100)),
		"exp past": forge(t, key, head,
			in(in(claims, iat, fmt.Sprintf(`"iat":%d`, now-700)), exp,
				fmt.Sprintf(`"exp":%d`, now-100))),
		"exp in text":          claim(exp, fmt.Sprintf(`"exp":"%d"`, now+600)),
		"exp with a fraction":  claim(exp, fmt.Sprintf(`"exp":%d.5`, now+600)),
		"exp with an exponent": claim(exp, `"exp":1e12`),
		"exp negative":         claim(exp, `"exp":-1`),
		"exp very large":       claim(exp, `"exp":99999999999999999999`),
		"exp null":             claim(exp, `"exp":null`),
		"no exp":               claim(exp+`,`, ``),
		"a life of two hours":  claim(exp, fmt.Sprintf(`"exp":%d`, now+7200)),
		"iat in the future": forge(t, key, head,
			in(in(claims, iat, fmt.Sprintf(`"iat":%d`, now+3000)), exp,
				fmt.Sprintf(`"exp":%d`, now+3600))),
		"no iat":                   claim(iat+`,`, ``),
		"iat after exp":            claim(exp, fmt.Sprintf(`"exp":%d`, now-2)),
		"nbf in the future":        more(fmt.Sprintf(`"nbf":%d`, now+500)),
		"nbf in text":              more(`"nbf":"1"`),
		"no sub":                   claim(`"sub":"user:alice",`, ``),
		"sub of nobody":            claim(`"sub":"user:alice"`, `"sub":"user:nobody"`),
		"sub of somebody disabled": claim(`"sub":"user:alice"`, `"sub":"user:dave"`),
		"sub as a list":            claim(`"sub":"user:alice"`, `"sub":["user:alice"]`),
		"sub without a kind":       claim(`"sub":"user:alice"`, `"sub":"alice"`),
		"sub of the system":        claim(`"sub":"user:alice"`, `"sub":"system:init"`),
		"no jti":                   claim(`"jti":"J1",`, ``),
		"an empty jti":             claim(`"J1"`, `""`),
		"no iss": claim(fmt.Sprintf(`"iss":"https://%s",`,
			a.domain), ``),
		"another iss": claim(`"iss":"https://`, `"iss":"http://`),
		"iss with a slash behind": claim(fmt.Sprintf(`"iss":"https://%s"`, a.domain),
			fmt.Sprintf(`"iss":"https://%s/"`, a.domain)),
		"no aud": claim(fmt.Sprintf(`"aud":"https://%s/RPC2",`,
			a.domain), ``),
		"another aud": claim(`/RPC2"`, `/token"`),
		"aud of two": claim(fmt.Sprintf(`"aud":"https://%s/RPC2"`, a.domain),
			fmt.Sprintf(`"aud":["https://%s/RPC2","https://evil.example"]`, a.domain)),
		"no scope":        claim(`,"scope":"*"`, ``),
		"scope as a list": claim(`"scope":"*"`, `"scope":["*"]`),
		"bound to another certificate": more(`"cnf":{"x5t#S256":"` +
			b64url(make([]byte, 32)) + `"}`),
		"bound in an unknown way":  more(`"cnf":{"jkt":"x"}`),
		"bound in two ways":        more(`"cnf":{"x5t#S256":"x","jkt":"y"}`),
		"bound to nothing":         more(`"cnf":{}`),
		"bound by null":            more(`"cnf":{"x5t#S256":null}`),
		"an actor without a grant": more(`"act":{"sub":"user:mallory"}`),
		"a grant without an actor": more(grantOf),
		"an actor of an actor": more(
			`"act":{"sub":"user:mallory","act":{"sub":"user:demo"}},` + grantOf),
		"a grant of another type": more(
			`"act":{"sub":"user:mallory"},"authorization_details":[{"type":"other"}]`),
		"two grants": more(`"act":{"sub":"user:mallory"},` +
			strings.Replace(grantOf, "}]", `},{"type":"atm_grant"}]`, 1)),
		"an actor who is nobody": more(`"act":{"sub":"user:nobody"},` + grantOf),
		"padding":                parts[0] + "=." + parts[1] + "." + parts[2],
		"the other alphabet": parts[0] + "." + parts[1] + "." +
			strings.NewReplacer("-", "+", "_", "/").Replace(parts[2]) + "+/",
		"a space in it":  good[:20] + " " + good[20:],
		"more behind it": good + ".x",
		"five parts":     good + ".x.y",
		"its JSON form": fmt.Sprintf(
			`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2]),
		"10 kB":   more(`"x":"` + strings.Repeat("x", 7<<10) + `"`),
		"nothing": "",
		"a dot":   "..",
		"bits behind the end": parts[0] + "." + parts[1] + "." +
			strings.TrimRight(parts[2], parts[2][len(parts[2])-1:]) +
			string(parts[2][len(parts[2])-1]+1),
		"the high half of a signature of 0": parts[0] + "." + parts[1] + "." +
			b64url(append(make([]byte, 32), signature[32:]...)),
	} {
		t.Run(name, func(t *testing.T) {
			if code, answer := use(t, t.Name(), token); code != 401 {
				t.Errorf("answered %d %.300s for %s", code, answer, token)
			}
		})
	}
	t.Run("each byte of the signature", func(t *testing.T) {
		for i := range signature {
			changed := append([]byte(nil), signature...)
			changed[i] ^= 1 << (i % 8)
			if code, answer := use(t, fmt.Sprintf("%s %d", t.Name(), i), parts[0]+"."+parts[1]+"."+
				b64url(changed)); code != 401 {
				t.Errorf("byte %d: %d %s", i, code, answer)
			}
		}
	})
	t.Run("places where no token belongs", func(t *testing.T) {
		for name, at := range map[string]attack{
			"query":          {path: "/RPC2?access_token=" + good, want: 401},
			"cookie":         {header: []string{"Cookie: access_token=" + good}, want: 401},
			"another header": {header: []string{"X-Authorization: Bearer " + good}, want: 401},
			"a proxy's":      {header: []string{"Proxy-Authorization: Bearer " + good}, want: 401},
			"another scheme": {header: []string{"Authorization: Token " + good}, want: 401},
			"no scheme":      {header: []string{"Authorization: " + good}, want: 401},
			"two tokens": {header: []string{"Authorization: Bearer " + good + ", Bearer " +
				good}, want: 401},
			"two headers": {header: []string{
				"Authorization: Bearer " + good,
				"Authorization: Bearer " + good,
			}, want: 400},
			"scheme of Basic": {header: []string{"Authorization: Basic " +
				base64.StdEncoding.EncodeToString([]byte("alice:"+good))}, want: 401},
		} {
			if code, answer := a.try(t, t.Name()+"/"+name, nil, &at); code != at.want {
				t.Errorf("%s: %d %s", name, code, answer)
			}
		}
	})
	t.Run("revoked, and its twin", func(t *testing.T) {
		record, _ := daemontest.Must(t)(a.As(t, "operator").Call(t.Context(), "admin.token.issue",
			"user:alice")).Result.(map[string]any)
		revoked := fmt.Sprint(record["token"])
		daemontest.Must(t)(a.As(t, "operator").Call(t.Context(), "admin.token.revoke",
			fmt.Sprint(record["jti"])))
		daemontest.AwaitReplicas()
		p := strings.Split(revoked, ".")
		raw, err := base64.RawURLEncoding.DecodeString(p[2])
		if err != nil {
			t.Fatal(err)
		}
		// (r, n−s) is another valid signature of the same bytes.
		twin := new(big.Int).Sub(key.Params().N, new(big.Int).SetBytes(raw[32:]))
		for name, token := range map[string]string{"itself": revoked, "twin": p[0] + "." + p[1] +
			"." + b64url(append(raw[:32:32], twin.FillBytes(make([]byte, 32))...))} {
			if code, answer := use(t, t.Name()+"/"+name, token); code != 401 {
				t.Errorf("%s: %d %s", name, code, answer)
			}
		}
	})
	t.Run("out of scope", func(t *testing.T) {
		narrow := "Authorization: Bearer " + forge(t, key, head, in(claims, `"scope":"*"`,
			`"scope":"inquiry"`))
		for _, body := range []string{
			daemontest.Call("withdraw", "200", "1"),
			daemontest.Call("transfer", "200", "300",
				"1"), daemontest.Call("statement", "200"), daemontest.Call("admin.user.list"),
		} {
			code, answer := a.exchange(t, a.address(t.Name()), nil,
				(&attack{body: body, header: []string{narrow}}).bytes())
			if code != 200 || !strings.Contains(answer, "PERMISSION_DENIED") {
				t.Errorf("%s: %d %s", body, code, answer)
			}
		}
	})
	t.Run("a grant that the vault does not know", func(t *testing.T) {
		token := more(`"act":{"sub":"user:mallory"},` + grantOf)
		for _, body := range []string{
			daemontest.Call("withdraw", "200", "1"),
			daemontest.Call("inquiry", "200"),
		} {
			code, answer := a.exchange(t, a.address(t.Name()), nil,
				(&attack{body: body, header: []string{"Authorization: Bearer " + token}}).bytes())
			if code != 200 || !strings.Contains(answer, "PERMISSION_DENIED") {
				t.Errorf("%s: %d %s", body, code, answer)
			}
		}
	})
	t.Run("at the token endpoint", func(t *testing.T) {
		bearer := "Authorization: Bearer " + good
		for name, at := range map[string]attack{
			"a token from a token": {
				path: "/token", body: "grant_type=client_credentials",
				header: []string{bearer}, want: 400, says: "unauthorized_client",
			},
			"nobody": {
				path: "/token", body: "grant_type=client_credentials",
				want: 401,
			},
			"another grant": {
				path: "/token", by: a.mallory,
				body: "grant_type=password&username=alice&password=" + daemontest.AliceSecret,
				want: 400,
				says: "unsupported_grant_type",
			},
			"a scope of nothing": {
				path: "/token", by: a.mallory,
				body: "grant_type=client_credentials&scope=sudo", want: 400, says: "invalid_scope",
			},
			"a parameter twice": {
				path: "/token", by: a.mallory,
				body: "grant_type=client_credentials&scope=inquiry&scope=*", want: 400,
				says: "invalid_request",
			},
			"another's client_id": {
				path: "/token",
				body: "grant_type=client_credentials&client_id=user:alice&client_secret=" +
					strings.ReplaceAll(daemontest.AliceSecret, " ", "+"), want: 401,
			},
			"revoking without sign-in": {path: "/token/revoke", body: "token=" + good, want: 401},
			"revoking another's token": {path: "/token/revoke", by: a.mallory, body: "token=" +
				good, want: 200},
			"revoking what is no token": {
				path: "/token/revoke", by: a.mallory, body: "token=x",
				want: 200,
			},
			"a form of 10 kB": {
				path: "/token", by: a.mallory,
				body: "grant_type=client_credentials&x=" + strings.Repeat("x", 10<<10), want: 413,
			},
		} {
			if code, answer := a.exchange(t, a.address(t.Name()+"/"+name), at.by,
				at.bytes()); code != at.want || !strings.Contains(answer, at.says) {
				t.Errorf("%s: %d %s", name, code, answer)
			}
		}
		if code, answer := use(t, t.Name()+"/still good, "+harmless, good); code != 200 {
			t.Errorf("another revoked it: %d %s", code, answer)
		}
	})
}
