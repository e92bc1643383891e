//go:build unix

package daemon_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/certs"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// TestMappedCertificatesSignIn signs in with certificates of another authority, some of which a
// file maps to subjects.
func TestMappedCertificatesSignIn(t *testing.T) {
	t.Parallel()
	authority, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Another bank"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, authority.Public(),
		authority)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	ca, identities := filepath.Join(folder, "ca.crt"), filepath.Join(folder, "identities.toml")
	if err := os.WriteFile(ca, certs.EncodeCertificate(theirs), 0o600); err != nil {
		t.Fatal(err)
	}
	serial := int64(1)
	issue := func(change func(*x509.Certificate)) tls.Certificate {
		t.Helper()
		key, err := certs.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		serial++
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Minute),
			NotAfter:    time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			KeyUsage:    x509.KeyUsageDigitalSignature,
		}
		change(template)
		der, err := x509.CreateCertificate(rand.Reader, template, theirs, key.Public(), authority)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	}
	uri := func(s string) []*url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return []*url.URL{u}
	}
	byURI := issue(func(c *x509.Certificate) { c.URIs = uri("urn:till:1") })
	byDNS := issue(func(c *x509.Certificate) { c.DNSNames = []string{"till-2.shop.example"} })
	byEmail := issue(func(c *x509.Certificate) { c.EmailAddresses = []string{"till@shop.example"} })
	byKey := issue(func(*x509.Certificate) {})
	byName := issue(func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "till", Organization: []string{"Shop"}}
	})
	twice := issue(func(c *x509.Certificate) {
		c.DNSNames = []string{"till-2.shop.example", "till-3.shop.example"}
	})
	none := issue(func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "user:demo"} })
	key := sha256.Sum256(byKey.Leaf.RawSubjectPublicKeyInfo)
	b64 := base64.StdEncoding.EncodeToString
	entry := func(how string) string {
		return "[[identity]]\nsubject = \"user:demo\"\n" + how + "\n"
	}
	good := entry(`uri = "urn:till:1"`) + entry(`dns = "till-2.shop.example"`) +
		entry(`dns = "till-3.shop.example"`) +
		entry(`email = "till@shop.example"`) + entry(fmt.Sprintf("key_sha256 = %q",
		hex.EncodeToString(key[:]))) +
		entry(fmt.Sprintf("issuer = %q\ndn = %q", b64(byName.Leaf.RawIssuer),
			b64(byName.Leaf.RawSubject)))
	if err := os.WriteFile(identities, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	h := daemontest.Start(t, func(o *daemon.Options) { o.ClientCA, o.Identities = ca, identities })
	impostor := issue(func(c *x509.Certificate) {
		c.URIs = uri("spiffe://" + h.Name + "/user/demo")
	})
	status := func(cert tls.Certificate) int {
		t.Helper()
		cfg := h.TLS(t, "demo")
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &cert, nil
		}
		resp, text := h.Post(t, daemontest.HTTPClient(t, cfg), daemontest.Call("inquiry",
			"100"), nil)
		if resp.StatusCode == http.StatusOK && !strings.Contains(text, "1000.00") {
			t.Error(text)
		}
		return resp.StatusCode
	}
	for name, tt := range map[string]struct {
		cert tls.Certificate
		want int
	}{
		"uri": {byURI, 200}, "dns": {byDNS, 200}, "email": {byEmail, 200}, "key": {byKey, 200},
		"issuer and name": {byName, 200},
		"two that fit":    {twice, 401}, "none that fits": {none, 401},
		"our trust domain, signed by others": {impostor, 401},
	} {
		if got := status(tt.cert); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	// Only certificates of this server can be renewed.
	request, err := certs.NewRequest(byURI.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	cfg := h.TLS(t, "demo")
	if _, text := h.Post(t, daemontest.HTTPClient(t, cfg), daemontest.Call("admin.cert.renew",
		string(request)),
		nil); !strings.Contains(text, "BEGIN CERTIFICATE") {
		t.Errorf("by one of this server: %s", text)
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &byURI, nil
	}
	if _, text := h.Post(t, daemontest.HTTPClient(t, cfg), daemontest.Call("admin.cert.renew",
		string(request)),
		nil); !strings.Contains(text, "PERMISSION_DENIED") {
		t.Errorf("by one of another authority: %s", text)
	}
	// An invalid file is not used. A valid one is, within a second.
	wait := func(want int) {
		t.Helper()
		daemontest.Until(t, func() bool { return status(byURI) == want })
	}
	daemontest.Replace(t, identities, "[[identity]]\nsubject = \"nobody\"\n")
	h.Says(t, "the new identities are not used")
	wait(200)
	daemontest.Replace(t, identities, entry(`dns = "till-2.shop.example"`))
	wait(401)
}
