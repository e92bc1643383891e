//go:build unix

package attack_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.com/atm/auth/login/logintest"
	"example.com/atm/cmd/internal/daemontest"
)

// Pages of a sign-in with an OpenID provider, and its cookie.
const (
	loginPage   = "/console/login/begin"
	loginBack   = "/console/login/back"
	loginCookie = "__Host-atm-login"
)

// An oidcAttack changes what a browser brings back from a provider.
type oidcAttack struct {
	name   string
	change func(t *testing.T, b *tab, answer url.Values)
	header []string
	want   int    // if 0, 401
	says   string // of why it was refused
	entry  string
}

// attackProviders signs in by way of a company's provider, with answers that are not good for it.
func (a *arena) attackProviders(t *testing.T) {
	p := logintest.Start(t, bankOrigin+loginBack)
	daemontest.Must(t)(a.office.Call(t.Context(), "admin.user.add", "user:wanda", "customer"))
	daemontest.Replace(t, a.issuers, p.Entry()+"\"wanda@example.com\" = \"user:wanda\"\n")
	daemontest.AwaitReplicas()
	for range 2 { // on each replica
		daemontest.Until(t, func() bool {
			return strings.Contains(a.stranger().get(t, signInPage).page, `name="issuer"`)
		})
	}
	t.Run("answer", func(t *testing.T) { a.attackAnswers(t, p) })
	t.Run("begin", func(t *testing.T) {
		var attacks []formAttack
		for name, issuer := range map[string]string{
			"a provider of nobody": "https://evil.example", "none": "", "a path": p.Name + "/../x",
			"a slash more": p.Name + "/", "capitals": strings.ToUpper(p.Name), "markup": markup,
			"lines": line, "without TLS": strings.Replace(p.Name, "https", "http", 1),
			"with a user": strings.Replace(p.Name, "https://", "https://x@", 1),
		} {
			attacks = append(attacks, formAttack{
				name: name, path: loginPage, form: url.Values{"issuer": {issuer}}, want: 401,
			})
		}
		good := url.Values{"issuer": {p.Name}}
		a.runForms(t, append(attacks,
			formAttack{
				name: "of another site", path: loginPage, form: good, want: 403,
				header: []string{"Sec-Fetch-Site: cross-site"},
			},
			formAttack{
				name: "of another Referer", path: loginPage, form: good, want: 403,
				header: []string{"Referer: https://evil.example/"},
			},
			formAttack{
				name: "by GET", path: loginPage, method: http.MethodGet, query: good, want: 303,
			},
			formAttack{name: "by PUT", path: loginPage, method: http.MethodPut, want: 405},
			formAttack{name: "an answer by POST", path: loginBack, form: good, want: 405},
			formAttack{name: "an answer by HEAD", path: loginBack, method: "HEAD", want: 405},
			formAttack{name: "another page", path: "/console/login/", form: good, want: 404},
			formAttack{
				name: "an act beside it", path: "/console/login/../accounts/100/act", want: 404,
			}))
	})
}

// goOn begins a sign-in, and returns where the provider is asked.
func (b *tab) goOn(t *testing.T, p *logintest.Provider) string {
	t.Helper()
	page := must(t, b.post(t, loginPage, url.Values{"issuer": {p.Name}}), http.StatusOK)
	to, leads := strings.CutPrefix(page.header.Get("Refresh"), "0;url=")
	if !leads {
		t.Fatalf("the sign-in leads nowhere: %q", page.header)
	}
	return to
}

