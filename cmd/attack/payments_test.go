//go:build unix

package attack_test

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/teller/methods"
)

// paid is what was paid and agreed on before the attacks on it.
type paid struct {
	transfer string // entry of a transfer of $1 from alice to demo, of which $0.60 were reversed
	deposit  string // entry of a deposit to account 200
	opening  string // entry that opened account 200
	reversal string

	mandate string // for mallory on account 200: $1 at once, $2 a day, all of which was collected
	fresh   string // for mallory, of which nothing was collected
	revoked string // for mallory
	demos   string // for demo on account 200
	own     string // of mallory for demo, on account 300
	order   string // of alice
}

// pay makes payments and agreements, and gives the money back by other ways.
func (a *arena) pay(t *testing.T) (p paid) {
	t.Helper()
	alice, demo, mallory := a.client(t, a.alice), a.client(t, a.demo), a.client(t, a.mallory)
	n := 0
	id := func() atm.RequestID {
		n++
		return atm.RequestID(fmt.Sprint("pay ", n))
	}
	must := daemontest.Must(t)
	index := func(answer *client.Answer) string {
		digits, _, _ := strings.Cut(answer.Receipt, " ")
		return digits
	}
	p.opening = "1"
	for i := 1; i < 200; i++ { // it is among the first entries
		shown := must(a.client(t, a.auditor).Call(t.Context(), "entry", fmt.Sprint(i)))
		if strings.Contains(fmt.Sprint(shown.Result), "admin.account.open") {
			p.opening = fmt.Sprint(i)
			break
		}
	}
	p.transfer = index(must(alice.Transfer(t.Context(), 200, 100, 1_00, id())))
	p.reversal = index(must(demo.Reverse(t.Context(), p.transfer, 60, id())))
	must(demo.Transfer(t.Context(), 100, 200, 40, id()))
	p.deposit = index(must(a.teller.Deposit(t.Context(), 200, 1_00, id())))
	must(a.teller.Withdraw(t.Context(), 200, 1_00, id()))

	terms := client.MandateTerms{Creditor: "user:mallory", Each: 1_00, Total: 2_00, Period: "month"}
	mandate := func(by *client.Client, account atm.AccountID, t2 client.MandateTerms) string {
		return must(by.CreateMandate(t.Context(), account, t2, id())).Text()
	}
	p.mandate, p.fresh = mandate(alice, 200, terms), mandate(alice, 200, terms)
	for range 2 {
		must(mallory.Collect(t.Context(), p.mandate, 1_00, 300, id()))
	}
	must(mallory.Transfer(t.Context(), 300, 200, 2_00, id()))
	p.revoked = mandate(alice, 200, terms)
	must(alice.RevokeMandate(t.Context(), p.revoked))
	terms.Creditor = "user:demo"
	p.demos, p.own = mandate(alice, 200, terms), mandate(mallory, 300, terms)
	p.order = must(alice.CreateOrder(t.Context(), 200, client.OrderTerms{
		To: 100, Amount: 1_00, Every: "day", From: "2099-01-01",
	}, id())).Text()
	return p
}

// agreement is a call with a struct of texts, name and value in turn.
func agreement(method, account string, words ...string) string {
	var members strings.Builder
	for i := 0; i < len(words); i += 2 {
		fmt.Fprintf(&members, "<member><name>%s</name><value>%s</value></member>", words[i],
			words[i+1])
	}
	return "<methodCall><methodName>" + method + "</methodName><params><param><value>" + account +
		"</value></param><param><value><struct>" + members.String() +
		"</struct></value></param></params></methodCall>"
}

// attackPayments reverses, collects, agrees and notifies where nobody may, or no more.
func (a *arena) attackPayments(t *testing.T) {
	p := a.pay(t)
	a.run(t, slices.Concat(a.badReversals(&p), a.badCollections(&p), a.strangersCalls(&p),
		a.badTerms(), a.badMemos(&p)))
	t.Run("under a grant or out of scope", func(t *testing.T) { a.attackScopes(t, &p) })
	t.Run("one agreement too many", a.attackBound)
	t.Run("another creditor's mandate", func(t *testing.T) {
		listed := daemontest.Must(t)(a.client(t, a.mallory).Call(t.Context(), "mandate.list", "200"))
		text := fmt.Sprint(listed.Result)
		if !strings.Contains(text, p.fresh+" ") || strings.Contains(text, p.demos+" ") {
			t.Errorf("mallory sees %s", text)
		}
	})
}

// calls are attacks that are calls, each with the code that is answered.
type calls []attack

