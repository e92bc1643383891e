//go:build unix

package daemon_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"github.com/golang-jwt/jwt/v5"
)

// TestTokensOfListedIssuersAreGood signs in with the token of a provider in the file of
// issuers, until the provider is removed from the file.
func TestTokensOfListedIssuersAreGood(t *testing.T) {
	t.Parallel()
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
		daemontest.Replace(t, path, text)
	}
	write(filepath.Join(dir, "keys.json"), daemontest.PublishedKeys(t, &key.PublicKey))
	write(file, good)
	h := daemontest.Start(t, func(o *daemon.Options) { o.Issuers = file })
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
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	c := daemontest.HTTPClient(t, nobody)
	ask := func(method string, args ...string) (int, string) {
		resp, answer := h.Post(t, c, daemontest.Call(method, args...), func(r *http.Request) {
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
	daemontest.Until(t, func() bool {
		return strings.Contains(h.Log.String(), "the new issuers are not used")
	})
	if got, _ := ask("inquiry", "100"); got != 200 {
		t.Errorf("after a bad file: %d", got)
	}
	write(file, "")
	daemontest.Until(t, func() bool { got, _ := ask("inquiry", "100"); return got == 401 })
	if n := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Caller != nil && e.Caller.Issuer == "https://login.example" &&
			e.Caller.ID == "J1" && e.Caller.Key == "k"
	}); n < 3 {
		t.Errorf("%d entries name the issuer", n)
	}
	own := t.TempDir() + "/own.toml"
	write(own, strings.Replace(strings.Replace(good, "https://login.example", "https://"+h.Name, 1),
		"keys.json", filepath.Join(dir, "keys.json"), 1))
	if _, err := daemon.Open(t.Context(), daemon.Options{
		Data: h.Data, Store: h.Folder().Store,
		Issuers: own, Log: daemontest.Discard,
	}); err == nil || !strings.Contains(err.Error(),
		"is this server") {
		t.Errorf("this server as another issuer: %v", err)
	}
}
