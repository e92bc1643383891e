//go:build unix

package daemon_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/feed"
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

// TestMetricsOfTheFeedAreTrue has two receivers, one of which takes nothing, then everything, and
// then says that it is gone.
func TestMetricsOfTheFeedAreTrue(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "each replica counts what it delivers itself")
	var status atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request,
	) {
		if r.URL.Path == "/good" {
			return
		}
		w.WriteHeader(int(status.Load()))
	}))
	defer receiver.Close()
	authority := filepath.Join(t.TempDir(), "receiver.crt")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{
		Type: "CERTIFICATE", Bytes: receiver.Certificate().Raw,
	}), 0o600); err != nil {
		t.Fatal(err)
	}
	h := daemontest.Start(t, func(o *daemon.Options) {
		o.Feed = daemon.Feed{
			CA: authority, AllowNet: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		}
	})
	operator := h.As(t, "operator")
	do := func(method string, args ...any) {
		t.Helper()
		daemontest.Must(t)(operator.Call(t.Context(), method, args...))
	}
	// becomes waits until each metric is the number that is wanted, or is above 0 for -1.
	becomes := func(want map[string]float64) {
		t.Helper()
		daemontest.Until(t, func() bool {
			_, text := h.Get(t, "/metrics")
			for name, want := range want {
				_, line, found := strings.Cut(text, "\n"+name+" ")
				line, _, _ = strings.Cut(line, "\n")
				got, err := strconv.ParseFloat(line, 64)
				if err != nil || !found {
					t.Fatalf("no %s", name)
				}
				if got != want && (want >= 0 || got <= 0) {
					return false
				}
			}
			return true
		})
	}
	nothing := make(map[string]float64)
	for _, cause := range []feed.Cause{
		feed.Unreachable, feed.Gone, feed.Denied, feed.Restored, feed.Trimmed,
	} {
		nothing[`atm_feed_stops_total{cause="`+string(cause)+`"}`] = 0
	}
	for _, state := range []string{"active", "failing", "paused", "stopped"} {
		nothing[`atm_feed_subscriptions{state="`+state+`"}`] = 0
	}
	becomes(nothing)

	do("feed.add", "good", receiver.URL+"/good")
	do("feed.add", "bad", receiver.URL+"/bad")
	becomes(map[string]float64{
		`atm_feed_subscriptions{state="active"}`:         1,
		`atm_feed_subscriptions{state="failing"}`:        1,
		`atm_feed_deliveries_total{outcome="delivered"}`: -1,
		`atm_feed_deliveries_total{outcome="failed"}`:    -1,
		`atm_feed_failing_seconds`:                       -1,
		`atm_feed_lag_entries{state="active"}`:           0,
	})
	do("feed.list")
	becomes(map[string]float64{
		`atm_feed_lag_entries{state="failing"}`:          -1,
		`atm_feed_lag_entries{state="active"}`:           0,
		`atm_feed_oldest_event_seconds{state="active"}`:  0,
		`atm_feed_oldest_event_seconds{state="failing"}`: -1,
	})
	do("feed.pause", "bad")
	becomes(map[string]float64{
		`atm_feed_subscriptions{state="paused"}`:         1,
		`atm_feed_subscriptions{state="failing"}`:        0,
		`atm_feed_failing_seconds`:                       0,
		`atm_feed_oldest_event_seconds{state="failing"}`: 0,
	})
	status.Store(http.StatusNoContent)
	do("feed.resume", "bad")
	becomes(map[string]float64{
		`atm_feed_subscriptions{state="active"}`:         2,
		`atm_feed_lag_entries{state="active"}`:           0,
		`atm_feed_failing_seconds`:                       0,
		`atm_feed_oldest_event_seconds{state="failing"}`: 0,
	})
	status.Store(http.StatusGone)
	do("feed.test", "good")
	becomes(map[string]float64{
		`atm_feed_subscriptions{state="stopped"}`:     1,
		`atm_feed_subscriptions{state="active"}`:      1,
		`atm_feed_stops_total{cause="gone"}`:          1,
		`atm_feed_stops_total{cause="unreachable"}`:   0,
		`atm_feed_deliveries_total{outcome="failed"}`: -1,
	})
}
