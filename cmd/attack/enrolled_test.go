//go:build unix

package attack_test

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/certs"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// TestLostEnrolmentGivesTheSameCertificate repeats an enrolment whose answer was lost, also on
// a restarted server, and then tries another enrolment with the same code.
func TestLostEnrolmentGivesTheSameCertificate(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	record, _ := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.cert.invite",
		"service:billing", "teller")).Result.(map[string]any)
	code, request := fmt.Sprint(record["code"]), daemontest.NewRequest(t)
	enrol := func(request string) (int, map[string]any) {
		t.Helper()
		nobody := h.TLS(t, "demo")
		nobody.GetClientCertificate = nil
		resp, err := daemontest.HTTPClient(t, nobody).PostForm("https://"+h.Addr+"/enroll",
			url.Values{"code": {code}, "request": {request}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer map[string]any
		json.NewDecoder(resp.Body).Decode(&answer) // a refusal is not JSON
		return resp.StatusCode, answer
	}
	status, first := enrol(request)
	if status != http.StatusOK || first["certificate"] == "" || first["authority"] == "" {
		t.Fatalf("%d %v", status, first)
	}
	if status, again := enrol(request); status != http.StatusOK || !maps.Equal(first, again) {
		t.Errorf("again: %d %v, and the first time %v", status, again, first)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = daemontest.StartIn(t, h.Data, nil)
	if status, again := enrol(request); status != http.StatusOK || !maps.Equal(first, again) {
		t.Errorf("after a restart: %d %v", status, again)
	}
	if status, answer := enrol(daemontest.NewRequest(t)); status != http.StatusUnauthorized {
		t.Errorf("over another key: %d %v", status, answer)
	}
	list, _ := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(),
		"admin.cert.list")).Result.(map[string]any)
	issued, _ := list["certificates"].([]any)
	if n := len(issued); n != 3 { // those of demo, of operator, and this one
		t.Errorf("%d certificates: %v", n, issued)
	}
}

// TestExpiredCertificateIsToldWhatToDo signs in with an expired certificate.
func TestExpiredCertificateIsToldWhatToDo(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	ended := a.issued(t, func(c *x509.Certificate) {
		c.NotAfter = time.Now().Add(-time.Minute)
	}, "spiffe://"+a.domain+"/user/alice")
	_, err := a.client(t, ended).Inquiry(t.Context(), 200)
	if !errors.Is(err, client.ErrNotAuthenticated) || !strings.Contains(err.Error(),
		"it ended on ") || !strings.Contains(err.Error(), "atmctl cert issue") {
		t.Errorf("%v", err)
	}
}

// TestServerRenewsItsOwnClients starts a server with a certificate in its folder that is in the
// last third of its life. The certificate is renewed for the same key, unless its subject was
// revoked.
func TestServerRenewsItsOwnClients(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.user.revoke", "user:demo"))
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	own, err := certs.LoadAuthority(filepath.Join(h.Data, "ca/clients.crt"),
		filepath.Join(h.Data, "ca/clients.key"))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(h.Data, "clients", name, "client.crt") }
	before := make(map[string]*x509.Certificate)
	for _, name := range []string{"operator", "demo"} {
		template := daemontest.Parsed(t, h.ShownBy(t, name).Certificate[0])
		template.NotBefore, template.NotAfter = time.Now().Add(-20*24*time.Hour),
			time.Now().Add(24*time.Hour)
		der := daemontest.Signed(t, template, own.Certificate, template.PublicKey,
			readKey(t, filepath.Join(h.Data, "ca/clients.key")))
		before[name] = daemontest.Parsed(t, der)
		if err := os.WriteFile(file(name), certs.EncodeCertificate(before[name]),
			0o600); err != nil {
			t.Fatal(err)
		}
	}
	h = daemontest.StartIn(t, h.Data, nil)
	daemontest.Until(t, func() bool {
		return !daemontest.Parsed(t,
			h.ShownBy(t, "operator").Certificate[0]).Equal(before["operator"])
	})
	after := daemontest.Parsed(t, h.ShownBy(t, "operator").Certificate[0])
	if left := time.Until(after.NotAfter); left < 19*24*time.Hour {
		t.Errorf("it ends in %v", left)
	}
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "whoami"))
	daemontest.Until(t, func() bool { return strings.Contains(h.Log.String(), "client=demo") })
	if !daemontest.Parsed(t, h.ShownBy(t, "demo").Certificate[0]).Equal(before["demo"]) {
		t.Error("a revoked certificate was renewed")
	}
}
