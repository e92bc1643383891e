//go:build unix

package attack_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// Paths of forms.
const (
	givePath    = "/console/mandates/give"
	revokePath  = "/console/mandates/revoke"
	orderPath   = "/console/orders/give"
	cancelPath  = "/console/orders/cancel"
	reversePath = "/console/reverse"
	noticePath  = "/console/notices/leave"
)

// fields is a form with these names and values.
func fields(pairs ...string) url.Values {
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return form
}

// changed is a form with other values.
func changed(form url.Values, pairs ...string) url.Values {
	other := url.Values{}
	for name, values := range form {
		other[name] = slices.Clone(values)
	}
	for i := 0; i < len(pairs); i += 2 {
		other.Set(pairs[i], pairs[i+1])
	}
	return other
}

// touchedForm is a form that the user of b has confirmed with a passkey.
func (b *tab) touchedForm(t *testing.T, path string, form url.Values) url.Values {
	t.Helper()
	asked, sent := b.ceremony(t, path+"?"+changed(form, "review", "1").Encode())
	sent.Set("response", b.device.Sign(t, asked))
	for name, values := range form {
		sent[name] = values
	}
	return sent
}

// payments are what attackConsolePayments is about: pam's mandate, standing order and a transfer
// that she received, and the same of ray.
type payments struct {
	pam, ray               *tab
	mandate, order, paid   string // of pam
	hisMandate, hisOrder   string
	hisPaid                string
	give, giveOrder, undo  url.Values // forms of pam that she has not confirmed
	revoke, cancel, notice url.Values
}

// agreed gives a mandate and a standing order for the user and the account of other, and pays that
// account, in calls that the user of b signs in to with a certificate.
func (b *tab) agreed(t *testing.T, other *tab) (mandate, order, paid string) {
	t.Helper()
	c := b.client(t, b.of(t, strings.Replace(b.subject, "user:", "/user/", 1)))
	call := func(method string, args ...any) *client.Answer {
		t.Helper()
		return daemontest.Must(t)(c.Call(t.Context(), method, args...))
	}
	mandate = call("mandate.create", b.account, map[string]any{
		"creditor": other.subject, "each": "5", "total": "20", "period": "month",
	}).Text()
	order = call("order.create", b.account, map[string]any{
		"to": other.account, "amount": "5", "every": "month", "on": "1", "from": "2998-01-01",
	}).Text()
	paid, _, _ = strings.Cut(call("transfer", b.account, other.account, "10").Receipt, " ")
	return mandate, order, paid
}

// attackConsolePayments gives, changes and ends mandates, standing orders, reversals and notices
// that are not the attacker's, or that their user has not confirmed.
func (a *arena) attackConsolePayments(t *testing.T) {
	p := &payments{
		pam: a.person(t, "pam", "customer", "920"), ray: a.person(t, "ray", "customer", "930"),
	}
	p.mandate, p.order, p.hisPaid = p.pam.agreed(t, p.ray)
	p.hisMandate, p.hisOrder, p.paid = p.ray.agreed(t, p.pam)
	p.give = fields("account", "920", "creditor", "user:ray", "each", "5", "total", "20",
		"period", "month", "until", "2999-12-31", "memo", "gas", "request_id", "give")
	p.giveOrder = fields("account", "920", "to", "930", "amount", "5", "every", "month", "on",
		"1", "at", "06:30", "zone", "UTC", "from", "2998-01-01", "memo", "rent", "request_id",
		"order")
	p.undo = fields("index", p.paid, "amount", "2.00", "memo", "back", "request_id", "undo")
	p.revoke = fields("mandate", p.mandate, "request_id", "revoke")
	p.cancel = fields("order", p.order, "request_id", "cancel")
	p.notice = fields("account", "920", "text", "hello", "request_id", "notice")
	t.Run("of another site", func(t *testing.T) { a.attackPaymentsAcross(t, p) })
	t.Run("not confirmed", func(t *testing.T) { a.attackUnconfirmed(t, p) })
	t.Run("changed", func(t *testing.T) { a.attackTerms(t, p) })
	t.Run("of others", func(t *testing.T) { a.attackOthersPayments(t, p) })
	t.Run("again", func(t *testing.T) { a.attackRepeatedPayments(t, p) })
	t.Run("markup", func(t *testing.T) { a.attackPaymentMarkup(t, p) })
}

