//go:build linux

package cmd_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"rsc.io/qr"
)

// passkeyButton is the button of a form that a passkey completes, once the scripts of the page
// have begun to wait for it.
const passkeyButton = "form[data-passkey] button:enabled"

// withAuthenticator gives a browser a device that keeps passkeys, which its user unlocks.
func (b *browser) withAuthenticator() {
	b.t.Helper()
	b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		if _, err := cdp.Call(ctx, t, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return chromedp.Void{}, err
		}
		_, err := cdp.Call(ctx, t, webauthn.AddVirtualAuthenticator,
			webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
				Protocol:  webauthn.AuthenticatorProtocolCtap2,
				Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: true,
				HasUserVerification: true, IsUserVerified: true,
				AutomaticPresenceSimulation: true,
			}})
		return chromedp.Void{}, err
	})
}

// invite makes a code for a user.
func (s *server) invite(t *testing.T, subject string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "code")
	s.atmctl(t, "HOME="+t.TempDir(), "cert", "invite", subject, "--out", file)
	code, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(code))
}

// TestInvitedUserEnrolsAPasskeyAndSignsInWithIt does so in a browser that trusts the server.
func TestInvitedUserEnrolsAPasskeyAndSignsInWithIt(t *testing.T) {
	home := browserHome(t)
	s := startServer(t)
	s.atmctl(t, "HOME="+home, "trust", "--stores", "browsers")
	b := openBrowserAt(t, home)
	b.withAuthenticator()

	invitation := s.url + "/console/invite/" + s.invite(t, "user:ada")
	b.do(chromedp.Navigate(invitation), chromedp.WaitVisible(passkeyButton))
	if got := b.text(".line"); got != "This code makes you user:ada." {
		t.Errorf("the invitation says %q", got)
	}
	b.accessible()
	b.do(chromedp.Click(passkeyButton), chromedp.WaitVisible(".outcome"))
	if got := b.text(".outcome"); got != "Your passkey is ready. Sign in with it." {
		t.Errorf("after enrolling: %q", got)
	}
	b.accessible()
	b.do(chromedp.Click(passkeyButton), chromedp.WaitVisible("a.subject"))
	if got := b.text("a.subject"); got != "user:ada" {
		t.Errorf("signed in as %q", got)
	}

	b.do(chromedp.Navigate(s.url+"/console/me"), chromedp.WaitVisible("#sessions"))
	b.accessible()
	if got := b.text("#passkeys tbody"); !strings.HasPrefix(got, "My device") {
		t.Errorf("the passkeys are %q", got)
	}
	if got := b.text("#sessions tbody"); !strings.Contains(got, "(this one) a passkey") {
		t.Errorf("the sessions are %q", got)
	}

	// Another one of the same device is refused by the device itself.
	b.do(chromedp.Click(passkeyButton), chromedp.WaitVisible("[data-said]"))
	if got := b.text("[data-said]"); got != "This device has a passkey of yours already." {
		t.Errorf("a second passkey of one device: %q", got)
	}

	b.do(chromedp.Click("form.buttons button"), chromedp.WaitVisible(".outcome"))
	if got := b.text(".outcome"); got != "You are signed out." {
		t.Errorf("after signing out: %q", got)
	}
	// A page asks to sign in, and is shown then.
	b.do(chromedp.Navigate(s.url+"/console/holds"), chromedp.WaitVisible(passkeyButton))
	b.do(chromedp.Click(passkeyButton), chromedp.WaitVisible("a.subject"))
	if got := result(b, chromedp.Location()); got != s.url+"/console/holds" {
		t.Errorf("after signing in again: %s", got)
	}

	// What the store has of it is what the log says.
	s.atmctl(t, "HOME="+home, "audit", "reconcile")
	s.stop(t)
	for _, check := range []string{"fsck", "rebuild", "fsck"} {
		s.atmctl(t, "HOME="+home, check)
	}
}

