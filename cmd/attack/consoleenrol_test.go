//go:build unix

package attack_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/atm/cmd/internal/daemontest"
)

// Offsets in the authenticator data of a new passkey (WebAuthn, section 6.5.1).
const (
	flagsAt    = 32
	idLengthAt = 37 + 16
	idAt       = idLengthAt + 2
)

// newLies are those of devices that make a passkey.
var newLies = append([]passkeyAttack{
	{name: "the type of a sign-in", device: says("type", "webauthn.get")},
	{name: "no passkey", device: states(func(data []byte) []byte {
		data[flagsAt] &^= 1 << 6
		return data[:37]
	})},
	{name: "a passkey that is not said", device: states(func(data []byte) []byte {
		data[flagsAt] &^= 1 << 6
		return data
	})},
	{name: "an id that is longer than the data", device: states(func(data []byte) []byte {
		binary.BigEndian.PutUint16(data[idLengthAt:], 0xffff)
		return data
	})},
	{name: "an empty id", device: states(func(data []byte) []byte {
		n := int(binary.BigEndian.Uint16(data[idLengthAt:]))
		binary.BigEndian.PutUint16(data[idLengthAt:], 0)
		return append(data[:idAt], data[idAt+n:]...)
	})},
	{name: "no key", device: states(func(data []byte) []byte {
		return data[:idAt+int(binary.BigEndian.Uint16(data[idLengthAt:]))]
	})},
	{name: "half a key", device: states(func(data []byte) []byte { return data[:len(data)-33] })},
	{name: "a key of 1,000 levels", device: key(strings.Repeat("\x81", 1000) + "\x80")},
	{name: "a key of 4 GB", device: key("\xbb\x00\x00\x00\x00\xff\xff\xff\xff\x01\x02")},
	{name: "a key that is a text", device: key("\x63abc")},
	{name: "a key of no kind", device: key("\xa0")},
	{name: "a key of another algorithm", device: states(func(data []byte) []byte {
		return bytes.Replace(data, []byte{0xa5, 1, 2, 3, 0x26}, []byte{0xa5, 1, 2, 3, 0x38, 34}, 1)
	})},
	{name: "a key of the algorithm none", device: states(func(data []byte) []byte {
		return bytes.Replace(data, []byte{0xa5, 1, 2, 3, 0x26}, []byte{0xa5, 1, 2, 3, 0}, 1)
	})},
	{name: "a key on no curve", device: states(func(data []byte) []byte {
		return append(data[:len(data)-32], make([]byte, 32)...)
	})},
	{name: "an RSA key of 512 bits", device: key(rsaKey(64))},
	{name: "an RSA key of 16,384 bits", device: key(rsaKey(2048))},
	{name: "an RSA key of zeros before 512 bits", device: key("\xa4\x01\x03\x03\x39\x01\x00\x20\x59" +
		"\x01\x00" + strings.Repeat("\x00", 192) + strings.Repeat("\xff", 64) + "\x21\x43\x01\x00\x01")},
	{name: "a secret key", device: key("\xa3\x01\x04\x03\x05\x20\x41x")}, // HMAC
	{name: "another id in the response", sent: func(r map[string]any) {
		r["id"], r["rawId"] = "AAAA", "AAAA"
	}},
	{name: "two ids in the response", sent: func(r map[string]any) { r["rawId"] = "AAAA" }},
	{name: "another type of credential", sent: func(r map[string]any) { r["type"] = "password" }},
	{name: "an attestation that is longer", sent: inside("attestationObject", lengthen)},
	{name: "an attestation that was cut", sent: inside("attestationObject", cut)},
	{name: "no attestation", sent: inside("attestationObject", empty)},
	{name: "an attestation of 1,000 levels", sent: inside("attestationObject",
		func([]byte) []byte { return []byte(strings.Repeat("\x81", 1000) + "\x80") })},
	{name: "an attestation of 4 GB", sent: inside("attestationObject", func([]byte) []byte {
		return []byte("\x5a\xff\xff\xff\xff")
	})},
	{name: "an attestation of a format that is none", sent: inside("attestationObject",
		func(b []byte) []byte { return bytes.Replace(b, []byte("dnone"), []byte("dnine"), 1) })},
	{name: "an attestation without its statement", sent: inside("attestationObject",
		func(b []byte) []byte { return bytes.Replace(b, []byte("dnone"), []byte("ftpm\x00\x00"), 1) })},
	{name: "no response", form: func(f url.Values) { f.Set("response", "") }},
	{name: "no state", form: func(f url.Values) { f.Del("state") }},
	{name: "a state that was changed", form: func(f url.Values) {
		f.Set("state", f.Get("state")[:40]+"AAAA"+f.Get("state")[44:])
	}},
}, lies...)

