//go:build unix

package daemon_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemontest"
)

const goodSecret = "corridor-9-umbrella-lantern"

// TestNameAndSecretSignInUntilTheSecretIsAnother signs in by both kinds of secrets. A session
// ends with the secret that it began with.
func TestNameAndSecretSignInUntilTheSecretIsAnother(t *testing.T) {
	t.Parallel()
	h := withConsole(t)
	operator := h.As(t, "operator")
	set := func(subject, secret, use string) {
		t.Helper()
		daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", subject, "", secret, use))
		daemontest.AwaitReplicas()
	}
	for _, use := range []string{"digest", "token"} {
		name := "u-" + use
		set("user:"+name, goodSecret, use)
		b := newWebBrowser(t, h)
		if status, page, _ := b.ask(signInPage, url.Values{
			"name": {name}, "secret": {goodSecret + "x"},
		}); status != http.StatusUnauthorized || !strings.Contains(page,
			`<p id="p-secret" class="problem" role="alert">The name or the secret is wrong.`) ||
			!strings.Contains(page, `value="`+name+`"`) || strings.Contains(page, goodSecret) {
			t.Errorf("%s: a wrong secret: %d %s", use, status, page)
		}
		status, page, header := b.ask(signInPage, url.Values{
			"name": {name}, "secret": {goodSecret}, "next": {"/console/log?who=user%3Aa"},
		})
		if status != http.StatusSeeOther || header.Get("Location") != "/console/log?who=user%3Aa" {
			t.Fatalf("%s: signing in: %d to %s %s", use, status, header.Get("Location"), page)
		}
		cookie := header.Get("Set-Cookie")
		for _, part := range []string{
			"__Host-atm=", "; Path=/", "; HttpOnly", "; Secure",
			"; SameSite=Strict",
		} {
			if !strings.Contains(cookie, part) || strings.Contains(cookie, "Domain") {
				t.Errorf("the cookie is %s, without %s", cookie, part)
			}
		}
		if status, page, _ := b.ask(mePage, nil); status != http.StatusOK ||
			!strings.Contains(page, "You signed in by a name and a secret.") {
			t.Errorf("%s: in a session: %d %s", use, status, page)
		}
		set("user:"+name, "another-"+goodSecret, use)
		if status, _, _ := b.ask(mePage, nil); status != http.StatusUnauthorized {
			t.Errorf("%s: with another secret since: %d", use, status)
		}
	}
	cookies := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == atm.SessionList && e.Caller.Method == "secret" &&
			e.Caller.Session != "" && strings.HasPrefix(e.Caller.User, "user:u-")
	})
	if cookies != 2 {
		t.Errorf("%d entries name the sessions that they were in", cookies)
	}
}

// TestSignInPageRefusesWhatItMust sends forms that nobody fills in, and addresses to go on to
// that are not of the console.
func TestSignInPageRefusesWhatItMust(t *testing.T) {
	t.Parallel()
	h := withConsole(t)
	b := newWebBrowser(t, h)
	ada := enrol(b, "user:ada", "customer")
	for _, tt := range []struct {
		name   string
		form   url.Values
		header string // and its value
		want   int
	}{
		{"nothing", url.Values{}, "", 422},
		{"no name", url.Values{"name": {""}, "secret": {"x"}}, "", 422},
		{"no secret", url.Values{"name": {"ada"}, "secret": {""}}, "", 422},
		{"nobody", url.Values{"name": {"nobody"}, "secret": {goodSecret}}, "", 401},
		{"a user without a secret", url.Values{"name": {"ada"}, "secret": {"x"}}, "", 401},
		{"HTML", url.Values{"name": {"<b>"}, "secret": {"x"}}, "", 401},
		{"no passkey", url.Values{"response": {"{}"}, "state": {"x"}}, "", 401},
		{"too much", url.Values{"response": {strings.Repeat("x", 9000)}}, "", 400},
		{
			"of another site",
			url.Values{"name": {"ada"}, "secret": {"x"}},
			"Sec-Fetch-Site: cross-site", 403,
		},
		{
			"of a neighbour",
			url.Values{"name": {"ada"}, "secret": {"x"}},
			"Sec-Fetch-Site: same-site", 403,
		},
		{
			"of another origin",
			url.Values{"name": {"ada"}, "secret": {"x"}},
			"Origin: https://evil.example", 403,
		},
	} {
		b.change = func(r *http.Request) {
			if name, value, given := strings.Cut(tt.header, ": "); given {
				r.Header.Set(name, value)
			}
		}
		if status, page, _ := b.ask(signInPage, tt.form); status != tt.want ||
			strings.Contains(page, "<b>") {
			t.Errorf("%s: %d, want %d: %s", tt.name, status, tt.want, page)
		}
	}
	b.change = nil
	for _, next := range []string{
		"https://evil.example/console/", "//evil.example/console/", "/\\evil.example", "/admin/",
		"/console/../admin/backup\r\nSet-Cookie: a=b", signInPage, "javascript:alert(1)", "",
	} {
		asked, form := b.ceremony(signInPage)
		form.Set("response", ada.Sign(t, asked))
		form.Set("next", next)
		if status, _, header := b.ask(signInPage, form); status != http.StatusSeeOther ||
			header.Get("Location") != "/console/" {
			t.Errorf("on to %q: %d to %q", next, status, header.Get("Location"))
		}
	}
}

