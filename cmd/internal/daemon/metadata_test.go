//go:build unix

package daemon_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// metadata is what a server says of its tokens (RFC 8414).
type metadata struct {
	Issuer     string   `json:"issuer"`
	Token      string   `json:"token_endpoint"`
	Revocation string   `json:"revocation_endpoint"`
	Keys       string   `json:"jwks_uri"`
	Methods    []string `json:"token_endpoint_auth_methods_supported"`
	Grants     []string `json:"grant_types_supported"`
	Logins     []struct {
		Issuer, Token, Scope, Resource string
		ClientID                       string `json:"client_id"`
	} `json:"atm_logins"`
}

// askMetadata fetches it, and returns each URL in it.
func askMetadata(t *testing.T, c *http.Client, at string) (m metadata, urls map[string]string) {
	t.Helper()
	answer, err := c.Get(at + "/.well-known/oauth-authorization-server")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	var members map[string]any
	if err != nil || answer.Header.Get("Content-Type") != "application/json" ||
		json.Unmarshal(text, &m) != nil || json.Unmarshal(text, &members) != nil {
		t.Fatalf("%s: %s, %v", answer.Status, text, err)
	}
	urls = make(map[string]string)
	for name, value := range members {
		if link, is := value.(string); is && name != "issuer" && strings.Contains(link, "://") {
			urls[name] = link
		}
	}
	return m, urls
}

// TestEachURLOfTheMetadataAnswers fetches them where --public-url says that they are: at a name
// that is not that of the listener.
func TestEachURLOfTheMetadataAnswers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "issuers.toml")
	daemontest.Replace(t, file, `[[issuer]]
issuer = "https://login.example"
audience = "atm"
algorithm = "ES256"
jwks_file = "/nowhere"

[issuer.cli]
client_id = "atm-cli"
scope = "openid email"
resource = "https://atm.example/RPC2"
`)
	const public = "https://bank.example:4433"
	h := daemontest.Start(t, func(o *daemon.Options) {
		o.Server.PublicURL, o.Issuers = public, file
	})
	// A resolver would have the name lead to the listener.
	c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", h.Addr)
	}
	c.Transport.(*http.Transport).DialContext = dial
	m, urls := askMetadata(t, c, public)
	if m.Issuer != "https://"+h.Name || slices.Contains(m.Methods, "digest") ||
		!slices.Equal(m.Methods, []string{"tls_client_auth", "client_secret_post"}) {
		t.Errorf("the metadata is %+v", m)
	}
	if len(m.Logins) != 1 || m.Logins[0].Issuer != "https://login.example" ||
		m.Logins[0].ClientID != "atm-cli" || m.Logins[0].Token != "id" ||
		m.Logins[0].Scope != "openid email" || m.Logins[0].Resource != "https://atm.example/RPC2" {
		t.Errorf("people sign in by %+v", m.Logins)
	}
	posted := map[string]url.Values{
		m.Token:      {"grant_type": {"client_credentials"}, "scope": {"inquiry"}},
		m.Revocation: {"token": {"any"}},
	}
	for name, link := range urls {
		if !strings.HasPrefix(link, public+"/") {
			t.Errorf("%s is at %s", name, link)
		}
		answer, err := c.Get(link)
		if form := posted[link]; form != nil {
			answer, err = c.PostForm(link, form)
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s: %s, %v", name, link, answer.Status, text)
		}
		if link == m.Keys && !strings.Contains(string(text), `"kty":"EC"`) {
			t.Errorf("the keys are %s", text)
		}
	}
	if len(urls) != 4 {
		t.Errorf("the URLs are %v", urls)
	}
}
