//go:build unix

package daemon_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/auth/login/logintest"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

const (
	loginPage = "/console/login/begin"
	backPage  = "/console/login/back"
)

// A company is an OpenID provider, and a server with a console that lets its people in.
type company struct {
	*logintest.Provider
	t    *testing.T
	h    *daemontest.Server
	file string // of issuers
}

// withCompany starts both. The provider's alice is user:alice of the server.
func withCompany(t *testing.T) *company {
	t.Helper()
	c := &company{
		Provider: logintest.Start(t, origin+backPage), t: t,
		file: filepath.Join(t.TempDir(), "issuers.toml"),
	}
	c.write("", "")
	c.h = daemontest.Start(t, func(o *daemon.Options) {
		o.Server.Console, o.Server.PublicURL, o.Issuers = true, origin, c.file
	})
	for _, name := range []string{"alice", "bob", "carol"} {
		daemontest.Must(t)(c.h.As(t, "operator").Call(t.Context(), "admin.user.add", "user:"+name,
			"customer"))
	}
	return c
}

// write writes the file of issuers, with one word changed.
func (c *company) write(old, changed string) {
	c.t.Helper()
	text := c.Entry() + `
"alice@example.com" = "user:alice"
"bob@example.com" = "user:bob"
"newcomer@example.com" = "user:alice"
"stranger@example.com" = "user:unknown"
`
	text = strings.Replace(text, old, changed, 1)
	daemontest.Replace(c.t, c.file, text)
}

var onwardLink = regexp.MustCompile(`<p><a href="([^"]*)">`)

// beginAt begins a sign-in, and returns where the browser goes on.
func (b *webBrowser) beginAt(issuer, next string) string {
	b.t.Helper()
	status, page, header := b.ask(loginPage, url.Values{"issuer": {issuer}, "next": {next}})
	to, refreshed := strings.CutPrefix(header.Get("Refresh"), "0;url=")
	if status != http.StatusOK || !refreshed {
		b.t.Fatalf("beginning: %d, %q, %s", status, to, page)
	}
	return to
}

// logIn signs a person in with the company.
func (c *company) logIn(b *webBrowser, name string) (status int, page string, header http.Header) {
	c.t.Helper()
	query := c.SignIn(c.t, b.beginAt(c.Name, "/console/me?a=1"), name)
	return b.ask(backPage+"?"+query.Encode(), nil)
}

// mustLogIn is logIn, and fails the test if the person is in no session then.
func (c *company) mustLogIn(b *webBrowser, name string) {
	c.t.Helper()
	status, page, header := c.logIn(b, name)
	if status != http.StatusOK || header.Get("Refresh") != "0;url=/console/me?a=1" {
		c.t.Fatalf("%s signs in: %d, %q, %s", name, status, header.Get("Refresh"), page)
	}
	if status, page, _ := b.ask(mePage, nil); status != http.StatusOK ||
		!strings.Contains(page, "user:"+name) || !strings.Contains(page, "a company login") {
		c.t.Fatalf("%s in a session: %d %s", name, status, page)
	}
}

