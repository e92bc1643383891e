// Package logintest starts an OpenID provider for tests: the certified one of npm.
package logintest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/auth"
	"example.com/atm/certs"
	"example.com/atm/internal/needs"
)

// A Provider is an OpenID provider with two clients, a console and the command lines, which runs
// until the test ends.
type Provider struct {
	auth.Issuer        // with no subjects yet
	CA          string // file of its authority
	Stop        func() // ends it before the test does
	redirect    string
	secret      string // file of Secret
	groups      string // file with the groups of people
}

// SetGroups replaces the groups of all people.
func (p *Provider) SetGroups(t testing.TB, of map[string][]string) {
	t.Helper()
	text, err := json.Marshal(of)
	if err == nil {
		err = os.WriteFile(p.groups, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Entry is the provider in a file of issuers, by which people sign in to the console and on command
// lines. What follows are their subjects.
func (p *Provider) Entry() string {
	return fmt.Sprintf(`[[issuer]]
issuer = %q
audience = "atm"
algorithm = "ES256"
jwks_url = %q
ca = %q
claim = "email"
login = true
client_id = "atm-console"
client_secret_file = %q

[issuer.cli]
client_id = "atm-cli"

[issuer.subjects]
`, p.Name, p.KeysURL, p.CA, p.secret)
}

// Secret is what the client tells the provider.
const Secret = "a secret of the client"

// host is that of a provider. For a browser it is another site than localhost, which is what
// providers are to servers.
const host = "127.0.0.1"

// startsWithin is how long a provider may take to start on a busy machine.
const startsWithin = time.Minute

// Start starts a provider that sends browsers back to redirect.
func Start(t testing.TB, redirect string) *Provider {
	t.Helper()
	node := needs.Program(t, "node")
	modules := filepath.Dir(needs.Installed(t, "console/testdata/node_modules/oidc-provider",
		"npm's oidc-provider"))
	p := &Provider{redirect: redirect}
	cert, key := p.certificate(t)
	p.SetGroups(t, map[string][]string{})
	cmd := exec.Command(node, "provider.mjs", cert, key, redirect, p.groups)
	cmd.Dir = filepath.Dir(modules)
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Stop = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(p.Stop)
	defer time.AfterFunc(startsWithin, func() { cmd.Process.Kill() }).Stop()
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if issuer := lines.Text(); strings.HasPrefix(issuer, "https://") {
			p.Issuer = auth.Issuer{
				Name: issuer, Audience: "atm", Algorithm: "ES256", People: auth.People{Claim: "email"},
				KeysURL: issuer + "/jwks", Roots: p.Roots,
				Login: &auth.Login{ClientID: "atm-console", Secret: Secret},
			}
			return p
		}
	}
	t.Fatal("the OpenID provider did not start")
	return nil
}

// certificate writes a certificate and its key into files.
func (p *Provider) certificate(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	folder, now := t.TempDir(), time.Now()
	authority, err := certs.NewAuthority("provider", now)
	if err != nil {
		t.Fatal(err)
	}
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.IssueServer(key.Public(), []string{host}, time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	keyText, err := certs.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.Roots = x509.NewCertPool()
	p.Roots.AddCert(authority.Certificate)
	p.CA, p.secret = filepath.Join(folder, "ca.crt"), filepath.Join(folder, "login.secret")
	p.groups = filepath.Join(folder, "groups.json")
	certFile, keyFile = filepath.Join(folder, "server.crt"), filepath.Join(folder, "server.key")
	for file, text := range map[string][]byte{
		p.CA:     certs.EncodeCertificate(authority.Certificate),
		certFile: certs.EncodeCertificate(cert),
		keyFile:  keyText,
		p.secret: []byte(Secret + "\n"),
	} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

var (
	formAction  = regexp.MustCompile(`action="([^"]+)"`)
	hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)"`)
)

// maxPages bounds the pages of a sign-in.
const maxPages = 8

// SignIn signs a person in at the provider, where a browser would have gone to the URL, and
// returns what the provider then says to the redirect URL.
func (p *Provider) SignIn(t testing.TB, to, name string) url.Values {
	t.Helper()
	answer, err := p.walk(to, name, "")
	if err != nil {
		t.Fatal(err)
	}
	back, err := answer.Location()
	if err != nil || !strings.HasPrefix(back.String(), p.redirect) {
		t.Fatalf("%s leads to %v, %v", answer.Status, back, err)
	}
	return back.Query()
}

// Enter signs a person in at the provider, as SignIn does, until the browser is somewhere else or
// there is nothing more to fill in, and returns where that is. code is what the person enters for
// another device; empty for none.
func (p *Provider) Enter(to, name, code string) (*url.URL, error) {
	answer, err := p.walk(to, name, code)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", answer.Request.URL, answer.Status)
	}
	return answer.Request.URL, nil
}

// walk follows links and fills in forms, and returns the first answer without a form.
func (p *Provider) walk(to, name, code string) (*http.Response, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := &http.Client{
		Jar:       jar,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.Roots}},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(r.URL.String(), p.redirect) {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	defer browser.CloseIdleConnections()
	answer, err := browser.Get(to)
	for range maxPages {
		if err != nil {
			return nil, err
		}
		var page strings.Builder
		_, err = bufio.NewReader(answer.Body).WriteTo(&page)
		answer.Body.Close()
		action := formAction.FindStringSubmatch(page.String())
		if err != nil || action == nil {
			return answer, err
		}
		form := url.Values{}
		for _, field := range hiddenField.FindAllStringSubmatch(page.String(), -1) {
			form.Set(field[1], html.UnescapeString(field[2]))
		}
		for field, value := range map[string]string{
			"login": name, "password": "any", "user_code": code,
		} {
			if strings.Contains(page.String(), `name="`+field+`"`) && !form.Has(field) {
				form.Set(field, value)
			}
		}
		answer, err = browser.PostForm(html.UnescapeString(action[1]), form)
	}
	return nil, fmt.Errorf("%s has more than %d pages", to, maxPages)
}
