//go:build unix

package attack_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/auth"
	"example.com/atm/cmd/internal/daemontest"
)

// attackSessions uses the cookies of sessions as thieves, programs and people who stayed behind
// do. That a session ends by itself, after 15 minutes without an operation and after 8 hours,
// takes a clock that can be set: see TestSessionIsOverWhenIdleAndAfterItsLife in vault/people.
func (a *arena) attackSessions(t *testing.T) {
	gus := a.person(t, "gus", "customer", "700")
	t.Run("cookie", func(t *testing.T) { a.attackCookies(t, gus) })
	t.Run("ended", a.attackEnded)
	t.Run("elsewhere", a.attackElsewhere)
	t.Run("another", func(t *testing.T) { a.attackFixation(t, gus) })
	t.Run("while it ends", a.attackWhileItEnds)
}

// attackCookies sends forms with cookies that are not that of a session, or from another browser.
// What was seen, guessed or changed of a cookie is in stolenCookies.
func (a *arena) attackCookies(t *testing.T, gus *tab) {
	secret := gus.cookies[sessionCookie]
	cookie := func(name string, lines ...string) formAttack {
		return formAttack{name: name, by: gus, header: lines, want: 401}
	}
	only := func(name, value string) formAttack {
		return cookie(name, "Cookie: "+sessionCookie+"="+value)
	}
	agent := func(name, agent string) formAttack {
		at := cookie(name, "User-Agent: "+agent)
		at.entry = "auth.fail session in another browser"
		return at
	}
	attacks := []formAttack{
		agent("a program", "curl/8.14"),
		agent("no browser", ""),
		agent("a browser that begins alike", gus.agent+strings.Repeat(" ", 10)+"x"),
		only("of one letter", "A"),
		only("the id of a session by passkey", auth.SessionID(secret)),
		only("of 3,000 letters", strings.Repeat("A", 3000)),
		only("a NUL in front", "%00"+secret),
		cookie("forged, before the good one", "Cookie: "+sessionCookie+"=A; "+sessionCookie+"="+
			secret),
		cookie("forged, in a line before", "Cookie: "+sessionCookie+"=A",
			"Cookie: "+sessionCookie+"="+secret),
		cookie("of the browser alone", "Cookie: __Host-atm-browser="+secret),
		cookie("as a header", "Cookie:", "X-Session: "+secret, "X-Cookie: "+sessionCookie+"="+secret),
	}
	form := moneyForm("withdraw", "1.00")
	form.Set(sessionCookie, secret)
	for name, at := range map[string]formAttack{
		"in the form":    {form: form},
		"in the address": {query: url.Values{sessionCookie: {secret}}},
		"in the path":    {path: gus.act() + ";" + sessionCookie + "=" + secret},
	} {
		at.name, at.by, at.header, at.want = name, gus, []string{"Cookie:"}, 401
		attacks = append(attacks, at)
	}
	a.runForms(t, attacks)
	t.Run("of somebody else, beside a certificate", func(t *testing.T) {
		// The session counts, so that a page never shows the money of two people.
		b := gus.at(a.attacker(t))
		request := b.write(http.MethodPost, "/console/accounts/300/act",
			moneyForm("withdraw", "1.00").Encode())
		code, text := a.exchange(t, b.from, a.mallory, request)
		a.refused(t, parsed(t, code, text, request), 303, "")
	})
}