func TestPeopleSignInWithTheirCompany(t *testing.T) {
	t.Parallel()
	c := withCompany(t)
	b := newWebBrowser(t, c.h)
	_, page, header := b.ask(signInPage+"?next=%2Fconsole%2Fme", nil)
	host := strings.TrimPrefix(c.Name, "https://")
	for _, want := range []string{
		"<button>Sign in with " + host + "</button>", `name="issuer" value="` + c.Name + `"`,
		`name="next" value="/console/me"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of signing in lacks %s:\n%s", want, page)
		}
	}
	// Not even the provider is where a form of ours may lead.
	if policy := header.Get("Content-Security-Policy"); !strings.Contains(policy,
		"form-action 'self';") {
		t.Errorf("the policy is %s", policy)
	}
	c.mustLogIn(b, "alice")
	whose := func(e *audit.Entry) bool {
		return e.Caller != nil && e.Caller.Subject == "user:alice" && e.Caller.Method == "oidc" &&
			e.Caller.Issuer == c.Name && e.Caller.ID == "alice"
	}
	if n := daemontest.Count(c.h.Entries(t), func(e *audit.Entry) bool {
		return whose(e) && e.Operation == atm.SessionBegin && e.Status.Code == atm.OK &&
			e.Caller.Session == ""
	}); n != 1 {
		t.Errorf("%d beginnings of a session are entries", n)
	}
	if n := daemontest.Count(c.h.Entries(t), func(e *audit.Entry) bool {
		return whose(e) && e.Operation == atm.SessionList && e.Caller.Session != ""
	}); n != 1 {
		t.Errorf("%d acts in the session are entries", n)
	}
}

// TestLoginsThatAreNotGoodSignNobodyIn changes what a browser brings back. Each is refused, gives
// no cookie of a session, takes the one of the sign-in, and is an entry.
func TestLoginsThatAreNotGoodSignNobodyIn(t *testing.T) {
	t.Parallel()
	c := withCompany(t)
	set := func(name, value string) func(*webBrowser, url.Values) {
		return func(_ *webBrowser, q url.Values) { q.Set(name, value) }
	}
	all := []struct {
		name   string
		person string
		change func(b *webBrowser, q url.Values)
		reason string
	}{
		{"nobody here", "mallory", nil, "nobody here is known by this login"},
		{"a subject without a user", "stranger", nil, "nobody here is known by this login"},
		{"an address that nobody has verified", "newcomer", nil, "has not verified the email address"},
		{"a state of another", "alice", set("state", "S"), "not to a sign-in of this browser"},
		{"another code", "alice", set("code", "C"), "refused the code, or it was used before"},
		{"no code", "alice", set("code", ""), "no code"},
		{"another issuer", "alice", set("iss", "https://other.example"), "the answer is of another provider"},
		{"no issuer", "alice", func(_ *webBrowser, q url.Values) { q.Del("iss") }, "the answer is of another provider"},
		{"an error", "alice", set("error", "access_denied"), "the provider refused: access_denied"},
		{"two codes", "alice", func(_ *webBrowser, q url.Values) { q.Add("code", "C") }, "the answer says something twice"},
		{"an answer without end", "alice", set("more", strings.Repeat("a", 9000)), "cannot be read"},
		{"without the cookie", "alice", func(b *webBrowser, _ url.Values) {
			b.Jar = nil
		}, "has begun no sign-in"},
		{"with a cookie of nobody", "alice", func(b *webBrowser, _ url.Values) {
			b.Jar = nil
			b.change = func(r *http.Request) {
				r.Header.Set("Cookie", "__Host-atm-login="+strings.Repeat("A", 300))
			}
		}, "has begun no sign-in"},
		{"in another browser", "alice", func(b *webBrowser, _ url.Values) {
			*b = *newWebBrowser(t, c.h)
		}, "has begun no sign-in"},
		{"in the sign-in of another browser", "alice", func(b *webBrowser, _ url.Values) {
			*b = *newWebBrowser(t, c.h)
			b.beginAt(c.Name, "")
		}, "not to a sign-in of this browser"},
		{"after another sign-in began", "alice", func(b *webBrowser, _ url.Values) {
			b.beginAt(c.Name, "")
		}, "not to a sign-in of this browser"},
		{"the code of another sign-in", "alice", func(b *webBrowser, q url.Values) {
			other := c.SignIn(t, newWebBrowser(t, c.h).beginAt(c.Name, ""), "bob")
			q.Set("code", other.Get("code")) // PKCE
		}, "refused the code, or it was used before"},
	}
	for _, tt := range all {
		b := newWebBrowser(t, c.h)
		query := c.SignIn(t, b.beginAt(c.Name, ""), tt.person)
		if tt.change != nil {
			tt.change(b, query)
		}
		status, page, header := b.ask(backPage+"?"+query.Encode(), nil)
		if status != http.StatusUnauthorized || !strings.Contains(page, tt.reason) ||
			header.Get("Refresh") != "" || strings.Contains(fmt.Sprint(header["Set-Cookie"]),
			"__Host-atm=") {
			t.Errorf("%s: %d, %q: %s", tt.name, status, header["Set-Cookie"], page)
		}
		if status, page, _ := b.ask(backPage+"?"+query.Encode(), nil); tt.change == nil &&
			!strings.Contains(page, "has begun no sign-in") {
			t.Errorf("%s, again: %d %s", tt.name, status, page)
		}
	}
	c.mustLogIn(newWebBrowser(t, c.h), "alice")
	entries := c.h.Entries(t)
	if n := daemontest.Count(entries, func(e *audit.Entry) bool {
		return e.Operation == atm.SessionBegin
	}); n != 1 {
		t.Errorf("%d sessions have begun", n)
	}
	for _, tt := range all {
		reason, _, _ := strings.Cut(tt.reason, ": ") // and not what the provider says
		if n := daemontest.Count(entries, func(e *audit.Entry) bool {
			return e.Event == audit.EventAuthFail && strings.HasPrefix(e.Reason, "oidc: ") &&
				strings.HasSuffix(e.Reason, reason)
		}); n == 0 {
			t.Errorf("%s is in no entry", tt.name)
		}
	}
}

// TestAnswerOfAProviderBeginsOneSession brings it again, with the cookie that the server took back.
func TestAnswerOfAProviderBeginsOneSession(t *testing.T) {
	t.Parallel()
	c := withCompany(t)
	b := newWebBrowser(t, c.h)
	to := b.beginAt(c.Name, "")
	here := &url.URL{Scheme: "https", Host: c.h.Addr, Path: "/"}
	kept := b.Jar.Cookies(here)
	answer := backPage + "?" + c.SignIn(t, to, "alice").Encode()
	if status, page, _ := b.ask(answer, nil); status != http.StatusOK {
		t.Fatalf("signing in: %d %s", status, page)
	}
	again := newWebBrowser(t, c.h)
	again.Jar.SetCookies(here, kept)
	if status, page, header := again.ask(answer, nil); status != http.StatusUnauthorized ||
		!strings.Contains(page, "was used before") || strings.Contains(
		fmt.Sprint(header["Set-Cookie"]), "__Host-atm=") {
		t.Errorf("again: %d, %q, %s", status, header["Set-Cookie"], page)
	}
	if n := daemontest.Count(c.h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == atm.SessionBegin
	}); n != 1 {
		t.Errorf("%d sessions have begun", n)
	}
}

// TestLoginLeadsNowhereElse asks for pages of other sites, and of none.
func TestLoginLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	c := withCompany(t)
	b := newWebBrowser(t, c.h)
	for _, next := range []string{
		"https://evil.example/console/", "//evil.example/console/", `/\evil.example`,
		"/console/../../evil", "javascript:alert(1)", "/console/\r\nX: y", loginPage, backPage,
		signInPage, "/console/" + strings.Repeat("a", 2000), "",
	} {
		query := c.SignIn(t, b.beginAt(c.Name, next), "alice")
		_, page, header := b.ask(backPage+"?"+query.Encode(), nil)
		link := onwardLink.FindStringSubmatch(page)
		if got := header.Get("Refresh"); got != "0;url=/console/" || link == nil ||
			link[1] != "/console/" {
			t.Errorf("%q leads to %q, %q", next, got, link)
		}
	}
}

func TestLoginBeginsFromOurOwnPageAlone(t *testing.T) {
	t.Parallel()
	c := withCompany(t)
	b := newWebBrowser(t, c.h)
	form := url.Values{"issuer": {c.Name}}
	for _, tt := range []struct {
		name, path    string
		form          url.Values
		header, value string
		status        int
	}{
		{"another site's form", loginPage, form, "Sec-Fetch-Site", "cross-site", 403},
		{"another origin's form", loginPage, form, "Origin", "https://evil.example", 403},
		{"an issuer that is not one", loginPage, url.Values{"issuer": {"https://x"}}, "", "", 401},
		{"no issuer", loginPage, url.Values{}, "", "", 401},
		{"an answer as a form", backPage, url.Values{"state": {"S"}}, "", "", 405},
		{"the form without sending it", loginPage, nil, "", "", 303},
		{"an image on another page", backPage + "?state=S", nil, "Sec-Fetch-Dest", "image", 403},
		{"another page", "/console/login/other", nil, "", "", 404},
		{"a query that is none", backPage + "?a=%zz", nil, "", "", 400},
	} {
		b.change = func(r *http.Request) {
			if tt.header != "" {
				r.Header.Set(tt.header, tt.value)
			}
		}
		status, page, header := b.ask(tt.path, tt.form)
		if status != tt.status || len(header["Set-Cookie"]) > 0 {
			t.Errorf("%s: %d, %q, %s", tt.name, status, header["Set-Cookie"], page)
		}
	}
	failed := daemontest.Count(c.h.Entries(t), func(e *audit.Entry) bool {
		return e.Event == audit.EventAuthFail
	})
	if failed != 2 {
		t.Errorf("%d sign-ins have failed, not the two with an issuer that is none", failed)
	}
}

// TestSessionOfACompanyLoginEndsWithWhatItRestsOn takes each of that back.
func TestSessionOfACompanyLoginEndsWithWhatItRestsOn(t *testing.T) {
	t.Parallel()
	c := withCompany(t)
	operator := c.h.As(t, "operator")
	call := func(method string, args ...any) func() {
		return func() { daemontest.Must(t)(operator.Call(t.Context(), method, args...)) }
	}
	change := func(old, changed string) func() { return func() { c.write(old, changed) } }
	for _, tt := range []struct {
		name     string
		end      func()
		restores func()
	}{
		{"login is taken from the issuer", change("login = true\nclient_id = \"atm-console\"\n"+
			"client_secret_file", "#"), change("", "")},
		{"the issuer is gone", func() {
			daemontest.Replace(t, c.file, "")
		}, change("", "")},
		{"the address is gone", change(`"alice@example.com" = "user:alice"`, ""), change("", "")},
		{"the address is another's", change(`@example.com" = "user:alice"`,
			`@example.com" = "user:bob"`), change("", "")},
		{"another claim names people", change(`"email"`, `"sub"`), change("", "")},
		{
			"the user has another address", change(`"alice@example.com"`, `"al@example.com"`),
			change("", ""),
		},
		{
			"disabled", call("admin.user.disable", "user:alice"),
			call("admin.user.enable", "user:alice"),
		},
		{"ended by an operator", call("admin.session.end", "user:alice", "*"), nil},
		{"everything revoked", call("admin.user.revoke", "user:alice"), nil},
	} {
		b := newWebBrowser(t, c.h)
		c.mustLogIn(b, "alice")
		tt.end()
		daemontest.AwaitReplicas()
		daemontest.Until(t, func() bool {
			status, _, _ := b.ask(mePage, nil)
			return status == http.StatusUnauthorized
		})
		if tt.restores != nil {
			tt.restores()
			daemontest.AwaitReplicas() // each reads the file by itself
			daemontest.Until(t, func() bool {
				_, page, _ := b.ask(signInPage, nil)
				if !strings.Contains(page, `name="issuer"`) {
					return false
				}
				_, page, _ = c.logIn(b, "alice")
				return strings.Contains(page, "You are signed in as user:alice.")
			})
		}
	}
}

