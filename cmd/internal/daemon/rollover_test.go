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

	"example.com/atm/audit"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/keys"
)

// TestRolloverFailsNoCall puts other authorities in force while requests run over kept and new
// connections. No request fails. Certificates of the previous authority are good until it is
// retired, on open connections too.
func TestRolloverFailsNoCall(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	old := h.TLS(t, "demo")
	kept := daemontest.HTTPClient(t, old)
	ask := func(c *http.Client) int {
		resp, _ := h.Post(t, c, daemontest.Call("system.methodSignature", "inquiry"), nil)
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
	if err := keys.Rollover(h.Data, ""); err != nil {
		t.Fatal(err)
	}
	daemontest.Until(t, func() bool {
		return strings.Contains(h.Log.String(), "authorities replaced")
	})
	daemontest.Until(t, func() bool { // the server presents a certificate of the new authority
		conn, err := tls.Dial("tcp", h.Addr, old)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		chain := conn.ConnectionState().PeerCertificates
		text, err := os.ReadFile(filepath.Join(h.Data, "ca/servers.crt"))
		if err != nil {
			t.Fatal(err)
		}
		now, err := certs.ParseCertificate(text)
		return err == nil && len(chain) == 2 && chain[1].Equal(now)
	})
	close(done)
	asking.Wait()
	if err := keys.Rollover(h.Data, ""); err != keys.ErrNotRetired {
		t.Errorf("a second rollover: %v", err)
	}
	// Another replica may issue under the previous authority for a moment longer.
	daemontest.AwaitReplicas()
	issued := h.Issue(t, "user:demo")
	// A client that chooses a certificate by the authorities that the server names finds the old
	// and the new one accepted.
	for name, cfg := range map[string]*tls.Config{"old": h.TLS(t, "demo"), "new": issued} {
		pair, err := cfg.GetClientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		choosing := cfg.Clone()
		choosing.GetClientCertificate, choosing.Certificates = nil, []tls.Certificate{*pair}
		if got := ask(daemontest.HTTPClient(t, choosing)); got != 200 {
			t.Errorf("%s certificate, chosen by what the server names: %d", name, got)
		}
	}
	if err := keys.Retire(h.Data); err != nil {
		t.Fatal(err)
	}
	daemontest.Until(t, func() bool { return ask(kept) == 401 })
	if got := ask(daemontest.HTTPClient(t, issued)); got != 200 {
		t.Errorf("a certificate of the new authority: %d", got)
	}
	if n := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Event == audit.EventKeyRotate
	}); n != 1 {
		t.Errorf("%d entries of the rollover", n)
	}
}

// TestInterruptedRolloverIsCompletedOrUndone starts a server on the files of a rollover that
// was interrupted between any two of its steps.
func TestInterruptedRolloverIsCompletedOrUndone(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(h.Data, "ca")
	before := folder(t, ca)
	if err := keys.Rollover(h.Data, ""); err != nil {
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
			again := daemontest.StartIn(t, h.Data, nil)
			daemontest.Must(t)(again.As(t, "demo").Inquiry(t.Context(), daemontest.Account))
			if err := again.Stop(); err != nil {
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

// folder is the content of the files in a folder.
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
