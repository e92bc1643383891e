//go:build unix

package attack_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// A passkeyAttack changes what a device or a browser says, or what is sent afterwards.
type passkeyAttack struct {
	name   string
	device func(d *authenticator)                   // changes the device before it signs
	asked  func(t *testing.T) (asked, state string) // of another ceremony, in place of its own
	sent   func(response map[string]any)            // changes what the device has signed
	form   func(form url.Values)                    // changes the form
	want   int                                      // if 0, what is usual
	entry  string
}

const (
	notGood = "auth.fail passkey that is not good"
	foreign = "auth.fail passkey for a challenge of another browser, or of nobody"
	offSite = "auth.fail passkey on a page of another site"
	nobodys = "auth.fail passkey of nobody"
)

// says is a device whose browser says something else.
func says(member string, value any) func(*authenticator) {
	return func(d *authenticator) {
		d.Says = func(client map[string]any) {
			if client[member] = value; value == nil {
				delete(client, member)
			}
		}
	}
}

// states is a device that signs other authenticator data.
func states(change func(data []byte) []byte) func(*authenticator) {
	return func(d *authenticator) { d.Device = change }
}

// inside is the member of a response whose base64url text is changed, as bytes.
func inside(member string, change func([]byte) []byte) func(map[string]any) {
	return func(response map[string]any) {
		members := response["response"].(map[string]any)
		data, err := base64.RawURLEncoding.DecodeString(members[member].(string))
		if err != nil {
			panic(err) // the device has made it
		}
		members[member] = base64.RawURLEncoding.EncodeToString(change(data))
	}
}

func cut(data []byte) []byte      { return data[:len(data)-1] }
func flipped(data []byte) []byte  { data[len(data)-1] ^= 1; return data }
func lengthen(data []byte) []byte { return append(data, 0) }
func empty([]byte) []byte         { return nil }

// lies are those of devices and browsers, for every ceremony.
var lies = []passkeyAttack{
	{name: "another origin", device: says("origin", "https://evil.example"), entry: offSite},
	{name: "another port", device: says("origin", "https://localhost:4712"), entry: offSite},
	{name: "no port", device: says("origin", "https://localhost"), entry: offSite},
	{name: "no TLS", device: says("origin", "http://localhost:4711"), entry: offSite},
	{
		name: "an origin in capitals", device: says("origin", "https://LOCALHOST:4711"), entry: offSite,
	},
	{name: "an origin with a path", device: says("origin", bankOrigin+"/x"), entry: offSite},
	{name: "an origin with a slash", device: says("origin", bankOrigin+"/"), entry: offSite},
	{
		name: "an origin with a user", device: says("origin", "https://x@localhost:4711"), entry: offSite,
	},
	{name: "an origin below", device: says("origin", "https://a.localhost:4711"), entry: offSite},
	{name: "no origin", device: says("origin", nil), entry: offSite},
	{name: "the origin null", device: says("origin", "null"), entry: offSite},
	{name: "a list of origins", device: says("origin", []string{bankOrigin}), entry: notGood},
	{name: "a page in a page", device: says("crossOrigin", true), entry: notGood},
	{name: "a page in another", device: func(d *authenticator) {
		d.Says = func(client map[string]any) {
			client["crossOrigin"], client["topOrigin"] = true, "https://evil.example"
		}
	}, entry: notGood},
	{name: "no type", device: says("type", nil), entry: notGood},
	{name: "the type of a payment", device: says("type", "payment.get"), entry: notGood},
	{name: "another challenge", device: says("challenge", strings.Repeat("A", 43)), entry: notGood},
	{name: "no challenge", device: says("challenge", nil), entry: notGood},
	{name: "a challenge in other letters", device: func(d *authenticator) {
		d.Says = func(client map[string]any) {
			client["challenge"] = strings.ToUpper(client["challenge"].(string))
		}
	}, entry: notGood},
	{name: "another server", device: func(d *authenticator) {
		d.RP = "evil.example"
	}, entry: notGood},
	{name: "a server in capitals", device: func(d *authenticator) {
		d.RP = "LOCALHOST"
	}, entry: notGood},
	{name: "the origin as the server", device: func(d *authenticator) {
		d.RP = bankOrigin
	}, entry: notGood},
	{name: "nobody verified", device: func(d *authenticator) {
		d.Flags = daemontest.UserPresent
	}, entry: notGood},
	{name: "nobody there", device: func(d *authenticator) {
		d.Flags = daemontest.UserVerified
	}, entry: notGood},
	{name: "neither", device: func(d *authenticator) { d.Flags = 0 }, entry: notGood},
	{name: "data cut short", device: states(func(data []byte) []byte {
		return data[:36]
	}), entry: notGood},
	{name: "no data", device: states(empty), entry: notGood},
	{name: "more data than is said", device: states(lengthen), entry: notGood},
	{name: "extensions that are not there", device: states(func(data []byte) []byte {
		data[32] |= 1 << 7
		return data
	}), entry: notGood},
	{name: "a backup that cannot be", device: func(d *authenticator) {
		d.Flags |= 1 << 4 // BS without BE (WebAuthn, section 6.1.3)
	}, entry: notGood},
	{name: "extensions of 1,000 levels", device: states(func(data []byte) []byte {
		data[32] |= 1 << 7
		return append(data, []byte(strings.Repeat("\x81", 1000)+"\x80")...)
	}), entry: notGood},
	{name: "extensions of 4 GB", device: states(func(data []byte) []byte {
		data[32] |= 1 << 7
		return append(data, 0x5a, 0xff, 0xff, 0xff, 0xff)
	}), entry: notGood},
}