// attackEnded sends forms in sessions that were over a moment before.
func (a *arena) attackEnded(t *testing.T) {
	operator := a.office
	call := func(method string, args ...any) func(*testing.T, *tab) {
		return func(t *testing.T, b *tab) {
			t.Helper()
			daemontest.Must(t)(operator.Call(t.Context(), method,
				append([]any{b.subject}, args...)...))
		}
	}
	post := func(path string, fields ...string) func(*testing.T, *tab) {
		return func(t *testing.T, b *tab) {
			t.Helper()
			form := url.Values{"request_id": {"end"}}
			for i := 0; i < len(fields); i += 2 {
				form.Set(fields[i], fields[i+1])
			}
			b = b.at(b.from) // which keeps the cookie for the attack
			must(t, b.post(t, path, form), http.StatusSeeOther)
		}
	}
	id := func(b *tab) string { return auth.SessionID(b.cookies[sessionCookie]) }
	passkey := func(b *tab) string { return base64.RawURLEncoding.EncodeToString(b.device.ID) }
	ends := map[string]func(*testing.T, *tab){
		"signed out":            post(mePage + "/sign-out"),
		"signed out everywhere": post(mePage+"/sign-out", "everywhere", "1"),
		"ended on its own page": func(t *testing.T, b *tab) {
			post(mePage+"/sessions/end", "session", id(b))(t, b)
		},
		"signed out everywhere in another browser": func(t *testing.T, b *tab) {
			other := *b
			other.cookies = make(map[string]string)
			other.signIn(t)
			post(mePage+"/sign-out", "everywhere", "1")(t, &other)
		},
		"ended by an operator": func(t *testing.T, b *tab) {
			call("admin.session.end", id(b))(t, b)
		},
		"all ended by an operator": call("admin.session.end", "*"),
		"of a disabled user":       call("admin.user.disable"),
		"of a revoked user":        call("admin.user.revoke"),
		"without its passkey, removed by an operator": func(t *testing.T, b *tab) {
			call("admin.passkey.remove", passkey(b))(t, b)
		},
		"without its passkey, removed by its user": func(t *testing.T, b *tab) {
			post(mePage+"/passkeys/remove", "passkey", passkey(b))(t, b)
		},
	}
	n := 0
	for name, end := range ends {
		n++
		b := a.person(t, fmt.Sprint("gone", n), "customer", fmt.Sprint(710+n))
		end(t, b)
		daemontest.AwaitReplicas()
		a.runForms(t, []formAttack{
			{name: name, by: b, want: 401},
			{name: name + ", a page", by: b, path: mePage, method: http.MethodGet, want: 401},
			{name: name + ", signing out once more", by: b, path: mePage + "/sign-out", want: 401},
		})
	}
	t.Run("without its secret", a.attackOldSecret)
	t.Run("without its role", func(t *testing.T) {
		b := a.person(t, "demoted", "customer", "731")
		daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", b.subject, "auditor"))
		daemontest.AwaitReplicas()
		a.runForms(t, []formAttack{{
			name: "a customer's form", by: b, want: 303, entry: "withdraw PERMISSION_DENIED",
		}})
	})
}

// attackOldSecret uses a session that began with a name and a secret, after the secret was changed.
func (a *arena) attackOldSecret(t *testing.T) {
	b := a.stranger()
	b.subject, b.account = "user:hal", "730"
	operator := a.office
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", b.subject, "customer",
		daemontest.AliceSecret))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", b.account, b.subject,
		"100"))
	a.balances[730] = "100.00"
	daemontest.AwaitReplicas()
	must(t, b.post(t, signInPage, url.Values{
		"name": {"hal"}, "secret": {daemontest.AliceSecret},
	}), http.StatusSeeOther)
	must(t, b.get(t, mePage), http.StatusOK)
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", b.subject, "",
		"another "+daemontest.AliceSecret))
	daemontest.AwaitReplicas()
	a.runForms(t, []formAttack{
		{name: "a form", by: b, want: 401},
		{
			name: "the old secret", path: signInPage, want: 401, says: "is wrong",
			form:  url.Values{"name": {"hal"}, "secret": {daemontest.AliceSecret}},
			entry: "auth.fail wrong user or secret",
		},
		{
			name: "its hash", path: signInPage, want: 401, says: "is wrong",
			form: url.Values{"name": {"hal"}, "secret": {
				sha("hal:" + a.domain + ":" + daemontest.AliceSecret),
			}},
		},
		{
			name: "a disabled user", path: signInPage, want: 401, says: "is wrong",
			form: url.Values{"name": {"dave"}, "secret": {daemontest.AliceSecret}},
		},
		{
			name: "a user of certificates", path: signInPage, want: 401, says: "is wrong",
			form: url.Values{"name": {"nina"}, "secret": {daemontest.AliceSecret}},
		},
		{
			name: "of two names", path: signInPage, want: 401, says: "is wrong",
			form: url.Values{"name": {"nina", "alice"}, "secret": {daemontest.AliceSecret}},
		},
	})
}

