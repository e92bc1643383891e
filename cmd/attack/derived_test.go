//go:build unix

package attack_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/certs"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// attackDerived derives credentials from credentials. No credential that is derived from a
// token has more scope or a longer life than the token.
func (a *arena) attackDerived(t *testing.T) {
	const life = 2 * time.Minute
	key := readKey(t, filepath.Join(a.Data, "keys/token.key"))
	kid := a.kid(t)
	// tokenOf is a token of subject that expires soon.
	tokenOf := func(subject, scope string) (token string, expires time.Time) {
		issued := time.Now().Add(-time.Second).Truncate(time.Second)
		expires = time.Now().Add(life).Truncate(time.Second)
		return forge(t, key, fmt.Sprintf(`{"alg":"ES256","typ":"at+jwt","kid":%q}`, kid),
			fmt.Sprintf(
				`{"iss":"https://%[1]s","aud":"https://%[1]s/RPC2","sub":%[2]q,"client_id":%[2]q,"iat":%[3]d,"exp":%[4]d,"jti":%[5]q,"scope":%[6]q}`,
				a.domain, subject, issued.Unix(), expires.Unix(), rand.Text(), scope)), expires
	}
	request := func() string {
		text, err := certs.NewRequest(daemontest.NewKey(t))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}

	const denied = "PERMISSION_DENIED"
	for _, tt := range []struct {
		name, subject, scope string
		call                 []string
		want                 string // OK or a code
	}{
		{
			"a grant for what the token is not for", "user:alice", "admin.grant.create",
			[]string{"admin.grant.create", "200", "withdraw", "50", "user:mallory"},
			denied,
		},
		{
			"a grant for more than the token is for", "user:alice", "admin.grant.create inquiry",
			[]string{"admin.grant.create", "200", "inquiry withdraw", "50", "user:mallory"},
			denied,
		},
		{"a grant without the method", "user:alice", "withdraw", []string{
			"admin.grant.create",
			"200", "withdraw", "50", "user:mallory",
		}, denied},
		{
			"a grant within the scope", "user:alice", "admin.grant.create withdraw",
			[]string{
				"admin.grant.create", "200", "withdraw", "50", "service:billing",
				"3600",
			},
			"OK",
		},
		{"a grant by a token for all", "user:alice", "*", []string{
			"admin.grant.create", "200",
			"withdraw inquiry", "50", "service:billing",
		}, "OK"},

		{
			"a token for all", "user:operator", "admin.token.issue inquiry",
			[]string{"admin.token.issue", "user:operator", "*"},
			denied,
		},
		{
			"a token for more", "user:operator", "admin.token.issue inquiry",
			[]string{"admin.token.issue", "user:operator", "inquiry admin.user.add"},
			denied,
		},
		{
			"a token for less", "user:operator", "admin.token.issue inquiry",
			[]string{"admin.token.issue", "user:alice", "inquiry", "3600"},
			"OK",
		},
		{
			"a token for as much, in no word", "user:operator", "admin.token.issue inquiry",
			[]string{"admin.token.issue", "user:alice"},
			"OK",
		},
		{"a token by a token for all", "user:operator", "*", []string{
			"admin.token.issue",
			"user:alice", "*", "3600",
		}, "OK"},

		{"a certificate", "user:operator", "admin.cert.issue", []string{
			"admin.cert.issue",
			"user:operator", request(),
		}, denied},
		{
			"a certificate for somebody new", "user:operator", "admin.cert.issue",
			[]string{"admin.cert.issue", "user:evil", request(), "operator"},
			denied,
		},
		{"a certificate by a token for all", "user:operator", "*", []string{
			"admin.cert.issue",
			"user:nina", request(), "", "365",
		}, "OK"},
		{"a renewal", "user:alice", "*", []string{"admin.cert.renew", request()}, denied},
		{"an invitation", "user:operator", "admin.cert.invite", []string{
			"admin.cert.invite",
			"user:operator",
		}, denied},
		{"an invitation by a token for all", "user:operator", "*", []string{
			"admin.cert.invite",
			"user:nina", "", "144h", "365",
		}, "OK"},

		{"a user with a password", "user:operator", "admin.user.add", []string{
			"admin.user.add",
			"user:evil", "operator", daemontest.AliceSecret,
		}, denied},
		{"a user without one", "user:operator", "admin.user.add", []string{
			"admin.user.add",
			"user:vera", "auditor",
		}, "OK"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token, expires := tokenOf(tt.subject, tt.scope)
			if tt.want != "OK" { // from its own address, because no operation of it may succeed
				at := attack{
					body:   daemontest.Call(tt.call[0], tt.call[1:]...),
					header: []string{"Authorization: Bearer " + token},
				}
				if code, answer := a.try(t, t.Name(), nil, &at); code != http.StatusOK ||
					codeIn(answer) != tt.want {
					t.Errorf("answered %d %.700s, not %s", code, answer, tt.want)
				}
				return
			}
			c, err := client.New(client.Config{
				Server: "https://" + a.Addr, TLS: a.config(nil),
				Token: token,
			})
			if err != nil {
				t.Fatal(err)
			}
			args := make([]any, len(tt.call)-1)
			for i, arg := range tt.call[1:] {
				args[i] = arg
			}
			answer := daemontest.Must(t)(c.Call(t.Context(), tt.call[0], args...))
			record, _ := answer.Result.(map[string]any)
			if tt.call[0] == "admin.user.add" {
				return
			}
			for _, member := range []string{"expires", "not_after"} {
				if text, there := record[member].(string); there {
					if end, err := time.Parse(time.RFC3339, text); err != nil ||
						end.After(expires) {
						t.Errorf("it ends at %s, and the token that made it at %v: %v", text,
							expires, err)
					}
				}
			}
			if record["expires"] == nil && record["not_after"] == nil {
				t.Errorf("nothing says when it ends: %v", record)
			}
			if made, there := record["token"].(string); there {
				says := claimsOf(t, made)
				for _, op := range strings.Fields(says.Scope) {
					if tt.scope != "*" && !strings.Contains(" "+tt.scope+" ", " "+op+" ") {
						t.Errorf("a token for %q made one for %q", tt.scope, says.Scope)
					}
				}
				if time.Unix(says.Exp, 0).After(expires) {
					t.Errorf("it ends at %v, and the token that made it at %v",
						time.Unix(says.Exp, 0), expires)
				}
			}
			if code, there := record["code"].(string); there {
				if cert := a.enroll(t, code, request()); cert.NotAfter.After(expires) {
					t.Errorf("the certificate of the invitation ends at %v, and the token that "+
						"made it at %v", cert.NotAfter, expires)
				}
			}
		})
	}

	t.Run("an exchange", func(t *testing.T) {
		details := func(actions string) string {
			return `[{"type":"atm_grant","accounts":["200"],"actions":[` + actions +
				`],"cap":"20.00"}]`
		}
		for _, tt := range []struct{ scope, actions, want string }{
			{"inquiry", `"withdraw"`, "invalid_scope"},
			{"inquiry", `"inquiry","withdraw"`, "invalid_scope"},
			{"admin.grant.create", `"withdraw"`, "invalid_scope"},
			{"withdraw", `"withdraw"`, ""},
			{"*", `"withdraw","inquiry"`, ""},
		} {
			token, expires := tokenOf("user:alice", tt.scope)
			_, answer := a.Token(t, daemontest.HTTPClient(t, a.config(a.billing)), url.Values{
				"grant_type":            {"urn:ietf:params:oauth:grant-type:token-exchange"},
				"subject_token":         {token},
				"subject_token_type":    {"urn:ietf:params:oauth:token-type:access_token"},
				"authorization_details": {details(tt.actions)}, "seconds": {"3600"},
			}, nil)
			made, _ := answer["access_token"].(string)
			if answer["error"] != any(tt.want) && (tt.want != "" || made == "") {
				t.Errorf("%+v: %v", tt, answer)
			}
			if seconds, _ := answer["expires_in"].(float64); made != "" &&
				(seconds > life.Seconds() || time.Unix(claimsOf(t, made).Exp, 0).After(expires)) {
				t.Errorf("%+v: it ends after the token at %v: %v", tt, expires, answer)
			}
		}
	})

	// A credential that a certificate's holder derives ends with the certificate.
	short := a.issued(t, func(c *x509.Certificate) {
		c.NotAfter = time.Now().Add(life)
	}, "spiffe://"+a.domain+"/user/alice")
	ends := daemontest.Parsed(t, short.Certificate[0]).NotAfter
	t.Run("a token by a certificate", func(t *testing.T) {
		_, answer := a.Token(t, daemontest.HTTPClient(t, a.config(short)),
			url.Values{"grant_type": {"client_credentials"}}, nil)
		made, _ := answer["access_token"].(string)
		if seconds, _ := answer["expires_in"].(float64); made == "" || seconds > life.Seconds() ||
			time.Unix(claimsOf(t, made).Exp, 0).After(ends) {
			t.Errorf("the certificate ends at %v: %v", ends, answer)
		}
	})
	t.Run("a grant by a certificate", func(t *testing.T) {
		record, _ := daemontest.Must(t)(a.client(t, short).Call(t.Context(),
			"admin.grant.create", "200",
			"withdraw", "5", "service:billing", "3600")).Result.(map[string]any)
		text, _ := record["expires"].(string)
		if end, err := time.Parse(time.RFC3339, text); err != nil || end.After(ends) {
			t.Errorf("the certificate ends at %v, the grant at %s", ends, text)
		}
	})
	t.Run("a grant by a grant", func(t *testing.T) {
		record, _ := daemontest.Must(t)(a.client(t, a.alice).Call(t.Context(),
			"admin.grant.create", "200",
			"withdraw", "5", "user:mallory")).Result.(map[string]any)
		grant, _ := record["token"].(string)
		for _, body := range []string{
			daemontest.Call("admin.grant.create", "200", "withdraw", "5", "service:billing"),
			daemontest.Call("admin.cert.renew", request()), daemontest.Call("admin.token.issue",
				"user:alice"),
		} {
			at := attack{body: body, header: []string{"Authorization: Bearer " + grant}}
			if code, answer := a.try(t, t.Name(), nil, &at); code != http.StatusOK ||
				codeIn(answer) != denied {
				t.Errorf("%.60s: %d %.700s", body, code, answer)
			}
		}
	})
}

// kid is the name of the key that signs tokens.
func (a *arena) kid(t *testing.T) string {
	t.Helper()
	_, jwks := a.exchange(t, nil, nil, "GET /.well-known/jwks.json HTTP/1.1\r\nHost: "+
		"localhost\r\nConnection: close\r\n\r\n")
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal([]byte(jwks[strings.Index(jwks, "\r\n\r\n"):]), &set); err != nil ||
		len(set.Keys) == 0 {
		t.Fatalf("%v: %s", err, jwks)
	}
	return set.Keys[0].Kid
}

// tokenClaims are the claims of a token about its scope.
type tokenClaims struct {
	Scope string
	Exp   int64
}

func claimsOf(t *testing.T, token string) (c tokenClaims) {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token+"..", ".")[1])
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	if err != nil {
		t.Fatalf("%s: %v", token, err)
	}
	return c
}

// enroll uses an invitation.
func (a *arena) enroll(t *testing.T, code, request string) *x509.Certificate {
	t.Helper()
	resp, err := daemontest.HTTPClient(t, a.config(nil)).PostForm("https://"+a.Addr+"/enroll",
		url.Values{"code": {code}, "request": {request}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Certificate string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	cert, err := certs.ParseCertificate([]byte(answer.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