// garbage is what no device has signed.
var garbage = map[string]string{
	"an empty object": "{}", "null": "null", "a list": "[]", "a text": `"x"`, "a number": "1",
	"no JSON": "x", "half of an object": `{"id":`, "1,500 levels": strings.Repeat("[", 1500),
	"500 levels of objects": strings.Repeat(`{"a":`, 500), "a NUL": "\x00",
	"a byte order mark": "\ufeff{}", "no text": "\xff\xfe", "a large number": `{"id":1e999}`,
	"7,000 digits":               `{"id":` + strings.Repeat("9", 7000) + "}",
	"no response":                `{"id":"eA","rawId":"eA","type":"public-key"}`,
	"a response of another kind": `{"id":"eA","rawId":"eA","type":"public-key","response":[]}`,
	"empty parts": `{"id":"eA","rawId":"eA","type":"public-key","response":{"clientDataJSON":"",` +
		`"authenticatorData":"","signature":"","userHandle":"","attestationObject":""}}`,
}

// attackPasskeys signs in, adds passkeys and follows invitations with what is not good for it.
func (a *arena) attackPasskeys(t *testing.T) {
	pia, raj := a.person(t, "pia", "customer", "800"), a.person(t, "raj", "customer", "")
	t.Run("to sign in", func(t *testing.T) { a.attackSignIn(t, pia, raj) })
	t.Run("again", func(t *testing.T) { a.attackAgain(t, pia) })
	t.Run("new", func(t *testing.T) { a.attackNewPasskeys(t, pia, raj) })
	t.Run("by invitation", func(t *testing.T) { a.attackInvitations(t, pia) })
}

// try carries out a ceremony with a device and returns the answer.
func (at *passkeyAttack) try(t *testing.T, page *tab, path, to string, device *authenticator,
	sign func(*authenticator, string) string,
) answer {
	t.Helper()
	asked, form := page.ceremony(t, path)
	if at.asked != nil {
		var state string
		if asked, state = at.asked(t); state != "" {
			form.Set("state", state)
		}
	}
	if at.device != nil {
		at.device(device)
	}
	response := sign(device, asked)
	if at.sent != nil {
		var members map[string]any
		if err := json.Unmarshal([]byte(response), &members); err != nil {
			t.Fatal(err)
		}
		at.sent(members)
		changed, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		response = string(changed)
	}
	form.Set("response", response)
	form.Set("name", "Phone")
	if to == signInPage {
		form.Del("name")
	}
	if at.form != nil {
		at.form(form)
	}
	return page.send(t, page.write(http.MethodPost, to, form.Encode()))
}

