//go:build linux

package cmd_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// enrol signs a user in whom an invitation makes known, with a passkey of this browser.
func (b *browser) enrol(s *server, subject string) {
	b.t.Helper()
	b.withAuthenticator()
	b.do(chromedp.Navigate(s.url+"/console/invite/"+s.invite(b.t, subject)),
		chromedp.WaitVisible("form[data-passkey] button"),
		chromedp.Click("form[data-passkey] button"), chromedp.WaitVisible(".outcome"),
		chromedp.Click("form[data-passkey] button"), chromedp.WaitVisible("a.subject"))
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

	b.do(chromedp.Navigate(s.url+"/console/accounts/200"), chromedp.WaitVisible("#amount"),
		chromedp.SendKeys("#amount", "12.50"), chromedp.SendKeys("#to", "100"),
		chromedp.Click("button[value=transfer]"), chromedp.WaitVisible("form[data-passkey]"))
	if got := b.text(".line"); got != "Transfer $12.50 from account 200 to account 100. "+
		"Balance after: $37.50." {
		t.Errorf("before it happens: %s", got)
	}
	b.accessible()
	b.picture("console-confirm.png", 800, 420, false)
	b.do(chromedp.Click("form[data-passkey] button"), chromedp.WaitVisible("#verify button"))
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
	b.do(chromedp.Navigate(s.url+"/console/accounts/200"), chromedp.WaitVisible("#amount"),
		chromedp.SendKeys("#amount", "1"), chromedp.SendKeys("#to", "100"),
		chromedp.Click("button[value=transfer]"), chromedp.WaitVisible("form[data-passkey]"))
	result(b, chromedp.Evaluate[int](`document.querySelector("[name=amount]").value = "30.00"; 0`))
	b.do(chromedp.Click("form[data-passkey] button"), chromedp.WaitVisible(".problem:not([hidden])"))
	if got := b.text(".problem:not([hidden])"); !strings.Contains(got,
		"the passkey has confirmed something else") {
		t.Errorf("another amount: %q", got)
	}
	// And the page asks for what was sent, which is not what was shown before.
	if got := b.text(".line"); !strings.Contains(got, "$30.00") {
		t.Errorf("asked again: %q", got)
	}
}