func (c *calls) add(name, says string, by *tls.Certificate, words ...string) {
	*c = append(*c, attack{
		name: name, by: by, want: 200, says: ">" + says + "<",
		body: daemontest.Call(words[0], words[1:]...),
	})
}

// badReversals give back what is not the caller's to give, or what is not there.
func (a *arena) badReversals(p *paid) []attack {
	var list calls
	call := list.add
	const exceeded, none = "REVERSAL_EXCEEDED", "ENTRY_NOT_FOUND"
	call("a reversal beyond the rest", exceeded, a.demo, "reverse", p.transfer, "0.41")
	call("a reversal beyond the rest by a teller", exceeded, a.till, "reverse", p.transfer, "0.41")
	call("a reversal of more than there was", exceeded, a.demo, "reverse", p.transfer, "1000000")
	call("a reversal by the payer", "NOT_REVERSIBLE", a.alice, "reverse", p.transfer, "0.40")
	call("a reversal by a stranger", none, a.mallory, "reverse", p.transfer, "0.40")
	call("a reversal of a deposit by its owner", "NOT_REVERSIBLE", a.alice, "reverse", p.deposit)
	call("a reversal of an opening", none, a.alice, "reverse", p.opening)
	call("a reversal of a reversal", "NOT_REVERSIBLE", a.till, "reverse", p.reversal)
	call("a reversal of a stranger's reversal", none, a.mallory, "reverse", p.reversal)
	call("a reversal by an auditor", "PERMISSION_DENIED", a.auditor, "reverse", p.transfer)
	call("a reversal by an operator", "PERMISSION_DENIED", a.operator, "reverse", p.transfer)
	call("a reversal by a service", "PERMISSION_DENIED", a.billing, "reverse", p.transfer)
	call("a reversal of less than nothing", "AMOUNT_NOT_POSITIVE", a.demo, "reverse", p.transfer,
		"-0.40")
	for i, index := range []string{
		"", "0", "-1", "1e3", "0x10", " " + p.transfer, "999999999", "9223372036854775808",
		strings.Repeat("9", 4000), p.transfer + ".0", "٣",
	} {
		call(fmt.Sprintf("a reversal of no entry %d", i), none, a.demo, "reverse", index, "0.01")
	}
	return list
}

// badCollections collect what nobody agreed to.
func (a *arena) badCollections(p *paid) []attack {
	var list calls
	call := list.add
	const over, ended, unknown = "MANDATE_EXCEEDED", "MANDATE_ENDED", "MANDATE_NOT_FOUND"
	call("a cent above the cap", over, a.mallory, "collect", p.mandate, "0.01", "300")
	call("a cent above one collection", over, a.mallory, "collect", p.fresh, "1.01", "300")
	call("a mandate of another creditor", unknown, a.mallory, "collect", p.demos, "0.01", "300")
	call("a mandate that the collector gave", unknown, a.mallory, "collect", p.own, "0.01", "300")
	call("a revoked mandate", ended, a.mallory, "collect", p.revoked, "0.01", "300")
	call("a collection for somebody else", "ACCOUNT_NOT_FOUND", a.mallory, "collect", p.fresh,
		"0.01", "100")
	call("a collection in circles", "ACCOUNT_NOT_FOUND", a.mallory, "collect", p.fresh, "0.01",
		"200")
	call("a collection of less than nothing", "AMOUNT_NOT_POSITIVE", a.mallory, "collect", p.fresh,
		"-0.01", "300")
	call("a collection by a teller", "PERMISSION_DENIED", a.till, "collect", p.fresh, "0.01", "300")
	call("a collection by an operator", "PERMISSION_DENIED", a.operator, "collect", p.fresh, "0.01",
		"300")
	for i, id := range []string{
		"", "m", "m-1", "m0" + p.fresh[1:], p.fresh + " ", "M" + p.fresh[1:], p.fresh[1:],
		"h" + p.fresh[1:], p.order, "m99999999999999999999", "m" + strings.Repeat("1", 4000),
	} {
		call(fmt.Sprintf("a collection by no mandate %d", i), unknown, a.mallory, "collect", id,
			"0.01", "300")
		call(fmt.Sprintf("a revocation of no mandate %d", i), unknown, a.alice, "mandate.revoke", id)
	}
	call("a revocation by the creditor", unknown, a.mallory, "mandate.revoke", p.fresh)
	call("a revocation by a stranger", unknown, a.demo, "mandate.revoke", p.fresh)
	return list
}

