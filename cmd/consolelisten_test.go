//go:build unix

package cmd_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"example.com/atm/internal/needs"
)

// TestConsoleWithAListenerOfItsOwnIsThereAlone asks both listeners of a server for what either may
// have.
func TestConsoleWithAListenerOfItsOwnIsThereAlone(t *testing.T) {
	t.Parallel()
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	s := startServerIn(t, t.TempDir(), "ATM_CONSOLE_LISTEN=localhost:"+port)
	tls, err := clientFiles(s, "demo")
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: tls}}
	defer c.CloseIdleConnections()
	apart := "https://localhost:" + port
	const inquiry = "<methodCall><methodName>inquiry</methodName><params><param>" +
		"<value>100</value></param></params></methodCall>"
	for _, tt := range []struct {
		method, url string
		status      int
		says        string
	}{
		{http.MethodGet, apart + "/console/accounts/100", http.StatusOK, "$1,000.00"},
		{http.MethodGet, apart + "/audit/checkpoint", http.StatusForbidden, ""}, // of a customer
		{http.MethodGet, apart + "/", http.StatusOK, "/console/"},
		{http.MethodPost, apart + "/RPC2", http.StatusNotFound, "The console is at"},
		{http.MethodPost, apart + "/", http.StatusNotFound, ""},
		{http.MethodPost, apart + "/token", http.StatusNotFound, ""},
		{http.MethodPost, apart + "/enroll", http.StatusNotFound, ""},
		{http.MethodGet, s.url + "/console/", http.StatusNotFound, "There is no console here"},
		{http.MethodGet, s.url + "/console/sign-in", http.StatusNotFound, ""},
		{http.MethodPost, s.url + "/RPC2", http.StatusOK, "1000.00"},
	} {
		body := ""
		if tt.method == http.MethodPost {
			body = inquiry
		}
		r, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url,
			strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "text/xml")
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != tt.status ||
			!strings.Contains(string(text), tt.says) {
			t.Errorf("%s %s: %s, %v\n%.300s", tt.method, tt.url, answer.Status, err, text)
		}
	}
	s.stop(t)
	s.verify(t)
}
