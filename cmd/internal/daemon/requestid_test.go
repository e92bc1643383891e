//go:build unix

package daemon_test

import (
	"net/http"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// TestRequestIDsThatLookAlikeAreOneOrRefused deposits with ids that differ only invisibly, in
// the parameter and in the header.
func TestRequestIDsThatLookAlikeAreOneOrRefused(t *testing.T) {
	h := daemontest.Start(t, nil)
	c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	for _, id := range []string{"caf\u00e9-1", "ab-1"} {
		if _, text := h.Post(t, c, daemontest.Call("deposit", "100", "1", id),
			nil); !strings.Contains(text,
			"<string>OK<") {
			t.Errorf("%q: %s", id, text)
		}
	}
	for _, id := range []string{
		"cafe\u0301-1", "ab-1\ufe0f", "ab-1\u3164", "ab-1\u2800",
		"ab\u034f-1", "\u212b", "\u1100\u1161",
	} {
		if _, text := h.Post(t, c, daemontest.Call("deposit", "100", "1", id),
			nil); !strings.Contains(text,
			"-32602") {
			t.Errorf("parameter %q: %s", id, text)
		}
		if _, text := h.Post(t, c, daemontest.Call("deposit", "100", "1"), func(r *http.Request) {
			r.Header.Set("Idempotency-Key", id)
		}); !strings.Contains(text, "-32602") {
			t.Errorf("header %q: %s", id, text)
		}
	}
	if got := daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(),
		daemontest.Account)); got.Text() != "1002.00" {
		t.Errorf("the balance is %s after two deposits", got.Text())
	}
}
