//go:build linux

package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/internal/needs"
)

// browserHome returns a folder in which a browser was started once.
func browserHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	store := filepath.Join(home, ".pki", "nssdb")
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	daemontest.Run(t, needs.Program(t, "certutil"), "-N", "-d", "sql:"+store, "--empty-password")
	return home
}

func TestTrustedServerOpensInABrowserWithoutAWarning(t *testing.T) {
	t.Parallel()
	home := browserHome(t)
	s := startServer(t)
	opens := func() error {
		b := openBrowserAt(t, home)
		return chromedp.Do(b, chromedp.Navigate(s.url+"/"))
	}
	if err := opens(); err == nil || !strings.Contains(err.Error(), "ERR_CERT_AUTHORITY_INVALID") {
		t.Fatalf("before the authority is trusted: %v", err)
	}
	if out := s.atmctl(t, "HOME="+home, "trust", "--stores", "browsers"); !strings.Contains(out,
		"trusted by Chromium and Firefox of this account") {
		t.Errorf("printed: %s", out)
	}
	if err := opens(); err != nil {
		t.Errorf("trusted: %v", err)
	}
	s.atmctl(t, "HOME="+home, "trust", "--stores", "browsers") // once more changes nothing
	s.atmctl(t, "HOME="+home, "trust", "--stores", "browsers", "--undo")
	if err := opens(); err == nil {
		t.Error("no longer trusted, the server opens all the same")
	}
}

func TestTrustedServerIsTrustedByProgramsOfTheSystem(t *testing.T) {
	t.Parallel()
	needs.Program(t, "update-ca-certificates")
	curl := needs.Program(t, "curl")
	if !inOwnMounts(t) {
		return
	}
	for _, folder := range []string{"/usr/local/share/ca-certificates", "/etc/ssl/certs"} {
		daemontest.Run(t, "mount", "-t", "tmpfs", "tmpfs", folder)
	}
	s := startServer(t)
	home := "HOME=" + t.TempDir()
	calls := func() error { return exec.Command(curl, "-sS", s.url+"/").Run() }
	if calls() == nil {
		t.Fatal("trusted before anybody asked for it")
	}
	out := s.atmctl(t, home, "trust")
	if !strings.Contains(out, "trusted by every program of this machine") ||
		!strings.Contains(out, "start the browser once") {
		t.Errorf("printed: %s", out)
	}
	if err := calls(); err != nil {
		t.Errorf("trusted: %v", err)
	}
	s.atmctl(t, home, "trust", "--undo")
	if calls() == nil {
		t.Error("trusted after it was taken back")
	}
}

func TestOnlyAuthoritiesAreTrusted(t *testing.T) {
	s := startServer(t)
	for name, args := range map[string][]string{
		"another certificate": {"--ca", "atm-data/clients/demo/client.crt"},
		"a key":               {"--ca", "atm-data/clients/demo/client.key"},
		"nothing":             {"--ca", os.DevNull},
		"another store":       {"--stores", "phone"},
	} {
		cmd := s.command("atmctl", append([]string{"trust", "--stores", "browsers"}, args...)...)
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); err == nil || code != 2 {
			t.Errorf("%s: code %d\n%s", name, code, out)
		}
	}
}