// strangersCalls look at agreements of others, end them, or leave notices.
func (a *arena) strangersCalls(p *paid) []attack {
	var list calls
	call := list.add
	call("another's mandates", "ACCOUNT_NOT_FOUND", a.mallory, "mandate.list", "100")
	call("another's orders", "ACCOUNT_NOT_FOUND", a.mallory, "order.list", "200")
	call("another's order", "ORDER_NOT_FOUND", a.mallory, "order.show", p.order)
	call("an end of another's order", "ORDER_NOT_FOUND", a.mallory, "order.cancel", p.order)
	call("an end of an order by its receiver", "ORDER_NOT_FOUND", a.demo, "order.cancel", p.order)
	list = append(list, attack{
		name: "a payment of an order", by: a.alice, want: 200, says: "-32601",
		body: daemontest.Call("order.pay", p.order, "2099-01-01T00:00:00Z"),
	})

	const lost = "ACCOUNT_NOT_FOUND"
	call("a note by a stranger", lost, a.mallory, "note", "100",
		"Call 555 and say your secret.")
	call("a note by a service without a mandate", lost, a.billing, "note", "200", "Hello")
	call("a note by an operator", "PERMISSION_DENIED", a.operator, "note", "200", "Hello")
	call("a note by an auditor", "PERMISSION_DENIED", a.auditor, "note", "200", "Hello")
	call("another's notices", lost, a.demo, "notices", "200")
	for i, text := range []string{
		"", " ", "two\nrows", "a\u202eb", strings.Repeat("x", 141), "a\u0085b", "\u200f",
	} {
		call(fmt.Sprintf("a note of no text %d", i), "MEMO_INVALID", a.mallory, "note", "200", text)
	}
	return list
}

// badTerms are mandates and standing orders that nobody can give, or not this one.
func (a *arena) badTerms() (list []attack) {
	agree := func(name, says string, by *tls.Certificate, method, account string, words ...string) {
		list = append(list, attack{
			name: name, by: by, want: 200, says: ">" + says + "<",
			body: agreement(method, account, words...),
		})
	}
	const lost, denied, invalid = "ACCOUNT_NOT_FOUND", "PERMISSION_DENIED", "AMOUNT_INVALID"
	mandate, order := "mandate.create", "order.create"
	to := func(words ...string) []string { return append(words, "creditor", "user:mallory") }
	pay := func(words ...string) []string {
		return append(words, "to", "300", "amount", "0.01", "every", "day")
	}
	agree("a mandate on another's account", lost, a.mallory, mandate, "200", to("each", "1")...)
	agree("a mandate by a teller", denied, a.till, mandate, "200", to("each", "1")...)
	agree("a mandate by a service", denied, a.billing, mandate, "200", to("each", "1")...)
	agree("a mandate to oneself", "SAME_ACCOUNT", a.mallory, mandate, "300", to("each", "1")...)
	agree("a mandate of no bounds", invalid, a.alice, mandate, "200", to()...)
	agree("a mandate of less than nothing", "AMOUNT_NOT_POSITIVE", a.alice, mandate, "200",
		to("each", "-1")...)
	agree("a period of zero", invalid, a.alice, mandate, "200", to("total", "1", "period", "0")...)
	agree("an end in the past", "MANDATE_ENDED", a.alice, mandate, "200",
		to("each", "1", "until", "2013-01-01")...)
	agree("a memo of a mandate", "MEMO_INVALID", a.alice, mandate, "200",
		to("each", "1", "memo", "a\u202eb")...)
	agree("an order from another's account", lost, a.mallory, order, "200", pay()...)
	agree("an order by a teller", denied, a.till, order, "200", pay()...)
	agree("an order to itself", "SAME_ACCOUNT", a.mallory, order, "300", pay()...)
	agree("an order to nobody", lost, a.alice, order, "200", "to", "999", "amount", "1", "every",
		"day")
	agree("an order of less than nothing", "AMOUNT_NOT_POSITIVE", a.alice, order, "200", "to",
		"300", "amount", "-1", "every", "day")
	agree("an order that is never due", invalid, a.alice, order, "200",
		pay("until", "2013-01-01")...)
	agree("an order in a zone that is a path", invalid, a.alice, order, "200",
		pay("zone", "../../etc/passwd")...)
	agree("an order in the zone of the machine", invalid, a.alice, order, "200",
		pay("zone", "Local")...)
	agree("an order at an hour that is none", invalid, a.alice, order, "200",
		pay("at", "25:00")...)
	for name, words := range map[string][]string{
		"a mandate of unknown terms": to("each", "1", "spent", "-100"),
		"a mandate for nobody":       {"each", "1"},
		"a mandate for the system":   {"each", "1", "creditor", "system:orders"},
		"a mandate for no subject":   {"each", "1", "creditor", "mallory\nuser:alice"},
	} {
		list = append(list, attack{
			name: name, by: a.alice, want: 200, says: "-32602",
			body: agreement(mandate, "200", words...),
		})
	}
	return list
}

