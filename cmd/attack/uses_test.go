//go:build unix

package attack_test

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"testing"
	"time"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
	"github.com/golang-jwt/jwt/v5"
	"github.com/icholy/digest"
)

// A use is a request with a credential. It succeeds as long as the credential is good.
type use struct {
	path   string
	cert   *tls.Config // nil for none
	header []string
	body   string
	by     []*person // owners of the credentials it depends on; the first one's are revoked
}

// tokenOf is a token of p, and records its id in p.
func (c *counter) tokenOf(t *testing.T, p *person, scope string) string {
	t.Helper()
	record, _ := daemontest.Must(t)(c.operator.Call(t.Context(), "admin.token.issue",
		p.subject, scope,
		"600")).Result.(map[string]any)
	p.jti = fmt.Sprint(record["jti"])
	return fmt.Sprint(record["token"])
}

const exchangeType = "urn:ietf:params:oauth:grant-type:token-exchange"

// uses are all ways to use a credential, and to derive one from another.
var uses = map[string]func(t *testing.T, c *counter) use{
	"money by certificate": func(t *testing.T, c *counter) use {
		p := c.person(t, "customer", "")
		return use{
			cert: p.cert, body: daemontest.Call("withdraw", c.account(), "1"),
			by: []*person{p},
		}
	},
	"an act by certificate": func(t *testing.T, c *counter) use {
		p := c.person(t, "operator", "")
		return use{cert: p.cert, body: daemontest.Call("admin.cert.issue", p.subject,
			daemontest.NewRequest(t),
			"operator"), by: []*person{p}}
	},
	"a user by certificate": func(t *testing.T, c *counter) use {
		p := c.person(t, "operator", "")
		return use{cert: p.cert, body: daemontest.Call("admin.user.add", "user:back-"+p.name,
			"operator",
			daemontest.AliceSecret), by: []*person{p}}
	},
	"an invitation by certificate": func(t *testing.T, c *counter) use {
		p := c.person(t, "operator", "")
		return use{
			cert: p.cert, body: daemontest.Call("admin.cert.invite", p.subject, "operator"),
			by: []*person{p},
		}
	},
	"a token for another by certificate": func(t *testing.T, c *counter) use {
		p := c.person(t, "operator", "")
		return use{
			cert: p.cert, body: daemontest.Call("admin.token.issue", "user:operator"),
			by: []*person{p},
		}
	},
	"renewal": func(t *testing.T, c *counter) use {
		p := c.person(t, "customer", "")
		return use{cert: p.cert, body: daemontest.Call("admin.cert.renew",
			daemontest.NewRequest(t)), by: []*person{p}}
	},
	"grant by certificate": func(t *testing.T, c *counter) use {
		p := c.person(t, "customer", "")
		return use{cert: p.cert, body: daemontest.Call("admin.grant.create", c.account(),
			"withdraw", "5",
			"user:operator"), by: []*person{p}}
	},
	"grant to somebody": func(t *testing.T, c *counter) use {
		to, p := c.person(t, "customer", ""), c.person(t, "customer", "")
		to.serial = "" // the grantee is revoked as a subject
		return use{cert: p.cert, body: daemontest.Call("admin.grant.create", c.account(),
			"withdraw", "5",
			to.subject), by: []*person{to}}
	},
	"money by digest": func(t *testing.T, c *counter) use {
		p := c.person(t, "customer", "digest")
		p.serial = ""
		return use{
			header: []string{"Authorization: " + c.digest(t, p, "/RPC2")},
			body:   daemontest.Call("withdraw", c.account(), "1"), by: []*person{p},
		}
	},
	"an act by digest": func(t *testing.T, c *counter) use {
		p := c.person(t, "operator", "digest")
		p.serial = ""
		return use{
			header: []string{"Authorization: " + c.digest(t, p, "/RPC2")},
			body: daemontest.Call("admin.cert.issue", p.subject, daemontest.NewRequest(t),
				"operator"),
			by: []*person{p},
		}
	},
	"money by token": func(t *testing.T, c *counter) use {
		p := c.person(t, "customer", "")
		token := c.tokenOf(t, p, "*")
		p.serial = ""
		return use{
			header: []string{"Authorization: Bearer " + token},
			body:   daemontest.Call("withdraw", c.account(), "1"), by: []*person{p},
		}
	},
	"an act by token": func(t *testing.T, c *counter) use {
		p := c.person(t, "operator", "")
		token := c.tokenOf(t, p, "*")
		p.serial = ""
		return use{
			header: []string{"Authorization: Bearer " + token},
			body:   daemontest.Call("admin.token.issue", p.subject), by: []*person{p},
		}
	},
	"money by another issuer's token": func(t *testing.T, c *counter) use {
		p := c.person(t, "customer", "")
		// from a clock that is ahead
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": otherIssuer, "aud": "atm", "sub": p.name, "iat": time.Now().Unix() + 30,
			"exp": time.Now().Unix() + 600, "jti": "J" + p.name,
		})
		token.Header["kid"] = "k"
		text, err := token.SignedString(c.provider)
		if err != nil {
			t.Fatal(err)
		}
		p.serial, p.jti, p.issuer = "", "J"+p.name, otherIssuer
		return use{
			header: []string{"Authorization: Bearer " + text},
			body:   daemontest.Call("withdraw", c.account(), "1"), by: []*person{p},
		}
	},
	"token by certificate": func(t *testing.T, c *counter) use {
		p := c.person(t, "customer", "")
		return use{
			path: "/token", cert: p.cert, body: "grant_type=client_credentials",
			by: []*person{p},
		}
	},
	"token by digest": func(t *testing.T, c *counter) use {
		p := c.person(t, "customer", "digest")
		p.serial = ""
		return use{
			path: "/token", header: []string{"Authorization: " + c.digest(t, p, "/token")},
			body: "grant_type=client_credentials", by: []*person{p},
		}
	},
	"token by secret": func(t *testing.T, c *counter) use {
		p := c.person(t, "customer", "token")
		p.serial = ""
		form := url.Values{
			"grant_type": {"client_credentials"}, "client_id": {p.name},
			"client_secret": {daemontest.AliceSecret},
		}
		return use{path: "/token", body: form.Encode(), by: []*person{p}}
	},
	"exchange of somebody's token": func(t *testing.T, c *counter) use {
		actor, p := c.person(t, "customer", ""), c.person(t, "customer", "")
		body := c.exchangeForm(t, p)
		p.serial = ""
		return use{path: "/token", cert: actor.cert, body: body, by: []*person{p, actor}}
	},
	"exchange by somebody": func(t *testing.T, c *counter) use {
		actor, p := c.person(t, "customer", ""), c.person(t, "customer", "")
		body := c.exchangeForm(t, p)
		return use{path: "/token", cert: actor.cert, body: body, by: []*person{actor, p}}
	},
	"money by a grant of somebody": func(t *testing.T, c *counter) use {
		actor, p := c.person(t, "customer", ""), c.person(t, "customer", "")
		token := c.grantOf(t, p, actor)
		p.serial = ""
		return use{
			header: []string{"Authorization: Bearer " + token},
			body:   daemontest.Call("withdraw", c.account(), "1"), by: []*person{p, actor},
		}
	},
	"money by a grant to somebody": func(t *testing.T, c *counter) use {
		actor, p := c.person(t, "customer", ""), c.person(t, "customer", "")
		token := c.grantOf(t, p, actor)
		actor.jti, p.jti, actor.serial = p.jti, "", ""
		return use{
			header: []string{"Authorization: Bearer " + token},
			body:   daemontest.Call("withdraw", c.account(), "1"), by: []*person{actor, p},
		}
	},
	"enrolment": func(t *testing.T, c *counter) use {
		p := c.person(t, "customer", "")
		return use{
			path: "/enroll", body: c.invitation(t, c.operator, p, "operator"),
			by: []*person{p},
		}
	},
	"enrolment by somebody's invitation": func(t *testing.T, c *counter) use {
		host, p := c.person(t, "operator", ""), c.person(t, "customer", "")
		by, err := client.New(client.Config{Server: "https://" + c.Addr, TLS: host.cert})
		if err != nil {
			t.Fatal(err)
		}
		return use{
			path: "/enroll", body: c.invitation(t, by, p, "operator"),
			by: []*person{host, p},
		}
	},
}

