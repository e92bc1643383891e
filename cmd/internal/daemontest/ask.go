//go:build unix

package daemontest

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/atm/certs"
	"example.com/atm/client"
)

// ManyMovements adds so many entries to the statement of account 100.
func (h *Server) ManyMovements(t *testing.T, n int) {
	t.Helper()
	c := HTTPClient(t, h.TLS(t, "demo"))
	for done := 0; done < n; done += 100 {
		calls := make([][]string, 100)
		for i := range calls {
			calls[i] = []string{"deposit", "100", "0.01"}
		}
		if resp, text := h.Post(t, c, Multicall(calls...), nil); resp.StatusCode != http.StatusOK ||
			strings.Count(text, "<string>OK</string>") != 200 {
			t.Fatalf("%s %.300s", resp.Status, text)
		}
	}
}

// Statements is a multicall of n statements of 500 entries, with a deposit at the end.
func Statements(account string, n int) string {
	var b strings.Builder
	b.WriteString(
		"<methodCall><methodName>system.multicall</methodName><params><param><value><array><data>")
	for range n {
		b.WriteString(
			"<value><struct><member><name>methodName</name><value>statement</value></member><member><name>params</name><value><array><data>" +
				"<value>" + account +
				"</value><value><struct><member><name>limit</name><value><int>500</int></value></member></struct></value>" +
				"</data></array></value></member></struct></value>")
	}
	b.WriteString(
		"<value><struct><member><name>methodName</name><value>deposit</value></member><member><name>params</name><value><array><data>" +
			"<value>" + account +
			"</value><value>0.01</value></data></array></value></member></struct></value></data></array></value></param></params></methodCall>")
	return b.String()
}

// DialFrom connects from an address of the loopback network, and sends header before TLS.
func (h *Server) DialFrom(t testing.TB, ip, header string) (*tls.Conn, error) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 20 * time.Second}
	raw, err := dialer.DialContext(t.Context(), "tcp", h.Addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { raw.Close() })
	raw.SetDeadline(time.Now().Add(2 * time.Minute)) // of all that is done with it
	if _, err := io.WriteString(raw, header); err != nil {
		return nil, err
	}
	conn := tls.Client(raw, h.TLS(t, "demo"))
	return conn, conn.Handshake()
}

// Metric reads a metric without labels.
func (h *Server) Metric(t testing.TB, name string) float64 {
	t.Helper()
	_, text := h.Get(t, "/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			var f float64
			if _, err := fmt.Sscan(value, &f); err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// Says waits until the log has a message for the operator.
func (h *Server) Says(t *testing.T, what string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(h.Log.String(),
		what); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log never says %q", what)
		}
	}
}

// Issue has the operator issue a certificate for subject, and returns the configuration of a
// client with it.
func (h *Server) Issue(t *testing.T, subject string) *tls.Config {
	return h.IssueBy(t, h, subject)
}

// IssueBy is Issue with the credentials that init on another replica created.
func (h *Server) IssueBy(t *testing.T, made *Server, subject string) *tls.Config {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := certs.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	record, _ := Must(t)(At(t, h, made, "operator").Call(t.Context(), "admin.cert.issue", subject,
		string(request))).Result.(map[string]any)
	pem, err := certs.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := record["certificate"].(string)
	pair, err := tls.X509KeyPair([]byte(text), pem)
	if err != nil {
		t.Fatal(err)
	}
	cfg := made.TLS(t, "demo")
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &pair, nil
	}
	return cfg
}

// Replace replaces a file that a server follows. The server reads the old text or the new one, and
// never a file that is not written yet.
func Replace(t testing.TB, path, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600),
		os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// Until waits for an event that happens soon.
func Until(t *testing.T, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never happened")
		}
	}
}

// Token posts a form to the token endpoint.
func (h *Server) Token(t testing.TB, c *http.Client, form url.Values,
	change func(*http.Request),
) (*http.Response, map[string]any) {
	t.Helper()
	resp, text := h.post(t, c, "/token", "application/x-www-form-urlencoded", form.Encode(),
		change)
	var answer map[string]any
	json.Unmarshal([]byte(text), &answer) // an answer that is not JSON has no members
	return resp, answer
}

// PostJSON sends a call of a method as JSON. change may modify its headers.
func (h *Server) PostJSON(t testing.TB, c *http.Client, method, body string,
	change func(*http.Request),
) (*http.Response, map[string]any) {
	t.Helper()
	resp, text := h.post(t, c, "/v1/"+method, "application/json", body, change)
	var answer map[string]any
	json.Unmarshal([]byte(text), &answer) // what is refused below the operations has no members
	return resp, answer
}

// At is a client of one replica with the credentials that another one created.
func At(t testing.TB, there, made *Server, user string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{
		Server: "https://" + there.Addr, TLS: made.TLS(t, user),
		Tries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// AliceSecret is the password of user:alice.
const AliceSecret = "correct horse battery staple"

// WithAlice gives user:alice a password and account 200.
func WithAlice(t testing.TB, h *Server) {
	t.Helper()
	operator := h.As(t, "operator")
	Must(t)(operator.Call(t.Context(), "admin.user.add", "user:alice", "customer", AliceSecret))
	Must(t)(operator.Call(t.Context(), "admin.account.open", "200", "user:alice", "50"))
}

// Ask sends a call, with this Authorization header unless it is empty, and requires an answer.
func (h *Server) Ask(b *testing.B, c *http.Client, question, authorization string) {
	resp, text := h.Post(b, c, question, func(r *http.Request) {
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
	})
	if resp.StatusCode != http.StatusOK || strings.Contains(text, "<fault>") {
		b.Fatalf("%s: %s", resp.Status, text)
	}
}

func NewRequest(t *testing.T) string {
	t.Helper()
	text, err := certs.NewRequest(NewKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (h *Server) ShownBy(t *testing.T, user string) *tls.Certificate {
	t.Helper()
	cert, err := h.TLS(t, user).GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
