package xmlrpc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/internal/needs"
)

// TestExamplesOfThePageRun copies examples from the page into a folder with the certificates
// and runs them, as a reader would.
func TestExamplesOfThePageRun(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	folder := t.TempDir()
	s := newTestServer(t, nil, Config[*caller]{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request,
	) {
		if s.Precheck(w, r) {
			s.ServeCall(w, r, &caller{r.TLS.PeerCertificates[0].Subject.CommonName})
		}
	}))
	server.TLS = writeCertificates(t, folder)
	server.StartTLS()
	defer server.Close()
	page := getPage(t, s, "GET", server.Listener.Addr().String()).Body.String()

	for _, tt := range []struct{ language, needs, shell, flag string }{
		{"curl", "curl", "sh", "-c"},
		{"Python", "python3", "python3", "-c"},
		{"Ruby", "ruby", "ruby", "-e"},
	} {
		t.Run(tt.language, func(t *testing.T) {
			needs.Program(t, tt.needs)
			for method, want := range map[string]string{
				"deposit":           "reader: int 100, string 12.50, nil , nil ",
				"system.methodHelp": "Tells what a method does.",
				"system.multicall":  "Tells what a method does.",
			} {
				command := exec.Command(tt.shell, tt.flag,
					pageExamples(t, page, method)[tt.language])
				command.Dir = folder
				if out, err := command.CombinedOutput(); err != nil ||
					!strings.Contains(string(out), want) {
					t.Errorf("%s: %v\n%s", method, err, out)
				}
			}
		})
	}
}

// writeCertificates creates an authority and certificates of a server and a client, writes the
// files that the examples expect, and returns the server's configuration.
func writeCertificates(t *testing.T, folder string) *tls.Config {
	t.Helper()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotAfter: time.Now().Add(time.Hour),
		IsCA:     true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		SubjectKeyId: []byte{1},
	}
	issuerKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(subject *x509.Certificate, key *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, subject, authority, &key.PublicKey,
			issuerKey)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	leaf := func(name string, usage x509.ExtKeyUsage) []byte {
		return issue(&x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
			NotAfter:    time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{usage}, KeyUsage: x509.KeyUsageDigitalSignature,
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}, key)
	}
	authorityPEM := issue(authority, issuerKey)
	for name, content := range map[string][]byte{
		"ca.crt": authorityPEM, "client.key": keyPEM, "client.crt": leaf("reader",
			x509.ExtKeyUsageClientAuth),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(leaf("server", x509.ExtKeyUsageServerAuth), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authorityPEM)
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: roots,
		ClientAuth: tls.RequireAndVerifyClientCert,
	}
}
