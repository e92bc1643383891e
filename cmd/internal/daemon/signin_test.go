package daemon_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"example.com/atm/audit"
	"github.com/icholy/digest"
)

const aliceSecret = "correct horse battery staple"

// withAlice gives user:alice a password and account 200.
func withAlice(t *testing.T, h *house) {
	t.Helper()
	operator := h.as(t, "operator")
	must(t)(operator.Call(t.Context(), "admin.user.add", "user:alice", "customer", aliceSecret))
	must(t)(operator.Call(t.Context(), "admin.account.open", "200", "user:alice", "50"))
}

// digestOf answers the challenge of a response for alice.
func digestOf(t *testing.T, resp *http.Response, count int) string {
	t.Helper()
	challenge, err := digest.FindChallenge(resp.Header)
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := digest.Digest(challenge, digest.Options{
		Method: "POST", URI: "/RPC2", Username: "alice", Password: aliceSecret, Count: count,
		GetBody: nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	return credentials.String()
}

// TestCertificateAndHeader presents both, of one subject and of two, with a
// good header and a bad one.
func TestCertificateAndHeader(t *testing.T) {
	h := start(t, nil)
	withAlice(t, h)
	nobody := h.tls(t, "demo")
	nobody.GetClientCertificate = nil
	header := func(count int) string {
		resp, _ := h.post(t, httpClient(t, nobody), call("inquiry", "200"), nil)
		if resp.StatusCode != http.StatusUnauthorized {
			t.Fatal(resp.Status)
		}
		return digestOf(t, resp, count)
	}
	with := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Authorization"] = values }
	}
	good := header(1)
	for _, tt := range []struct {
		name   string
		tls    *tls.Config
		header []string
		code   int
		want   string
	}{
		{"header alone", nobody, []string{good}, 200, "<string>50.00</string>"},
		{"the same again", nobody, []string{good}, 401, ""},
		{"certificate and header of two subjects", h.tls(t, "demo"), []string{header(1)}, 401, ""},
		{"good certificate, bad header", h.tls(t, "demo"), []string{strings.Replace(header(1), "response=\"", "response=\"0", 1)}, 401, ""},
		{"good certificate, header of another scheme", h.tls(t, "demo"), []string{"Basic ZGVtbzpkZW1v"}, 401, ""},
		{"two headers", nobody, []string{header(1), header(1)}, 400, ""},
		{"nothing", nobody, nil, 401, ""},
	} {
		resp, text := h.post(t, httpClient(t, tt.tls), call("inquiry", "200"), with(tt.header...))
		if resp.StatusCode != tt.code || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %s %s", tt.name, resp.Status, text)
		}
		if tt.code == 401 && resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no challenge", tt.name)
		}
	}
	entries := h.entries(t)
	for _, reason := range []string{"certificate and header of two subjects", "digest that was used before"} {
		if count(entries, func(e *audit.Entry) bool { return e.Reason == reason }) == 0 {
			t.Errorf("no entry says %q", reason)
		}
	}
}
