package signature

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"
)

// testBody is the content of the test request of RFC 9421, appendix B.2.
const testBody = `{"hello": "world"}`

// testRequest is that test request.
func testRequest() *http.Request {
	r := httptest.NewRequest("POST", "https://example.com/foo?param=Value&Pet=dog",
		strings.NewReader(testBody))
	r.Header.Set("Date", "Tue, 20 Apr 2021 02:07:55 GMT")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Digest", "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBW"+
		"nrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:")
	r.Header.Set("Content-Length", "18")
	return r
}

// TestVectorsOfTheStandardVerify makes the signature bases of RFC 9421 out of its request, and
// verifies its signatures over them.
func TestVectorsOfTheStandardVerify(t *testing.T) {
	text, err := os.ReadFile("testdata/rfc9421.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []struct{ Section, Algorithm, Key, Input, Base, Signature string }
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	bases, signatures := 0, 0
	for _, v := range file.Vectors {
		if v.Input != "" {
			bases++
			list, err := httpsfv.UnmarshalList([]string{v.Input})
			if err != nil {
				t.Fatal(err)
			}
			p, err := readParams(list[0])
			if err != nil {
				t.Fatalf("%s: %v", v.Section, err)
			}
			if base, err := p.base(testRequest()); err != nil || base != v.Base {
				t.Errorf("%s: base %v\n%s", v.Section, err, base)
			}
		}
		if v.Signature == "" {
			continue
		}
		signatures++
		der, _ := base64.StdEncoding.DecodeString(v.Key)
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			t.Fatal(err)
		}
		a, err := algorithmOf(key)
		if err != nil || a.name != v.Algorithm {
			t.Fatalf("%s: %v, %v", v.Section, a, err)
		}
		value, _ := base64.StdEncoding.DecodeString(v.Signature)
		if !a.verify(key, []byte(v.Base), value) {
			t.Errorf("%s does not verify", v.Section)
		}
		value[7] ^= 1
		if a.verify(key, []byte(v.Base), value) {
			t.Errorf("%s verifies with another signature", v.Section)
		}
	}
	if bases != 2 || signatures != 2 {
		t.Errorf("%d bases and %d signatures were compared", bases, signatures)
	}
	if err := checkDigest(testRequest().Header, []byte(testBody)); err != nil {
		t.Error(err)
	}
}
