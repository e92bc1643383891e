//go:build unix

package attack_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm/certs"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"github.com/golang-jwt/jwt/v5"
	"github.com/icholy/digest"
)

// A person is somebody whose credentials are used, and taken back.
type person struct {
	name, subject string
	cert          *tls.Config
	serial        string
	jti           string // of the token or the invitation that is used
	issuer        string // of the token, unless it is the server
}

// A use is a request by a credential, which succeeds as long as that is good.
type use struct {
	path   string
	cert   *tls.Config // nil for none
	header []string
	body   string
	by     []*person // whose credentials it rests on, the first of whom is taken back
}

// counter is a server, and who operates it.
type counter struct {
	*daemontest.Server
	operator *client.Client
	nobody   *tls.Config
	provider *ecdsa.PrivateKey // signs tokens of another issuer
	people   int
}

const otherIssuer = "https://login.example"

func newCounter(t *testing.T) *counter {
	t.Helper()
	c := &counter{provider: daemontest.NewKey(t)}
	dir := t.TempDir()
	var file strings.Builder
	fmt.Fprintf(&file, "[[issuer]]\nissuer = %q\naudience = \"atm\"\nalgorithm = "+
		"\"ES256\"\njwks_file = \"keys.json\"\nclaim = \"sub\"\n[issuer.subjects]\n", otherIssuer)
	for i := range 400 {
		fmt.Fprintf(&file, "\"p%[1]d\" = \"user:p%[1]d\"\n", i)
	}
	for name, text := range map[string]string{
		"keys.json":    daemontest.PublishedKeys(t, &c.provider.PublicKey),
		"issuers.toml": file.String(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.Server = daemontest.Start(t, func(o *daemon.Options) {
		o.Issuers = filepath.Join(dir, "issuers.toml")
		o.Server.RequestTimeout = 10 * time.Second
	})
	c.operator = c.As(t, "operator")
	c.nobody = c.TLS(t, "demo")
	c.nobody.GetClientCertificate = nil
	return c
}

// person makes somebody new with these roles, a password that is for what use says, and an
// account.
func (c *counter) person(t *testing.T, roles, passwordFor string) *person {
	t.Helper()
	name := fmt.Sprintf("p%d", c.people)
	c.people++
	p := &person{name: name, subject: "user:" + name}
	args := []any{p.subject, roles}
	if passwordFor != "" {
		args = append(args, daemontest.AliceSecret, passwordFor)
	}
	daemontest.Must(t)(c.operator.Call(t.Context(), "admin.user.add", args...))
	daemontest.Must(t)(c.operator.Call(t.Context(), "admin.account.open", fmt.Sprint(1000+c.people),
		p.subject, "50"))
	p.cert = c.Issue(t, p.subject)
	pair, err := p.cert.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	p.serial = leaf.SerialNumber.Text(16)
	return p
}

func (c *counter) account() string { return fmt.Sprint(1000 + c.people) }

// tokenOf is a token of p, whose id p has from then on.
func (c *counter) tokenOf(t *testing.T, p *person, scope string) string {
	t.Helper()
	record, _ := daemontest.Must(t)(c.operator.Call(t.Context(), "admin.token.issue",
		p.subject, scope,
		"600")).Result.(map[string]any)
	p.jti = fmt.Sprint(record["jti"])
	return fmt.Sprint(record["token"])
}

const exchangeType = "urn:ietf:params:oauth:grant-type:token-exchange"

// uses are all ways to use a credential, and to make one from another.
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
		to.serial = "" // it is the grantee who is taken back, as a subject
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
		// of a clock that is ahead
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

// grantOf is the token of a grant that p, who was made last, gives to actor.
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

// invitation is the form that follows an invitation of p.
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

// takes are all ways to take a credential back. Each reports whether it is one for u.
var takes = map[string]func(t *testing.T, c *counter, name string, u use) bool{
	"user disable": func(t *testing.T, c *counter, _ string, u use) bool {
		daemontest.Must(t)(c.operator.Call(t.Context(), "admin.user.disable", u.by[0].subject))
		return true
	},
	"user revoke": func(t *testing.T, c *counter, name string, u use) bool {
		// Passwords are changed, not revoked. Who gets a grant shows nothing for it.
		if strings.Contains(name, "digest") || strings.Contains(name, "secret") ||
			name == "grant to somebody" {
			return false
		}
		daemontest.Must(t)(c.operator.Call(t.Context(), "admin.user.revoke", u.by[0].subject))
		return true
	},
	"cert revoke": func(t *testing.T, c *counter, _ string, u use) bool {
		if u.by[0].serial == "" {
			return false
		}
		daemontest.Must(t)(c.operator.Call(t.Context(), "admin.cert.revoke", u.by[0].serial))
		return true
	},
	"token revoke": func(t *testing.T, c *counter, _ string, u use) bool {
		if u.by[0].jti == "" {
			return false
		}
		args := []any{u.by[0].jti}
		if u.by[0].issuer != "" {
			args = append(args, u.by[0].issuer)
		}
		daemontest.Must(t)(c.operator.Call(t.Context(), "admin.token.revoke", args...))
		return true
	},
	"another password": func(t *testing.T, c *counter, name string, u use) bool {
		if !strings.Contains(name, "digest") && !strings.Contains(name, "secret") {
			return false
		}
		args := []any{u.by[0].subject, "", "another " + daemontest.AliceSecret, "digest"}
		if strings.Contains(name, "secret") {
			args[3] = "token"
		}
		daemontest.Must(t)(c.operator.Call(t.Context(), "admin.user.add", args...))
		return true
	},
	"other roles": func(t *testing.T, c *counter, name string, u use) bool {
		// Everybody may ask for a token and renew; what the roles allow is asked at each use.
		if name == "renewal" || strings.HasPrefix(name, "token by") ||
			strings.HasSuffix(name, "to somebody") || name == "exchange by somebody" {
			return false
		}
		roles := "auditor"
		if name == "enrolment" {
			roles = "customer" // as it is; the invitation was for more
		}
		daemontest.Must(t)(c.operator.Call(t.Context(), "admin.user.add", u.by[0].subject, roles))
		return true
	},
}

// send sends a request in two parts, and has something done between them.
func (c *counter) send(t *testing.T, u use, split func(head, body int) int, between func()) (int,
	string,
) {
	t.Helper()
	cert := u.cert
	if cert == nil {
		cert = c.nobody
	}
	at := attack{path: u.path, body: u.body, header: u.header}
	text := at.bytes()
	if u.path == "/enroll" {
		text = strings.Replace(text, "text/xml", "application/x-www-form-urlencoded", 1)
	}
	n := split(len(text)-len(u.body), len(u.body))
	conn, err := tls.Dial("tcp", c.Addr, cert)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, text[:n]); err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		time.Sleep(10 * time.Millisecond) // so that the head has been read; no matter if not
	}
	between()
	if _, err := io.WriteString(conn, text[n:]); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		t.Fatal(err)
	}
	return status(answer), string(answer)
}