// badMemos are memos that forge rows.
func (a *arena) badMemos(p *paid) (list []attack) {
	for name, memo := range map[string]string{
		"a row of its own": "gas\n2026-05-01T00:00:00Z  deposit  90000.00", "141": strings.Repeat(
			"x", 141), "an override": "gas \u202e00.00009", "a C1 control": "\u009b2Jgas",
	} {
		for _, body := range []string{
			daemontest.Call("reverse", p.transfer, "0.01", "", memo),
			daemontest.Call("collect", p.fresh, "0.01", "300", "", memo),
		} {
			by, method := a.demo, "reversal"
			if strings.Contains(body, "collect") {
				by, method = a.mallory, "collection"
			}
			list = append(list, attack{
				name: name + " in a " + method, by: by, want: 200, says: "MEMO_INVALID", body: body,
			})
		}
	}
	return list
}

// attackScopes does what is about payments under a grant, and with a token for something else.
func (a *arena) attackScopes(t *testing.T, p *paid) {
	made := daemontest.Must(t)(a.client(t, a.alice).Call(t.Context(), "admin.grant.create", "200",
		"withdraw deposit transfer authorize", "50", "user:mallory"))
	record, _ := made.Result.(map[string]any)
	grant, _ := record["token"].(string)
	made = daemontest.Must(t)(a.office.Call(t.Context(), "admin.token.issue", "user:alice",
		"inquiry statement withdraw"))
	record, _ = made.Result.(map[string]any)
	narrow, _ := record["token"].(string)
	for _, m := range methods.All() {
		if !ofPayments(m.Name) {
			continue
		}
		args := map[atm.Operation][]string{
			atm.Reverse: {p.transfer}, atm.Collect: {p.fresh, "0.01", "200"},
			atm.MandateRevoke: {p.fresh}, atm.OrderShow: {p.order}, atm.OrderCancel: {p.order},
			atm.Notify: {"100", "Hello"}, // of an account that the grant is not on
		}[m.Name]
		if args == nil {
			args = []string{"200"}
		}
		body := daemontest.Call(string(m.Name), args...)
		switch m.Name {
		case atm.MandateCreate:
			body = agreement(string(m.Name), "200", "creditor", "user:mallory", "each", "1")
		case atm.OrderCreate:
			body = agreement(string(m.Name), "200", "to", "300", "amount", "1", "every", "day")
		}
		for name, token := range map[string]string{"grant": grant, "narrow token": narrow} {
			at := attack{body: body, header: []string{"Authorization: Bearer " + token}}
			code, answer := a.try(t, t.Name(), nil, &at)
			if code != 200 || codeIn(answer) != "PERMISSION_DENIED" {
				t.Errorf("%s by a %s: %d %.700s", m.Name, name, code, answer)
			}
		}
		if auth.Permit(atm.Principal{Roles: []atm.Role{atm.Operator}}, m.Name) != atm.Nowhere {
			t.Errorf("an operator may %s", m.Name)
		}
	}
}

// ofPayments reports whether a method is about reversals, mandates, orders or notices.
func ofPayments(op atm.Operation) bool {
	name := string(op)
	return strings.HasPrefix(name, "mandate.") || strings.HasPrefix(name, "order.") ||
		op == atm.Reverse || op == atm.Collect || op == atm.Notify || op == atm.Notices
}

// attackBound gives mandates until there is no place for one.
func (a *arena) attackBound(t *testing.T) {
	const most = 100
	mallory := a.client(t, a.mallory)
	codes := make(map[atm.Code]int)
	for i := range most + 1 {
		answer, err := mallory.CreateMandate(t.Context(), 300, client.MandateTerms{
			Creditor: "service:billing", Each: 1,
		}, atm.RequestID(fmt.Sprint("bound ", i)))
		if err != nil {
			t.Fatal(err)
		}
		codes[answer.Code]++
	}
	if codes[atm.OK] > most || codes[atm.LimitDailyCount] == 0 {
		t.Errorf("%d mandates: %v", most+1, codes)
	}
}
