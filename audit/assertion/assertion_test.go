package assertion_test

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/assertion"
	"example.com/atm/audit/assertion/assertiontest"
	"example.com/atm/audit/audittest"
)

const page = "https://atm.example:9000"

func TestAssertionIsGoodForItsChallengeAlone(t *testing.T) {
	device, other := assertiontest.NewDevice(t), assertiontest.NewDevice(t)
	challenge := []byte("of 32 bytes, as a SHA-256 hash is")
	key := device.Key(t)
	said, err := assertion.Check(device.Sign(t, challenge, page), key, challenge)
	if err != nil || said.Count != 1 {
		t.Fatalf("%+v, %v", said, err)
	}
	changed := func(change func(a *atm.Assertion)) *atm.Assertion {
		a := device.Sign(t, challenge, page)
		change(a)
		return a
	}
	replace := func(old, with string) func(a *atm.Assertion) {
		return func(a *atm.Assertion) {
			a.ClientData = []byte(strings.ReplaceAll(string(a.ClientData), old, with))
		}
	}
	cut := func(a *atm.Assertion) { a.AuthenticatorData = a.AuthenticatorData[:36] }
	lengthen := func(a *atm.Assertion) { a.Signature = make([]byte, assertion.MaxBytes) }
	unverified := *device
	unverified.Flags = 1 << 0
	absent := *device
	absent.Flags = 1 << 2
	copied := *device
	copied.Flags |= 1 << 4 // and no other device may have it
	for name, bad := range map[string]*atm.Assertion{
		"another challenge":     device.Sign(t, []byte("something else"), page),
		"another passkey":       other.Sign(t, challenge, page),
		"nobody verified":       unverified.Sign(t, challenge, page),
		"nobody there":          absent.Sign(t, challenge, page),
		"a copy that cannot be": copied.Sign(t, challenge, page),
		"a registration":        changed(replace("webauthn.get", "webauthn.create")),
		"another page":          changed(replace(page, "https://evil.example")),
		"a page within one":     changed(replace(`"crossOrigin":false`, `"crossOrigin":true`)),
		"changed afterwards":    changed(replace("}", ` ,"x":1}`)),
		"no JSON":               changed(replace("{", "")),
		"no page":               changed(replace(page, ":")),
		"a count changed":       changed(func(a *atm.Assertion) { a.AuthenticatorData[36]++ }),
		"data cut short":        changed(cut),
		"no data":               changed(func(a *atm.Assertion) { a.AuthenticatorData = nil }),
		"no signature":          changed(func(a *atm.Assertion) { a.Signature = nil }),
		"a long signature":      changed(lengthen),
		"a changed signature":   changed(func(a *atm.Assertion) { a.Signature[10] ^= 1 }),
	} {
		if _, err := assertion.Check(bad, key, challenge); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := assertion.Check(device.Sign(t, challenge, page), []byte("no key"),
		challenge); err == nil {
		t.Error("a key that is none is taken")
	}
}

// logOf returns entries in which a passkey is added and then confirms a transfer.
func logOf(t *testing.T, device *assertiontest.Device) []*audit.Entry {
	t.Helper()
	now := time.Now()
	alice := &atm.Caller{Principal: atm.Principal{Subject: "user:alice"}}
	added := &audit.Entry{
		ID: atm.NewUUID(now), Time: now, Event: audit.EventAdmin, Operation: atm.PasskeyAdd,
		Caller: alice, Status: &atm.Status{Code: atm.OK, Result: ""}, ReplayOf: -1,
		Args: []audit.Arg{
			{Name: "key", Value: base64.StdEncoding.EncodeToString(device.Key(t))},
			{Name: "passkey", Value: device.ID},
		},
	}
	moved := &audit.Entry{
		ID: atm.NewUUID(now), Time: now, Event: audit.EventOp, Operation: atm.Transfer,
		Caller: alice, Status: &atm.Status{Code: atm.OK, Result: "900.00"}, ReplayOf: -1,
		Request: strings.Repeat("ab", 32),
		Args: []audit.Arg{
			{Name: "amount", Value: "100.00"},
			{Name: "from", Value: "100"},
			{Name: "to", Value: "200"},
		},
	}
	shown := moved.Shown()
	moved.Assertion = device.Sign(t, shown[:], page)
	return []*audit.Entry{added, moved}
}

// read tells l of the entries, after they were written and read, and returns the first error.
func read(t *testing.T, l *assertion.Log, entries []*audit.Entry) error {
	t.Helper()
	for i, entry := range entries {
		leaf, err := entry.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Entry(int64(i), leaf); err != nil {
			return err
		}
	}
	return nil
}

func TestLogWhoseConfirmationsAreGoodIsTaken(t *testing.T) {
	var l assertion.Log
	if err := read(t, &l, logOf(t, assertiontest.NewDevice(t))); err != nil || l.Checked != 1 {
		t.Errorf("%d checked, %v", l.Checked, err)
	}
}

func TestEntryThatWasNotConfirmedAsItStandsIsNamed(t *testing.T) {
	for name, change := range map[string]func(*audit.Entry){
		"the amount":  func(e *audit.Entry) { e.Args[0].Value = "1000.00" },
		"the account": func(e *audit.Entry) { e.Args[2].Value = "300" },
		"the request": func(e *audit.Entry) { e.Request = strings.Repeat("cd", 32) },
		"the act":     func(e *audit.Entry) { e.Operation = atm.Withdraw },
		"an argument": func(e *audit.Entry) {
			e.Args = append(e.Args, audit.Arg{Name: "memo", Value: "x"})
		},
		"the signature": func(e *audit.Entry) { rand.Read(e.Assertion.Signature) },
		"the caller": func(e *audit.Entry) {
			e.Caller = &atm.Caller{Principal: atm.Principal{Subject: "user:mallory"}}
		},
	} {
		entries := logOf(t, assertiontest.NewDevice(t))
		change(entries[1])
		if err := read(t, new(assertion.Log), entries); err == nil {
			t.Errorf("%s changed: taken", name)
		}
	}
}

func TestPasskeyOutsideTheLogIsCountedAndNotTaken(t *testing.T) {
	entries := logOf(t, assertiontest.NewDevice(t))
	var l assertion.Log
	if err := read(t, &l, []*audit.Entry{
		{ID: "x", Event: audit.EventStart, ReplayOf: -1}, entries[1],
	}); err != nil || l.Unknown != 1 || l.Checked != 0 {
		t.Errorf("%+v, %v", l, err)
	}
	removed := *entries[0]
	removed.Operation = atm.PasskeyRemove
	if err := read(t, &l, []*audit.Entry{entries[0], &removed, entries[1]}); err == nil {
		t.Error("a passkey that had been removed confirms")
	}
}

func TestVerificationNamesTheFirstEntryThatWasNotConfirmed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*audit.Entry)
		code   int
	}{
		"as it was": {func(*audit.Entry) {}, audit.Verified},
		"a cent":    {func(e *audit.Entry) { e.Args[0].Value = "100.01" }, audit.ContentDiffers},
	} {
		entries := logOf(t, assertiontest.NewDevice(t))
		tt.change(entries[1])
		l := audittest.New(t)
		for _, entry := range entries {
			leaf, err := entry.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			l.Add(t, leaf)
		}
		l.Grow(t, 600)
		dir := t.TempDir()
		audittest.PublishIn(t, dir, l)
		var confirmed assertion.Log
		report := audittest.Verify(t, dir, audit.VerifyOptions{Entry: confirmed.Entry})
		if report.Code != tt.code || report.Code != audit.Verified && *report.FirstBad.Index != 1 {
			t.Errorf("%s: %d, %s", name, report.Code, report.Sentence)
		}
	}
}