// rsaKey is an RSA key for RS256 in COSE form, of so many bytes.
func rsaKey(size int) string {
	return "\xa4\x01\x03\x03\x39\x01\x00\x20\x59" + string([]byte{byte(size >> 8), byte(size)}) +
		strings.Repeat("\xff", size) + "\x21\x43\x01\x00\x01"
}

// key is a device with another public key.
func key(text string) func(*authenticator) {
	return states(func(data []byte) []byte {
		return append(data[:idAt+int(binary.BigEndian.Uint16(data[idLengthAt:]))], text...)
	})
}

// enrol tries to add a passkey that is not good, by the forms at path and to, and by none that is
// known already.
func (a *arena) enrol(t *testing.T, page *tab, path, to string, attacks []passkeyAttack) {
	t.Helper()
	for _, at := range attacks {
		t.Run(at.name, func(t *testing.T) {
			page := page.at(a.attacker(t))
			got := at.try(t, page, path, to, newDevice(t), creates(t))
			if at.want == 0 {
				at.want = http.StatusUnprocessableEntity
			}
			a.refused(t, got, at.want, "")
		})
	}
}

// attackNewPasskeys adds passkeys in a session, with what is not good for it.
func (a *arena) attackNewPasskeys(t *testing.T, pia, raj *tab) {
	of := func(b *tab, path string) func(*testing.T) (string, string) {
		return func(t *testing.T) (string, string) {
			t.Helper()
			asked, form := b.at(b.from).ceremony(t, path)
			return asked, form.Get("state")
		}
	}
	named := func(name, text string) passkeyAttack {
		return passkeyAttack{name: "the name " + name, form: func(f url.Values) { f.Set("name", text) }}
	}
	attacks := append([]passkeyAttack{
		// The page of raj was left open in the browser of pia.
		{name: "the page of somebody else in the same browser", asked: func(t *testing.T) (string,
			string,
		) {
			t.Helper()
			here := raj.at(raj.from)
			here.cookies["__Host-atm-browser"] = pia.cookies["__Host-atm-browser"]
			return of(here, mePage)(t)
		}},
		{name: "the page of somebody else", asked: of(raj, mePage)},
		{name: "the challenge of a sign-in", asked: func(t *testing.T) (string, string) {
			t.Helper()
			asked, state := of(pia, signInPage)(t)
			return strings.Replace(asked, "{", `{"user":{"id":"eA"},`, 1), state
		}},
		{name: "the challenge of an invitation", asked: func(t *testing.T) (string, string) {
			t.Helper()
			return of(pia, a.invitation(t, "user:pia", ""))(t)
		}},
		{name: "the passkey of somebody else", want: 403, device: func(d *authenticator) {
			d.ID = raj.device.ID
		}},
		{name: "the same passkey", want: 403, device: func(d *authenticator) {
			d.ID = pia.device.ID
		}},
		named("of nothing", ""), named("of a space", " "), named("of a line", "a\nb"),
		named("of a bell", "a\x07b"), named("of 300 letters", strings.Repeat("x", 300)),
		named("from right to left", "a\u202eb"), named("that is no text", "\xff"),
	}, newLies...)
	a.enrol(t, pia, mePage, mePage+"/passkeys", attacks)
	for name, text := range garbage {
		a.enrol(t, pia, mePage, mePage+"/passkeys", []passkeyAttack{
			{name: name, form: func(f url.Values) { f.Set("response", text) }},
		})
	}
	t.Run("a passkey that was removed", func(t *testing.T) {
		b := a.person(t, "back", "customer", "")
		daemontest.Must(t)(a.office.Call(t.Context(), "admin.passkey.remove", b.subject,
			base64.RawURLEncoding.EncodeToString(b.device.ID)))
		page := pia.at(a.attacker(t))
		a.expect(page.from, "passkey.add PERMISSION_DENIED", 1)
		var at passkeyAttack
		a.refused(t, at.try(t, page, mePage, mePage+"/passkeys", b.device, creates(t)), 403, "")
	})
	t.Run("without a session", func(t *testing.T) {
		page := a.stranger().at(a.attacker(t))
		a.refused(t, page.send(t, page.write(http.MethodPost, mePage+"/passkeys", "name=x")), 401, "")
	})
}

