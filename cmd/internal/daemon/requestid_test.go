//go:build unix

package daemon_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestRequestIDsThatLookAlikeAreOneOrRefused deposits with ids that differ in nothing that can be
// seen, in the parameter and in the header.
func TestRequestIDsThatLookAlikeAreOneOrRefused(t *testing.T) {
	h := start(t, nil)
	c := httpClient(t, h.tls(t, "demo"))
	for _, id := range []string{"caf\u00e9-1", "ab-1"} {
		if _, text := h.post(t, c, call("deposit", "100", "1", id), nil); !strings.Contains(text,
			"<string>OK<") {
			t.Errorf("%q: %s", id, text)
		}
	}
	for _, id := range []string{
		"cafe\u0301-1", "ab-1\ufe0f", "ab-1\u3164", "ab-1\u2800",
		"ab\u034f-1", "\u212b", "\u1100\u1161",
	} {
		if _, text := h.post(t, c, call("deposit", "100", "1", id), nil); !strings.Contains(text,
			"-32602") {
			t.Errorf("parameter %q: %s", id, text)
		}
		if _, text := h.post(t, c, call("deposit", "100", "1"), func(r *http.Request) {
			r.Header.Set("Idempotency-Key", id)
		}); !strings.Contains(text, "-32602") {
			t.Errorf("header %q: %s", id, text)
		}
	}
	if got := must(t)(h.as(t, "demo").Inquiry(t.Context(), account)); got.Text() != "1002.00" {
		t.Errorf("the balance is %s after two deposits", got.Text())
	}
}