// TestProviderThatIsAwayIsNobodysFailure asks it to begin a sign-in, and to end one.
func TestProviderThatIsAwayIsNobodysFailure(t *testing.T) {
	t.Parallel()
	c := withCompany(t)
	b := newWebBrowser(t, c.h)
	to := b.beginAt(c.Name, "")
	here := &url.URL{Scheme: "https", Host: c.h.Addr, Path: "/"}
	kept, query := b.Jar.Cookies(here), c.SignIn(t, to, "alice")
	c.Stop()
	for range 3 {
		b.Jar.SetCookies(here, kept)
		status, page, header := b.ask(backPage+"?"+query.Encode(), nil)
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" ||
			!strings.Contains(page, "The provider cannot be asked at the moment.") {
			t.Errorf("ending: %d %s", status, page)
		}
	}
	other := withCompany(t)
	other.Stop()
	b = newWebBrowser(t, other.h)
	status, page, header := b.ask(loginPage, url.Values{"issuer": {other.Name}})
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" ||
		len(header["Set-Cookie"]) > 0 {
		t.Errorf("beginning: %d %s", status, page)
	}
	// The page of signing in asks no provider for anything.
	if status, page, _ := b.ask(signInPage, nil); status != http.StatusOK ||
		!strings.Contains(page, "Sign in with 127.0.0.1:") {
		t.Errorf("the page of signing in: %d %s", status, page)
	}
	for _, h := range []*daemontest.Server{c.h, other.h} {
		if n := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
			return e.Event == audit.EventAuthFail || e.Operation == atm.SessionBegin
		}); n != 0 {
			t.Errorf("%d sign-ins are entries", n)
		}
	}
}

