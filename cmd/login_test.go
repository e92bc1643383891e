//go:build linux

package cmd_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"example.com/atm/auth/login/logintest"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/internal/needs"
	"example.com/atm/vault/pgstore/pgtest"
)

const loginButton = "form[action='/console/login/begin'] button"

// trustProvider makes the browsers of a home trust the certificate of a provider.
func trustProvider(t *testing.T, home string, p *logintest.Provider) {
	t.Helper()
	daemontest.Run(t, needs.Program(t, "certutil"), "-A", "-d", "sql:"+filepath.Join(home, ".pki", "nssdb"),
		"-n", "provider", "-t", "C,,", "-i", p.CA)
}

// writeIssuers lets people of a provider in as user:ada.
func writeIssuers(t *testing.T, file string, p *logintest.Provider, people ...string) {
	t.Helper()
	text := p.Entry()
	for _, name := range people {
		text += `"` + name + `@example.com" = "user:ada"` + "\n"
	}
	// In one step: a server that follows the file never reads half of it.
	if err := errors.Join(os.WriteFile(file+".new", []byte(text), 0o600),
		os.Rename(file+".new", file)); err != nil {
		t.Fatal(err)
	}
}

// goToProvider clicks on the button of the provider, and fills its form in.
func (b *browser) goToProvider(name string) {
	b.t.Helper()
	b.do(chromedp.Click(loginButton), chromedp.WaitVisible("input[name=login]"),
		chromedp.SendKeys("input[name=login]", name),
		chromedp.SendKeys("input[name=password]", "any"))
	b.leave("button[type=submit]")
}

// TestPersonSignsInWithTheirCompanyInABrowser goes by way of a provider, which is another site,
// until its person is no longer let in.
func TestPersonSignsInWithTheirCompanyInABrowser(t *testing.T) {
	t.Parallel()
	home, issuers := browserHome(t), filepath.Join(t.TempDir(), "issuers.toml")
	if err := os.WriteFile(issuers, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServerIn(t, t.TempDir(), "ATM_ISSUERS="+issuers)
	p := logintest.Start(t, s.url+"/console/login/back")
	writeIssuers(t, issuers, p, "alice")
	s.atmctl(t, "HOME="+home, "trust", "--stores", "browsers")
	trustProvider(t, home, p)
	s.atmctl(t, "HOME="+home, "user", "add", "ada", "--role", "customer", "--secret-out",
		filepath.Join(t.TempDir(), "secret"))
	b := openBrowserAt(t, home)
	eventually(t, "the provider is in force", func() bool {
		b.do(chromedp.Navigate(s.url+"/console/grants"), chromedp.WaitVisible("main h1"))
		return strings.Contains(b.text("main"), "Sign in with 127.0.0.1:")
	})
	b.accessible()
	b.goToProvider("alice")
	b.do(chromedp.Click("button[type=submit]"), // that she agrees
		chromedp.WaitVisible("a.subject"))
	if got := result(b, chromedp.Location()); got != s.url+"/console/grants" {
		t.Errorf("after signing in: %s", got)
	}
	b.do(chromedp.Click("a.subject"), chromedp.WaitVisible("#sessions"))
	if got := b.text("#sessions tbody"); !strings.Contains(got, "(this one) a company login") {
		t.Errorf("the sessions are %q", got)
	}

	// The provider still knows her, so that it asks for nothing.
	b.do(chromedp.Click("form.buttons button"), chromedp.WaitVisible(loginButton),
		chromedp.Click(loginButton), chromedp.WaitVisible("a.subject"))
	if got := result(b, chromedp.Location()); got != s.url+"/console/" {
		t.Errorf("after signing in again: %s", got)
	}

	// A link of somebody else leaves her as she is.
	b.do(chromedp.Navigate(s.url+"/console/login/back?state=S&code=C"),
		chromedp.WaitVisible(".problem"))
	if got := b.text(".problem"); got != "You are not signed in: this browser has begun no sign-in." {
		t.Errorf("a link of somebody else: %q", got)
	}
	b.accessible()
	b.do(chromedp.Navigate(s.url+"/console/me"), chromedp.WaitVisible("#sessions"))

	writeIssuers(t, issuers, p)
	eventually(t, "her session ends", func() bool {
		b.do(chromedp.Navigate(s.url+"/console/me"), chromedp.WaitVisible("main h1"))
		return strings.Contains(b.text("main"), "Sign in with a passkey")
	})
	b.do(chromedp.Click(loginButton), chromedp.WaitVisible(".problem"))
	if got := b.text(".problem"); got != "You are not signed in: nobody here is known by this login." {
		t.Errorf("no longer let in: %q", got)
	}
	s.verify(t)
}

// TestSignInThatBeganOnOneReplicaEndsOnAnother stops the replica that began it while the person is
// at the provider.
func TestSignInThatBeganOnOneReplicaEndsOnAnother(t *testing.T) {
	t.Parallel()
	home, issuers := browserHome(t), filepath.Join(t.TempDir(), "issuers.toml")
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	url := "https://localhost:" + port
	p := logintest.Start(t, url+"/console/login/back")
	writeIssuers(t, issuers, p, "alice")
	trustProvider(t, home, p)
	all := startReplicas(t, 2, pgtest.Start(t).Database(t), "ATM_PROXY_FROM=127.0.0.0/8",
		"ATM_PUBLIC_URL="+url, "ATM_CONSOLE=on", "ATM_ISSUERS="+issuers)
	haproxyAt(t, port, []*server{all[0], all[1], all[1]})
	for _, s := range all {
		s.env = append(s.env, "ATM_SERVER="+url) // the replicas listen to HAProxy alone
	}
	all[0].atmctl(t, "HOME="+home, "trust", "--stores", "browsers")
	eventually(t, "HAProxy finds a replica", func() bool {
		return all[0].command("atmctl", "user", "add", "ada", "--role", "customer", "--secret-out",
			filepath.Join(t.TempDir(), "secret")).Run() == nil
	})
	all[1].stop(t)
	b := openBrowserAt(t, home)
	eventually(t, "HAProxy finds the first replica", func() bool {
		return chromedp.Do(b, chromedp.Navigate(url+"/console/me")) == nil
	})
	b.goToProvider("alice")
	b.do(chromedp.WaitVisible("button[type=submit]"))
	all[0].stop(t)
	all[1].start(t)
	b.leave("button[type=submit]")
	eventually(t, "HAProxy finds the other replica", func() bool {
		at := result(b, chromedp.Location())
		if strings.HasPrefix(at, "chrome-error:") { // nothing has taken the answer of the provider
			chromedp.Do(b, chromedp.Reload()) // it may not be there yet
		}
		return at == url+"/console/me"
	})
	if got := b.text("#sessions tbody"); !strings.Contains(got, "a company login") {
		t.Errorf("the sessions are %q", got)
	}
	all[1].stop(t)
	all[1].verify(t)
}