// attackPaymentsAcross sends the forms as a page of another site does.
func (a *arena) attackPaymentsAcross(t *testing.T, p *payments) {
	var attacks []formAttack
	for path, form := range map[string]url.Values{
		givePath: p.give, revokePath: p.revoke, orderPath: p.giveOrder, cancelPath: p.cancel,
		reversePath: p.undo, noticePath: p.notice,
	} {
		attacks = append(attacks, formAttack{
			name: path, by: p.pam, path: path, form: form, want: 403, says: "other sites",
			header: []string{"Origin: https://evil.example"},
		}, formAttack{
			name: path + " in no session", path: path, form: form, want: 401,
		}, formAttack{
			name: path + " by GET", by: p.pam, path: path, method: http.MethodGet,
			query: changed(form, "request_id", "get"), want: 200,
		})
	}
	a.runForms(t, attacks)
}

// attackUnconfirmed sends forms with the session of a user and without the passkey.
func (a *arena) attackUnconfirmed(t *testing.T, p *payments) {
	touched := p.pam.touched(t, "930", "5.00", "give") // a transfer, with the same request id
	small := changed(p.give, "each", "0.01", "total", "0.01")
	without := changed(p.give, "total", "", "period", "")
	all := changed(p.undo, "amount", "")
	var attacks []formAttack
	for _, at := range []struct {
		name, path string
		form       url.Values
		op         string
	}{
		{"a mandate", givePath, p.give, "mandate.create"},
		{"a mandate for a cent", givePath, small, "mandate.create"},
		{"a mandate without a total", givePath, without, "mandate.create"},
		{"a standing order", orderPath, p.giveOrder, "order.create"},
		{
			"a standing order of a cent", orderPath, changed(p.giveOrder, "amount", "0.01"),
			"order.create",
		},
		{"a reversal", reversePath, p.undo, "reverse"},
		{"a reversal of all that is left", reversePath, all, "reverse"},
	} {
		entry := at.op + " NOT_CONFIRMED"
		attacks = append(attacks, formAttack{
			name: at.name, by: p.pam, path: at.path, form: at.form, want: 403, entry: entry,
		}, formAttack{
			name: at.name + " with the touch of a transfer", by: p.pam, path: at.path, want: 403,
			entry: entry, form: changed(at.form, "response", touched.Get("response"), "state",
				touched.Get("state")),
		}, formAttack{
			name: at.name + " with a touch that is none", by: p.pam, path: at.path, want: 403,
			entry: entry, form: changed(at.form, "response", "{}"),
		})
	}
	a.runForms(t, attacks)
}

