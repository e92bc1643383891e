//go:build linux

package cmd_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"example.com/atm/internal/needs"
	"example.com/atm/vault/pgstore/pgtest"
)

// enrol signs a user in whom an invitation makes known, with a passkey of this browser.
func (b *browser) enrol(s *server, subject string) {
	b.t.Helper()
	b.enrolAt(s, s.url, subject)
}

// enrolAt is enrol where the browser reaches the server at a URL.
func (b *browser) enrolAt(s *server, url, subject string) {
	b.t.Helper()
	b.withAuthenticator()
	b.do(chromedp.Navigate(url+"/console/invite/"+s.invite(b.t, subject)),
		chromedp.WaitVisible(passkeyButton),
		chromedp.Click(passkeyButton), chromedp.WaitVisible(".outcome"),
		chromedp.Click(passkeyButton), chromedp.WaitVisible("a.subject"))
}

// fillTransfer fills the form of a transfer from account 200 to 100 in, up to the page that says
// what would happen.
func (b *browser) fillTransfer(url, amount string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url+"/console/accounts/200"), chromedp.WaitVisible("#transfer"),
		chromedp.SendKeys("#transfer", amount), chromedp.SendKeys("#to", "100"),
		chromedp.Click("button[value=transfer]"), chromedp.WaitVisible(passkeyButton))
}

// TestTransferIsConfirmedWithAPasskeyInABrowser is what a customer does who was invited, and what
// an auditor then makes of it.
func TestTransferIsConfirmedWithAPasskeyInABrowser(t *testing.T) {
	t.Parallel()
	home := browserHome(t)
	s := startServer(t)
	s.atmctl(t, "HOME="+home, "trust", "--stores", "browsers")
	b := openBrowserAt(t, home)
	b.enrol(s, "user:ada")
	s.atmctl(t, "HOME="+home, "account", "open", "200", "--owner", "user:ada", "--opening", "50")

	b.fillTransfer(s.url, "12.50")
	if got := b.text(".line"); got != "Transfer $12.50 from account 200 to account 100. "+
		"Balance after: $37.50." {
		t.Errorf("before it happens: %s", got)
	}
	b.accessible()
	b.picture("console-confirm.png", 800, 420, false)
	b.do(chromedp.Click(passkeyButton), chromedp.WaitVisible("#verify button"))
	if got := b.text(".outcome"); got != "Transfer: done." {
		t.Errorf("after it: %s", got)
	}
	slip := result(b, chromedp.Location())
	index := slip[strings.LastIndex(slip, "/")+1:]
	if entry := s.atmctl(t, "HOME="+home, "audit", "show", index); !strings.Contains(entry,
		`"assertion": {`) {
		t.Errorf("the entry is %s", entry)
	}
	s.verify(t)

	// Another amount than was shown is refused, whatever the form says.
	b.fillTransfer(s.url, "1")
	result(b, chromedp.Evaluate[int](`document.querySelector("[name=amount]").value = "30.00"; 0`))
	b.do(chromedp.Click(passkeyButton), chromedp.WaitVisible(".problem:not([hidden])"))
	if got := b.text(".problem:not([hidden])"); !strings.Contains(got,
		"the passkey has confirmed something else") {
		t.Errorf("another amount: %q", got)
	}
	// And the page asks for what was sent, which is not what was shown before.
	if got := b.text(".line"); !strings.Contains(got, "$30.00") {
		t.Errorf("asked again: %q", got)
	}
}

// TestMandateIsConfirmedWithAPasskeyInABrowser fills the form of a mandate in, and changes what it
// says after the page has shown it.
func TestMandateIsConfirmedWithAPasskeyInABrowser(t *testing.T) {
	t.Parallel()
	home := browserHome(t)
	s := startServer(t)
	s.atmctl(t, "HOME="+home, "trust", "--stores", "browsers")
	b := openBrowserAt(t, home)
	b.enrol(s, "user:ada")
	s.atmctl(t, "HOME="+home, "account", "open", "200", "--owner", "user:ada", "--opening", "50")
	fill := func() {
		t.Helper()
		b.do(chromedp.Navigate(s.url+"/console/mandates/give?account=200"),
			chromedp.WaitVisible("#f-creditor"), chromedp.SendKeys("#f-creditor", "service:gas"),
			chromedp.SendKeys("#f-each", "5"), chromedp.SendKeys("#f-until", "12312999"),
			chromedp.Click("main form button"), chromedp.WaitVisible(passkeyButton))
		const line = "Let service:gas collect from account 200 without asking again: at most " +
			"$5.00 at once until 31 December 2999. There is no bound in all. It can be revoked " +
			"before."
		if got := b.text(".line"); got != line {
			t.Errorf("before it happens: %s", got)
		}
	}
	fill()
	b.accessible()
	result(b, chromedp.Evaluate[int](`document.querySelector("[name=each]").value = "500"; 0`))
	b.do(chromedp.Click(passkeyButton), chromedp.WaitVisible(".problem:not([hidden])"))
	if got := b.text(".problem:not([hidden])"); !strings.Contains(got,
		"the passkey has confirmed something else") {
		t.Errorf("more at once: %q", got)
	}
	fill()
	b.do(chromedp.Click(passkeyButton), chromedp.WaitVisible("#verify button"))
	if got := b.text("main dl"); !strings.Contains(got, "service:gas") ||
		!strings.Contains(got, "with a passkey") {
		t.Errorf("the slip says %s", got)
	}
	s.verify(t)
}

// TestSessionGoesOnWhenItsReplicaStops signs in through HAProxy, and acts when one replica has
// stopped and when the other one has.
func TestSessionGoesOnWhenItsReplicaStops(t *testing.T) {
	t.Parallel()
	home := browserHome(t)
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	url := "https://localhost:" + port
	all := startReplicas(t, 2, pgtest.Start(t).Database(t), "ATM_PROXY_FROM=127.0.0.0/8",
		"ATM_PUBLIC_URL="+url, "ATM_CONSOLE=on")
	haproxyAt(t, port, []*server{all[0], all[1], all[1]})
	all[0].atmctl(t, "HOME="+home, "trust", "--stores", "browsers")
	all[0].env = append(all[0].env, "ATM_SERVER="+url) // the replicas listen to HAProxy alone
	b := openBrowserAt(t, home)
	eventually(t, "HAProxy finds a replica", func() bool {
		return chromedp.Do(b, chromedp.Navigate(url+"/")) == nil &&
			strings.Contains(b.text("body"), "ATM")
	})
	b.enrolAt(all[0], url, "user:ada")
	all[0].atmctl(t, "HOME="+home, "account", "open", "200", "--owner", "user:ada", "--opening",
		"50")
	for i, s := range all {
		s.stop(t)
		b.fillTransfer(url, "5")
		if got, want := b.text(".line"), []string{"$45.00", "$40.00"}[i]; !strings.Contains(got,
			"Balance after: "+want) {
			t.Errorf("replica %d has stopped: %s", i, got)
		}
		b.do(chromedp.Click(passkeyButton), chromedp.WaitVisible("#verify button"))
		if got := b.text(".outcome"); got != "Transfer: done." {
			t.Errorf("replica %d has stopped: %s", i, got)
		}
		s.start(t)
		eventually(t, "the other replica is found again", func() bool {
			return chromedp.Do(b, chromedp.Navigate(url+"/console/me")) == nil
		})
		time.Sleep(time.Second) // HAProxy checks again
	}
	for _, s := range all {
		s.stop(t)
		s.verify(t)
	}
}
