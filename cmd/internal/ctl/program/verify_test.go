package program

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/audit"
)

// serve serves over TLS, and returns the arguments that name the server's log.
func serve(t *testing.T, handler http.Handler) []string {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert := write("client.crt", "CERTIFICATE", pair.Certificate[0])
	secret := write("client.key", "PRIVATE KEY", key)
	return []string{s.URL, "--ca", cert, "--cert", cert, "--key", secret}
}

// bundle returns the file with the entries of a log that has one bundle.
func bundle(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "tile/entries/000.p/*"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	return found[len(found)-1]
}

// TestBrokenConnectionIsExitCode5 verifies at a server that sends half of each bundle, or
// fails. That says nothing about the log, so it is not tampering.
func TestBrokenConnectionIsExitCode5(t *testing.T) {
	dir := hostileLog(t)
	for how, handler := range map[string]http.HandlerFunc{
		"half": func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "entries") {
				w.Header().Set("Content-Length", "1000")
				io.WriteString(w, "half")
				panic(http.ErrAbortHandler)
			}
			http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
		},
		"failing": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "\x1b[2Jverified\u009b2J", http.StatusBadGateway)
		},
	} {
		at := serve(t, handler)
		if stdout, _ := printed(t, 5, append([]string{"audit", "verify"}, at...)...); stdout != "" {
			t.Errorf("%s: %s", how, stdout)
		}
	}
	refusing := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "\x1b[2Jverified\u009b2J", http.StatusForbidden)
	}))
	printed(t, 4, append([]string{"audit", "verify"}, refusing...)...)
	printed(t, 0, append([]string{"audit", "verify"},
		serve(t, http.FileServer(http.Dir(dir)))...)...)
}

// TestVerificationOverURLHasABound verifies at a server that answers byte by byte,
// without an end.
func TestVerificationOverURLHasABound(t *testing.T) {
	slow := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "60000")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	for _, args := range [][]string{{}, {"-o", "json"}} {
		all := append(append([]string{"audit", "verify", "--within", "300ms"}, slow...), args...)
		stdout, stderr := printed(t, 5, all...)
		if stdout != "" || !strings.Contains(stderr, "not verified within 300ms") {
			t.Errorf("%q, %q", stdout, stderr)
		}
	}
	printed(t, 2, append([]string{"audit", "verify", "--within", "0s"}, slow...)...)
}

// For a log that differs from its tree, prove, show and export exit with 12 and leave no file,
// or the file that was there.
func TestNothingIsProvedOutOfAForgedLog(t *testing.T) {
	dir := hostileLog(t)
	path := bundle(t, dir)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.LastIndex(string(data), "user:demo")
	if at < 0 {
		t.Fatal("no entry of user:demo")
	}
	data[at+5] = 'D'
	if err := errors.Join(os.Remove(path), os.WriteFile(path, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	_, report := printed(t, audit.ContentDiffers, "audit", "verify", dir)
	if !strings.Contains(report, "are good") {
		t.Errorf("the entries before it are not good: %s", report)
	}
	out := filepath.Join(t.TempDir(), "exported")
	if err := os.WriteFile(out, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"jsonl", "csv", "ocsf", "cef"} {
		printed(t, audit.ContentDiffers, "audit", "export", dir, "--format", format, "--out", out)
	}
	if text, err := os.ReadFile(out); err != nil || string(text) != "before" {
		t.Errorf("a failed export left %.80q, %v", text, err)
	}
	left, err := os.ReadDir(filepath.Dir(out))
	if err != nil || len(left) != 1 {
		t.Errorf("a failed export left %v, %v", left, err)
	}

	tiles := strings.Replace(path, "entries", "0", 1)
	data, err = os.ReadFile(tiles)
	if err != nil {
		t.Fatal(err)
	}
	data[40] ^= 1
	if err := errors.Join(os.Remove(tiles), os.WriteFile(tiles, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	proof := filepath.Join(t.TempDir(), "proof")
	printed(t, audit.ContentDiffers, "audit", "prove", "0", dir, "--out", proof)
	if _, err := os.Stat(proof); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a proof that proves nothing was written: %v", err)
	}
}