// TestInvitationEnrolsOnePasskeyOfItsOwnCeremony follows invitations with what is not theirs.
func TestInvitationEnrolsOnePasskeyOfItsOwnCeremony(t *testing.T) {
	t.Parallel()
	h := withConsole(t)
	b := newWebBrowser(t, h)
	ada := enrol(b, "user:ada", "customer")
	path, another := inviteTo(t, h, "user:bob", "customer"), inviteTo(t, h, "user:eve", "teller")
	send := func(name, to string, device *daemontest.Authenticator, from string, want int) {
		t.Helper()
		asked, form := b.ceremony(from)
		form.Set("response", device.Create(t, asked))
		form.Set("name", "Phone")
		if status, page, _ := b.ask(to, form); status != want {
			t.Errorf("%s: %d, want %d: %s", name, status, want, page)
		}
	}
	device := func() *daemontest.Authenticator {
		return daemontest.NewAuthenticator(t, origin, "localhost")
	}
	bob := device()
	send("the challenge of another invitation", path, bob, another, 422)
	unverified := device()
	unverified.Flags = daemontest.UserPresent
	send("a user who was not verified", path, unverified, path, 422)
	foreign := device()
	foreign.Origin = "https://evil.example"
	send("a page of another site", path, foreign, path, 422)
	taken := device()
	taken.ID = ada.ID
	send("the id of the passkey of somebody else", path, taken, path, 401)
	asked, form := b.ceremony(path)
	form.Set("response", bob.Create(t, asked))
	form.Set("name", "Phone")
	for range 2 { // the first answer may have been lost
		if status, page, _ := b.ask(path, form); status != http.StatusSeeOther {
			t.Errorf("its own: %d %s", status, page)
		}
	}
	send("another one", path, device(), path, 401)
	b.mustSignIn(bob)
	for _, code := range []string{"x", path[len("/console/invite/"):] + "x", "a/b"} {
		if status, page, _ := b.ask("/console/invite/"+code, nil); status != 401 {
			t.Errorf("the code %q: %d %s", code, status, page)
		}
	}
	enrolled := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == atm.CertEnroll && e.Status.Code == atm.OK && e.ReplayOf < 0
	})
	if enrolled != 2 {
		t.Errorf("%d passkeys were enrolled, not those of two users", enrolled)
	}
}

// TestSessionIsForPagesAlone uses the cookie of a session where programs sign in.
func TestSessionIsForPagesAlone(t *testing.T) {
	t.Parallel()
	h := withConsole(t)
	b := newWebBrowser(t, h)
	b.mustSignIn(enrol(b, "user:ada", "auditor"))
	if status, page, _ := b.ask("/audit/checkpoint", nil); status != http.StatusOK {
		t.Errorf("the log, for the page that verifies it: %d %s", status, page)
	}
	b.change = func(r *http.Request) { r.Header.Set("Content-Type", "text/xml") }
	for path, want := range map[string]int{"/RPC2": 401, "/token": 415, "/admin/backup": 401} {
		if status, page, _ := b.ask(path, url.Values{"x": {"y"}}); status != want {
			t.Errorf("%s with a cookie: %d, want %d: %s", path, status, want, page)
		}
	}
	b.change = nil
	for _, act := range []string{mePage + "/sign-out", mePage + "/passkeys"} {
		b.change = func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
		if status, _, _ := b.ask(act, url.Values{"everywhere": {"1"}}); status != 403 {
			t.Errorf("%s from another site: %d", act, status)
		}
	}
	b.change = nil
	if status, _, _ := b.ask(mePage, nil); status != http.StatusOK {
		t.Errorf("after all that: %d", status)
	}
}