// attackInvitations follows invitations of others, and such that are none.
func (a *arena) attackInvitations(t *testing.T, pia *tab) {
	path, another := a.invitation(t, "user:sue", "customer"), a.invitation(t, "user:tom", "teller")
	b := a.stranger()
	code := path[len("/console/invite/"):]
	of := func(t *testing.T, path string) (string, string) {
		t.Helper()
		asked, form := b.ceremony(t, path)
		return asked, form.Get("state")
	}
	attacks := append([]passkeyAttack{
		{name: "the challenge of another invitation", asked: func(t *testing.T) (string, string) {
			return of(t, another)
		}},
		{name: "the passkey of somebody else", want: 401, device: func(d *authenticator) {
			d.ID = pia.device.ID
		}},
		{name: "no name", form: func(f url.Values) { f.Set("name", "") }},
	}, newLies...)
	a.enrol(t, b, path, path, attacks)
	for name, text := range garbage {
		a.enrol(t, b, path, path, []passkeyAttack{
			{name: name, form: func(f url.Values) { f.Set("response", text) }},
		})
	}
	var wrong []formAttack
	for name, code := range map[string]string{
		"cut": code[:len(code)-1], "longer": code + "A", "in small letters": strings.ToLower(code),
		"of nobody": "x", "of dots": "..", "of 3,000 letters": strings.Repeat("x", 3000),
		"a token": "eyJhbGciOiJub25lIn0.e30.", "empty": "", "of SQL": "'%20OR%201=1",
		"with two letters turned round": turned(code), "a NUL": code + "%00",
	} {
		wrong = append(wrong,
			formAttack{
				name: "a code " + name, path: "/console/invite/" + code, method: http.MethodGet,
				want: 401,
			},
			formAttack{
				name: "a code " + name + ", sent", path: "/console/invite/" + code, want: 401,
				form: url.Values{"name": {"x"}, "response": {"{}"}},
			})
	}
	a.runForms(t, wrong)
	// Its own, which is good, and the same code again.
	var good passkeyAttack
	must(t, good.try(t, b, path, path, newDevice(t), creates(t)), http.StatusSeeOther)
	a.enrol(t, b, path, path, []passkeyAttack{{name: "a code that was used", want: 401}})
	a.runForms(t, []formAttack{{
		name: "a code that an operator took back", by: b, path: a.revoked(t), want: 401,
		form: url.Values{"name": {"x"}, "response": {"{}"}},
	}})
	t.Run("a code by guessing", func(t *testing.T) { a.attackByGuessing(t) })
}

// turned is code with two different letters beside each other turned round.
func turned(code string) string {
	for i := 1; ; i++ {
		if a, b := code[i-1:i], code[i:i+1]; a != b {
			return code[:i-1] + b + a + code[i+1:]
		}
	}
}

// revoked is an invitation that an operator took back.
func (a *arena) revoked(t *testing.T) string {
	t.Helper()
	operator := a.office
	record, _ := daemontest.Must(t)(operator.Call(t.Context(), "admin.cert.invite", "user:ula",
		"operator")).Result.(map[string]any)
	daemontest.Must(t)(operator.Call(t.Context(), "admin.token.revoke", record["jti"]))
	daemontest.AwaitReplicas()
	return "/console/invite/" + fmt.Sprint(record["code"])
}

// attackByGuessing asks for codes until the address has to wait.
func (a *arena) attackByGuessing(t *testing.T) {
	const tries = 4000 // an address may fail a thousand times, on each replica
	b := a.stranger().at(a.attacker(t))
	conn, err := a.dial(t, b.from, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(5 * time.Minute)) // of thousands of guesses
	guesses := newKept(conn)
	for range tries {
		code, header, err := guesses.get("/console/invite/guess")
		if err != nil {
			t.Fatal(err)
		}
		if code == http.StatusTooManyRequests {
			if header.Get("Retry-After") == "" {
				t.Error("it is not said how long to wait")
			}
			return
		}
		if code != http.StatusUnauthorized {
			t.Fatalf("a guess is answered %d", code)
		}
	}
	t.Errorf("%d guesses are answered", tries)
}