// attackTerms changes what a form says after its user has touched the passkey.
func (a *arena) attackTerms(t *testing.T, p *payments) {
	give := p.pam.touchedForm(t, givePath, p.give)
	order := p.pam.touchedForm(t, orderPath, p.giveOrder)
	undo := p.pam.touchedForm(t, reversePath, p.undo)
	var attacks []formAttack
	change := func(path string, form url.Values, op, field, value string) {
		attacks = append(attacks, formAttack{
			name: op + " with " + field + " " + value, by: p.pam, path: path, want: 403,
			form: changed(form, field, value), entry: op + " NOT_CONFIRMED",
			says: "confirmed something else",
		})
	}
	for _, c := range [][2]string{
		{"creditor", "user:uma"},
		{"each", "5.01"},
		{"each", ""},
		{"total", "20.01"},
		{"period", "day"},
		{"until", ""},
		{"until", "2999-12-30"},
		{"from", "2030-01-01"},
		{"memo", "Gas"},
		{"memo", ""},
		{"request_id", "another"},
		{"account", "930"},
	} {
		change(givePath, give, "mandate.create", c[0], c[1])
	}
	for _, c := range [][2]string{
		{"to", "100"},
		{"amount", "5.01"},
		{"on", "2"},
		{"at", "06:31"},
		{"at", ""},
		{"zone", "Europe/Zurich"},
		{"from", ""},
		{"until", "2999-01-01"},
		{"memo", "Rent"},
		{"request_id", "another"},
		{"account", "100"},
	} {
		change(orderPath, order, "order.create", c[0], c[1])
	}
	for _, c := range [][2]string{
		{"amount", "2.01"},
		{"amount", ""},
		{"index", p.hisPaid},
		{"memo", "mine"},
		{"request_id", "another"},
	} {
		change(reversePath, undo, "reverse", c[0], c[1])
	}
	twice := func(name, path string, form url.Values, field, value string) formAttack {
		form = changed(form)
		form.Add(field, value)
		return formAttack{name: name, by: p.pam, path: path, form: form, want: 422}
	}
	attacks = append(attacks,
		formAttack{
			name: "a mandate of the touch of an order", by: p.pam, path: givePath, want: 403,
			form:  changed(give, "response", order.Get("response")),
			entry: "mandate.create NOT_CONFIRMED",
		},
		formAttack{
			name: "every week", by: p.pam, path: orderPath, want: 403,
			form: changed(order, "every", "week"), entry: "order.create NOT_CONFIRMED",
		},
		formAttack{
			name: "by the user who gets it", by: p.ray, path: givePath, form: give, want: 403,
			entry: "mandate.create NOT_CONFIRMED",
		},
		twice("two creditors", givePath, give, "creditor", "user:uma"),
		twice("two amounts", orderPath, order, "amount", "500"),
		twice("two request ids", reversePath, undo, "request_id", "another"),
	)
	a.runForms(t, attacks)
}