// TestInvitationIsAQRCodeOnATerminal reads the modules back from a terminal that is wide enough.
// On one that is not, it says so.
func TestInvitationIsAQRCodeOnATerminal(t *testing.T) {
	s := startServer(t)
	shown := func(columns uint16) (link string, rows []string) {
		x := onTerminalOf(t, 80, columns, s.command("atmctl", "user", "invite", "ada"))
		for x.read() == nil {
		}
		for line := range strings.SplitSeq(x.screen.String(), "\n") {
			switch line = strings.TrimRight(line, "\r"); {
			case strings.HasPrefix(line, "https://"):
				link = line
			case strings.ContainsAny(line, "█▀▄"):
				rows = append(rows, line)
			case strings.Contains(line, "needs a terminal of"):
				rows = append(rows, line)
			}
		}
		return link, rows
	}
	link, rows := shown(200)
	want, err := qr.Encode(link, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	if link == "" || len(rows) != (want.Size+5)/2 {
		t.Fatalf("%q has a code of %d modules, shown in %d rows", link, want.Size, len(rows))
	}
	for y := range want.Size {
		row := []rune(rows[(y+2)/2])
		for x := range want.Size {
			ink := row[x+2] == '█' || row[x+2] == []rune("▀▄")[y%2]
			if ink == want.Black(x, y) {
				t.Fatalf("the module %d, %d is not as in the code", x, y)
			}
		}
	}
	if _, rows := shown(80); len(rows) != 1 || strings.Contains(rows[0], "█") {
		t.Errorf("on 80 columns: %q", rows)
	}
}

// TestPeopleManageTheirPasskeysAndSessionsInABrowser renames a passkey, ends another browser's
// session, and sees why a passkey cannot be used.
func TestPeopleManageTheirPasskeysAndSessionsInABrowser(t *testing.T) {
	home := browserHome(t)
	s := startServer(t)
	s.atmctl(t, "HOME="+home, "trust", "--stores", "browsers")
	b := openBrowserAt(t, home)
	b.withAuthenticator()
	b.do(chromedp.Navigate(s.url+"/console/invite/"+s.invite(t, "user:ada")),
		chromedp.WaitVisible(passkeyButton),
		chromedp.Click(passkeyButton), chromedp.WaitVisible(".outcome"))
	other := openBrowserAt(t, home)
	s.atmctl(t, "HOME="+home, "user", "passwd", "ada", "--secret-out", "ada.secret")
	secret, err := os.ReadFile(filepath.Join(s.dir, "ada.secret"))
	if err != nil {
		t.Fatal(err)
	}
	other.do(chromedp.Navigate(s.url+"/console/me"), chromedp.WaitVisible("#secret"),
		chromedp.SendKeys("#name", "ada"), chromedp.SendKeys("#secret", "wrong"+kb.Enter),
		chromedp.WaitVisible("#p-secret"))
	if got := other.text("#p-secret"); got != "The name or the secret is wrong." {
		t.Errorf("beside the field: %q", got)
	}
	other.accessible()
	other.do(chromedp.SendKeys("#secret", strings.TrimSpace(string(secret))+kb.Enter),
		chromedp.WaitVisible("#sessions"))

	b.do(chromedp.Click(passkeyButton), chromedp.WaitVisible("a.subject"),
		chromedp.Click("a.subject"), chromedp.WaitVisible("#sessions"),
		chromedp.Click("#passkeys a"), chromedp.WaitVisible("#f-name"),
		chromedp.SendKeys("#f-name", "Tablet"+kb.Enter), chromedp.WaitVisible(".line"))
	if got := b.text(".line"); got != "Call the passkey My device Tablet." {
		t.Errorf("before it is renamed: %q", got)
	}
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(".outcome"),
		chromedp.Navigate(s.url+"/console/me"), chromedp.WaitVisible("#passkeys"))
	if got := b.text("#passkeys tbody"); !strings.HasPrefix(got, "Tablet") {
		t.Errorf("the passkeys are %q", got)
	}
	b.do(chromedp.Click("#sessions a"), chromedp.WaitVisible(".line"))
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(".outcome"))
	other.do(chromedp.Navigate(s.url+"/console/me"), chromedp.WaitVisible(passkeyButton))

	// The listener of a command is another origin than the server's, and says so.
	b.do(chromedp.Navigate(s.openConsole(t, "demo")), chromedp.WaitVisible("a.subject"),
		chromedp.Click("a.subject"), chromedp.WaitVisible("[data-said]"))
	if got := b.text("[data-said]"); got != "Passkeys work at "+s.url+
		"/console/, and not on this page." {
		t.Errorf("through the listener: %q", got)
	}
}
