//go:build unix

package attack_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// attackForms sends forms of the console as pages of other sites, scripts and people who change
// what a page holds would.
func (a *arena) attackForms(t *testing.T) {
	ada, bob := a.person(t, "ada", "customer", "400"), a.person(t, "bob", "customer", "500")
	olga := a.person(t, "olga", "operator", "")
	t.Run("of another site", func(t *testing.T) { a.attackAcross(t, ada, olga) })
	t.Run("of another kind", func(t *testing.T) { a.attackBodies(t, ada) })
	t.Run("changed", func(t *testing.T) { a.attackFields(t, ada, bob) })
	t.Run("repeated", func(t *testing.T) { a.attackRequestIDs(t, ada, bob) })
	t.Run("of others", func(t *testing.T) { a.attackOthers(t, ada, bob) })
	t.Run("of words", func(t *testing.T) { a.attackWords(t, ada) })
	t.Run("markup", func(t *testing.T) { a.attackMarkup(t, ada, olga) })
	t.Run("path", func(t *testing.T) { a.attackPaths(t, ada) })
	t.Run("method", func(t *testing.T) { a.attackMethods(t, ada) })
	t.Run("next", a.attackNext)
}

// attackAcross sends forms as a browser does that a page of another site makes send them. They
// come with all credentials, although a cookie with SameSite=Strict would stay behind.
func (a *arena) attackAcross(t *testing.T, ada, olga *tab) {
	from := func(name string, header ...string) formAttack {
		return formAttack{name: name, by: ada, header: header, want: 403, says: "other sites"}
	}
	attacks := []formAttack{
		from("Origin that is none", "Origin: %"),
		from("Origin without TLS", "Origin: http://localhost"),
		from("Origin at another port", "Origin: https://localhost:8443"),
		from("Origin that begins alike", "Origin: https://localhost.evil.example"),
		from("Origin with a user", "Origin: https://localhost@evil.example"),
		from("a word that is none", "Sec-Fetch-Site: samesite"),
		from("another site, with the Origin of the bank", "Sec-Fetch-Site: cross-site",
			"Origin: https://localhost"),
		from("another Referer alone", "Referer: https://evil.example/console/"),
		from("another Referer beside the Origin", "Origin: https://localhost",
			"Referer: https://evil.example/"),
		from("a Referer without TLS", "Referer: http://localhost/console/"),
		from("another Host", "Host: evil.example", "Origin: https://localhost"),
		from("another Host, by Referer", "Host: evil.example", "Referer: https://localhost/"),
	}
	for name, path := range map[string]string{
		"an invitation": "/console/admin/users/invite",
		"a user":        "/console/admin/users/add",
		"an account":    "/console/admin/accounts/open",
	} {
		at := from(name, "Origin: https://evil.example")
		at.by, at.path = olga, path
		at.form = url.Values{
			"subject": {"user:evil"}, "roles": {"operator"}, "account": {"999"},
			"owner": {"user:evil"}, "request_id": {name},
		}
		attacks = append(attacks, at)
	}
	a.runForms(t, attacks)
	t.Run("with the certificate of its browser", func(t *testing.T) {
		from := a.attacker(t)
		for _, header := range []string{
			"Sec-Fetch-Site: cross-site", "Origin: https://evil.example",
			"Referer: https://evil.example/",
		} {
			b := a.stranger()
			request := b.write(http.MethodPost, "/console/accounts/100/act",
				moneyForm("withdraw", "1.00").Encode(), header)
			code, text := a.exchange(t, from, a.demo, request)
			a.refused(t, parsed(t, code, text, request), 403, "other sites")
		}
	})
}