// attackElsewhere uses the sessions of an operator and of a customer where programs sign in.
func (a *arena) attackElsewhere(t *testing.T) {
	olga := a.person(t, "olga2", "operator auditor", "")
	ivy := a.person(t, "ivy", "customer", "740")
	secret := ivy.cookies[sessionCookie]
	xml := []string{"Content-Type: text/xml"}
	call := func(name string, by *tab, path, body string, header []string, want int) formAttack {
		return formAttack{
			name: name, by: by, path: path, body: body, header: header, want: want,
		}
	}
	grant := func(fields ...string) string {
		form := url.Values{}
		for i := 0; i < len(fields); i += 2 {
			form.Set(fields[i], fields[i+1])
		}
		return form.Encode()
	}
	get := func(name string, by *tab, path string, want int) formAttack {
		return formAttack{name: name, by: by, method: http.MethodGet, path: path, want: want}
	}
	a.runForms(t, []formAttack{
		call("a call of an operator", olga, "/RPC2",
			daemontest.Call("admin.user.add", "user:evil", "operator"), xml, 401),
		call("a call as a form", ivy, "/RPC2", "", nil, 415),
		call("a token for the secret", ivy, "/token", grant("grant_type", "client_credentials",
			"client_id", "user:ivy", "client_secret", secret), nil, 401),
		call("a token in exchange", ivy, "/token", grant("grant_type",
			"urn:ietf:params:oauth:grant-type:token-exchange", "subject_token", secret,
			"subject_token_type", "urn:ietf:params:oauth:token-type:access_token"), nil, 401),
		call("a certificate", olga, "/enroll", grant("code", secret, "request",
			daemontest.NewRequest(t)), nil, 401),
		get("a backup", olga, "/admin/backup", 405),
		get("the log, as a customer", ivy, "/audit/checkpoint", 403),
		get("a file beside the log", olga, "/audit/../keys/vault.key", 404),
	})
}

// attackFixation signs in a browser that somebody has prepared.
func (a *arena) attackFixation(t *testing.T, gus *tab) {
	t.Run("a cookie from before signing in", func(t *testing.T) {
		victim := gus.at(gus.from)
		fixed := strings.Repeat("A", len(gus.cookies[sessionCookie]))
		victim.cookies[sessionCookie] = fixed
		victim.signIn(t)
		if victim.cookies[sessionCookie] == fixed {
			t.Error("the session has the cookie from before")
		}
		thief := gus.at(a.attacker(t))
		thief.cookies[sessionCookie] = fixed
		a.refused(t, thief.send(t, thief.write(http.MethodGet, mePage, "")), 401, "")
	})
	t.Run("the session of another user from before", func(t *testing.T) {
		ned := a.person(t, "ned", "customer", "750")
		before := ned.cookies[sessionCookie]
		ned.device, ned.subject = gus.device, gus.subject // gus signs in at the same browser
		ned.signIn(t)
		got := ned.at(a.attacker(t))
		a.refused(t, got.send(t, got.write(http.MethodPost, ned.act(),
			moneyForm("withdraw", "1.00").Encode())), 303, "")
		if after := ned.cookies[sessionCookie]; after == before {
			t.Error("two users had one cookie")
		}
		got.cookies[sessionCookie] = before
		a.refused(t, got.send(t, got.write(http.MethodGet, mePage, "")), 401, "")
	})
}

// whileItEnds is the name of the attack that checkEnded reports on.
const whileItEnds = "TestAttacksAreRefused/session/while_it_ends"

// attackWhileItEnds ends sessions while pages in them are on their way, one after the other on each
// connection. What was decided before the end was by right; checkEnded looks in the log for what
// came after it.
func (a *arena) attackWhileItEnds(t *testing.T) {
	const rounds, connections, pages = 8, 6, 1000
	b := a.person(t, "quick", "customer", "")
	from := a.attacker(t)
	for range rounds {
		b.cookies = make(map[string]string) // the last session is over
		b.signIn(t)
		secret := b.cookies[sessionCookie]
		begun := make(chan struct{}, connections*pages)
		var all sync.WaitGroup
		for range connections {
			conn, err := a.dial(t, from, nil)
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				defer conn.Close()
				k := newKept(conn)
				for n := 0; ; n++ {
					code, _, err := k.get(mePage, "User-Agent: "+b.agent,
						"Cookie: "+sessionCookie+"="+secret)
					begun <- struct{}{}
					switch {
					case err != nil, n == pages:
						t.Errorf("page %d: %d, %v", n, code, err)
						return
					case code != http.StatusOK: // the session is over, or ended within the page
						return
					}
				}
			})
		}
		for range 2 * connections {
			<-begun
		}
		daemontest.Must(t)(a.office.Call(t.Context(), "admin.session.end", b.subject,
			auth.SessionID(secret)))
		all.Wait()
	}
}

// checkEnded requires that a session did nothing after the entry of its end.
func (a *arena) checkEnded(t *testing.T, entries []*audit.Entry) {
	t.Helper()
	ended := make(map[string]int) // index of the end of a session
	for i, e := range entries {
		if e.Status == nil || e.Status.Code != atm.OK {
			continue
		}
		if e.Operation == atm.UserSessionEnd {
			for _, arg := range e.Args {
				if arg.Name == "session" {
					ended[arg.Value] = i
				}
			}
		}
		if end, over := ended[e.Caller.Session]; over {
			t.Errorf("%s: entry %d is of a session that entry %d ended: %s", whileItEnds, i, end,
				said(e))
		}
	}
}
