//go:build unix

package daemon_test

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// origin is that of the console in these tests, at which its pages say that they are.
const origin = "https://localhost:4711"

// withConsole starts a server with a console.
func withConsole(t *testing.T) *daemontest.Server {
	t.Helper()
	return daemontest.Start(t, func(o *daemon.Options) {
		o.Server.Console, o.Server.PublicURL = true, origin
	})
}

// A webBrowser keeps cookies, and follows no redirect.
type webBrowser struct {
	t *testing.T
	h *daemontest.Server
	*http.Client
	agent  string
	change func(*http.Request) // of each request; nil for nothing
}

func newWebBrowser(t *testing.T, h *daemontest.Server) *webBrowser {
	t.Helper()
	cfg := h.TLS(t, "demo")
	cfg.GetClientCertificate = nil
	c := consoleClient(t, cfg)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Jar = jar
	return &webBrowser{t: t, h: h, Client: c, agent: "Mozilla/5.0 Firefox/140.0"}
}

// ask asks for a page, or sends a form when there is one.
func (b *webBrowser) ask(path string, form url.Values) (int, string, http.Header) {
	b.t.Helper()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, "https://"+b.h.Addr+path,
		strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("User-Agent", b.agent)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if b.change != nil {
		b.change(r)
	}
	answer, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer.StatusCode, string(text), answer.Header
}

var (
	askedFor = regexp.MustCompile(`data-options="([^"]*)"`)
	stateOf  = regexp.MustCompile(`name="state" value="([^"]*)"`)
)

// ceremony opens a page, and returns what it asks a passkey for and a form for the answer.
func (b *webBrowser) ceremony(path string) (asked string, form url.Values) {
	b.t.Helper()
	status, page, _ := b.ask(path, nil)
	options, state := askedFor.FindStringSubmatch(page), stateOf.FindStringSubmatch(page)
	if options == nil || state == nil {
		b.t.Fatalf("%s asks for no passkey: %d %s", path, status, page)
	}
	return html.UnescapeString(options[1]), url.Values{"state": {state[1]}}
}

const (
	signInPage = "/console/sign-in"
	mePage     = "/console/me"
)

// inviteTo returns the page of an invitation of a user.
func inviteTo(t *testing.T, h *daemontest.Server, subject, roles string) string {
	t.Helper()
	record, _ := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.cert.invite",
		subject, roles)).Result.(map[string]any)
	return "/console/invite/" + fmt.Sprint(record["code"])
}

// enrol gives a user a passkey, by an invitation.
func enrol(b *webBrowser, subject, roles string) *daemontest.Authenticator {
	b.t.Helper()
	path := inviteTo(b.t, b.h, subject, roles)
	asked, form := b.ceremony(path)
	device := daemontest.NewAuthenticator(b.t, origin, "localhost")
	form.Set("response", device.Create(b.t, asked))
	form.Set("name", "Phone")
	if status, page, _ := b.ask(path, form); status != http.StatusSeeOther {
		b.t.Fatalf("%s enrols a passkey: %d %s", subject, status, page)
	}
	return device
}

// signIn signs in with a passkey.
func (b *webBrowser) signIn(device *daemontest.Authenticator) int {
	b.t.Helper()
	asked, form := b.ceremony(signInPage)
	form.Set("response", device.Sign(b.t, asked))
	status, _, _ := b.ask(signInPage, form)
	return status
}

// mustSignIn signs in, and fails the test otherwise.
func (b *webBrowser) mustSignIn(device *daemontest.Authenticator) {
	b.t.Helper()
	if status := b.signIn(device); status != http.StatusSeeOther {
		b.t.Fatalf("signing in is answered %d", status)
	}
	if status, page, _ := b.ask(mePage, nil); status != http.StatusOK {
		b.t.Fatalf("in a session: %d %s", status, page)
	}
}