// attackBodies sends forms in media types that a page of another site can send without asking,
// and larger ones than a form is.
func (a *arena) attackBodies(t *testing.T, ada *tab) {
	form := moneyForm("withdraw", "1.00").Encode()
	multipart := "--x\r\nContent-Disposition: form-data; name=\"act\"\r\n\r\nwithdraw\r\n" +
		"--x\r\nContent-Disposition: form-data; name=\"amount\"\r\n\r\n1.00\r\n--x\r\n" +
		"Content-Disposition: form-data; name=\"request_id\"\r\n\r\nr\r\n--x--\r\n"
	as := func(name, media, body string, want int) formAttack {
		return formAttack{
			name: name, by: ada, header: []string{"Content-Type: " + media}, body: body, want: want,
		}
	}
	sized := func(name, method, path string, size int, want int) formAttack {
		return formAttack{
			name: name, by: ada, method: method, path: path, want: want,
			body: form + "&to=" + strings.Repeat("x", size-len(form)-4),
		}
	}
	const big = 10 << 20
	a.runForms(t, []formAttack{
		as("text", "text/plain", form, 422),
		as("text with an equals sign", "text/plain", `{"act":"withdraw","x":"=`+form+`"}`, 422),
		as("JSON", "application/json", `{"act":"withdraw","amount":"1.00","request_id":"r"}`, 422),
		as("parts", "multipart/form-data; boundary=x", multipart, 422),
		as("parts without a boundary", "multipart/form-data", multipart, 422),
		as("XML", "text/xml", daemontest.Call("withdraw", "400", "1.00"), 422),
		as("no type", "", form, 422),
		as("a type that is none", "application/x-www-form-urlencoded; =", form, 400),
		sized("9 KB", http.MethodPost, ada.act(), sent, 400),
		{
			name: "10 MB", by: ada, want: 400, body: strings.Repeat("a", big),
		},
		{
			name: "10 MB of a stranger", path: signInPage, want: 400,
			body: strings.Repeat("a", big),
		},
		sized("a large PUT", http.MethodPut, signInPage, sent, 400),
		sized("a large PATCH of an invitation", http.MethodPatch, "/console/invite/x", sent, 400),
		sized("a PUT in a session", http.MethodPut, ada.act(), 1<<10, 405),
		{name: "10,000 fields", by: ada, body: form + strings.Repeat("&a=", 10_000), want: 400},
		{
			name: "2,500 fields, of which the first counts twice", by: ada, want: 422,
			body: form + strings.Repeat("&a=", 2500) + "&act=deposit", says: "twice",
		},
		{name: "a semicolon", by: ada, body: form + ";amount=2", want: 400},
		{name: "an escape that is none", by: ada, body: form + "&to=%zz", want: 400},
		{
			name: "chunks", by: ada, body: "0\r\n\r\n", want: 411,
			header: []string{"Transfer-Encoding: chunked"},
		},
	})
}

// attackFields changes what stands in the hidden fields of a form.
func (a *arena) attackFields(t *testing.T, ada, bob *tab) {
	var attacks []formAttack
	for _, amount := range []string{
		"-1.00", "+1.00", "0", "0.00", "-0", "0.001", "1.005", "NaN", "Infinity", "inf", "1e9",
		"1E2", "0x10", "1_000", "1,00.00", "1,0000", "1.00.00", "1..0", ".", "", "$", "$$1", "$-1",
		"\uff11\uff10", "\u0661", "1\x00", "1 000", "99999999999999999999", "92233720368547758.08",
		"1;2", "1%00", "null", "true", "[1]", "1'--",
	} {
		attacks = append(attacks, formAttack{
			name: fmt.Sprintf("an amount of %q", amount), by: ada, want: 422,
			form: moneyForm("withdraw", amount), says: "An amount",
		})
	}
	for _, act := range []string{
		"", "Withdraw", "WITHDRAW", "withdraw ", "authorize", "capture", "inquiry", "admin.account.set",
		"admin.user.add", "system.multicall", "../act",
	} {
		attacks = append(attacks, formAttack{
			name: fmt.Sprintf("the act %q", act), by: ada, want: 422, says: "no such act",
			form: moneyForm(act, "1.00"),
		})
	}
	twice := func(field, second string) formAttack {
		form := moneyForm("withdraw", "1.00")
		form.Set("to", "500")
		form.Add(field, second)
		return formAttack{name: field + " twice", by: ada, form: form, want: 422, says: "twice"}
	}
	attacks = append(attacks, twice("amount", "99.00"), twice("act", "deposit"),
		twice("request_id", "another"), twice("to", "300"))
	for _, act := range []string{"withdraw", "deposit"} {
		attacks = append(attacks, formAttack{
			name: act + " on the account of somebody else", by: ada, path: bob.act(), want: 303,
			form: moneyForm(act, "1.00"), entry: act + " ACCOUNT_NOT_FOUND",
		})
	}
	for _, account := range []string{"0", "-1", "400.0", "9007199254740993", "x", "400%20"} {
		attacks = append(attacks, formAttack{
			name: "the account " + account, by: ada, want: 303,
			path: "/console/accounts/" + account + "/act", entry: "withdraw ACCOUNT_NOT_FOUND",
		})
	}
	a.runForms(t, attacks)
}

