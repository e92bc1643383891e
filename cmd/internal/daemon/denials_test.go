//go:build unix

package daemon_test

import (
	"slices"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/flood"
	"example.com/atm/cmd/internal/daemontest"
)

// TestDenialsAreBounded has an operator, a known caller, send denied requests. They do not fill
// the log: denials without an entry of their own are counted when the server stops.
func TestDenialsAreBounded(t *testing.T) {
	const calls, each = 4, 50
	h := daemontest.Start(t, nil)
	c := daemontest.HTTPClient(t, h.TLS(t, "operator"))
	items := slices.Repeat([][]string{{"deposit", "100", "1"}}, each)
	for range calls {
		h.Post(t, c, daemontest.Multicall(items...), nil)
	}
	if a, err := h.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1, "one"); err != nil ||
		!a.OK() {
		t.Errorf("%+v, %v", a, err)
	}
	entries := h.Entries(t)
	single := daemontest.Count(entries, func(e *audit.Entry) bool {
		return e.Status != nil && e.Status.Code == atm.PermissionDenied
	})
	summaries, counted := 0, int64(0)
	for _, e := range entries {
		if e.Event == audit.EventDeniedSummary {
			summaries++
			counted += e.Summary.N
			if e.Caller == nil || e.Caller.Subject != "user:operator" {
				t.Errorf("the summary is of %+v", e.Caller)
			}
		}
	}
	// A minute may end during the test.
	if single > 2*flood.DenialEntries || summaries == 0 || single+int(counted) != calls*each {
		t.Errorf("%d denials have entries, and %d summaries count %d, of %d", single, summaries,
			counted, calls*each)
	}
}
