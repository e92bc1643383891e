//go:build unix

package cmd_test

import (
	"errors"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/needs"
)

// TestMetricsListenerHasTheMetricsAlone scrapes a server as a Prometheus elsewhere does, and
// finds neither profiles nor the state there.
func TestMetricsListenerHasTheMetricsAlone(t *testing.T) {
	t.Parallel()
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	startServerIn(t, t.TempDir(), "ATM_METRICS_LISTEN=:"+port)
	for path, want := range map[string]int{
		"/metrics": http.StatusOK, "/": http.StatusNotFound, "/readyz": http.StatusNotFound,
		"/debug/pprof/": http.StatusNotFound, "/debug/pprof/profile": http.StatusNotFound,
	} {
		resp, err := http.Get("http://127.0.0.1:" + port + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want ||
			path == "/metrics" && !strings.Contains(string(text), "\natm_audit_entries ") {
			t.Errorf("%s: %v %s %.100s", path, err, resp.Status, text)
		}
	}
}

// TestProbeSaysWhetherTheServerIsReady asks a server that is ready, one that is not for want of
// space, and none.
func TestProbeSaysWhetherTheServerIsReady(t *testing.T) {
	t.Parallel()
	s := startServerIn(t, t.TempDir())
	ask := func(url string) (string, int) {
		t.Helper()
		out, err := s.command("atmctl", "ready", "--url", url).Output()
		var ended *exec.ExitError
		if err != nil && !errors.As(err, &ended) {
			t.Fatal(err)
		}
		if ended != nil {
			return string(out), ended.ExitCode()
		}
		return string(out), exit.Done
	}
	url := "http://localhost:" + lookUp(s.env, "ADMIN") + "/readyz"
	if out, code := ask(url); code != exit.Done || out != "vault: ok\naudit: ok\ndisk: ok\n" {
		t.Errorf("ready: %d %s", code, out)
	}
	s.stop(t)
	if _, code := ask(url); code != exit.NoConnection {
		t.Errorf("stopped: %d", code)
	}
	full := startServerIn(t, t.TempDir())
	full.stop(t)
	full.env = append(full.env, "ATM_DISK_RESERVE=4611686018427387904")
	full.cmd = full.command("atmserver")
	if err := full.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { full.cmd.Process.Kill(); full.cmd.Wait() })
	url = "http://localhost:" + lookUp(full.env, "ADMIN") + "/readyz"
	eventually(t, "the server says that it is not ready", func() bool {
		out, code := ask(url)
		return code == exit.Internal && strings.Contains(out, "disk: ")
	})
}