func (c *counter) exchangeForm(t *testing.T, p *person) string {
	return url.Values{
		"grant_type": {exchangeType}, "subject_token": {c.tokenOf(t, p, "*")},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"authorization_details": {`[{"type":"atm_grant","accounts":["` + c.account() +
			`"],"actions":["withdraw"],"cap":"5.00"}]`},
	}.Encode()
}

// grantOf is the token of a grant by p, which was created last, to actor.
func (c *counter) grantOf(t *testing.T, p, actor *person) string {
	by, err := client.New(client.Config{Server: "https://" + c.Addr, TLS: p.cert})
	if err != nil {
		t.Fatal(err)
	}
	record, _ := daemontest.Must(t)(by.Call(t.Context(), "admin.grant.create", c.account(),
		"withdraw", "5",
		actor.subject)).Result.(map[string]any)
	p.jti = fmt.Sprint(record["jti"])
	return fmt.Sprint(record["token"])
}

// invitation is the form with which an invitation of p is used.
func (c *counter) invitation(t *testing.T, by *client.Client, p *person, roles string) string {
	record, _ := daemontest.Must(t)(by.Call(t.Context(), "admin.cert.invite", p.subject,
		roles)).Result.(map[string]any)
	p.serial, p.jti = "", fmt.Sprint(record["jti"])
	return url.Values{
		"code":    {fmt.Sprint(record["code"])},
		"request": {daemontest.NewRequest(t)},
	}.Encode()
}

func (c *counter) digest(t *testing.T, p *person, uri string) string {
	t.Helper()
	resp, _ := c.Post(t, daemontest.HTTPClient(t, c.nobody), daemontest.Call("whoami"), nil)
	challenge, err := digest.FindChallenge(resp.Header)
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := digest.Digest(challenge, digest.Options{
		Method: "POST", URI: uri,
		Username: p.name, Password: daemontest.AliceSecret, Count: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return credentials.String()
}