func refused(code int, answer string) bool {
	return code == http.StatusUnauthorized || code == http.StatusBadRequest &&
		strings.Contains(answer, `"error"`) ||
		code == http.StatusOK && (codeIn(answer) == "PERMISSION_DENIED" ||
			codeIn(answer) == "ACCOUNT_NOT_FOUND")
}

// TestWhatWasTakenBackIsRefused uses every credential after it was taken back in every way:
// before its request, after the head of it, and before the last byte of its body.
func TestWhatWasTakenBackIsRefused(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	moments := []struct {
		name  string
		split func(head, body int) int
	}{
		{"before the head", func(int, int) int { return 0 }},
		{"after the head", func(head, _ int) int { return head }},
		{"before the last byte", func(head, body int) int { return head + body - 1 }},
	}
	cells, seen, longest := 0, 0, time.Duration(0)
	for _, using := range sorted(uses) {
		t.Run(using, func(t *testing.T) {
			if code, answer := c.send(t, uses[using](t, c), moments[2].split,
				func() {}); code != http.StatusOK || strings.HasPrefix(answer, "HTTP") &&
				strings.Contains(answer, "<string>ERROR<") {
				t.Fatalf("good credentials: %d %.900s", code, answer)
			}
			for _, taking := range sorted(takes) {
				for _, moment := range moments {
					if seen++; daemontest.Replicas > 1 && seen%sampled != 0 {
						continue // each waits until all replicas know
					}
					u, applies := uses[using](t, c), false
					var taken time.Time
					code, answer := c.send(t, u, moment.split, func() {
						if applies = takes[taking](t, c, using, u); applies {
							daemontest.AwaitReplicas()
						}
						taken = time.Now()
					})
					if !applies {
						continue
					}
					cells++
					longest = max(longest, time.Since(taken))
					if !refused(code, answer) {
						t.Errorf("%s, %s: %d %.900s", taking, moment.name, code, answer)
					}
				}
			}
		})
	}
	t.Logf("%d cells, each refused; the longest took %v after the answer to what took it back",
		cells, longest)
}

