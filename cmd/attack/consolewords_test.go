//go:build unix

package attack_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// markup is what a browser would run if a page had it as it is.
const markup = `"><script>alert(1)</script><img src=x onerror=alert(1)>`

// line is what would be a header of its own if a header had it as it is.
const line = "x\r\nX-Evil: 1\r\n\r\n<script>alert(1)</script>"

// attackWords sends parameters that nobody types.
func (a *arena) attackWords(t *testing.T, ada *tab) {
	get := func(name, path string, want int) formAttack {
		return formAttack{
			name: name, by: ada, method: http.MethodGet, path: "/console/" + path, want: want,
		}
	}
	a.runForms(t, []formAttack{
		get("a statement from no day", "accounts/400/statement?from=tomorrow", 422),
		get("a statement that ends before it begins",
			"accounts/400/statement?from=2026-02-01&to=2026-01-01", 422),
		get("a cursor of nobody", "accounts/400/statement?cursor=AAAA", 422),
		get("a review of a negative amount",
			"accounts/400/review?act=withdraw&amount=-5&request_id=r", 422),
		get("a slip before the first", "slips/-1", 404),
		get("a slip after the last", "slips/9223372036854775807", 404),
		get("a slip of too many digits", "slips/92233720368547758070", 404),
		get("a slip that is a fraction", "slips/1.5", 404),
		get("an account of too many digits", "account?number=99999999999999999999", 422),
		get("an account that is a path", "account?number=../admin", 422),
	})
}

// attackMarkup puts markup and lines into all that a page shows again.
func (a *arena) attackMarkup(t *testing.T, ada, olga *tab) {
	for name, text := range map[string]string{"markup": markup, "lines": line} {
		get := func(by *tab, name, path string, query url.Values, want int) formAttack {
			return formAttack{
				name: name, by: by, method: http.MethodGet, path: "/console/" + path, query: query,
				want: want,
			}
		}
		post := func(by *tab, name, path string, form url.Values, want int) formAttack {
			return formAttack{name: name, by: by, path: "/console/" + path, form: form, want: want}
		}
		escaped := url.PathEscape(text)
		review := func(act, amount, to, id string) url.Values {
			return url.Values{"act": {act}, "amount": {amount}, "to": {to}, "request_id": {id}}
		}
		in := map[string]url.Values{
			"name":     {"name": {text}, "secret": {"x"}},
			"next":     {"name": {""}, "secret": {""}, "next": {text}},
			"response": {"response": {text}, "state": {text}},
		}
		t.Run(name, func(t *testing.T) {
			a.runForms(t, []formAttack{
				post(nil, "name of a sign-in", "sign-in", in["name"], 401),
				post(nil, "next of a sign-in", "sign-in", in["next"], 422),
				post(nil, "response of a sign-in", "sign-in", in["response"], 401),
				get(nil, "next of the page of signing in", "sign-in", url.Values{"next": {text}}, 200),
				get(nil, "done of the page of signing in", "sign-in", url.Values{"done": {text}}, 200),
				get(nil, "the code of an invitation", "invite/"+escaped, nil, 401),
				get(ada, "account", "accounts/"+escaped, nil, 404),
				get(ada, "account to find", "account", url.Values{"number": {text}}, 422),
				get(ada, "slip", "slips/"+escaped, nil, 404),
				get(ada, "page", escaped, nil, 404),
				get(ada, "act of a review", "accounts/400/review", review(text, "1", "", "r"), 422),
				get(ada, "amount of a review", "accounts/400/review",
					review("withdraw", text, "", "r"), 422),
				get(ada, "account to transfer to", "accounts/400/review",
					review("transfer", "x", text, "r"), 422),
				get(ada, "request id of a review", "accounts/400/review",
					review("withdraw", "1", "", text), 200),
				get(ada, "days of a statement", "accounts/400/statement",
					url.Values{"from": {text}, "to": {text}}, 422),
				post(ada, "amount of an act", "accounts/400/act",
					review("withdraw", text, text, text), 422),
				post(ada, "name of a passkey", "me/passkeys", url.Values{"name": {text}}, 422),
				post(ada, "passkey to rename", "me/passkeys/rename", url.Values{
					"passkey": {text}, "name": {"mine"}, "request_id": {name},
				}, 404),
				get(olga, "user to add", "admin/users/add", url.Values{
					"subject": {text}, "roles": {text}, "request_id": {text}, "review": {"1"},
				}, 422),
				get(olga, "account to freeze", "admin/accounts/freeze", url.Values{
					"account": {text}, "request_id": {text},
				}, 200),
				post(olga, "user to invite", "admin/users/invite", url.Values{
					"subject": {text}, "roles": {"teller"}, "request_id": {text},
				}, 422),
			})
		})
	}
}