// attackRequestIDs uses request ids again, and such that are none.
func (a *arena) attackRequestIDs(t *testing.T, ada, bob *tab) {
	deposit := func(by *tab, amount, id string) url.Values {
		t.Helper()
		form := url.Values{"act": {"deposit"}, "amount": {amount}, "request_id": {id}}
		must(t, by.post(t, by.act(), form), http.StatusSeeOther)
		return form
	}
	deposit(ada, "5.00", "of ada")
	deposit(bob, "7.00", "of bob")
	a.balances[400], a.balances[500] = "105.00", "107.00"
	with := func(name, act, amount, id string, want int, entry string) formAttack {
		return formAttack{name: name, by: ada, want: want, entry: entry, form: url.Values{
			"act": {act}, "amount": {amount}, "request_id": {id},
		}}
	}
	elsewhere := with("that of somebody else, for their slip", "deposit", "7.00", "of bob", 303,
		"deposit ACCOUNT_NOT_FOUND")
	elsewhere.path = bob.act()
	action := with("on another form", "", "", "of ada", 422, "note IDEMPOTENCY_CONFLICT")
	action.path = "/console/notices/leave"
	action.form = url.Values{"account": {"400"}, "text": {"x"}, "request_id": {"of ada"}}
	attacks := []formAttack{
		with("for another amount", "deposit", "500.00", "of ada", 303,
			"deposit IDEMPOTENCY_CONFLICT"),
		with("for another act", "withdraw", "5.00", "of ada", 303,
			"withdraw IDEMPOTENCY_CONFLICT"),
		elsewhere, action,
		with("an empty one", "withdraw", "1.00", "", 422, ""),
		{
			name: "none", by: ada, form: url.Values{"act": {"withdraw"}, "amount": {"1.00"}},
			want: 422, says: "no request id",
		},
		{
			name: "none on a form", by: ada, path: "/console/grants/give", want: 422,
			form: url.Values{"account": {"400"}}, says: "no request id",
		},
		{
			name: "two on a form", by: ada, path: mePage + "/passkeys/remove", want: 422,
			form: url.Values{"passkey": {"x"}, "request_id": {"a", "b"}}, says: "request id",
		},
	}
	for name, id := range map[string]string{
		"of 129 characters": strings.Repeat("x", 129), "of 7,000 characters": strings.Repeat("x", 7000),
		"a NUL": "a\x00b", "a line": "a\r\nX-Evil: 1", "a byte that is no text": "\xff\xfe",
		"a decomposed letter": "e\u0301", "from right to left": "a\u202eb",
		"a joiner": "a\u200db", "a soft hyphen": "a\u00adb", "a surrogate": "\xed\xa0\x80",
		"a tag": "a\U000e0041", "a filler": "\u3164",
	} {
		attacks = append(attacks, with(name, "withdraw", "1.00", id, 422, ""))
	}
	a.runForms(t, attacks)
}

