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

// transfer is the form of a transfer.
func transfer(to, amount, id string) url.Values {
	return url.Values{"act": {"transfer"}, "to": {to}, "amount": {amount}, "request_id": {id}}
}

// touched is the form of a transfer that the user of b has confirmed with a passkey.
func (b *tab) touched(t *testing.T, to, amount, id string) url.Values {
	t.Helper()
	asked, form := b.ceremony(t, review(b.account, to, amount, id))
	form.Set("response", b.device.Sign(t, asked))
	for name, values := range transfer(to, amount, id) {
		form[name] = values
	}
	return form
}

const notConfirmed = "transfer NOT_CONFIRMED"

// attackConfirmations changes a transfer after its user has touched the passkey, and confirms
// transfers with what is not good for it.
func (a *arena) attackConfirmations(t *testing.T) {
	uma, vic := a.person(t, "uma", "customer", "900"), a.person(t, "vic", "customer", "910")
	t.Run("the amount, 100 times", func(t *testing.T) { a.attackAmounts(t, uma) })
	t.Run("for another", func(t *testing.T) { a.attackAnother(t, uma, vic) })
	t.Run("by a lie", func(t *testing.T) { a.attackLies(t, uma, vic) })
	t.Run("in two tabs", func(t *testing.T) { a.attackTabs(t, uma) })
	t.Run("out of a session", func(t *testing.T) { a.attackWithout(t, vic) })
}

// attackAmounts changes the amount after the touch. Each try is refused, and is an entry.
func (a *arena) attackAmounts(t *testing.T, uma *tab) {
	const tries = 100
	from := a.attacker(t)
	a.expect(from, notConfirmed, tries)
	for i := range tries {
		form := uma.touched(t, "910", "5.00", fmt.Sprint("amount ", i))
		form.Set("amount", fmt.Sprintf("5.%02d", i+1))
		if i == tries-1 {
			form.Set("amount", "50.00")
		}
		page := uma.at(from)
		a.refused(t, page.send(t, page.write(http.MethodPost, uma.act(), form.Encode())), 403,
			"confirmed something else")
	}
}

// attackAnother uses a confirmation for another act than that which was shown.
func (a *arena) attackAnother(t *testing.T, uma, vic *tab) {
	const id = "of uma"
	good := uma.touched(t, "910", "5.00", id)
	changed := func(name string, fields ...string) formAttack {
		form := url.Values{}
		for field, values := range good {
			form[field] = values
		}
		for i := 0; i < len(fields); i += 2 {
			form.Set(fields[i], fields[i+1])
		}
		return formAttack{name: name, by: uma, form: form, want: 403, entry: notConfirmed}
	}
	as := func(at formAttack, by *tab, path string) formAttack {
		at.by, at.path = by, path
		return at
	}
	act := func(name, act string) formAttack {
		at := changed(name, "act", act)
		at.entry = act + " NOT_CONFIRMED"
		return at
	}
	turned := changed("the other direction", "to", "900")
	attacks := []formAttack{
		changed("another account", "to", "100"),
		changed("the account of the bank", "to", "1"),
		as(turned, uma, vic.act()),
		as(changed("from the account of somebody else", "to", "900"), uma, "/console/accounts/100/act"),
		changed("another request id", "request_id", "of nobody"),
		changed("a request id in capitals", "request_id", strings.ToUpper(id)),
		changed("a cent more", "amount", "5.01"),
		changed("a hundred times as much", "amount", "500"),
		act("a withdrawal", "withdraw"), act("a deposit", "deposit"),
		changed("without the confirmation", "response", ""),
		as(changed("by the user who gets it"), vic, uma.act()),
		as(changed("by the user who gets it, from an account of theirs", "to", "900"), vic, vic.act()),
	}
	a.runForms(t, attacks)
	t.Run("of an earlier transfer", func(t *testing.T) {
		first := uma.touched(t, "910", "1.00", "first")
		must(t, uma.post(t, uma.act(), first), http.StatusSeeOther)
		a.balances[900], a.balances[910] = "99.00", "101.00"
		second := transfer("910", "1.00", "second")
		second.Set("response", first.Get("response"))
		b := uma.at(a.attacker(t))
		a.expect(b.from, notConfirmed, 1)
		a.refused(t, b.send(t, b.write(http.MethodPost, uma.act(), second.Encode())), 403,
			"something else")
	})
	t.Run("before another signature", func(t *testing.T) {
		old := uma.touched(t, "910", "1.00", "old")
		uma.signIn(t) // the passkey has signed since
		b := uma.at(a.attacker(t))
		a.expect(b.from, "transfer PERMISSION_DENIED", 1)
		got := b.send(t, b.write(http.MethodPost, uma.act(), old.Encode()))
		a.refused(t, got, 303, "")
	})
}

