//go:build unix

package daemon_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/daemontest"
)

// TestInvitationIsFollowedOnce uses one invitation ten times at once, each time with another
// key. One request gets a certificate. That does not change after a restart.
func TestInvitationIsFollowedOnce(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	invite := func() string {
		t.Helper()
		record, _ := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.cert.invite",
			"service:billing", "teller")).Result.(map[string]any)
		return fmt.Sprint(record["code"])
	}
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	c := daemontest.HTTPClient(t, nobody)
	enroll := func(code, request string) (int, string) {
		t.Helper()
		resp, err := c.PostForm("https://"+h.Addr+"/enroll", url.Values{
			"code":    {code},
			"request": {request},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	request := func() string {
		t.Helper()
		key, err := certs.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		text, err := certs.NewRequest(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	code := invite()
	// and the invitation is good still
	if got, text := enroll(code, "no request"); got != http.StatusBadRequest {
		t.Errorf("without a request: %d %s", got, text)
	}
	var wg sync.WaitGroup
	answers := make(chan int, 10)
	for range cap(answers) {
		text := request()
		wg.Go(func() {
			got, _ := enroll(code, text)
			answers <- got
		})
	}
	wg.Wait()
	close(answers)
	got := make(map[int]int)
	for status := range answers {
		got[status]++
	}
	if got[200] != 1 || got[401] != 9 {
		t.Errorf("ten at once: %v", got)
	}
	for name, bad := range map[string]string{
		"nothing": "", "a token": func() string {
			record, _ := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(),
				"admin.token.issue",
				"service:billing")).Result.(map[string]any)
			return fmt.Sprint(record["token"])
		}(),
		"a changed one":   strings.Replace(invite(), ".", ".A", 1),
		"a very long one": strings.Repeat("x", 6000),
	} {
		if got, text := enroll(bad, request()); got != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, got, text)
		}
	}
	data := h.Data
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = daemontest.StartIn(t, data, nil)
	if got, text := enroll(code, request()); got != http.StatusUnauthorized {
		t.Errorf("after a restart: %d %s", got, text)
	}
	if n := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == "enroll" && e.Status.Code == "OK"
	}); n != 1 {
		t.Errorf("%d enrolments", n)
	}
}