// attackAnswers brings answers of the provider back that were changed, or are of another sign-in.
func (a *arena) attackAnswers(t *testing.T, p *logintest.Provider) {
	const foreignSignIn = "auth.fail oidc: the answer is not to a sign-in of this browser"
	set := func(name, value string) func(*testing.T, *tab, url.Values) {
		return func(_ *testing.T, _ *tab, q url.Values) { q.Set(name, value) }
	}
	cookie := func(value string) func(*testing.T, *tab, url.Values) {
		return func(_ *testing.T, b *tab, _ url.Values) { b.cookies[loginCookie] = value }
	}
	for _, at := range []oidcAttack{
		{name: "somebody who is nobody here", says: "nobody here is known"},
		{name: "another state", change: set("state", "S"), entry: foreignSignIn},
		{name: "an empty state", change: set("state", "")},
		{name: "a state in small letters", change: func(_ *testing.T, _ *tab, q url.Values) {
			q.Set("state", strings.ToLower(q.Get("state")))
		}, entry: foreignSignIn},
		{name: "another code", change: set("code", "C")},
		{name: "a token in place of a code", change: func(_ *testing.T, _ *tab, q url.Values) {
			q.Del("code")
			q.Set("id_token", "eyJhbGciOiJub25lIn0.e30.")
		}},
		{name: "a token beside an empty code", change: func(_ *testing.T, _ *tab, q url.Values) {
			q.Set("code", "")
			q.Set("access_token", "x")
		}},
		{name: "another issuer", change: set("iss", "https://evil.example")},
		{name: "an issuer with a slash", change: set("iss", p.Name+"/")},
		{name: "two states", change: func(_ *testing.T, _ *tab, q url.Values) {
			q.Add("state", "S")
		}},
		{name: "two issuers", change: func(_ *testing.T, _ *tab, q url.Values) {
			q.Add("iss", "https://evil.example")
		}},
		{name: "an error of markup", change: set("error", markup)},
		{name: "an error of lines", change: set("error", line)},
		{name: "a description of markup", change: func(_ *testing.T, _ *tab, q url.Values) {
			q.Set("error", "access_denied")
			q.Set("error_description", markup)
		}},
		{name: "without its cookie", change: func(_ *testing.T, b *tab, _ url.Values) {
			delete(b.cookies, loginCookie)
		}},
		{name: "a cookie of nobody", change: cookie(strings.Repeat("A", 300))},
		{name: "an empty cookie", change: cookie("")},
		{name: "a cookie of 6,000 letters", change: cookie(strings.Repeat("A", 6000))},
		{name: "the challenge of a passkey as a cookie", change: func(t *testing.T, b *tab,
			_ url.Values,
		) {
			t.Helper()
			_, form := b.at(b.from).ceremony(t, signInPage)
			b.cookies[loginCookie] = form.Get("state")
		}},
		{name: "the sign-in of another browser", change: func(t *testing.T, b *tab, _ url.Values) {
			t.Helper()
			other := a.stranger()
			other.goOn(t, p)
			b.cookies[loginCookie] = other.cookies[loginCookie]
		}, entry: foreignSignIn},
		// The attacker's answer in a browser that has begun a sign-in of its own.
		{name: "the answer of another person", change: func(t *testing.T, _ *tab, q url.Values) {
			t.Helper()
			for name, values := range p.SignIn(t, a.stranger().goOn(t, p), "wanda") {
				q[name] = values
			}
		}, entry: foreignSignIn},
		{name: "the code of another person", change: func(t *testing.T, _ *tab, q url.Values) {
			t.Helper()
			q.Set("code", p.SignIn(t, a.stranger().goOn(t, p), "wanda").Get("code"))
		}},
		{name: "as an image", header: []string{"Sec-Fetch-Dest: image"}, want: 403},
		{name: "in a frame", header: []string{"Sec-Fetch-Dest: iframe"}, want: 403},
		{name: "to a script", header: []string{"Sec-Fetch-Dest: empty"}, want: 403},
	} {
		t.Run(at.name, func(t *testing.T) {
			b, person := a.stranger(), "wanda"
			if at.change == nil && at.header == nil {
				person = "nobody"
			}
			query := p.SignIn(t, b.goOn(t, p), person)
			page := b.at(a.attacker(t))
			a.expect(page.from, at.entry, 1)
			if at.change != nil {
				at.change(t, page, query)
			}
			if at.want == 0 {
				at.want = http.StatusUnauthorized
			}
			a.refused(t, page.send(t, page.write(http.MethodGet, loginBack+"?"+query.Encode(), "",
				at.header...)), at.want, at.says)
		})
	}
	t.Run("the same again", func(t *testing.T) {
		b := a.stranger()
		query := p.SignIn(t, b.goOn(t, p), "wanda").Encode()
		page := b.at(a.attacker(t)) // with the cookie that is taken from b
		must(t, b.get(t, loginBack+"?"+query), http.StatusOK)
		if b.cookies[sessionCookie] == "" {
			t.Fatal("no session began the first time")
		}
		a.refused(t, page.send(t, page.write(http.MethodGet, loginBack+"?"+query, "")), 401, "")
		page.cookies = map[string]string{sessionCookie: b.cookies[loginCookie]}
		a.refused(t, page.send(t, page.write(http.MethodGet, mePage, "")), 401, "")
	})
}
