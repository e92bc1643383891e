//go:build unix

package daemon_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// TestReadingItemsThatDoNotFitAreRefused requests 54 long statements in one multicall, whose
// answers would take 13 MiB. Some are answered, the others are refused before they run, and the
// last item, a deposit, succeeds.
func TestReadingItemsThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	const asked = 54
	h := daemontest.Start(t, nil)
	h.ManyMovements(t, 600)
	resp, text := h.Post(t, daemontest.HTTPClient(t, h.TLS(t, "demo")), daemontest.Statements("100",
		asked), nil)
	refused := strings.Count(text, "<string>ANSWER_TOO_LARGE</string>")
	given := strings.Count(text, "<name>closing</name>")
	if resp.StatusCode != http.StatusOK || len(text) > 2<<20 {
		t.Errorf("%s, %d bytes", resp.Status, len(text))
	}
	if given < 2 || refused+given != asked {
		t.Errorf("%d statements were given and %d refused, of %d", given, refused, asked)
	}
	if want := "<string>1006.01</string>"; !strings.Contains(text, want) {
		t.Error("the deposit at the end did not happen")
	}
	if a := daemontest.Must(t)(h.As(t, "demo").Call(t.Context(), "statement", 100,
		map[string]any{"limit": 500})); len(a.Receipt) == 0 {
		t.Error("one alone is not given")
	}
	logged := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Status != nil && e.Status.Code == atm.AnswerTooLarge
	})
	if logged != refused {
		t.Errorf("%d refusals are in the log, and %d were answered", logged, refused)
	}
}

// TestPeerThatReadsNothingIsDropped sends requests with large answers and reads none of them.
// Its connections are closed, its memory is bounded, and other callers are served at the same
// time.
func TestPeerThatReadsNothingIsDropped(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "the bound is that of one server")
	h := daemontest.Start(t, func(o *daemon.Options) { o.Server.StallTimeout = time.Second })
	h.ManyMovements(t, 600)
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.account.open", "200",
		"user:operator", "5"))
	body := daemontest.Statements("100", 54)
	for range 8 {
		conn, err := h.DialFrom(t, "127.0.0.2", "")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
			"text/xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		defer func() {
			if n, err := io.Copy(io.Discard, conn); err == nil && n > 2<<20 {
				t.Errorf("%d bytes were sent", n)
			}
		}()
	}
	daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(), daemontest.Account))
	page := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.audit.list",
		map[string]any{"limit": 500}))
	if page.Result == nil {
		t.Error("another caller gets no page")
	}
	// The memory is freed when the silent connections are closed.
	c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if resp, _ := h.Post(t, c, body, nil); resp.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the caller is never answered again")
		}
	}
}
