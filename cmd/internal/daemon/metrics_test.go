//go:build unix

package daemon_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// TestMetricsThatAlertsNameExist reads every metric in the alerts and the dashboard from a
// server that has done a little of everything.
func TestMetricsThatAlertsNameExist(t *testing.T) {
	daemontest.Single(t, "each replica counts what it did itself")
	h := daemontest.Start(t, nil)
	demo := h.As(t, "demo")
	daemontest.Must(t)(demo.Deposit(t.Context(), daemontest.Account, 1, "x"))
	daemontest.Must(t)(demo.Deposit(t.Context(), daemontest.Account, 1, "x"))
	_, text := h.Get(t, "/metrics")
	named := regexp.MustCompile(`\b(atm|process)_[a-z_]+\b`)
	seen := make(map[string]bool)
	for _, file := range []string{
		"../../../deploy/grafana/atm.json",
		"../../../deploy/prometheus/alerts.yml",
	} {
		config, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range named.FindAllString(string(config), -1) {
			if seen[name] {
				continue
			}
			seen[name] = true
			if !regexp.MustCompile(`(?m)^` + name + `[ {]`).MatchString(text) {
				t.Errorf("%s names %s, which is in no /metrics", file, name)
			}
		}
	}
	if len(seen) < 15 {
		t.Errorf("only %d metrics are named: the test looks in the wrong place", len(seen))
	}
	for _, want := range []string{
		"atm_replays_total 1\n", `atm_ready{part="vault"} 1`,
		`atm_certificate_expiry_timestamp_seconds{certificate="server"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in /metrics", want)
		}
	}
}
