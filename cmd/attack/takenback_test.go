//go:build unix

package attack_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// A person is a subject whose credentials are used and then revoked.
type person struct {
	name, subject string
	cert          *tls.Config
	serial        string
	jti           string // of the token or invitation in use
	issuer        string // of the token, if it is not the server
}

// counter is a server and its operator.
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

// person creates a subject with these roles, a password if passwordFor says what it is for, and
// an account.
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

// takes are all ways to revoke a credential. Each reports whether it applies to u.
var takes = map[string]func(t *testing.T, c *counter, name string, u use) bool{
	"user disable": func(t *testing.T, c *counter, _ string, u use) bool {
		daemontest.Must(t)(c.operator.Call(t.Context(), "admin.user.disable", u.by[0].subject))
		return true
	},
	"user revoke": func(t *testing.T, c *counter, name string, u use) bool {
		// Passwords are changed and not revoked. The grantee of a grant presents no credential of
		// the grantor.
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
		// Every role may request a token and renew a certificate. The permissions of the roles are
		// checked at each use.
		if name == "renewal" || strings.HasPrefix(name, "token by") ||
			strings.HasSuffix(name, "to somebody") || name == "exchange by somebody" {
			return false
		}
		roles := "auditor"
		if name == "enrolment" {
			roles = "customer" // unchanged; the invitation was for more
		}
		daemontest.Must(t)(c.operator.Call(t.Context(), "admin.user.add", u.by[0].subject, roles))
		return true
	},
}

// send sends a request in two parts, and calls between after the first.
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
		// The head has probably been read by now. The test holds either way.
		time.Sleep(10 * time.Millisecond)
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

// TestWhatWasTakenBackIsRefused uses every credential after it was revoked in every way: before
// its request, after the head of the request, and before the last byte of the body.
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
						continue // each waits until all replicas know of it
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

// sampled is how many cells of the table there are for each one that is tried on replicas.
const sampled = 13

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestTokenIsRevokedByIssuerAndID revokes a token of another issuer: by its id alone and with
// an unknown issuer, which is refused, and with its own issuer.
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

// TestLastOperatorStays tries in all ways to disable or demote the last operator.
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