// sampled is how many cells of the table there are for one that is tried on replicas.
const sampled = 13

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestTokenIsRevokedByIssuerAndID revokes a token of another issuer by its id alone, which is
// unknown here, by an issuer that is unknown, and by its own.
func TestTokenIsRevokedByIssuerAndID(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	u := uses["money by another issuer's token"](t, c)
	for _, args := range [][]any{
		{u.by[0].jti},
		{u.by[0].jti, "https://nobody.example"},
		{"no such token"},
	} {
		if answer, err := c.operator.Call(t.Context(), "admin.token.revoke", args...); err != nil ||
			answer.Code != "ACCOUNT_NOT_FOUND" {
			t.Errorf("%v: %+v, %v", args, answer, err)
		}
	}
	whole := func(head, body int) int { return head + body }
	if code, answer := c.send(t, u, whole, func() {}); code != http.StatusOK {
		t.Errorf("it is good still: %d %s", code, answer)
	}
	daemontest.Must(t)(c.operator.Call(t.Context(), "admin.token.revoke", u.by[0].jti, otherIssuer))
	daemontest.AwaitReplicas()
	if code, answer := c.send(t, u, whole, func() {}); code != http.StatusUnauthorized {
		t.Errorf("revoked: %d %s", code, answer)
	}
}

// TestLastOperatorStays keeps the last operator from being disabled and demoted, in all ways.
func TestLastOperatorStays(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	calls := [][]any{
		{"admin.user.disable", "user:operator"},
		{"admin.user.add", "user:operator", "auditor"},
		{"admin.cert.issue", "user:operator", daemontest.NewRequest(t), "customer"},
	}
	for _, args := range calls {
		answer, err := c.operator.Call(t.Context(), args[0].(string), args[1:]...)
		if err != nil || answer.OK() || !strings.Contains(answer.Reason, "the last operator") {
			t.Errorf("%v: %+v, %v", args[0], answer, err)
		}
	}
	other := c.person(t, "operator", "")
	daemontest.Must(t)(c.operator.Call(t.Context(), "admin.user.disable", other.subject))
	if answer, err := c.operator.Call(t.Context(), "admin.user.disable",
		"user:operator"); err != nil || answer.OK() {
		t.Errorf("beside one who is disabled: %+v, %v", answer, err)
	}
	daemontest.Must(t)(c.operator.Call(t.Context(), "admin.user.enable", other.subject))
	daemontest.Must(t)(c.operator.Call(t.Context(), "admin.user.disable", "user:operator"))
}