// attackOthersPayments names accounts, mandates, standing orders and entries of somebody else in
// the forms of one's own. Where a passkey confirms, the attacker confirms it.
func (a *arena) attackOthersPayments(t *testing.T, p *payments) {
	at := func(name, path string, form url.Values, want int, entry string) formAttack {
		return formAttack{name: name, by: p.pam, path: path, form: form, want: want, entry: entry}
	}
	id := func(form url.Values, request string, pairs ...string) url.Values {
		return changed(changed(form, pairs...), "request_id", request)
	}
	touched := func(path string, form url.Values) url.Values {
		t.Helper()
		return p.pam.touchedForm(t, path, form)
	}
	slip := must(t, p.pam.post(t, p.pam.act(), fields("act", "deposit", "amount", "1.00",
		"request_id", "deposit of pam")), http.StatusSeeOther).header.Get("Location")
	a.balances[920] = "101.00"
	deposit := strings.TrimPrefix(slip, "/console/slips/")
	attacks := []formAttack{
		at("a mandate on the account of somebody else", givePath,
			touched(givePath, id(p.give, "o1", "account", "930", "creditor", "user:pam")), 404,
			"mandate.create ACCOUNT_NOT_FOUND"),
		at("a mandate on the account of the bank", givePath,
			id(p.give, "o2", "account", "cash:user:pam"), 422, ""),
		at("a mandate for oneself", givePath,
			touched(givePath, id(p.give, "o3", "creditor", "user:pam")), 422,
			"mandate.create SAME_ACCOUNT"),
		at("a standing order from the account of somebody else", orderPath,
			touched(orderPath, id(p.giveOrder, "o4", "account", "930", "to", "920")), 404,
			"order.create ACCOUNT_NOT_FOUND"),
		at("the mandate of somebody else", revokePath, id(p.revoke, "o5", "mandate",
			p.hisMandate), 422, "mandate.revoke MANDATE_NOT_FOUND"),
		at("a mandate that is none", revokePath, id(p.revoke, "o6", "mandate", "m999999"), 422,
			"mandate.revoke MANDATE_NOT_FOUND"),
		at("the order of somebody else", cancelPath, id(p.cancel, "o7", "order", p.hisOrder), 422,
			"order.cancel ORDER_NOT_FOUND"),
		at("a mandate as an order", cancelPath, id(p.cancel, "o8", "order",
			"o"+p.mandate[1:]), 422, "order.cancel ORDER_NOT_FOUND"),
		at("a transfer that she paid", reversePath,
			touched(reversePath, id(p.undo, "o9", "index", p.hisPaid)), 422,
			"reverse NOT_REVERSIBLE"),
		at("a deposit of her own", reversePath,
			touched(reversePath, id(p.undo, "o10", "index", deposit, "amount", "1.00")), 422,
			"reverse NOT_REVERSIBLE"),
		at("more than was paid", reversePath,
			touched(reversePath, id(p.undo, "o11", "amount", "10.01")), 422,
			"reverse REVERSAL_EXCEEDED"),
		at("an entry of others", reversePath, id(p.undo, "o12", "index", "0"), 422,
			"reverse ENTRY_NOT_FOUND"),
		at("an entry that is none", reversePath, id(p.undo, "o13", "index", "99999999"), 422,
			"reverse ENTRY_NOT_FOUND"),
		at("an entry before the first", reversePath, id(p.undo, "o14", "index", "-1"), 422,
			"reverse ENTRY_NOT_FOUND"),
		at("a notice on the account of somebody who gave no mandate", noticePath,
			id(p.notice, "o15", "account", "100"), 404, "note ACCOUNT_NOT_FOUND"),
		at("a notice of two rows", noticePath, id(p.notice, "o16", "text", "one\ntwo"), 422, ""),
		at("a notice that turns round", noticePath, id(p.notice, "o17", "text", "\u202eback"), 422,
			""),
	}
	for path, want := range map[string]int{
		"mandates?account=100": 422, "orders?account=930": 422, "notices?account=930": 422,
		"mandates?account=cash:user:ray": 422, "notices?account=920&cursor=x": 422,
		"notices?account=930&cursor=99999":                                    422,
		"reverse?index=0&amount=1&request_id=r&review=1":                      200,
		"orders/cancel?request_id=r&of=930&order=" + p.hisOrder:               200,
		"mandates/revoke?request_id=r&of=100&mandate=" + p.hisMandate:         200,
		"mandates/revoke?request_id=r&of=../../log&mandate=" + p.hisMandate:   200,
		"mandates/give?request_id=r&of=//evil.example&account=//evil.example": 200,
	} {
		attacks = append(attacks, formAttack{
			name: path, by: p.pam, method: http.MethodGet, path: "/console/" + path, want: want,
		})
	}
	a.runForms(t, attacks)
	// What a page says of what is not the reader's tells nothing of it.
	for _, path := range []string{
		"orders/cancel?request_id=r&order=" + p.hisOrder,
		"mandates/revoke?request_id=r&of=100&mandate=" + p.hisMandate,
		"reverse?index=0&request_id=r&review=1",
	} {
		b := p.pam.at(a.attacker(t))
		page := main(b.send(t, b.write(http.MethodGet, "/console/"+path, "")).page)
		if strings.Contains(page, "user:") || strings.Contains(page, "$") {
			t.Errorf("%s tells of what is somebody else's: %s", path, page)
		}
	}
}

