//go:build unix

package cmd_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/client"
	"example.com/atm/internal/needs"
)

// document writes the OpenAPI document of a server to a file of its folder.
func (s *server) document(t *testing.T) (path string) {
	t.Helper()
	cfg, err := client.InFolder(filepath.Join(s.dir, "atm-data", "clients", "demo")).TLS()
	if err != nil {
		t.Fatal(err)
	}
	cfg = &tls.Config{RootCAs: cfg.RootCAs, ServerName: cfg.ServerName} // anybody may read it
	transport := &http.Transport{TLSClientConfig: cfg}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(s.url + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	path = filepath.Join(s.dir, "openapi.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// installed is a program of npm that is installed in clients/typescript.
func installed(t *testing.T, name string) string {
	t.Helper()
	needs.Program(t, "node")
	path, err := filepath.Abs("../clients/typescript/node_modules/.bin/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		needs.Skip(t, "npm's "+name+" is not installed")
	}
	return path
}

// lint runs the linter of OpenAPI documents that the field uses, with the rules that it recommends.
func lint(t *testing.T, path string) (string, error) {
	t.Helper()
	cmd := exec.Command(installed(t, "redocly"), "lint", path)
	cmd.Dir = filepath.Dir(path)
	cmd.Env = append(os.Environ(), "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestDocumentOfTheMethodsHasNoErrors(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	path := s.document(t)
	if out, err := lint(t, path); err != nil || !strings.Contains(out, "is valid") {
		t.Errorf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(text), `"operationId":"deposit"`, `"operationId":"withdraw"`, 1)
	if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := lint(t, path); err == nil {
		t.Errorf("two operations of one name are valid:\n%s", out)
	}
}
