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
)

// manyMovements gives account 100 so many entries in its statement.
func (h *testServer) manyMovements(t *testing.T, n int) {
	t.Helper()
	c := httpClient(t, h.tls(t, "demo"))
	for done := 0; done < n; done += 100 {
		calls := make([][]string, 100)
		for i := range calls {
			calls[i] = []string{"deposit", "100", "0.01"}
		}
		if resp, text := h.post(t, c, multicall(calls...), nil); resp.StatusCode != http.StatusOK ||
			strings.Count(text, "<string>OK</string>") != 200 {
			t.Fatalf("%s %.300s", resp.Status, text)
		}
	}
}

// statements is a multicall of so many statements of 500 entries, with a deposit at its end.
func statements(account string, n int) string {
	var b strings.Builder
	b.WriteString(
		"<methodCall><methodName>system.multicall</methodName><params><param><value><array><data>")
	for range n {
		b.WriteString(
			"<value><struct><member><name>methodName</name><value>statement</value></member><member><name>params</name><value><array><data>" +
				"<value>" + account +
				"</value><value><struct><member><name>limit</name><value><int>500</int></value></member></struct></value>" +
				"</data></array></value></member></struct></value>")
	}
	b.WriteString(
		"<value><struct><member><name>methodName</name><value>deposit</value></member><member><name>params</name><value><array><data>" +
			"<value>" + account +
			"</value><value>0.01</value></data></array></value></member></struct></value></data></array></value></param></params></methodCall>")
	return b.String()
}

// TestReadingItemsThatDoNotFitAreRefused asks for 54 long statements in one multicall, whose
// answers would be 13 MiB. Some are given, the others refused before they run, and the money
// of the last item moves.
func TestReadingItemsThatDoNotFitAreRefused(t *testing.T) {
	const asked = 54
	h := start(t, nil)
	h.manyMovements(t, 600)
	resp, text := h.post(t, httpClient(t, h.tls(t, "demo")), statements("100", asked), nil)
	refused := strings.Count(text, "<string>ANSWER_TOO_LARGE</string>")
	given := strings.Count(text, "<name>closing</name>")
	if resp.StatusCode != http.StatusOK || len(text) > 2<<20 {
		t.Errorf("%s, %d bytes", resp.Status, len(text))
	}
	if given < 4 || refused+given != asked {
		t.Errorf("%d statements were given and %d refused, of %d", given, refused, asked)
	}
	if want := "<string>1006.01</string>"; !strings.Contains(text, want) {
		t.Error("the deposit at the end did not happen")
	}
	if a := must(t)(h.as(t, "demo").Call(t.Context(), "statement", 100,
		map[string]any{"limit": 500})); len(a.Receipt) == 0 {
		t.Error("one alone is not given")
	}
	logged := count(h.entries(t), func(e *audit.Entry) bool {
		return e.Status != nil && e.Status.Code == atm.AnswerTooLarge
	})
	if logged != refused {
		t.Errorf("%d refusals are in the log, and %d were answered", logged, refused)
	}
}

// TestPeerThatReadsNothingIsDropped sends requests whose answers are large and reads none of
// them. Its connections end, what it may hold is bounded, and others are answered meanwhile.
func TestPeerThatReadsNothingIsDropped(t *testing.T) {
	single(t, "the bound is that of one server")
	h := start(t, func(o *daemon.Options) { o.Server.StallTimeout = time.Second })
	h.manyMovements(t, 600)
	must(t)(h.as(t, "operator").Call(t.Context(), "admin.account.open", "200",
		"user:operator", "5"))
	body := statements("100", 54)
	for range 8 {
		conn, err := h.dialFrom(t, "127.0.0.2", "")
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
	must(t)(h.as(t, "demo").Inquiry(t.Context(), account))
	page := must(t)(h.as(t, "operator").Call(t.Context(), "admin.audit.list",
		map[string]any{"limit": 500}))
	if page.Result == nil {
		t.Error("another caller gets no page")
	}
	// The memory comes back when the silent ones are cut off.
	c := httpClient(t, h.tls(t, "demo"))
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if resp, _ := h.post(t, c, body, nil); resp.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the caller is never answered again")
		}
	}
}
