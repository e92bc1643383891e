package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// TestReceiptThatProvesNothingIsNotSaved gets a receipt from a server, and then a proof of
// another entry.
func TestReceiptThatProvesNothingIsNotSaved(t *testing.T) {
	skey, _, err := checkpoint.GenerateKey("log.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	leaves := []merkle.Hash{merkle.LeafHash([]byte("{}")), merkle.LeafHash([]byte(`{"v":1}`))}
	signed, err := signer.Sign(nil, merkle.Head{}, merkle.Head{}.Append(leaves...))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		proof audit.Proof
		code  int
	}{
		{"its own", audit.Proof{Index: 1, Hashes: leaves[:1], Checkpoint: signed}, 0},
		{"another entry", audit.Proof{Index: 0, Hashes: leaves[1:], Checkpoint: signed}, 12},
		{"another path", audit.Proof{Index: 1, Hashes: leaves[1:], Checkpoint: signed}, 12},
		{"no path", audit.Proof{Index: 1, Checkpoint: signed}, 12},
		{"no checkpoint", audit.Proof{Index: 1, Hashes: leaves[:1], Checkpoint: []byte("x")}, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, err := tt.proof.MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter,
				r *http.Request,
			) {
				call, _ := io.ReadAll(r.Body)
				result, receipt := "1005.00", audit.Receipt(1, leaves[1])
				if bytes.Contains(call, []byte("<methodName>receipt<")) {
					result, receipt = string(text), ""
				}
				w.Header().Set("Content-Type", "text/xml")
				fmt.Fprint(w, `<?xml version="1.0"?><methodResponse><params><param><value><struct>`)
				for _, member := range []struct{ name, value string }{
					{"status", "OK"},
					{"reason", ""},
					{"code", "OK"},
					{"result", result},
					{"receipt", receipt},
				} {
					fmt.Fprintf(w,
						"<member><name>%s</name><value><string>%s</string></value></member>",
						member.name, member.value)
				}
				fmt.Fprint(w, `</struct></value></param></params></methodResponse>`)
			}))
			defer s.Close()
			dir := t.TempDir()
			pair := s.TLS.Certificates[0]
			key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
			if err != nil {
				t.Fatal(err)
			}
			cert, secret := filepath.Join(dir, "crt"), filepath.Join(dir, "key")
			pemOf := func(kind string, der []byte) []byte {
				return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
			}
			if err := errors.Join(
				os.WriteFile(cert, pemOf("CERTIFICATE", pair.Certificate[0]), 0o600),
				os.WriteFile(secret, pemOf("PRIVATE KEY", key), 0o600),
			); err != nil {
				t.Fatal(err)
			}
			saved := filepath.Join(dir, "saved")
			host, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "https://"), ":")
			var out, problems bytes.Buffer
			code := run(t.Context(), []string{
				host, port, "deposit", "100", "5", "--receipt", saved, "--ca", cert, "--cert", cert,
				"--key", secret,
			}, &out, &problems)
			if code != tt.code || !strings.Contains(out.String(), "Successful deposit") {
				t.Errorf("code %d: %s %s", code, out.String(), problems.String())
			}
			if _, err := os.Stat(saved); (err == nil) != (tt.code == 0) {
				t.Errorf("saved: %v", err)
			}
		})
	}
}