// TestPasskeyThatIsNotGoodSignsNobodyIn changes what a device, a page or a form says. Each try
// is refused, and each is an entry.
func TestPasskeyThatIsNotGoodSignsNobodyIn(t *testing.T) {
	t.Parallel()
	h := withConsole(t)
	b := newWebBrowser(t, h)
	ada, bob := enrol(b, "user:ada", "customer"), enrol(b, "user:bob", "customer")
	b.mustSignIn(ada)
	other := newWebBrowser(t, h)
	for _, tt := range []struct {
		name   string
		change func(device *daemontest.Authenticator, asked *string, form url.Values)
	}{
		{"another origin", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.Origin = "https://localhost:4712"
		}},
		{"an origin in other letters", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.Origin = "https://LOCALHOST:4711"
		}},
		{"an origin without TLS", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.Origin = "http://localhost:4711"
		}},
		{"another server", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.RP = "localhost.example"
		}},
		{"a user who was not verified", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.Flags = daemontest.UserPresent
		}},
		{"a user who was not there", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.Flags = daemontest.UserVerified
		}},
		{"nobody's passkey", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.ID = []byte("of nobody")
		}},
		{"another's passkey", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.ID = bob.ID
		}},
		{"another's name", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.Handle = bob.Handle
		}},
		{"no name", func(d *daemontest.Authenticator, _ *string, _ url.Values) { d.Handle = nil }},
		{"a count that goes back", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.Count = 1
		}},
		{"a count that stands still", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.Count--
		}},
		{"a count that stops", func(d *daemontest.Authenticator, _ *string, _ url.Values) {
			d.Count = 0
		}},
		{"another challenge", func(_ *daemontest.Authenticator, asked *string, _ url.Values) {
			*asked = `{"challenge":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`
		}},
		{"the challenge of another browser", func(_ *daemontest.Authenticator, asked *string,
			form url.Values,
		) {
			there, of := other.ceremony(signInPage)
			*asked = there
			form.Set("state", of.Get("state"))
		}},
		{"the challenge of an invitation", func(_ *daemontest.Authenticator, asked *string,
			form url.Values,
		) {
			there, of := b.ceremony(inviteTo(t, h, "user:ada", ""))
			*asked = there
			form.Set("state", of.Get("state"))
		}},
		{"a state that was changed", func(_ *daemontest.Authenticator, _ *string, form url.Values) {
			form.Set("state", form.Get("state")[:20]+"AAAA"+form.Get("state")[24:])
		}},
		{"no state", func(_ *daemontest.Authenticator, _ *string, form url.Values) {
			form.Del("state")
		}},
	} {
		device := *ada
		asked, form := b.ceremony(signInPage)
		tt.change(&device, &asked, form)
		form.Set("response", device.Sign(t, asked))
		status, page, header := b.ask(signInPage, form)
		if status != http.StatusUnauthorized || len(header["Set-Cookie"]) > 0 {
			t.Errorf("%s: %d, %q: %s", tt.name, status, header["Set-Cookie"], page)
		}
	}
	b.mustSignIn(ada) // she still can
	good, failed, back := 0, 0, 0
	for _, e := range h.Entries(t) {
		switch {
		case e.Event == audit.EventAuthFail && strings.Contains(e.Reason, "passkey"):
			failed++
		case e.Operation == atm.SessionBegin && e.Status.Code == atm.OK:
			good++
		case e.Operation == atm.SessionBegin && strings.Contains(e.Status.Reason, "fewer"):
			back++
		}
	}
	// Of failures of one kind the first five of a minute have entries of their own.
	if good != 2 || back != 3 || failed < 10 {
		t.Errorf("%d sessions, %d failures, and %d counts that went back are entries", good, failed,
			back)
	}
}