// attackOthers sends forms about what belongs to others, and forms of operators.
func (a *arena) attackOthers(t *testing.T, ada, bob *tab) {
	of := func(record any, list string) string {
		rows, _ := record.(map[string]any)[list].([]any)
		row, _ := rows[0].(map[string]any)
		id, _ := row["id"].(string)
		return id
	}
	operator := a.office
	passkey := of(daemontest.Must(t)(operator.Call(t.Context(), "admin.passkey.list",
		"user:bob")).Result, "passkeys")
	session := of(daemontest.Must(t)(operator.Call(t.Context(), "admin.session.list",
		"user:bob")).Result, "sessions")
	form := func(path string, want int, entry string, fields ...string) formAttack {
		values := url.Values{"request_id": {path}}
		for i := 0; i < len(fields); i += 2 {
			values.Add(fields[i], fields[i+1])
		}
		return formAttack{
			name: path, by: ada, path: "/console/" + path, form: values, want: want, entry: entry,
		}
	}
	slip := must(t, bob.post(t, bob.act(), url.Values{
		"act": {"withdraw"}, "amount": {"1000000"}, "request_id": {"too much"},
	}), http.StatusSeeOther).header.Get("Location")
	slip, _, _ = strings.Cut(slip, "?")
	attacks := []formAttack{
		form("me/passkeys/remove", 404, "passkey.remove ACCOUNT_NOT_FOUND", "passkey", passkey),
		form("me/passkeys/rename", 404, "passkey.rename ACCOUNT_NOT_FOUND", "passkey", passkey,
			"name", "mine"),
		form("me/sessions/end", 404, "session.end ACCOUNT_NOT_FOUND", "session", session),
		form("admin/sessions/end", 403, "admin.session.end PERMISSION_DENIED", "subject", "user:bob",
			"session", session),
		form("admin/passkeys/remove", 403, "admin.passkey.remove PERMISSION_DENIED", "subject",
			"user:bob", "passkey", passkey),
		form("admin/users/invite", 403, "admin.cert.invite PERMISSION_DENIED", "subject",
			"user:ada", "roles", "operator"),
		form("admin/users/add", 403, "admin.user.add PERMISSION_DENIED", "subject", "user:ada",
			"roles", "operator"),
		form("admin/users/disable", 403, "admin.user.disable PERMISSION_DENIED", "subject",
			"user:bob"),
		form("admin/accounts/open", 403, "admin.account.open PERMISSION_DENIED", "account", "999",
			"owner", "user:ada", "opening", "1000"),
		form("admin/accounts/set", 403, "admin.account.set PERMISSION_DENIED", "account", "500",
			"owner", "user:ada"),
		form("admin/accounts/limit", 403, "admin.account.limit PERMISSION_DENIED", "account", "400",
			"per_operation", "none"),
	}
	for _, path := range []string{slip, slip + "/file", slip + "/proof"} {
		attacks = append(attacks, formAttack{
			name: "the slip of somebody else " + path[len(slip):], by: ada, method: http.MethodGet,
			path: path, want: 404,
		})
	}
	attacks[len(attacks)-1].want = 422 // it is no page, and says so in a word
	for path, want := range map[string]int{
		"accounts/500": 404, "accounts/500/statement": 404, "accounts/500/statement.csv": 404,
		"accounts/500/review?act=withdraw&amount=1&request_id=r": 200, "log": 403, "log/0": 403,
		"log/rows?after=0": 403, "log/export": 403, "log/verify": 403, "log/reconcile": 403, "admin": 403,
		"admin/users": 403, "admin/sessions?subject=user:bob": 403, "desk": 403,
	} {
		attacks = append(attacks, formAttack{
			name: path, by: ada, method: http.MethodGet, path: "/console/" + path, want: want,
		})
	}
	a.runForms(t, attacks)
}