// attackPaths asks for acts by paths that programs read in different ways. None is the act.
func (a *arena) attackPaths(t *testing.T, ada *tab) {
	for path, want := range map[string]int{
		"/console/%2e%2e/console/accounts/400/act":     404,
		"/console/../console/accounts/400/act":         404,
		"/console/./accounts/400/act":                  404,
		"/console//accounts/400/act":                   404,
		"//console/accounts/400/act":                   404,
		"/console/accounts//400/act":                   404,
		"/console/accounts/400//act":                   404,
		"/console/accounts/400/act/":                   404,
		"/console/accounts/400/act;a=b":                404,
		"/console/accounts;a=b/400/act":                404,
		"/console/accounts/400/act%00":                 404,
		"/console/accounts/400/act%20":                 404,
		"/console/accounts/400/act%3fx":                404,
		"/console/accounts/400/Act":                    404,
		"/CONSOLE/accounts/400/act":                    404,
		"/console/accounts/400\\act":                   405,
		"/console/accounts/400%5cact":                  405,
		"/console/accounts/..%2f400/act":               404,
		"/console/sign-in/../accounts/400/act":         404,
		"/console/sign-in%2f..%2faccounts%2f400%2fact": 404,
		"/console/assets/../accounts/400/act":          404,
		"/console/assets/%2e%2e/pages/home.html":       404,
		"/console/accounts/400%0d%0aX-Evil:%201/act":   303,
		"/console/%0d%0aX-Evil:%201":                   404,
		"/RPC2/../console/accounts/400/act":            404,
		"/audit/../console/accounts/400/act":           405,
		"/console/invite/../../admin/backup":           401,
	} {
		a.runForms(t, []formAttack{{name: path, by: ada, path: path, want: want}})
	}
	// What a stranger may open is that alone: the rest of its path is a code.
	a.runForms(t, []formAttack{
		{name: "an invitation to an act", path: "/console/invite/../accounts/400/act", want: 401},
		{name: "an invitation to nothing", path: "/console/invite/", want: 401},
		{name: "signing in, and more", path: "/console/sign-in/", want: 401},
		{
			name: "a file of the program", path: "/console/assets/..%2f..%2fconsole.go", want: 404,
			method: http.MethodGet,
		},
		{name: "a folder", path: "/console/assets/", want: 404, method: http.MethodGet},
		{name: "an act on assets", path: "/console/assets/console.css", want: 404},
	})
}

// attackMethods asks for acts by methods that are not theirs.
func (a *arena) attackMethods(t *testing.T, ada *tab) {
	form := moneyForm("withdraw", "1.00")
	for _, method := range []string{
		"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "POS", "OST", "post", "PRI",
		"QUERY",
	} {
		at := formAttack{
			name: method, by: ada, method: method, want: 405, query: form, body: form.Encode(),
		}
		if method == "GET" || method == "HEAD" {
			at.body = ""
		}
		a.runForms(t, []formAttack{at})
	}
	by := func(name, method string, header ...string) formAttack {
		return formAttack{
			name: name, by: ada, method: method, query: form, header: header, want: 405,
		}
	}
	reads := func(name, path string) formAttack {
		return formAttack{
			name: name, by: ada, method: http.MethodGet, path: path, query: form, want: 405,
		}
	}
	a.runForms(t, []formAttack{
		by("GET that says it is another", "GET", "X-HTTP-Method-Override: POST"),
		by("GET that says so otherwise", "GET", "X-HTTP-Method: POST", "X-Method-Override: POST"),
		{
			name: "GET with a form", by: ada, method: "GET", query: url.Values{"_method": {"POST"}},
			body: form.Encode(), want: 405,
		},
		{
			name: "POST with its fields in the address", by: ada, query: form, want: 422, body: "x=y",
			says: "no request id",
		},
		{
			name: "a part of a method that a page takes", by: ada, method: "GE", path: "/console/",
			want: 405,
		},
		reads("signing out by GET", mePage+"/sign-out"),
		reads("adding a passkey by GET", mePage+"/passkeys"),
		{
			name: "signing in by GET", method: http.MethodGet, path: signInPage, want: 200,
			query: url.Values{"name": {"alice"}, "secret": {daemontest.AliceSecret}},
		},
		{name: "signing in by DELETE", method: http.MethodDelete, path: signInPage, want: 405},
		{name: "a page by POST", by: ada, path: "/console/accounts/400", want: 405},
	})
}

// attackNext signs in, and would go on to another site.
func (a *arena) attackNext(t *testing.T) {
	eve := a.person(t, "eve", "customer", "")
	for _, next := range []string{
		"https://evil.example/console/", "//evil.example/console/", "///evil.example/console/",
		"/\\evil.example/console/", "\\\\evil.example\\console/", "/console/\\evil.example",
		"https:/evil.example/console/", "https:evil.example", "javascript:alert(1)",
		"data:text/html,x", "/console/../admin/backup", "/console/%2e%2e/admin/backup",
		"/console/%2e%2e//evil.example", "/console/..%2f..%2fevil", "/console/\r\nX-Evil: 1",
		"/console/\tx", "/Console/", "console/", "", "?next=//evil.example", "#", "@evil.example",
		"/console/./", signInPage, "/console/invite/x", strings.Repeat("/", 100),
	} {
		t.Run("to "+next, func(t *testing.T) {
			eve := eve.at(eve.from) // she may do so
			asked, form := eve.ceremony(t, signInPage)
			form.Set("response", eve.device.Sign(t, asked))
			form.Set("next", next)
			got := must(t, eve.post(t, signInPage, form), http.StatusSeeOther)
			if to := got.header.Get("Location"); to != "/console/" || got.header.Get("X-Evil") != "" {
				t.Errorf("it leads to %q, with %q", to, got.header)
			}
		})
	}
}