// TestUsersAddAndRemovePasskeysOfTheirOwn does so in a session, by the forms of the page.
func TestUsersAddAndRemovePasskeysOfTheirOwn(t *testing.T) {
	t.Parallel()
	h := withConsole(t)
	b := newWebBrowser(t, h)
	first := enrol(b, "user:ada", "customer")
	b.mustSignIn(first)
	second := daemontest.NewAuthenticator(t, origin, "localhost")
	asked, form := b.ceremony(mePage)
	if !strings.Contains(asked, `"excludeCredentials":[{`) {
		t.Errorf("the page does not say which passkeys there are: %s", asked)
	}
	form.Set("response", second.Create(t, asked))
	for name, want := range map[string]int{"": 422, "a\x07b": 422} {
		form.Set("name", name)
		if status, page, _ := b.ask(mePage+"/passkeys", form); status != want {
			t.Errorf("the name %q: %d %s", name, status, page)
		}
	}
	form.Set("name", "<i>Laptop</i>")
	if status, page, _ := b.ask(mePage+"/passkeys", form); status != http.StatusSeeOther {
		t.Fatalf("adding: %d %s", status, page)
	}
	if _, page, _ := b.ask(mePage, nil); !strings.Contains(page, "&lt;i&gt;Laptop&lt;/i&gt;") {
		t.Errorf("the page shows %s", page)
	}
	b.mustSignIn(second)

	other := newWebBrowser(t, h)
	other.mustSignIn(enrol(other, "user:eve", "customer"))
	list, _ := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.passkey.list",
		"user:ada")).Result.(map[string]any)
	remove := func(by *webBrowser, row any) int {
		t.Helper()
		id, _ := row.(map[string]any)["id"].(string)
		status, _, _ := by.ask(mePage+"/passkeys/remove", url.Values{
			"passkey": {id}, "request_id": {"r-" + id},
		})
		return status
	}
	rows, _ := list["passkeys"].([]any)
	for _, row := range rows {
		if status := remove(other, row); status != http.StatusNotFound {
			t.Errorf("removing another's passkey: %d", status)
		}
		if row.(map[string]any)["name"] == "Phone" {
			if status := remove(b, row); status != http.StatusSeeOther {
				t.Errorf("removing: %d", status)
			}
		}
	}
	if status := b.signIn(first); status != http.StatusUnauthorized {
		t.Errorf("with a passkey that was removed: %d", status)
	}
	b.mustSignIn(second)
	if _, page, _ := b.ask(mePage, nil); strings.Count(page, "Firefox") != 1 {
		t.Errorf("a browser that signed in again is in more than one session: %s", page)
	}
	if len(rows) != 2 {
		t.Errorf("%d passkeys, not two", len(rows))
	}
}

// TestSignInPageMakesGuessersWait guesses the secret of a user until the page asks to wait. Others
// from the same address, and the user by another method, need not.
func TestSignInPageMakesGuessersWait(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "each replica counts by itself for a moment")
	h := withConsole(t)
	b := newWebBrowser(t, h)
	ada := enrol(b, "user:ada", "customer")
	guess := func(name string) (int, string, http.Header) {
		t.Helper()
		return b.ask(signInPage, url.Values{"name": {name}, "secret": {"guess"}})
	}
	for i := range 2000 { // a slow machine gets some of them back
		status, page, header := guess("ada")
		if status == http.StatusTooManyRequests {
			if i < 50 || header.Get("Retry-After") == "" ||
				!strings.Contains(page, "Too many sign-ins from your address have failed.") {
				t.Errorf("after %d guesses: %v %s", i, header, page)
			}
			break
		}
		if status != http.StatusUnauthorized {
			t.Fatalf("guess %d is answered %d", i, status)
		}
	}
	daemontest.Until(t, func() bool { // a slow machine gets one back in between
		status, _, _ := guess("ada")
		return status == http.StatusTooManyRequests
	})
	if status, _, _ := guess("bob"); status != http.StatusUnauthorized {
		t.Errorf("a guess about somebody else: %d", status)
	}
	b.mustSignIn(ada)
}

// TestRemovingThePasskeyOfASessionEndsItWithAWord removes the passkey that the session began with.
func TestRemovingThePasskeyOfASessionEndsItWithAWord(t *testing.T) {
	t.Parallel()
	b := newWebBrowser(t, withConsole(t))
	b.mustSignIn(enrol(b, "user:ada", "customer"))
	_, page, _ := b.ask("/console/me", nil)
	_, rest, _ := strings.Cut(page, "/console/me/passkeys/remove?passkey=")
	id, _, found := strings.Cut(rest, `"`)
	if !found {
		t.Fatalf("no passkey can be removed: %s", page)
	}
	status, page, header := b.ask("/console/me/passkeys/remove",
		url.Values{"passkey": {id}, "request_id": {"remove"}})
	if status != http.StatusSeeOther {
		t.Fatalf("removed: %d %s", status, page)
	}
	const says = "Your passkey is removed, and with it this session."
	if _, page, _ = b.ask(header.Get("Location"), nil); !strings.Contains(page, says) {
		t.Errorf("after its passkey was removed: %s", page)
	}
	if status, _, _ = b.ask("/console/me", nil); status == http.StatusOK {
		t.Error("the session goes on without its passkey")
	}
}
