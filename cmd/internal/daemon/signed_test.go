//go:build unix

package daemon_test

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/auth/signature"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/signed"
)

// signer returns a signer with the certificate of a client, and that certificate.
func signer(t *testing.T, cfg *tls.Config) (*signature.Signer, *x509.Certificate) {
	t.Helper()
	pair, err := cfg.GetClientCertificate(&tls.CertificateRequestInfo{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := signature.NewSigner(pair.Leaf, pair.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	return s, pair.Leaf
}

// signing returns what signs a request with a body.
func signing(t *testing.T, s *signature.Signer, body string) func(*http.Request) {
	t.Helper()
	return func(r *http.Request) {
		if err := s.Sign(r, []byte(body), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSignedRequestsAreProvenLater signs requests of both faces, and verifies what was kept of
// them against the log alone. A password is not kept.
func TestSignedRequestsAreProvenLater(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "data"), nil)
	demo := h.TLS(t, "demo")
	s, cert := signer(t, demo)
	c := daemontest.HTTPClient(t, demo)
	const deposit = `{"account":100,"amount":"5"}`
	resp, dict := h.PostJSON(t, c, "deposit", deposit, func(r *http.Request) {
		r.Header.Set("Idempotency-Key", `"one id"`)
		signing(t, s, deposit)(r)
	})
	if resp.StatusCode != 200 || dict["result"] != "1005.00" {
		t.Fatalf("%s %v", resp.Status, dict)
	}
	withdraw := daemontest.Call("withdraw", "100", "1")
	if resp, text := h.Post(t, c, withdraw, signing(t, s, withdraw)); resp.StatusCode != 200 ||
		!strings.Contains(text, "1004.00") {
		t.Fatalf("%s %s", resp.Status, text)
	}
	const many = `{"calls":[{"method":"inquiry","params":{"account":100}},{"method":"whoami"}]}`
	if resp, dict := h.PostJSON(t, c, "system.multicall", many, signing(t, s, many)); resp.
		StatusCode != 200 {
		t.Fatalf("%s %v", resp.Status, dict)
	}
	const password = `{"subject":"user:bob","password":"correct horse battery staple"}`
	operator := h.TLS(t, "operator")
	so, _ := signer(t, operator)
	if resp, dict := h.PostJSON(t, daemontest.HTTPClient(t, operator), "admin.user.add", password,
		signing(t, so, password)); resp.StatusCode != 200 {
		t.Fatalf("%s %v", resp.Status, dict)
	}
	folder := signed.Folder(filepath.Join(h.Data, "signed"))
	proven := make(map[atm.Operation]string) // the body of each
	for index, e := range h.Entries(t) {
		if e.Caller == nil || e.Caller.Signature == "" {
			continue
		}
		record, err := folder.Record(e.Caller.Signature)
		if err != nil {
			t.Fatal(err)
		}
		said, err := record.Signed[0].Read()
		if err != nil {
			t.Fatal(err)
		}
		by, err := folder.Certificate(said.KeyID)
		if err != nil {
			t.Fatal(err)
		}
		if err := record.Signed[0].Verify(by); err != nil {
			t.Errorf("entry %d: %v", index, err)
		}
		if e.Caller.Subject == "user:demo" && !by.Equal(cert) {
			t.Errorf("entry %d is by another certificate", index)
		}
		body, err := folder.Body(said)
		if err != nil && !errors.Is(err, signed.ErrNotKept) {
			t.Error(err)
		}
		proven[e.Operation] = string(body)
	}
	for op, body := range map[atm.Operation]string{
		atm.Deposit: deposit, atm.Withdraw: withdraw, atm.Inquiry: many, atm.Whoami: many,
		atm.UserAdd: "",
	} {
		if got, ok := proven[op]; !ok || got != body {
			t.Errorf("of %s, %q is proven (%v)", op, got, ok)
		}
	}
	err := filepath.WalkDir(string(folder), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte("horse")) {
			t.Errorf("%s has the password", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRequestsWithBadSignaturesAreNotCarriedOut sends signatures that do not verify, by both
// faces, and finds no effect but faults in the log.
func TestRequestsWithBadSignaturesAreNotCarriedOut(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	demo := h.TLS(t, "demo")
	s, _ := signer(t, demo)
	other, _ := signer(t, h.TLS(t, "operator"))
	c := daemontest.HTTPClient(t, demo)
	const deposit = `{"account":100,"amount":"5"}`
	const many = `{"calls":[{"method":"deposit","params":{"account":100,"amount":"5"}}]}`
	large := `{"account":100,"amount":"5","memo":"` + strings.Repeat("x", 64<<10) + `"}`
	for _, tt := range []struct {
		name, method, body string
		change             func(*http.Request)
		want               string
	}{
		{"another body", "deposit", deposit, signing(t, s, deposit+" "), "the sha-256 in Content-Digest is not that of the body"},
		{"another method", "withdraw", deposit, func(r *http.Request) {
			path := r.URL.Path
			r.URL.Path = "/v1/deposit"
			signing(t, s, deposit)(r)
			r.URL.Path = path
		}, "the signature is not that of the key over this request"},
		{"a request id that is not signed", "deposit", deposit, func(r *http.Request) {
			signing(t, s, deposit)(r)
			r.Header.Set("Idempotency-Key", "x")
		}, `it does not cover "idempotency-key"`},
		{"a key of somebody else", "deposit", deposit, signing(t, other, deposit), "keyid is not the SHA-256 of the client certificate"},
		{"an old signature", "deposit", deposit, func(r *http.Request) {
			if err := s.Sign(r, []byte(deposit), time.Now().Add(-6*time.Minute)); err != nil {
				t.Fatal(err)
			}
		}, "created is more than 5 minutes"},
		{"a signature without input", "deposit", deposit, header("Signature", "sig=:AAAA:"), "there is no Signature-Input"},
		{"an input without signature", "deposit", deposit, header("Signature-Input", "sig=()"), "there is no Signature"},
		{"a large body", "deposit", large, signing(t, s, large), "the body of a signed request has at most 64 KiB"},
	} {
		resp, dict := h.PostJSON(t, c, tt.method, tt.body, tt.change)
		reason, _ := dict["reason"].(string)
		if resp.StatusCode != http.StatusUnauthorized || dict["code"] != "FAULT" ||
			dict["receipt"] == "" || !strings.HasPrefix(reason, "The signature is refused: ") ||
			!strings.Contains(reason, tt.want) {
			t.Errorf("%s: %s %v", tt.name, resp.Status, dict)
		}
		if resp.Header.Get("Accept-Signature") != signature.Accept ||
			resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: the headers are %v", tt.name, resp.Header)
		}
	}
	resp, dict := h.PostJSON(t, c, "system.multicall", many, signing(t, other, many))
	if results, _ := dict["results"].([]any); resp.StatusCode != 401 || len(results) != 1 {
		t.Errorf("a multicall: %s %v", resp.Status, dict)
	}
	xml := daemontest.Call("deposit", "100", "1")
	if resp, text := h.Post(t, c, xml, signing(t, other, xml)); resp.StatusCode != 200 ||
		!strings.Contains(text, "The signature is refused: sig: keyid is not") {
		t.Errorf("XML-RPC: %s %s", resp.Status, text)
	}
	nobody := demo.Clone()
	nobody.GetClientCertificate = nil
	issued, _ := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.token.issue",
		"user:demo", "deposit", "600")).Result.(map[string]any)
	bearer, _ := issued["token"].(string)
	resp, dict = h.PostJSON(t, daemontest.HTTPClient(t, nobody), "deposit", deposit,
		func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+bearer)
			signing(t, s, deposit)(r)
		})
	if reason, _ := dict["reason"].(string); resp.StatusCode != 401 ||
		!strings.Contains(reason, "the connection has no client certificate") {
		t.Errorf("without a certificate: %s %v", resp.Status, dict)
	}
	faults := 0
	for index, e := range h.Entries(t) {
		if e.Operation != atm.Deposit && e.Operation != atm.Withdraw {
			continue
		}
		if faults++; e.Status.Code != atm.Fault || len(e.State) > 0 || e.Caller.Signature != "" ||
			!strings.HasPrefix(e.Status.Reason, "The signature is refused: ") {
			t.Errorf("entry %d: %+v", index, e)
		}
	}
	if faults != 11 {
		t.Errorf("%d faults are recorded", faults)
	}
	if found, _ := os.ReadDir(filepath.Join(h.Data, "signed")); len(found) > 0 {
		t.Errorf("%d folders of what is not proven are kept", len(found))
	}
}

// TestNoSignatureIsKeptInTheDiskReserve requires more free space than any disk has.
func TestNoSignatureIsKeptInTheDiskReserve(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	data := filepath.Join(t.TempDir(), "data")
	h := daemontest.StartOne(t, data, nil)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = daemontest.StartOne(t, data, func(o *daemon.Options) { o.DiskReserve = 1 << 62 })
	demo := h.TLS(t, "demo")
	s, _ := signer(t, demo)
	const inquiry = `{"account":100}`
	resp, _ := h.PostJSON(t, daemontest.HTTPClient(t, demo), "inquiry", inquiry,
		signing(t, s, inquiry))
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	if _, err := os.Stat(filepath.Join(data, "signed")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is kept: %v", err)
	}
}