// attackSignIn signs in with passkeys that are not good for it.
func (a *arena) attackSignIn(t *testing.T, pia, raj *tab) {
	stranger := func(change func(*tab)) *tab {
		b := a.stranger()
		change(b)
		return b
	}
	of := func(b *tab, path string) func(t *testing.T) (string, string) {
		return func(t *testing.T) (string, string) {
			t.Helper()
			asked, form := b.at(b.from).ceremony(t, path)
			return asked, form.Get("state")
		}
	}
	ed := func(d *authenticator) { d.Count = 0 }
	attacks := append([]passkeyAttack{
		{name: "a passkey of nobody", device: func(d *authenticator) {
			d.ID = []byte("of nobody")
		}, entry: nobodys},
		{name: "a passkey of a name of 1,000 bytes", device: func(d *authenticator) {
			d.ID = []byte(strings.Repeat("x", 1000))
		}, entry: nobodys},
		{name: "a passkey without a name", device: func(d *authenticator) {
			d.ID = nil
		}, entry: notGood},
		{name: "another's passkey", device: func(d *authenticator) {
			d.ID = raj.device.ID
		}, entry: notGood},
		{name: "another's passkey and handle", device: func(d *authenticator) {
			d.ID, d.Handle = raj.device.ID, raj.device.Handle
		}, entry: notGood},
		{name: "another's handle", device: func(d *authenticator) {
			d.Handle = raj.device.Handle
		}, entry: notGood},
		{
			name: "no handle", device: func(d *authenticator) { d.Handle = nil }, entry: notGood,
		},
		{name: "the name as the handle", device: func(d *authenticator) {
			d.Handle = []byte("user:pia")
		}, entry: notGood},
		{name: "a count that goes back", device: func(d *authenticator) {
			d.Count = 1
		}, entry: "auth.fail session that was refused"},
		{name: "a count that stands still", device: func(d *authenticator) {
			d.Count--
		}, entry: "session.begin PERMISSION_DENIED"},
		{name: "a count that stops", device: ed, entry: "session.begin PERMISSION_DENIED"},
		{
			name: "the type of a registration", device: says("type", "webauthn.create"), entry: notGood,
		},
		{
			name: "another browser's challenge", entry: foreign,
			asked: of(stranger(func(*tab) {}), signInPage),
		},
		{name: "a page of a stranger without a cookie", asked: of(stranger(func(b *tab) {
			b.cookies["__Host-atm-browser"] = "short"
		}), signInPage), entry: foreign},
		{name: "the challenge of a new passkey", asked: of(pia, mePage), entry: foreign},
		{name: "the challenge of an invitation", asked: func(t *testing.T) (string, string) {
			t.Helper()
			return of(pia, a.invitation(t, "user:pia", ""))(t)
		}, entry: foreign},
		{
			name: "the challenge of a transfer", asked: of(pia, review("800", "100", "1.00", "r")), entry: foreign,
		},
		{name: "a challenge that the page did not make", asked: func(*testing.T) (string, string) {
			return `{"challenge":"` + strings.Repeat("A", 43) + `"}`, ""
		}, entry: notGood},
		{name: "no state", form: func(f url.Values) { f.Del("state") }, entry: foreign},
		{name: "a state that was changed", form: func(f url.Values) {
			f.Set("state", f.Get("state")[:40]+"AAAA"+f.Get("state")[44:])
		}, entry: foreign},
		{name: "a state that was cut", form: func(f url.Values) {
			f.Set("state", f.Get("state")[:20])
		}, entry: foreign},
		{name: "a state in another base64", form: func(f url.Values) {
			f.Set("state", f.Get("state")+"=")
		}, entry: foreign},
		{name: "a signature that was changed", sent: inside("signature", flipped), entry: notGood},
		{name: "a signature that was cut", sent: inside("signature", cut), entry: notGood},
		{name: "a signature that is longer", sent: inside("signature", lengthen), entry: notGood},
		{name: "no signature", sent: inside("signature", empty), entry: notGood},
		{
			name: "a count that was changed", sent: inside("authenticatorData", flipped), entry: notGood,
		},
		{name: "client data that were changed", sent: inside("clientDataJSON", func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "{", "{ ", 1))
		}), entry: notGood},
		{name: "two ids", sent: func(r map[string]any) { r["rawId"] = "AAAA" }, entry: notGood},
		{name: "another type of credential", sent: func(r map[string]any) {
			r["type"] = "password"
		}, entry: notGood},
		{name: "no response", form: func(f url.Values) { f.Set("response", "") }, want: 422},
	}, lies...)
	for name, text := range garbage {
		attacks = append(attacks, passkeyAttack{
			name: name, entry: notGood, form: func(f url.Values) { f.Set("response", text) },
		})
	}
	for _, at := range attacks {
		t.Run(at.name, func(t *testing.T) {
			page, device := pia.at(a.attacker(t)), *pia.device
			a.expect(page.from, at.entry, 1)
			got := at.try(t, page, signInPage, signInPage, &device, signs(t))
			if at.want == 0 {
				at.want = http.StatusUnauthorized
			}
			a.refused(t, got, at.want, "")
		})
	}
}

