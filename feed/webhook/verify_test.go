package webhook_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/atm/feed/webhook"
)

var (
	now  = time.Unix(1_790_000_000, 0).UTC()
	body = []byte(`{"specversion":"1.0","id":"23"}`)
)

// key returns a key that differs for each n.
func key(n byte) webhook.Key {
	return webhook.NewKey([32]byte{n, 1}, [32]byte{n, 2})
}

func parse(t testing.TB, text string) webhook.Verifier {
	t.Helper()
	v, err := webhook.ParseVerifier(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// sign returns the headers of a webhook.
func sign(t testing.TB, id string, keys ...webhook.Key) http.Header {
	t.Helper()
	h := make(http.Header)
	if err := webhook.Sign(h, id, now, body, keys...); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestSignatureIsThatOfTheSpecification has the secret and the message with which the libraries
// of Standard Webhooks test themselves.
func TestSignatureIsThatOfTheSpecification(t *testing.T) {
	h := http.Header{
		"Webhook-Id":        {"msg_p5jXN8AQM9LWM0D4loKWxJek"},
		"Webhook-Timestamp": {"1614265330"},
		"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	}
	v := parse(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	got, err := webhook.Verify(h, []byte(`{"test": 2432232314}`), time.Unix(1614265330, 0), v)
	want := webhook.Received{ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", Time: time.Unix(1614265330, 0).UTC()}
	if err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func TestEitherHalfOfAnyKeyVerifies(t *testing.T) {
	h := sign(t, "f4711.23", key(1), key(2))
	for _, text := range []string{
		key(1).Secret(), key(1).Public(), key(2).Secret(), key(2).Public(),
	} {
		got, err := webhook.Verify(h, body, now, parse(t, key(3).Secret()), parse(t, text))
		if want := (webhook.Received{ID: "f4711.23", Time: now}); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", text[:6], got, err, want)
		}
	}
	for _, text := range []string{key(3).Secret(), key(3).Public()} {
		if _, err := webhook.Verify(h, body, now, parse(t, text)); err != webhook.ErrSignature {
			t.Errorf("%s of another key: %v", text[:6], err)
		}
	}
	if _, err := webhook.Verify(h, body, now); err != webhook.ErrSignature {
		t.Errorf("without a verifier: %v", err)
	}
}

func TestSignaturesAreV1AndV1aOfTheSameContent(t *testing.T) {
	got := sign(t, "f4711.23", key(1)).Get(webhook.HeaderSignature)
	seed := [32]byte{1, 2}
	content := fmt.Sprintf("f4711.23.%d.%s", now.Unix(), body)
	want := " v1a," + base64.StdEncoding.EncodeToString(
		ed25519.Sign(ed25519.NewKeyFromSeed(seed[:]), []byte(content)))
	if !strings.HasPrefix(got, "v1,") || !strings.HasSuffix(got, want) {
		t.Errorf("%q does not end with %q", got, want)
	}
}

func TestAlteredWebhookIsRefused(t *testing.T) {
	secret, public := parse(t, key(1).Secret()), parse(t, key(1).Public())
	set := func(name, value string) func(http.Header) {
		return func(h http.Header) { h.Set(name, value) }
	}
	v1, v1a, _ := strings.Cut(sign(t, "f4711.23", key(1)).Get(webhook.HeaderSignature), " ")
	for _, tt := range []struct {
		name  string
		alter func(http.Header)
		want  error
	}{
		{"another id", set(webhook.HeaderID, "f4711.24"), webhook.ErrSignature},
		{"no id", set(webhook.HeaderID, ""), webhook.ErrHeaders},
		{"id with a space", set(webhook.HeaderID, "f4711 23"), webhook.ErrHeaders},
		{"long id", set(webhook.HeaderID, strings.Repeat("x", 129)), webhook.ErrHeaders},
		{"no id at all", func(h http.Header) { h.Del(webhook.HeaderID) }, webhook.ErrHeaders},
		{"two ids", func(h http.Header) { h.Add(webhook.HeaderID, "f1") }, webhook.ErrHeaders},
		{"another time", set(webhook.HeaderTimestamp, "1790000001"), webhook.ErrSignature},
		{"plus", set(webhook.HeaderTimestamp, "+1790000000"), webhook.ErrHeaders},
		{"leading zero", set(webhook.HeaderTimestamp, "01790000000"), webhook.ErrHeaders},
		{"fraction", set(webhook.HeaderTimestamp, "1790000000.0"), webhook.ErrHeaders},
		{"huge", set(webhook.HeaderTimestamp, strings.Repeat("9", 30)), webhook.ErrHeaders},
		{"last second", set(webhook.HeaderTimestamp, "9223372036854775807"), webhook.ErrTooNew},
		{"first second", set(webhook.HeaderTimestamp, "-9223372036854775808"), webhook.ErrTooOld},
		{"no signature", set(webhook.HeaderSignature, ""), webhook.ErrSignature},
		{"unsigned", func(h http.Header) { h.Del(webhook.HeaderSignature) }, webhook.ErrHeaders},
		{"empty v1", set(webhook.HeaderSignature, "v1,"), webhook.ErrSignature},
		{"short v1", set(webhook.HeaderSignature, v1[:20]), webhook.ErrSignature},
		{"v1 as v2", set(webhook.HeaderSignature, "v2"+v1[2:]), webhook.ErrSignature},
		{"v1 as v1a", set(webhook.HeaderSignature, "v1a"+v1[2:]), webhook.ErrSignature},
		{"v1a as v1", set(webhook.HeaderSignature, "v1"+v1a[3:]), webhook.ErrSignature},
		{"more after it", set(webhook.HeaderSignature, v1+","+v1a+",x"), webhook.ErrSignature},
		{
			"many", set(webhook.HeaderSignature, strings.Repeat("v1a,AAAA ", 16)+v1+" "+v1a),
			webhook.ErrHeaders,
		},
	} {
		for _, v := range []webhook.Verifier{secret, public} {
			h := sign(t, "f4711.23", key(1))
			tt.alter(h)
			if got, err := webhook.Verify(h, body, now, v); !errors.Is(err, tt.want) ||
				got != (webhook.Received{}) {
				t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
			}
		}
	}
	for i := range body {
		altered := bytes.Clone(body)
		altered[i] ^= 1
		h := sign(t, "f4711.23", key(1))
		if _, err := webhook.Verify(h, altered, now, secret, public); err != webhook.ErrSignature {
			t.Errorf("byte %d altered: %v", i, err)
		}
	}
}

func TestTimestampIsWithinFiveMinutesOfTheClock(t *testing.T) {
	h, v := sign(t, "f4711.23", key(1)), parse(t, key(1).Secret())
	for _, tt := range []struct {
		clock time.Time
		want  error
	}{
		{now.Add(5 * time.Minute), nil},
		{now.Add(5*time.Minute + time.Second), webhook.ErrTooOld},
		{now.Add(-5 * time.Minute), nil},
		{now.Add(-5*time.Minute - time.Second), webhook.ErrTooNew},
	} {
		if _, err := webhook.Verify(h, body, tt.clock, v); err != tt.want {
			t.Errorf("%v later: %v, want %v", tt.clock.Sub(now), err, tt.want)
		}
	}
}

// TestEndOfAnIDCannotBeMoved takes the end of an id for the timestamp, and the timestamp for the
// beginning of the body: the bytes that were signed stay the same.
func TestEndOfAnIDCannotBeMoved(t *testing.T) {
	h := sign(t, "f4711.23", key(1))
	moved := append([]byte(h.Get(webhook.HeaderTimestamp)+"."), body...)
	h.Set(webhook.HeaderID, "f4711")
	h.Set(webhook.HeaderTimestamp, "23")
	v := parse(t, key(1).Secret())
	if _, err := webhook.Verify(h, moved, now, v); err != webhook.ErrTooOld {
		t.Error(err)
	}
	if _, err := webhook.Verify(h, moved, time.Unix(23, 0), v); err != nil {
		t.Errorf("the test moved something else: %v", err)
	}
}

func TestSchemesToComeArePassedOver(t *testing.T) {
	h := sign(t, "f4711.23", key(1))
	h.Set(webhook.HeaderSignature, "v9,x v1 nonsense  "+h.Get(webhook.HeaderSignature))
	if _, err := webhook.Verify(h, body, now, parse(t, key(1).Secret())); err != nil {
		t.Error(err)
	}
}

func TestVerifierIsASecretOrAPublicKeyOfItsLength(t *testing.T) {
	text := func(prefix string, n int) string {
		return prefix + base64.StdEncoding.EncodeToString(make([]byte, n))
	}
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{text("whsec_", 23), false},
		{text("whsec_", 24), true},
		{text("whsec_", 64), true},
		{text("whsec_", 65), false},
		{text("whpk_", 32), true},
		{text("whpk_", 31), false},
		{text("whsk_", 32), false}, // a private key is not for others
		{text("", 32), false},
		{strings.TrimRight(text("whsec_", 32), "="), false},
		{text("whsec_", 32) + "\n", false},
		{text("whsec_", 30)[:20] + "\n" + text("whsec_", 30)[20:], false},
		{"", false},
	} {
		if _, err := webhook.ParseVerifier(tt.text); (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
}

func TestSignRefusesWhatNoReceiverCouldVerify(t *testing.T) {
	nine := make([]webhook.Key, 9)
	for i := range nine {
		nine[i] = key(byte(i))
	}
	for _, tt := range []struct {
		id   string
		keys []webhook.Key
	}{
		{"", nine[:1]},
		{"a b", nine[:1]},
		{"a\nb", nine[:1]},
		{"é", nine[:1]},
		{strings.Repeat("x", 129), nine[:1]},
		{"f4711.23", nil},
		{"f4711.23", nine},
	} {
		h := make(http.Header)
		if err := webhook.Sign(h, tt.id, now, body, tt.keys...); err == nil || len(h) > 0 {
			t.Errorf("%q with %d keys: %v, %v", tt.id, len(tt.keys), err, h)
		}
	}
}

func TestPrintingAKeyDoesNotShowIt(t *testing.T) {
	k := key(7)
	v := parse(t, k.Secret())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		got := fmt.Sprintf(verb+" "+verb+" "+verb, k, &k, v)
		if want := "webhook key webhook key webhook verifier"; got != want {
			t.Errorf("%s: %q, want %q", verb, got, want)
		}
	}
	if got, err := json.Marshal([]any{k, v}); err != nil || string(got) != "[{},{}]" {
		t.Errorf("as JSON: %s, %v", got, err)
	}
}

// FuzzVerify makes sure that nothing is accepted but what the key signed, and that all that it
// signs is.
func FuzzVerify(f *testing.F) {
	for _, seed := range []struct{ id, stamp, signature, body string }{
		{"f4711.23", "1790000000", "v1,AAAA", "{}"},
		{"f4711.23", "1790000000", "v1,AAAA v1a,AAAA v2,x", ""},
		{"", "+1", ",", "a"},
		{"f4711", "23", "v1 ", "1790000000.{}"},
		{"a b", "-9223372036854775808", "v1a,=", "\x00"},
	} {
		f.Add(seed.id, seed.stamp, seed.signature, seed.body)
	}
	verifiers := []webhook.Verifier{parse(f, key(1).Secret()), parse(f, key(1).Public())}
	f.Fuzz(func(t *testing.T, id, stamp, signature, body string) {
		h := http.Header{
			webhook.HeaderID: {id}, webhook.HeaderTimestamp: {stamp},
			webhook.HeaderSignature: {signature},
		}
		signed := make(http.Header)
		refusal := webhook.Sign(signed, id, now, []byte(body), key(1))
		got, err := webhook.Verify(h, []byte(body), now, verifiers...)
		if err == nil && (refusal != nil || got.ID != id || !got.Time.Equal(now)) {
			t.Fatalf("%v was accepted", h)
		}
		if refusal != nil {
			return
		}
		if _, err := webhook.Verify(signed, []byte(body), now, verifiers...); err != nil {
			t.Fatalf("%v: %v", signed, err)
		}
		if _, err := webhook.Verify(signed, []byte(body+" "), now, verifiers...); err == nil {
			t.Fatalf("%v was accepted for another body", signed)
		}
	})
}
