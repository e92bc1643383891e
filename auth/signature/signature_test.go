package signature_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/atm/auth/signature"
)

// now is when the requests of the tests are signed.
var now = time.Unix(1_800_000_000, 0)

const body = `{"account":100,"amount":"1"}`

// request is a deposit with a request id.
func request() *http.Request {
	r := httptest.NewRequest("POST", "/v1/deposit", strings.NewReader(body))
	r.Host = "atm.example:9000"
	r.Header.Set("Idempotency-Key", `"salary-2026-11"`)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// certify returns a certificate of a key.
func certify(t testing.TB, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "alice"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// keys are a key of each kind that signs.
func keys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]crypto.Signer{"ed25519": ed}
	for name, curve := range map[string]elliptic.Curve{
		"ecdsa-p256-sha256": elliptic.P256(), "ecdsa-p384-sha384": elliptic.P384(),
	} {
		if list[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// TestWhatIsSignedVerifiesNowAndLater signs by each kind of key, and verifies the request and the
// record of it.
func TestWhatIsSignedVerifiesNowAndLater(t *testing.T) {
	for name, key := range keys(t) {
		cert := certify(t, key)
		signer, err := signature.NewSigner(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		r := request()
		if err := signer.Sign(r, []byte(body), now); err != nil {
			t.Fatal(err)
		}
		record, err := signature.Verify(r, []byte(body), cert, now)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		kept, err := signature.ParseRecord(record.Text())
		if err != nil || len(kept.Signed) != 1 {
			t.Fatalf("%s: the record is %v, %v", name, kept, err)
		}
		signed := &kept.Signed[0]
		if err := signed.Verify(cert); err != nil {
			t.Errorf("%s: later: %v", name, err)
		}
		said, err := signed.Read()
		if err != nil || said.Method != "POST" || said.Path != "/v1/deposit" ||
			said.KeyID != signature.KeyID(cert) || !said.Created.Equal(now) {
			t.Errorf("%s: it says %+v, %v", name, said, err)
		}
		if err := said.Holds([]byte(body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if said.Holds([]byte(body+" ")) == nil {
			t.Errorf("%s: it was said with another body", name)
		}
		signed.Base = strings.Replace(signed.Base, "deposit", "deposix", 1)
		if signed.Verify(cert) == nil {
			t.Errorf("%s: a changed record verifies", name)
		}
	}
}

// TestChangedRequestDoesNotVerify changes, one at a time, what a signature covers and says.
func TestChangedRequestDoesNotVerify(t *testing.T) {
	key := keys(t)["ecdsa-p256-sha256"]
	cert := certify(t, key)
	signer, err := signature.NewSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(name, before, after string) func(*http.Request) {
		return func(r *http.Request) {
			value := r.Header.Get(name)
			changed := strings.Replace(value, before, after, 1)
			if changed == value {
				t.Errorf("%s has no %q: %s", name, before, value)
			}
			r.Header.Set(name, changed)
		}
	}
	input := func(before, after string) func(*http.Request) {
		return replace("Signature-Input", before, after)
	}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	const notOfKey = "the signature is not that of the key"
	for name, tt := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"method":      {func(r *http.Request) { r.Method = "PUT" }, notOfKey},
		"path":        {func(r *http.Request) { r.URL.Path = "/v1/withdraw" }, notOfKey},
		"host":        {func(r *http.Request) { r.Host = "other.example:9000" }, notOfKey},
		"query":       {func(r *http.Request) { r.URL.RawQuery = "a=b" }, notOfKey},
		"request id":  {set("Idempotency-Key", `"salary-2026-12"`), notOfKey},
		"another id":  {func(r *http.Request) { r.Header.Add("Idempotency-Key", "x") }, notOfKey},
		"no id":       {func(r *http.Request) { r.Header.Del("Idempotency-Key") }, "is not in the request"},
		"digest":      {replace("Content-Digest", "sha-256=:", "sha-256=:AAAA"), "the sha-256 in Content-Digest is not that of the body"},
		"weak digest": {set("Content-Digest", "md5=:AAAA:"), "has neither sha-256 nor sha-512"},
		"no digest":   {func(r *http.Request) { r.Header.Del("Content-Digest") }, "there is no Content-Digest"},
		"more digests": {
			replace("Content-Digest", "sha-256", "sha-512=:AAAA:, sha-256"),
			"the sha-512 in Content-Digest is not that of the body",
		},
		"digest said otherwise": {replace("Content-Digest", "sha-256", "sha-1=:AAAA:, sha-256"), notOfKey},
		"created":               {input("created=1800000000", "created=1800000001"), notOfKey},
		"created long ago":      {input("created=1800000000", "created=1799999699"), "created is more than 5 minutes"},
		"created in the future": {input("created=1800000000", "created=1800000301"), "created is more than 5 minutes"},
		"created as text":       {input("created=1800000000", `created="1800000000"`), "parameter created has a wrong value"},
		"not created":           {input("created=1800000000;", ""), "created is missing"},
		"expired":               {input(";keyid", ";expires=1800000000;keyid"), "it has expired"},
		"expired before":        {input(";keyid", ";expires=1;keyid"), "it has expired"},
		"expires added":         {input(";keyid", ";expires=1800000009;keyid"), notOfKey},
		"nonce added":           {input(";keyid", `;nonce="n";keyid`), notOfKey},
		"another key":           {input(`keyid="`, `keyid="0`), "keyid is not the SHA-256 of the client certificate"},
		"no key":                {input(`keyid="`+signature.KeyID(cert)+`";`, ""), "keyid is not the SHA-256"},
		"another algorithm":     {input("ecdsa-p256-sha256", "ed25519"), "the key of the certificate is for ecdsa-p256-sha256"},
		"no algorithm":          {input(`;alg="ecdsa-p256-sha256"`, ""), notOfKey},
		"unknown parameter":     {input(";keyid", ";sure;keyid"), "its parameter sure is unknown here"},
		"uncovered method":      {input(`"@method" `, ""), `it does not cover "@method"`},
		"uncovered target":      {input(`"@target-uri" `, ""), "it covers neither"},
		"uncovered digest":      {input(`"content-digest" `, ""), `it does not cover "content-digest"`},
		"uncovered id":          {input(` "idempotency-key"`, ""), `it does not cover "idempotency-key"`},
		"unknown component":     {input(`"@method"`, `"@method" "@status"`), `component "@status" is unknown here`},
		"absent header":         {input(`"@method"`, `"@method" "x-none"`), `component "x-none" is not in the request`},
		"upper case":            {input(`"content-digest"`, `"content-digest" "Content-Type"`), `component "Content-Type" is not in the request`},
		"component twice":       {input(`"@method"`, `"@method" "@method"`), `component "@method" occurs twice`},
		"component parameter":   {input(`"content-digest"`, `"content-digest";sf`), `component "content-digest" has parameters`},
		"token as component":    {input(`"@method"`, `"@method" token`), "a component is not a string"},
		"many components": {
			input(`"@method"`, strings.Repeat(`"@method" `, 33)), "it covers more than 32 components",
		},
		"order":         {input(`"@method" "@target-uri"`, `"@target-uri" "@method"`), notOfKey},
		"no list":       {set("Signature-Input", "sig=1"), "has no list of components"},
		"nothing":       {set("Signature-Input", ""), "there is no Signature-Input"},
		"no dictionary": {set("Signature-Input", "sig=("), "Signature-Input is not a dictionary"},
		"long input": {
			set("Signature-Input", `sig=("`+strings.Repeat("x", 5000)+`")`),
			"Signature-Input has more than 4096 bytes",
		},
		"no signature": {func(r *http.Request) { r.Header.Del("Signature") }, "there is no Signature"},
		"another label": {
			replace("Signature", "sig=", "gis="), "there is no byte sequence for it in Signature",
		},
		"second label":        {replace("Signature", "sig=", "a=:AAAA:, sig="), "have different labels"},
		"short signature":     {set("Signature", "sig=:AAAA:"), notOfKey},
		"no byte sequence":    {set("Signature", `sig="AAAA"`), "there is no byte sequence"},
		"signature as a list": {set("Signature", `sig=(:AAAA:)`), "there is no byte sequence"},
		"signature of zeros": {
			set("Signature", "sig=:"+strings.Repeat("A", 86)+"==:"), notOfKey,
		},
		"five signatures": {func(r *http.Request) {
			more := func(name string) {
				r.Header.Set(name, strings.Repeat(r.Header.Get(name)+", ", 1)+
					strings.Join([]string{"a=()", "b=()", "c=()", "d=()"}, ", "))
			}
			more("Signature-Input")
		}, "there are more than 4 signatures"},
		"a second that is bad": {func(r *http.Request) {
			r.Header.Add("Signature-Input", strings.Replace(r.Header.Get("Signature-Input"), "sig=",
				"two=", 1))
			r.Header.Add("Signature", "two=:AAAA:")
		}, "two: " + notOfKey},
	} {
		r := request()
		if err := signer.Sign(r, []byte(body), now); err != nil {
			t.Fatal(err)
		}
		tt.change(r)
		_, err := signature.Verify(r, []byte(body), cert, now)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	r := request()
	if err := signer.Sign(r, []byte(body), now); err != nil {
		t.Fatal(err)
	}
	if _, err := signature.Verify(r, []byte(body+" "), cert, now); err == nil {
		t.Error("another body verifies")
	}
	if _, err := signature.Verify(r, []byte(body), certify(t, key), now); err == nil {
		t.Error("it verifies by another certificate of the same key")
	}
}

// TestSeveralSignaturesAllVerify sends two good signatures of one request.
func TestSeveralSignaturesAllVerify(t *testing.T) {
	key := keys(t)["ed25519"]
	cert := certify(t, key)
	signer, err := signature.NewSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	r := request()
	if err := signer.Sign(r, []byte(body), now); err != nil {
		t.Fatal(err)
	}
	first := r.Clone(t.Context()).Header
	if err := signer.Sign(r, []byte(body), now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Signature-Input", "Signature"} {
		r.Header.Add(name, strings.Replace(first.Get(name), "sig=", "first=", 1))
	}
	record, err := signature.Verify(r, []byte(body), cert, now)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := signature.ParseRecord(record.Text())
	if err != nil || len(kept.Signed) != 2 || kept.Sum() != record.Sum() {
		t.Errorf("the record is %+v, %v", kept, err)
	}
}

// TestKeysOfOtherKindsCannotSign refuses a certificate with a key of RSA or P-521.
func TestKeysOfOtherKindsCannotSign(t *testing.T) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{r, p521} {
		if _, err := signature.NewSigner(certify(t, key), key); err == nil {
			t.Errorf("a key of type %T signs", key)
		}
	}
}

// FuzzVerify verifies whatever headers: nothing but what was signed verifies.
func FuzzVerify(f *testing.F) {
	key := keys(f)["ed25519"]
	cert := certify(f, key)
	signer, err := signature.NewSigner(cert, key)
	if err != nil {
		f.Fatal(err)
	}
	good := request()
	if err := signer.Sign(good, []byte(body), now); err != nil {
		f.Fatal(err)
	}
	input, value := good.Header.Get("Signature-Input"), good.Header.Get("Signature")
	digest := good.Header.Get("Content-Digest")
	f.Add(input, value, digest, []byte(body))
	f.Add(input, value, "md5=:AAAA:, "+digest, []byte(body))
	f.Add(input+`, b=("@method";req "@query-param";name="Pet");created=1.5`, value+", b=:AA==:", digest, []byte(body))
	f.Add(`sig=("@method" "\"" "@path");created=-1;keyid=%"x";expires=@1`, "sig=?1", "sha-512=1", []byte{})
	f.Fuzz(func(t *testing.T, input, value, digest string, content []byte) {
		r := request()
		r.Header.Set("Signature-Input", input)
		r.Header.Set("Signature", value)
		r.Header.Set("Content-Digest", digest)
		record, err := signature.Verify(r, content, cert, now)
		if err != nil {
			return
		}
		if !bytes.Equal(content, []byte(body)) {
			t.Errorf("verified with the body %q", content)
		}
		for _, s := range record.Signed {
			if !strings.Contains(s.Base, "\n\"content-digest\": "+digest+"\n") {
				t.Errorf("verified over %q", s.Base)
			}
		}
	})
}

// FuzzParseRecord reads whatever texts: a record that is read has the one text it was read from.
func FuzzParseRecord(f *testing.F) {
	f.Add("\"@method\": POST\n\"@signature-params\": (\"@method\");created=1\nAAAA")
	f.Add("a\nAAAA\n\nb\nAA==")
	f.Add("\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		record, err := signature.ParseRecord(text)
		if err != nil {
			return
		}
		if record.Text() != text {
			t.Errorf("%q became %q", text, record.Text())
		}
		for i := range record.Signed {
			if said, err := record.Signed[i].Read(); err == nil {
				_ = said.Holds(nil)
			}
		}
	})
}
