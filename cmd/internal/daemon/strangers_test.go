//go:build unix

package daemon_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/auth"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/daemontest"
)

// TestStrangersMoveNoCent presents certificates that prove nothing. Each gets 401, no money
// moves, and the log has the reason.
func TestStrangersMoveNoCent(t *testing.T) {
	h := daemontest.Start(t, nil)
	ours, err := certs.LoadAuthority(filepath.Join(h.Data, "ca", "clients.crt"),
		filepath.Join(h.Data, "ca", "clients.key"))
	if err != nil {
		t.Fatal(err)
	}
	servers, err := certs.LoadAuthority(filepath.Join(h.Data, "ca", "ca.crt"),
		filepath.Join(h.Data, "ca", "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	namesake, err := certs.NewAuthority(ours.Certificate.Subject.CommonName, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	demo, now := auth.Identity(h.Name, "user:demo"), time.Now()
	issue := func(a *certs.Authority, uri *url.URL, life time.Duration,
		now time.Time,
	) func(*ecdsa.PrivateKey) (*x509.Certificate, error) {
		return func(key *ecdsa.PrivateKey) (*x509.Certificate, error) {
			return a.IssueClient(key.Public(), uri, life, now)
		}
	}
	for _, tt := range []struct {
		name, reason string
		issue        func(*ecdsa.PrivateKey) (*x509.Certificate, error)
	}{
		{
			"another authority of the same name", "certificate of an unknown authority",
			issue(namesake, demo, time.Hour, now),
		},
		{
			"the authority of servers", "certificate of an unknown authority",
			issue(servers, demo, time.Hour, now),
		},
		{"expired", "certificate expired or not valid yet", issue(ours, demo, time.Hour,
			now.Add(-2*time.Hour))},
		{"not valid yet", "certificate expired or not valid yet", issue(ours, demo, time.Hour,
			now.Add(time.Hour))},
		{
			"a server's certificate", "certificate of an unknown authority",
			func(key *ecdsa.PrivateKey) (*x509.Certificate, error) {
				return servers.IssueServer(key.Public(), []string{"localhost"}, time.Hour, now)
			},
		},
		{
			"for servers, of our authority", "certificate not for clients",
			func(key *ecdsa.PrivateKey) (*x509.Certificate, error) {
				return ours.IssueServer(key.Public(), []string{"localhost"}, time.Hour, now)
			},
		},
		{
			"another trust domain", "certificate of another trust domain",
			issue(ours, auth.Identity("other.example", "user:demo"), time.Hour, now),
		},
		{
			"nobody known", "certificate of nobody known",
			issue(ours, auth.Identity(h.Name, "user:mallory"), time.Hour, now),
		},
		{
			"the program itself", "certificate with a malformed identity",
			issue(ours, auth.Identity(h.Name, "system:init"), time.Hour, now),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, err := certs.NewKey()
			if err != nil {
				t.Fatal(err)
			}
			cert, err := tt.issue(key)
			if err != nil {
				t.Fatal(err)
			}
			cfg := h.TLS(t, "demo")
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}, nil
			}
			resp, text := h.Post(t, daemontest.HTTPClient(t, cfg), daemontest.Call("withdraw",
				"100", "5"), nil)
			if resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" ||
				strings.Contains(text, "unknown") {
				t.Errorf("%s: %s", resp.Status, text)
			}
		})
	}
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	if resp, _ := h.Post(t, daemontest.HTTPClient(t, nobody), daemontest.Call("inquiry", "100"),
		nil); resp.StatusCode != 401 {
		t.Errorf("without a certificate: %s", resp.Status)
	}
	if a := daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(),
		daemontest.Account)); a.Text() != "1000.00" {
		t.Errorf("balance %s", a.Text())
	}
	entries := h.Entries(t)
	for reason, want := range map[string]int{
		"certificate of an unknown authority":   3,
		"certificate expired or not valid yet":  2,
		"certificate not for clients":           1,
		"certificate of another trust domain":   1,
		"certificate of nobody known":           1,
		"certificate with a malformed identity": 1,
		"no credentials were presented":         0, // a challenge alone is not a failure
	} {
		if got := daemontest.Count(entries, func(e *audit.Entry) bool {
			return e.Event == audit.EventAuthFail && e.Reason == reason
		}); got != want {
			t.Errorf("%d entries %q, want %d", got, reason, want)
		}
	}
}

// TestFailedSignInsAreSummarised floods the log with failed sign-ins. Five of each reason get
// entries, and the rest are counted and written at the stop.
func TestFailedSignInsAreSummarised(t *testing.T) {
	h := daemontest.Start(t, nil)
	c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	for range 25 {
		h.Post(t, c, daemontest.Call("inquiry", "100"), func(r *http.Request) {
			r.Header.Set("Authorization", "Basic ZGVtbzpkZW1v")
		})
	}
	entries := h.Entries(t)
	single := daemontest.Count(entries, func(e *audit.Entry) bool {
		return e.Event == audit.EventAuthFail
	})
	var counted int64
	for _, e := range entries {
		if e.Event == audit.EventAuthFailSummary {
			counted += e.Summary.N
			if e.Source != "127.0.0.0/24" {
				t.Errorf("summary of %q", e.Source)
			}
		}
	}
	// A minute may have ended in between, which allows five more.
	if single%5 != 0 || single == 0 || int64(single)+counted != 25 {
		t.Errorf("%d entries, %d counted", single, counted)
	}
}
