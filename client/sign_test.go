package client_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"example.com/atm/auth/signature"
	"example.com/atm/client"
)

// TestClientSignsEachTry lets the first of two tries fail: both are signed, with the request id.
func TestClientSignsEachTry(t *testing.T) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	verified := make(chan error, 2)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, err := signature.Verify(r, body, cert, time.Now())
		if r.Header.Get("Idempotency-Key") != "an id" {
			err = errors.New("there is no request id")
		}
		if verified <- err; len(verified) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, answer("OK", "", "1001.00", "OK"))
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	cfg := client.Config{
		Server: server.URL, Sign: true, TLS: &tls.Config{
			RootCAs: roots, Certificates: []tls.Certificate{{
				Certificate: [][]byte{der}, PrivateKey: key,
			}},
		},
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.Deposit(t.Context(), 100, 100, "an id"); err != nil || !a.OK() {
		t.Fatalf("%+v, %v", a, err)
	}
	for range 2 {
		if err := <-verified; err != nil {
			t.Error(err)
		}
	}
	cfg.TLS.Certificates = nil
	if _, err := client.New(cfg); !errors.Is(err, client.ErrCannotSign) {
		t.Errorf("without a certificate: %v", err)
	}
}