// TestAssertionBeginsOneSession sends the same form again, from the same browser, and on another
// replica where there is one.
func TestAssertionBeginsOneSession(t *testing.T) {
	t.Parallel()
	h := withConsole(t)
	b := newWebBrowser(t, h)
	ada := enrol(b, "user:ada", "customer")
	ada.Count = 0 // a passkey on many devices counts nothing
	asked, form := b.ceremony(signInPage)
	form.Set("response", ada.Sign(t, asked))
	if status, page, _ := b.ask(signInPage, form); status != http.StatusUnauthorized {
		t.Errorf("a count that stops: %d %s", status, page)
	}
	synced := *daemontest.NewAuthenticator(t, origin, "localhost")
	synced.Count = 0
	path := inviteTo(t, h, "user:bob", "customer")
	asked, form = b.ceremony(path)
	form.Set("response", synced.Create(t, asked))
	form.Set("name", "Phone")
	if status, page, _ := b.ask(path, form); status != http.StatusSeeOther {
		t.Fatalf("enrolling: %d %s", status, page)
	}
	asked, form = b.ceremony(signInPage)
	form.Set("response", synced.Sign(t, asked))
	if status, page, _ := b.ask(signInPage, form); status != http.StatusSeeOther {
		t.Fatalf("signing in: %d %s", status, page)
	}
	for range 3 {
		if status, page, header := b.ask(signInPage, form); status != http.StatusUnauthorized ||
			len(header["Set-Cookie"]) > 0 {
			t.Errorf("sent again: %d %s", status, page)
		}
	}
	conflicts := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == atm.SessionBegin && e.Status.Code == atm.IdempotencyConflict
	})
	if conflicts != 3 {
		t.Errorf("%d refusals of the same assertion are entries, not 3", conflicts)
	}
}

// TestSessionEndsAtOnce ends a session in each way, and asks for a page in it.
func TestSessionEndsAtOnce(t *testing.T) {
	t.Parallel()
	h := withConsole(t)
	operator := h.As(t, "operator")
	call := func(method string, args ...any) func(*testing.T, *webBrowser) {
		return func(t *testing.T, _ *webBrowser) {
			t.Helper()
			daemontest.Must(t)(operator.Call(t.Context(), method, args...))
		}
	}
	post := func(path string, form url.Values) func(*testing.T, *webBrowser) {
		return func(t *testing.T, b *webBrowser) {
			t.Helper()
			if status, page, _ := b.ask(path, form); status != http.StatusSeeOther {
				t.Errorf("%s is answered %d %s", path, status, page)
			}
		}
	}
	for i, tt := range []struct {
		name string
		end  func(*testing.T, *webBrowser)
	}{
		{"signed out", post(mePage+"/sign-out", url.Values{})},
		{"signed out everywhere", post(mePage+"/sign-out", url.Values{"everywhere": {"1"}})},
		{"ended by an operator", call("admin.session.end", "user:u2", "*")},
		{"disabled", call("admin.user.disable", "user:u3")},
		{"everything revoked", call("admin.user.revoke", "user:u4")},
		{"without its passkey", func(t *testing.T, _ *webBrowser) {
			t.Helper()
			list, _ := daemontest.Must(t)(operator.Call(t.Context(), "admin.passkey.list",
				"user:u5")).Result.(map[string]any)
			for _, p := range list["passkeys"].([]any) {
				daemontest.Must(t)(operator.Call(t.Context(), "admin.passkey.remove", "user:u5",
					p.(map[string]any)["id"]))
			}
		}},
		{"in another browser", func(_ *testing.T, b *webBrowser) { b.agent = "curl/8" }},
		{"with another cookie", func(t *testing.T, b *webBrowser) {
			t.Helper()
			b.change = func(r *http.Request) {
				r.Header.Set("Cookie", "__Host-atm=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
			}
		}},
	} {
		b := newWebBrowser(t, h)
		b.mustSignIn(enrol(b, fmt.Sprint("user:u", i), "customer"))
		tt.end(t, b)
		daemontest.AwaitReplicas()
		if status, page, _ := b.ask(mePage, nil); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", tt.name, status, page)
		}
		person := func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "navigate") }
		b.change = person
		if status, _, header := b.ask(mePage+"?a=1", nil); status != http.StatusSeeOther ||
			header.Get("Location") != signInPage+"?next=%2Fconsole%2Fme%3Fa%3D1" {
			t.Errorf("%s, of a person: %d to %s", tt.name, status, header.Get("Location"))
		}
	}
}