// TestLostEnrolmentGivesTheSameCertificate sends an enrolment again whose answer was lost, also
// to a server that was started since, and then another one with the same code.
func TestLostEnrolmentGivesTheSameCertificate(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	record, _ := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.cert.invite",
		"service:billing", "teller")).Result.(map[string]any)
	code, request := fmt.Sprint(record["code"]), daemontest.NewRequest(t)
	enrol := func(request string) (int, map[string]any) {
		t.Helper()
		nobody := h.TLS(t, "demo")
		nobody.GetClientCertificate = nil
		resp, err := daemontest.HTTPClient(t, nobody).PostForm("https://"+h.Addr+"/enroll",
			url.Values{"code": {code}, "request": {request}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer map[string]any
		json.NewDecoder(resp.Body).Decode(&answer) // a refusal is no JSON
		return resp.StatusCode, answer
	}
	status, first := enrol(request)
	if status != http.StatusOK || first["certificate"] == "" || first["authority"] == "" {
		t.Fatalf("%d %v", status, first)
	}
	if status, again := enrol(request); status != http.StatusOK || !maps.Equal(first, again) {
		t.Errorf("again: %d %v, and the first time %v", status, again, first)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = daemontest.StartIn(t, h.Data, nil)
	if status, again := enrol(request); status != http.StatusOK || !maps.Equal(first, again) {
		t.Errorf("after a restart: %d %v", status, again)
	}
	if status, answer := enrol(daemontest.NewRequest(t)); status != http.StatusUnauthorized {
		t.Errorf("over another key: %d %v", status, answer)
	}
	list, _ := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(),
		"admin.cert.list")).Result.(map[string]any)
	issued, _ := list["certificates"].([]any)
	if n := len(issued); n != 3 { // demo's, operator's and this one
		t.Errorf("%d certificates: %v", n, issued)
	}
}

// TestExpiredCertificateIsToldWhatToDo signs in by a certificate that has ended.
func TestExpiredCertificateIsToldWhatToDo(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	ended := a.issued(t, func(c *x509.Certificate) {
		c.NotAfter = time.Now().Add(-time.Minute)
	}, "spiffe://"+a.domain+"/user/alice")
	_, err := a.client(t, ended).Inquiry(t.Context(), 200)
	if !errors.Is(err, client.ErrNotAuthenticated) || !strings.Contains(err.Error(),
		"it ended on ") || !strings.Contains(err.Error(), "atmctl cert issue") {
		t.Errorf("%v", err)
	}
}

// TestServerRenewsItsOwnClients has a server find a certificate in its folder in the last third of
// its life: another one takes its place, over the same key, and it is no renewal of who was
// revoked.
func TestServerRenewsItsOwnClients(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.user.revoke", "user:demo"))
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	own, err := certs.LoadAuthority(filepath.Join(h.Data, "ca/clients.crt"),
		filepath.Join(h.Data, "ca/clients.key"))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(h.Data, "clients", name, "client.crt") }
	before := make(map[string]*x509.Certificate)
	for _, name := range []string{"operator", "demo"} {
		template := daemontest.Parsed(t, h.ShownBy(t, name).Certificate[0])
		template.NotBefore, template.NotAfter = time.Now().Add(-20*24*time.Hour),
			time.Now().Add(24*time.Hour)
		der := daemontest.Signed(t, template, own.Certificate, template.PublicKey,
			readKey(t, filepath.Join(h.Data, "ca/clients.key")))
		before[name] = daemontest.Parsed(t, der)
		if err := os.WriteFile(file(name), certs.EncodeCertificate(before[name]),
			0o600); err != nil {
			t.Fatal(err)
		}
	}
	h = daemontest.StartIn(t, h.Data, nil)
	daemontest.Until(t, func() bool {
		return !daemontest.Parsed(t,
			h.ShownBy(t, "operator").Certificate[0]).Equal(before["operator"])
	})
	after := daemontest.Parsed(t, h.ShownBy(t, "operator").Certificate[0])
	if left := time.Until(after.NotAfter); left < 19*24*time.Hour {
		t.Errorf("it ends in %v", left)
	}
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "whoami"))
	daemontest.Until(t, func() bool { return strings.Contains(h.Log.String(), "client=demo") })
	if !daemontest.Parsed(t, h.ShownBy(t, "demo").Certificate[0]).Equal(before["demo"]) {
		t.Error("a revoked certificate was renewed")
	}
}
