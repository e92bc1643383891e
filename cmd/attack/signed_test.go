//go:build unix

package attack_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/atm/auth/signature"
)

// signedDeposit is a deposit as JSON into the account of mallory, who may make it, signed with the
// key of a certificate at a time. change may change its head after that.
func signedDeposit(t *testing.T, by *tls.Certificate, at time.Time, change func(*http.Request),
) string {
	t.Helper()
	const body = `{"account":300,"amount":"1"}`
	cert, err := x509.ParseCertificate(by.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signature.NewSigner(cert, by.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "https://localhost/v1/deposit", nil)
	if err := signer.Sign(r, []byte(body), at); err != nil {
		t.Fatal(err)
	}
	change(r)
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n", r.URL.Path, r.Host, len(body))
	for name, values := range r.Header {
		for _, value := range values {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	return b.String() + "\r\n" + body
}

// attackSignatures sends deposits that would be carried out if they were not signed.
func (a *arena) attackSignatures(t *testing.T) {
	mallory, now := a.mallory, time.Now()
	cert, err := x509.ParseCertificate(mallory.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	set := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	replace := func(name, before, after string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set(name, strings.Replace(r.Header.Get(name), before, after, 1))
		}
	}
	input := func(before, after string) func(*http.Request) {
		return replace("Signature-Input", before, after)
	}
	nothing := func(*http.Request) {}
	var attacks []attack
	add := func(name string, by *tls.Certificate, at time.Time, change func(*http.Request)) {
		attacks = append(attacks, attack{
			name: name, by: mallory, request: signedDeposit(t, by, at, change), want: 401,
			says: "The signature is refused: ",
		})
	}
	add("a signature of somebody else", a.alice, now, nothing)
	add("a signature of somebody else under one's own name", a.alice, now, func(r *http.Request) {
		said := r.Header.Get("Signature-Input")
		_, rest, _ := strings.Cut(said, `keyid="`)
		theirs, _, _ := strings.Cut(rest, `"`)
		r.Header.Set("Signature-Input", strings.Replace(said, theirs, signature.KeyID(cert), 1))
	})
	add("a signature of an hour ago", mallory, now.Add(-time.Hour), nothing)
	add("a signature of tomorrow", mallory, now.Add(24*time.Hour), nothing)
	for name, change := range map[string]func(*http.Request){
		"a signature for another server": func(r *http.Request) { r.Host = "localhost:1" },
		"a signature for another body":   replace("Content-Digest", "sha-256=:", "sha-256=:AA"),
		"a digest of a broken algorithm": set("Content-Digest", "md5=:AAAA:"),
		"a request id that is added":     set("Idempotency-Key", "mine"),
		"a signature over nothing":       input(`"@method" "@target-uri" "content-digest"`, ""),
		"a signature without a time":     input("created=", "nonce=\"x\";n"),
		"a time as text":                 input("created=", `created="`),
		"another algorithm":              input("ecdsa-p256-sha256", "hmac-sha256"),
		"no algorithm at all":            input("ecdsa-p256-sha256", "none"),
		"a component of the answer":      input(`"@method"`, `"@method" "@status"`),
		"a component of another request": input(`"@method"`, `"@method" "@method";req`),
		"two labels, of which one is good": func(r *http.Request) {
			r.Header.Add("Signature-Input", strings.Replace(r.Header.Get("Signature-Input"), "sig",
				"two", 1))
			r.Header.Add("Signature", "two=:AAAA:")
		},
		"no signature":            func(r *http.Request) { r.Header.Del("Signature") },
		"no input":                func(r *http.Request) { r.Header.Del("Signature-Input") },
		"an empty signature":      set("Signature", "sig=::"),
		"zeros":                   set("Signature", "sig=:"+strings.Repeat("A", 86)+"==:"),
		"a date without digits":   set("Signature", "sig=@"),
		"a display string":        set("Signature-Input", `sig=();created=%"`),
		"brackets":                set("Signature-Input", strings.Repeat("(", 4000)),
		"commas":                  set("Signature-Input", strings.Repeat(",", 4000)),
		"parameters":              set("Signature-Input", "sig=()"+strings.Repeat(";a", 2000)),
		"a long dictionary":       set("Signature", "sig=:"+strings.Repeat("A", 8000)+":"),
		"labels":                  set("Signature-Input", strings.Repeat("a=(),", 800)+"b=()"),
		"a line end in base64":    replace("Signature", "sig=:", "sig=:%0a"),
		"a component with a line": input(`"@method"`, `"@method" "x-a\n"`),
	} {
		add(name, mallory, now, change)
	}
	changed := attacks[len(attacks)-1]
	changed.name = "another amount under the same digest"
	changed.request = strings.Replace(signedDeposit(t, mallory, now, nothing), `"1"`, `"2"`, 1)
	a.run(t, append(attacks, changed))
}

// signatureFlaws are mistakes about signatures of requests.
var signatureFlaws = []flaw{
	{
		"a signature never ends", "auth/signature/signature.go",
		`case now.Sub(created) > Skew || created.Sub(now) > Skew:`, `case created.IsZero():`,
		"signature/a_signature_of_an_hour_ago",
	},
	{
		"every signature verifies", "auth/signature/signature.go",
		`if !a.verify(cert.PublicKey, []byte(s.Base), s.Signature) {`,
		`if false && !a.verify(cert.PublicKey, []byte(s.Base), s.Signature) {`, "signature/zeros",
	},
	{
		"a request id need not be signed", "auth/signature/signature.go",
		`p.checkCover(len(r.Header[keyHeader]) > 0)`, `p.checkCover(false)`,
		"signature/a_request_id_that_is_added",
	},
	{
		"the body is not hashed", "auth/signature/digest.go",
		`!bytes.Equal(value, sum(body))`, `!bytes.Equal(value, value)`,
		"signature/another_amount_under_the_same_digest",
	},
	{
		"a bad signature is only noted", "server/calls.go", `if in.unsigned != nil {`,
		`if in.unsigned != nil && false {`, "signature/no_signature",
	},
	{
		"half a signature is none", "auth/signature/signature.go",
		`len(r.Header[InputHeader]) > 0 || len(r.Header[SignatureHeader]) > 0`,
		`len(r.Header[InputHeader]) > 0 && len(r.Header[SignatureHeader]) > 0`,
		"signature/no_input",
	},
}