// attackLies confirms a transfer with passkeys and browsers that are not good for it.
func (a *arena) attackLies(t *testing.T, uma, vic *tab) {
	attacks := append([]passkeyAttack{
		{name: "another's passkey", device: func(d *authenticator) { *d = *vic.device }},
		{name: "another's passkey under the name of one's own", device: func(d *authenticator) {
			id := d.ID
			*d = *vic.device
			d.ID = id
		}},
		{name: "one's own under the name of another's", device: func(d *authenticator) {
			d.ID = vic.device.ID
		}},
		{name: "a passkey of nobody", device: func(d *authenticator) {
			d.ID = []byte("of nobody")
		}},
		{name: "a count that goes back", want: 303, device: func(d *authenticator) {
			d.Count = 1
		}},
		{
			name: "a count that stops", device: func(d *authenticator) { d.Count = 0 }, want: 303,
		},
		{name: "the type of a registration", device: says("type", "webauthn.create")},
		{name: "the challenge of a sign-in", asked: func(t *testing.T) (string, string) {
			t.Helper()
			asked, form := uma.at(uma.from).ceremony(t, signInPage)
			return asked, form.Get("state")
		}},
		{name: "a signature that was changed", sent: inside("signature", flipped)},
		{name: "a signature that was cut", sent: inside("signature", cut)},
		{name: "no signature", sent: inside("signature", empty)},
		{name: "a count that was changed", sent: inside("authenticatorData", flipped)},
		{name: "client data that were changed", sent: inside("clientDataJSON", func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "{", "{ ", 1))
		})},
		{name: "two ids", sent: func(r map[string]any) { r["rawId"] = "AAAA" }},
		{name: "no response", form: func(f url.Values) { f.Set("response", "") }},
	}, lies...)
	for name, text := range garbage {
		attacks = append(attacks, passkeyAttack{name: name, form: func(f url.Values) {
			f.Set("response", text)
		}})
	}
	for _, at := range attacks {
		t.Run(at.name, func(t *testing.T) {
			page, device := uma.at(a.attacker(t)), *uma.device
			id, change := "lie "+at.name, at.form
			at.form = func(form url.Values) {
				for name, values := range transfer("910", "1.00", id) {
					form[name] = values
				}
				if change != nil {
					change(form)
				}
			}
			if a.expect(page.from, notConfirmed, 1); at.want == http.StatusSeeOther {
				a.expect(page.from, "transfer PERMISSION_DENIED", 1)
			} else {
				at.want = http.StatusForbidden
			}
			got := at.try(t, page, review("900", "910", "1.00", id), uma.act(), &device, signs(t))
			a.refused(t, got, at.want, "")
		})
	}
}

// attackTabs sends one transfer from two tabs, and the same request id for another one.
func (a *arena) attackTabs(t *testing.T, uma *tab) {
	first := uma.touched(t, "910", "2.00", "tabs")
	second := uma.touched(t, "910", "2.00", "tabs")
	larger := uma.touched(t, "910", "20.00", "tabs")
	slip := must(t, uma.post(t, uma.act(), first), http.StatusSeeOther).header.Get("Location")
	a.balances[900], a.balances[910] = "97.00", "103.00"
	for name, form := range map[string]url.Values{
		"the same again": first, "confirmed again": second,
	} {
		t.Run(name+" by_right", func(t *testing.T) { // the slip of the first time
			page := uma.at(a.attacker(t))
			got := page.send(t, page.write(http.MethodPost, uma.act(), form.Encode()))
			a.refused(t, got, http.StatusSeeOther, "")
			if to := got.header.Get("Location"); to != slip+"?again=1" {
				t.Errorf("it leads to %s, and the first time to %s", to, slip)
			}
		})
	}
	a.runForms(t, []formAttack{
		{
			name: "another amount, confirmed", by: uma, form: larger, want: 303,
			entry: "transfer IDEMPOTENCY_CONFLICT",
		},
		{
			name: "the same, not confirmed", by: uma, form: transfer("910", "2.00", "tabs"), want: 403,
			entry: notConfirmed,
		},
	})
}

// attackWithout confirms transfers in sessions that are over, and in none.
func (a *arena) attackWithout(t *testing.T, vic *tab) {
	form := vic.touched(t, "900", "1.00", "without")
	a.runForms(t, []formAttack{
		{name: "in none", path: vic.act(), form: form, want: 401},
		{
			name: "in another browser", by: vic, form: form, want: 401,
			header: []string{"User-Agent: curl/8"},
		},
		{
			name: "in a page of another site", by: vic, form: form, want: 403,
			header: []string{"Sec-Fetch-Site: cross-site"},
		},
	})
	over := vic.at(vic.from)
	must(t, over.post(t, mePage+"/sign-out", url.Values{}), http.StatusSeeOther)
	daemontest.AwaitReplicas()
	a.runForms(t, []formAttack{{name: "signed out since", by: vic, form: form, want: 401}})
	vic.signIn(t) // the passkey has signed since
	a.runForms(t, []formAttack{{
		name: "before signing in again", by: vic, form: form, want: 303,
		entry: "transfer PERMISSION_DENIED",
	}})
}
