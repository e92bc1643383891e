//go:build unix

package daemon_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemon"
	"github.com/golang-jwt/jwt/v5"
)

// TestIssuers signs in with the token of a provider that a file names, until the
// file names it no longer.
func TestIssuers(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "issuers.toml")
	const good = `
[[issuer]]
issuer = "https://login.example"
audience = "atm"
algorithm = "ES256"
jwks_file = "keys.json"
claim = "email"
scope = "inquiry"

[issuer.subjects]
"demo@example.com" = "user:demo"
`
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "keys.json"), publishedKeys(t, &key.PublicKey))
	write(file, good)
	h := start(t, func(o *daemon.Options) { o.Issuers = file })
	now := time.Now().Unix()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": "https://login.example", "aud": "atm", "sub": "0815", "iat": now, "exp": now + 600,
		"jti":   "J1",
		"email": "demo@example.com", "email_verified": true,
	})
	token.Header["kid"] = "k"
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	nobody := h.tls(t, "demo")
	nobody.GetClientCertificate = nil
	c := httpClient(t, nobody)
	ask := func(method string, args ...string) (int, string) {
		resp, answer := h.post(t, c, call(method, args...), func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+text)
		})
		return resp.StatusCode, answer
	}
	if got, answer := ask("inquiry", "100"); got != 200 || !strings.Contains(answer, "1000.00") {
		t.Errorf("%d %s", got, answer)
	}
	if got, answer := ask("withdraw", "100", "1"); got != 200 || !strings.Contains(answer,
		"PERMISSION_DENIED") {
		t.Errorf("out of scope: %d %s", got, answer)
	}
	write(file, strings.Replace(good, "ES256", "HS256", 1))
	until(t, func() bool {
		return strings.Contains(h.log.String(), "the new issuers are not used")
	})
	if got, _ := ask("inquiry", "100"); got != 200 {
		t.Errorf("after a bad file: %d", got)
	}
	write(file, "")
	until(t, func() bool { got, _ := ask("inquiry", "100"); return got == 401 })
	if n := count(h.entries(t), func(e *audit.Entry) bool {
		return e.Caller != nil && e.Caller.Issuer == "https://login.example" &&
			e.Caller.ID == "J1" && e.Caller.Key == "k"
	}); n < 3 {
		t.Errorf("%d entries name the issuer", n)
	}
	own := t.TempDir() + "/own.toml"
	write(own, strings.Replace(strings.Replace(good, "https://login.example", "https://"+h.name, 1),
		"keys.json", filepath.Join(dir, "keys.json"), 1))
	if _, err := daemon.Open(t.Context(), daemon.Options{
		Data: h.data, Store: h.folder().Store,
		Issuers: own, Log: discard,
	}); err == nil || !strings.Contains(err.Error(),
		"is this server") {
		t.Errorf("this server as another issuer: %v", err)
	}
}

// publishedKeys is a key on P-256, called k, as an issuer publishes it (RFC 7517).
func publishedKeys(t *testing.T, key *ecdsa.PublicKey) string {
	t.Helper()
	point, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k","use":"sig","x":%q,"y":%q}]}`,
		encode(point[1:33]), encode(point[33:]))
}