// TestLoginsThatFailMakeTheirAddressWait brings answers that are none.
func TestLoginsThatFailMakeTheirAddressWait(t *testing.T) {
	t.Parallel()
	c := withCompany(t)
	b := newWebBrowser(t, c.h)
	status, page, header := 0, "", http.Header{}
	for tries := 0; status != http.StatusTooManyRequests; tries++ {
		if status, page, header = b.ask(backPage, nil); tries > 5000 {
			t.Fatalf("after %d tries: %d %s", tries, status, page)
		}
	}
	if header.Get("Retry-After") == "" || !strings.Contains(page, "have failed") {
		t.Errorf("%q, %s", header.Get("Retry-After"), page)
	}
	daemontest.Until(t, func() bool { // a slow machine gets one back in between
		status, _, _ := b.ask(loginPage, url.Values{"issuer": {c.Name}})
		if status != http.StatusTooManyRequests {
			b.ask(backPage, nil)
		}
		return status == http.StatusTooManyRequests
	})
}

// TestScopeOfAnIssuerBoundsItsSessions lets people of a provider ask, and do nothing else but sign
// out.
func TestScopeOfAnIssuerBoundsItsSessions(t *testing.T) {
	t.Parallel()
	c := withCompany(t)
	daemontest.Must(t)(c.h.As(t, "operator").Call(t.Context(), "admin.account.open", "200",
		"user:alice", "50"))
	b := newWebBrowser(t, c.h)
	withdraw := func(request, left string) {
		t.Helper()
		b.ask("/console/accounts/200/act", url.Values{
			"act": {"withdraw"}, "amount": {"1.00"}, "request_id": {request},
		})
		if status, page, _ := b.ask("/console/accounts/200", nil); status != http.StatusOK ||
			!strings.Contains(page, left) {
			t.Errorf("%s leaves no %s: %d %s", request, left, status, page)
		}
	}
	c.mustLogIn(b, "alice")
	withdraw("r1", "$49.00")
	if _, page, _ := b.ask(mePage, nil); !strings.Contains(page, "data-passkey") {
		t.Errorf("no passkey can be added: %s", page)
	}
	c.write("login = true", "scope = \"inquiry statement\"\nlogin = true")
	daemontest.AwaitReplicas()
	daemontest.Until(t, func() bool {
		_, page, _ := b.ask(mePage, nil)
		return !strings.Contains(page, "data-passkey")
	})
	withdraw("r2", "$49.00")
	if status, page, _ := b.ask(mePage+"/sign-out", url.Values{}); status != http.StatusSeeOther {
		t.Errorf("signing out: %d %s", status, page)
	}
	c.mustLogIn(b, "alice")
	withdraw("r3", "$49.00")
	denied := daemontest.Count(c.h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == atm.Withdraw && e.Status.Code == atm.PermissionDenied
	})
	if denied != 2 {
		t.Errorf("%d withdrawals are denied, not 2", denied)
	}
}