// attackRepeatedPayments sends forms again that were sent before. They lead to the slip of the
// first time, and an id that was answered is for nothing else.
func (a *arena) attackRepeatedPayments(t *testing.T, p *payments) {
	var attacks []formAttack
	for _, form := range []struct {
		path  string
		form  url.Values
		other []string // which are other terms
		op    string
	}{
		{givePath, p.give, []string{"each", "500", "total", "2000"}, "mandate.create"},
		{orderPath, p.giveOrder, []string{"amount", "500"}, "order.create"},
		{reversePath, p.undo, []string{"amount", "8.00"}, "reverse"},
	} {
		first := p.pam.touchedForm(t, form.path, form.form)
		other := p.pam.touchedForm(t, form.path, changed(form.form, form.other...))
		slip := must(t, p.pam.post(t, form.path, first), http.StatusSeeOther).header.Get("Location")
		if form.path == reversePath {
			a.balances[920], a.balances[930] = "99.00", "102.00"
		}
		t.Run(form.op+" by_right", func(t *testing.T) { // the slip of the first time
			page := p.pam.at(a.attacker(t))
			got := page.send(t, page.write(http.MethodPost, form.path, first.Encode()))
			a.refused(t, got, http.StatusSeeOther, "")
			if to := got.header.Get("Location"); to != slip+"?again=1" {
				t.Errorf("it leads to %s, and the first time to %s", to, slip)
			}
		})
		attacks = append(attacks, formAttack{
			name: form.op + " of more, confirmed", by: p.pam, path: form.path, form: other,
			want: 422, entry: form.op + " IDEMPOTENCY_CONFLICT",
		}, formAttack{
			name: form.op + ", not confirmed", by: p.pam, path: form.path, form: form.form,
			want: 403, entry: form.op + " NOT_CONFIRMED",
		}, formAttack{
			name: form.op + " by another id", by: p.pam, path: form.path, want: 403,
			form: changed(first, "request_id", "again"), entry: form.op + " NOT_CONFIRMED",
		}, formAttack{
			name: form.op + " for somebody else's slip", by: p.ray, path: form.path, form: first,
			want: 403, entry: form.op + " NOT_CONFIRMED",
		})
	}
	a.runForms(t, attacks)
	// To end them needs no passkey.
	for path, form := range map[string]url.Values{revokePath: p.revoke, cancelPath: p.cancel} {
		must(t, p.pam.post(t, path, form), http.StatusSeeOther)
	}
	t.Run("a mandate that is revoked", func(t *testing.T) {
		got, err := a.client(t, a.of(t, "/user/ray")).Call(t.Context(), "collect", p.mandate, "1.00",
			"930")
		if err != nil || got.Code != "MANDATE_ENDED" {
			t.Errorf("%v, %v", got, err)
		}
		a.unmoved(t)
	})
}

// attackPaymentMarkup has markup in a memo and in a notice, which its writers may leave. Every page
// that shows them shows text.
func (a *arena) attackPaymentMarkup(t *testing.T, p *payments) {
	daemontest.Must(t)(a.teller.Call(t.Context(), "note", "920", markup))
	for path, form := range map[string]url.Values{
		givePath:  changed(p.give, "memo", markup, "request_id", "markup 1"),
		orderPath: changed(p.giveOrder, "memo", markup, "request_id", "markup 2"),
		reversePath: changed(p.undo, "amount", "1.00", "memo", markup, "request_id",
			"markup 3"),
	} {
		sent := p.pam.touchedForm(t, path, form)
		slip := must(t, p.pam.post(t, path, sent), http.StatusSeeOther).header.Get("Location")
		a.shownAsText(t, p.pam, slip)
		a.shownAsText(t, p.pam, path+"?review=1&"+form.Encode())
	}
	a.balances[920], a.balances[930] = "98.00", "103.00"
	a.shownAsText(t, p.pam, "/console/accounts/920")
	a.shownAsText(t, p.pam, "/console/accounts/920/statement")
	a.shownAsText(t, p.ray, "/console/accounts/930/statement")
	for _, list := range []string{"mandates", "orders", "notices"} {
		a.shownAsText(t, p.pam, "/console/"+list+"?account=920")
	}
	attacks := make([]formAttack, 0, 6)
	for path, form := range map[string]url.Values{
		givePath: fields("account", markup, "creditor", markup, "each", markup, "until", markup),
		orderPath: fields("account", markup, "to", markup, "every", markup, "on", markup, "at",
			markup, "zone", markup),
		reversePath: fields("index", "1", "amount", markup),
	} {
		attacks = append(attacks, formAttack{
			name: path, by: p.pam, path: path, want: 422,
			form: changed(form, "request_id", "markup"),
		}, formAttack{
			name: path + " to look at", by: p.pam, path: path, method: http.MethodGet, want: 422,
			query: changed(form, "request_id", markup, "review", "1", "of", markup),
		})
	}
	a.runForms(t, attacks)
}

// shownAsText requires that a page has the markup as text.
func (a *arena) shownAsText(t *testing.T, b *tab, path string) {
	t.Helper()
	page := must(t, b.get(t, path), http.StatusOK).page
	if strings.Contains(page, "<script>alert") || strings.Contains(page, "<img") {
		t.Errorf("%s has the markup: %s", path, main(page))
	}
	if !strings.Contains(page, "&lt;script&gt;alert") {
		t.Errorf("%s does not show what was written: %s", path, main(page))
	}
}
