//go:build unix

package daemon_test

import (
	"crypto/tls"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/keys"
)

// TestRollover puts other authorities in force while requests run on kept and
// on new connections: none fails. Certificates of the authority before are good
// until it is retired, on open connections too.
func TestRollover(t *testing.T) {
	h := start(t, nil)
	old := h.tls(t, "demo")
	kept := httpClient(t, old)
	ask := func(c *http.Client) int {
		resp, _ := h.post(t, c, call("system.methodSignature", "inquiry"), nil)
		return resp.StatusCode
	}
	if got := ask(kept); got != 200 {
		t.Fatal(got)
	}
	done := make(chan struct{})
	var asking sync.WaitGroup
	for _, keep := range []bool{true, false} {
		asking.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				c := kept
				if !keep {
					c = &http.Client{Transport: &http.Transport{
						TLSClientConfig:   old,
						DisableKeepAlives: true,
					}}
				}
				if got := ask(c); got != 200 {
					t.Errorf("request %d, kept %t: %d", n, keep, got)
					return
				}
			}
		})
	}
	if err := keys.Rollover(h.data, ""); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return strings.Contains(h.log.String(), "authorities replaced") })
	until(t, func() bool { // the server shows a certificate of the new one
		conn, err := tls.Dial("tcp", h.addr, old)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		chain := conn.ConnectionState().PeerCertificates
		text, err := os.ReadFile(filepath.Join(h.data, "ca/servers.crt"))
		if err != nil {
			t.Fatal(err)
		}
		now, err := certs.ParseCertificate(text)
		return err == nil && len(chain) == 2 && chain[1].Equal(now)
	})
	close(done)
	asking.Wait()
	if err := keys.Rollover(h.data, ""); err != keys.ErrNotRetired {
		t.Errorf("a second rollover: %v", err)
	}
	settle() // another replica may issue by the authority before a moment longer
	issued := h.issue(t, "user:demo")
	// Somebody who chooses a certificate by the authorities that the server names
	// finds the old one and the new one good.
	for name, cfg := range map[string]*tls.Config{"old": h.tls(t, "demo"), "new": issued} {
		pair, err := cfg.GetClientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		choosing := cfg.Clone()
		choosing.GetClientCertificate, choosing.Certificates = nil, []tls.Certificate{*pair}
		if got := ask(httpClient(t, choosing)); got != 200 {
			t.Errorf("%s certificate, chosen by what the server names: %d", name, got)
		}
	}
	if err := keys.Retire(h.data); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return ask(kept) == 401 })
	if got := ask(httpClient(t, issued)); got != 200 {
		t.Errorf("a certificate of the new authority: %d", got)
	}
	if n := count(h.entries(t), func(e *audit.Entry) bool {
		return e.Event == audit.EventKeyRotate
	}); n != 1 {
		t.Errorf("%d entries of the rollover", n)
	}
}

// issue returns what somebody signs in with whom the operator's certificate, of
// the authority before, had a new one issued for.
func (h *testServer) issue(t *testing.T, subject string) *tls.Config {
	return h.issueBy(t, h, subject)
}

// issueBy is issue with the credentials that the init of another replica made.
func (h *testServer) issueBy(t *testing.T, made *testServer, subject string) *tls.Config {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := certs.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	record, _ := must(t)(at(t, h, made, "operator").Call(t.Context(), "admin.cert.issue", subject,
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
	cfg := made.tls(t, "demo")
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &pair, nil
	}
	return cfg
}

// until waits for something that happens soon.
func until(t *testing.T, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never happened")
		}
	}
}

// TestRolloverInterrupted starts a server on what is left when a rollover is
// interrupted between any two of its steps.
func TestRolloverInterrupted(t *testing.T) {
	h := start(t, nil)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(h.data, "ca")
	before := folder(t, ca)
	if err := keys.Rollover(h.data, ""); err != nil {
		t.Fatal(err)
	}
	after := folder(t, ca)
	for _, who := range []string{"servers", "clients"} {
		crt, key := who+".crt", who+".key"
		steps := []map[string][]byte{
			{key + ".new": after[key]},
			{key + ".new": after[key], crt + ".new": after[crt]},
			{key: after[key], crt + ".new": after[crt]},
			{key: after[key], crt: after[crt]},
		}
		for i, step := range steps {
			for _, state := range []map[string][]byte{
				before,
				{"clients.old.crt": before["clients.crt"]},
				step,
			} {
				for name, text := range state {
					if err := os.WriteFile(filepath.Join(ca, name), text, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			again := startIn(t, h.data, nil)
			must(t)(again.as(t, "demo").Inquiry(t.Context(), account))
			if err := again.stop(); err != nil {
				t.Fatal(err)
			}
			for name := range folder(t, ca) {
				if strings.HasSuffix(name, ".new") {
					t.Errorf("%s, step %d: %s is left", who, i, name)
				}
			}
		}
	}
}

// folder is what is in the files of a folder.
func folder(t *testing.T, path string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := fs.WalkDir(os.DirFS(path), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[name], err = os.ReadFile(filepath.Join(path, name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