func signs(t *testing.T) func(*authenticator, string) string {
	return func(d *authenticator, asked string) string { return d.Sign(t, asked) }
}

func creates(t *testing.T) func(*authenticator, string) string {
	return func(d *authenticator, asked string) string { return d.Create(t, asked) }
}

// review is the page that says what a transfer would do.
func review(from, to, amount, id string) string {
	return "/console/accounts/" + from + "/review?" + url.Values{
		"act": {"transfer"}, "to": {to}, "amount": {amount}, "request_id": {id},
	}.Encode()
}

// attackAgain sends assertions that were good once, and passkeys of people who were.
func (a *arena) attackAgain(t *testing.T, pia *tab) {
	operator := a.office
	asked, form := pia.at(pia.from).ceremony(t, signInPage)
	form.Set("response", pia.device.Sign(t, asked))
	good := pia.at(pia.from)
	must(t, good.post(t, signInPage, form), http.StatusSeeOther)
	again := func(name string, by *tab, entry string) formAttack {
		return formAttack{name: name, by: by, path: signInPage, form: form, want: 401, entry: entry}
	}
	left := good.at(good.from)
	must(t, left.post(t, mePage+"/sign-out", url.Values{}), http.StatusSeeOther)
	a.runForms(t, []formAttack{
		again("the same from the same browser", pia, "session.begin IDEMPOTENCY_CONFLICT"),
		again("the same in its session", good, "session.begin IDEMPOTENCY_CONFLICT"),
		again("the same after signing out", left, "session.begin IDEMPOTENCY_CONFLICT"),
		again("the same from another browser", a.stranger(), foreign),
	})
	pia.signIn(t)
	for i, end := range []struct{ name, method, entry string }{
		{"of a disabled user", "admin.user.disable", nobodys + " known"},
		{"that was removed", "admin.passkey.remove", nobodys},
	} {
		t.Run(end.name, func(t *testing.T) {
			b := a.person(t, fmt.Sprint("past", i), "customer", "")
			args := []any{b.subject}
			if end.method == "admin.passkey.remove" {
				args = append(args, base64.RawURLEncoding.EncodeToString(b.device.ID))
			}
			daemontest.Must(t)(operator.Call(t.Context(), end.method, args...))
			daemontest.AwaitReplicas()
			page := b.at(a.attacker(t))
			a.expect(page.from, end.entry, 1)
			var at passkeyAttack
			a.refused(t, at.try(t, page, signInPage, signInPage, b.device, signs(t)), 401, "")
		})
	}
}
