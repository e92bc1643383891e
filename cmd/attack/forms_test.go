//go:build unix

package attack_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// TestBoundsOfTimeThatMakeNoSenseAreRefused requests pages that begin after their end. Bounds
// in the year 1 are valid.
func TestBoundsOfTimeThatMakeNoSenseAreRefused(t *testing.T) {
	h := daemontest.Start(t, nil)
	demo, operator := h.As(t, "demo"), h.As(t, "operator")
	daemontest.Must(t)(demo.Deposit(t.Context(), 100, 600, "a"))
	const early, late = "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"
	for _, tt := range []struct {
		method string
		args   []any
		code   atm.Code
		reason string
	}{
		{
			"statement",
			[]any{100, map[string]any{"from": late, "to": early}},
			atm.CursorInvalid,
			"from is after to",
		},
		{"statement", []any{100, map[string]any{"from": early, "to": early}}, atm.OK, ""},
		{
			"statement",
			[]any{100, map[string]any{"from": "2026-01-01T00:00:00,5Z"}},
			atm.CursorInvalid, "no time",
		},
		{
			"admin.audit.list",
			[]any{map[string]any{"since": late, "until": early}},
			atm.CursorInvalid, "since of the filter is after until",
		},
	} {
		a, err := map[bool]*client.Client{
			true:  demo,
			false: operator,
		}[tt.method == "statement"].Call(t.Context(), tt.method, tt.args...)
		if err != nil || a.Code != tt.code || !strings.Contains(a.Reason, tt.reason) {
			t.Errorf("%s %v: %+v, %v", tt.method, tt.args, a, err)
		}
	}
	a := daemontest.Must(t)(demo.Call(t.Context(), "statement", 100,
		map[string]any{"to": "0001-01-01T00:00:00Z"}))
	page, _ := a.Result.(map[string]any)
	if entries, _ := page["entries"].([]any); len(entries) != 0 || page["closing"] != "0.00" {
		t.Errorf("until the year 1: %v", page)
	}
	a = daemontest.Must(t)(operator.Call(t.Context(), "admin.audit.list",
		map[string]any{"until": "0001-01-01T00:00:00Z"}))
	page, _ = a.Result.(map[string]any)
	if entries, _ := page["entries"].([]any); len(entries) != 0 {
		t.Errorf("the log has %d entries from before the year 1", len(entries))
	}
}

// TestEmptyLineBeforeALaterRequestIsRead sends an empty line after the body of a POST, which
// net/http tolerates for old clients.
func TestEmptyLineBeforeALaterRequestIsRead(t *testing.T) {
	h := daemontest.Start(t, nil)
	conn, err := tls.Dial("tcp", h.Addr, h.TLS(t, "demo"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := daemontest.Call("inquiry", "100")
	request := fmt.Sprintf("POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
		"text/xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	r := bufio.NewReader(conn)
	for _, before := range []string{"", "\r\n", "\r\n"} {
		if _, err := io.WriteString(conn, before+request); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "1000.00") {
			t.Errorf("after %q: %s %s", before, resp.Status, text)
		}
	}
}
