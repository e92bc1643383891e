//go:build unix

package daemon_test

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/remote"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

func TestAuditLogIsServedAndVerifies(t *testing.T) {
	h := daemontest.Start(t, nil)
	operator, demo := daemontest.HTTPClient(t, h.TLS(t, "operator")),
		daemontest.HTTPClient(t, h.TLS(t, "demo"))
	get := func(c *http.Client, path string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+h.Addr+
			"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = "//" + h.Addr + path // unchanged, without cleaning of the path
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(text)
	}
	if resp, text := get(operator, "/audit/checkpoint"); resp.StatusCode != 200 ||
		!strings.HasPrefix(text, h.Name+"\n") ||
		resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("checkpoint: %s %s %q", resp.Status, resp.Header, text)
	}
	if resp, _ := get(demo, "/audit/checkpoint"); resp.StatusCode != 403 {
		t.Errorf("checkpoint for a customer: %s", resp.Status)
	}
	for _, path := range []string{
		"/audit/", "/audit/../vault.db", "/audit/../keys/audit.key", "/audit/%2e%2e/keys/audit.key",
		"/audit/tile/0/../../../config.toml",
		"/audit/tile", "/audit/tile/0", "/audit//checkpoint", "/audit/checkpoint/", "/audit/.tmp-x",
		"/audit/tile/0/000.p/256",
	} {
		if resp, text := get(operator, path); resp.StatusCode != 404 ||
			strings.Contains(text, "PRIVATE") {
			t.Errorf("%s: %s %q", path, resp.Status, text)
		}
	}
	report, err := audit.Verify(t.Context(), remote.Files{Client: operator, Base: "https://" +
		h.Addr + "/audit/"}, audit.VerifyOptions{})
	if err != nil || !report.OK() {
		t.Errorf("verified over HTTPS: %+v, %v", report, err)
	}
	entries := h.Entries(t)
	read := func(e *audit.Entry) bool { return e.Event == audit.EventAuditRead }
	// One entry is for many reads of the operator, and one for a refusal.
	if got := daemontest.Count(entries, read); got != 2 {
		t.Errorf("%d entries about reading the log, want 2", got)
	}
}

func TestAdminListenerAnswersHealthReadinessAndMetrics(t *testing.T) {
	daemontest.Single(t, "each replica counts what it did itself")
	h := daemontest.Start(t, nil)
	daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(), daemontest.Account))
	if code, text := h.Get(t, "/healthz"); code != 200 || text != "alive\n" {
		t.Errorf("healthz: %d %q", code, text)
	}
	if code, text := h.Get(t, "/readyz"); code != 200 ||
		text != "vault: ok\naudit: ok\ndisk: ok\n" {
		t.Errorf("readyz: %d %q", code, text)
	}
	if code, _ := h.Get(t, "/debug/pprof/"); code != 200 {
		t.Errorf("pprof: %d", code)
	}
	_, text := h.Get(t, "/metrics")
	for _, want := range []string{
		`atm_operations_total{code="OK",operation="inquiry"} 1`, `atm_build_info{version="test"} 1`,
		"atm_commits_total ", "atm_audit_entries ", "atm_audit_published_entries ",
		`atm_sign_ins_total{method="mtls",outcome="ok"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in /metrics", want)
		}
	}
}

// TestNothingIsWrittenIntoTheDiskReserve requires more free space than any disk has.
func TestNothingIsWrittenIntoTheDiskReserve(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "atm-data")
	if err := daemontest.StartIn(t, data, nil).Stop(); err != nil {
		t.Fatal(err)
	}
	h := daemontest.StartIn(t, data, func(o *daemon.Options) { o.DiskReserve = 1 << 62 })
	if code, text := h.Get(t, "/readyz"); code != 503 || !strings.Contains(text, "disk: ") ||
		!strings.Contains(text, "vault: ok\n") {
		t.Errorf("readyz: %d %q", code, text)
	}
	_, text := h.Post(t, daemontest.HTTPClient(t, h.TLS(t, "demo")), daemontest.Call("deposit",
		"100", "5"), nil)
	if !strings.Contains(text, "<name>code</name><value><string>UNAVAILABLE</string>") ||
		!strings.Contains(text, "<name>receipt</name><value><string></string>") {
		t.Errorf("a deposit: %s", text)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = daemontest.StartIn(t, data, nil)
	if a := daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(),
		daemontest.Account)); a.Text() != "1000.00" {
		t.Errorf("balance %s", a.Text())
	}
}
