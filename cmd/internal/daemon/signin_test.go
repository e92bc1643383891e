package daemon_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/client"
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

// TestThrottled fails too often: 429 with Retry-After, while a certificate from
// the same address works, and the user from another one.
func TestThrottled(t *testing.T) {
	h := start(t, nil)
	withAlice(t, h)
	nobody := h.tls(t, "demo")
	nobody.GetClientCertificate = nil
	c := httpClient(t, nobody)
	resp, _ := h.post(t, c, call("inquiry", "200"), nil)
	wrong := strings.Replace(digestOf(t, resp, 1), "response=\"", "response=\"0", 1)
	wrong = regexp.MustCompile(`response="0([0-9a-f]{63})[0-9a-f]`).ReplaceAllString(wrong, `response="0$1`)
	throttled := 0
	for range 150 {
		resp, _ := h.post(t, c, call("inquiry", "200"), func(r *http.Request) { r.Header.Set("Authorization", wrong) })
		switch resp.StatusCode {
		case http.StatusTooManyRequests:
			if throttled++; resp.Header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
		case http.StatusUnauthorized:
		default:
			t.Fatal(resp.Status)
		}
	}
	if throttled < 20 {
		t.Errorf("%d of 150 failures were throttled", throttled)
	}
	must(t)(h.as(t, "demo").Inquiry(t.Context(), account))
	resp, _ = h.post(t, c, call("inquiry", "200"), nil)
	elsewhere := &http.Transport{TLSClientConfig: nobody, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext}
	defer elsewhere.CloseIdleConnections()
	resp, text := h.post(t, &http.Client{Transport: elsewhere}, call("inquiry", "200"), func(r *http.Request) { r.Header.Set("Authorization", digestOf(t, resp, 1)) })
	if resp.StatusCode != 200 || !strings.Contains(text, "50.00") {
		t.Errorf("alice from elsewhere: %s %s", resp.Status, text)
	}
}

// TestRevoke revokes certificates while connections with them are open.
func TestRevoke(t *testing.T) {
	h := start(t, nil)
	withAlice(t, h)
	operator := h.as(t, "operator")
	demo := httpClient(t, h.tls(t, "demo"))
	status := func(c *http.Client) int {
		resp, _ := h.post(t, c, call("inquiry", "100"), nil)
		return resp.StatusCode
	}
	if got := status(demo); got != 200 {
		t.Fatal(got)
	}
	cert, err := h.tls(t, "demo").GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	must(t)(operator.Call(t.Context(), "admin.cert.revoke", strings.ToUpper(leaf.SerialNumber.Text(16))))
	if got := status(demo); got != 401 { // on the same connection
		t.Errorf("a revoked certificate on an open connection: %d", got)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h = startIn(t, h.data, nil)
	if got := status(httpClient(t, h.tls(t, "demo"))); got != 401 {
		t.Errorf("a revoked certificate after a restart: %d", got)
	}
	operator = h.as(t, "operator")
	must(t)(operator.Call(t.Context(), "admin.user.revoke", "user:operator"))
	if _, err := operator.Call(t.Context(), "whoami"); !errors.Is(err, client.ErrNotAuthenticated) {
		t.Errorf("everything of operator before now: %v", err)
	}
	for _, bad := range []string{"xyz", "", "-5", "0"} {
		if resp, text := h.post(t, demo, call("admin.cert.revoke", bad), nil); resp.StatusCode == 200 && strings.Contains(text, "OK") {
			t.Errorf("serial %q was revoked", bad)
		}
	}
}
