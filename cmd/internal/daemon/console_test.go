//go:build unix

package daemon_test

import (
	"bufio"
	"crypto/tls"
	"encoding/csv"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// page asks for a page of the console, or sends a form to it when there is one.
func page(t *testing.T, h *daemontest.Server, c *http.Client, path, form string,
	change func(*http.Request),
) (int, string) {
	t.Helper()
	method := http.MethodGet
	if form != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+h.Addr+path,
		strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if change != nil {
		change(r)
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// consoleClient is a browser that follows no redirect.
func consoleClient(t *testing.T, cfg *tls.Config) *http.Client {
	c := daemontest.HTTPClient(t, cfg)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// TestConsoleRefusesWhatItsCallerMayNotDo asks for pages and sends forms that must get nothing.
func TestConsoleRefusesWhatItsCallerMayNotDo(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, func(o *daemon.Options) { o.Server.Console = true })
	daemontest.WithAlice(t, h) // she owns account 200
	anonymous := h.TLS(t, "demo")
	anonymous.GetClientCertificate = nil
	nobody, demo := consoleClient(t, anonymous), consoleClient(t, h.TLS(t, "demo"))
	operator := consoleClient(t, h.TLS(t, "operator"))
	form := "act=withdraw&amount=1.00&request_id=r1"
	from := func(header, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(header, value) }
	}
	for _, tt := range []struct {
		name   string
		by     *http.Client
		path   string
		form   string
		change func(*http.Request)
		want   int
	}{
		{"nobody, the start", nobody, "/console/", "", nil, 401},
		{"nobody, a form", nobody, "/console/accounts/100/act", form, nil, 401},
		{"nobody, the log", nobody, "/console/log", "", nil, 401},
		{
			"another origin", demo, "/console/accounts/100/act", form,
			from("Origin", "https://elsewhere.example"), 403,
		},
		{
			"another site", demo, "/console/accounts/100/act", form,
			from("Sec-Fetch-Site", "cross-site"), 403,
		},
		{"another's account", demo, "/console/accounts/200", "", nil, 404},
		{"another's statement", demo, "/console/accounts/200/statement", "", nil, 404},
		{"the log, as a customer", demo, "/console/log", "", nil, 403},
		{"an entry, as a customer", demo, "/console/log/0", "", nil, 403},
		{"an entry of another", demo, "/console/slips/0", "", nil, 404},
		{"a negative entry", demo, "/console/slips/-1", "", nil, 404},
		{"an act by GET", demo, "/console/accounts/100/act?" + form, "", nil, 405},
		{
			"a form without a request id", demo, "/console/accounts/100/act",
			"act=withdraw&amount=1.00", nil, 422,
		},
		{
			"an unknown act", demo, "/console/accounts/100/act",
			"act=admin.account.close&amount=1&request_id=r2", nil, 422,
		},
		{
			"an amount that is none", demo, "/console/accounts/100/act",
			"act=withdraw&amount=1e3&request_id=r3", nil, 422,
		},
		{
			"a form of 10 MB", demo, "/console/accounts/100/act",
			"act=" + strings.Repeat("x", 10<<20), nil, 400,
		},
		{"a page that is none", demo, "/console/../RPC2", "", nil, 404},
		{"a folder of the assets", demo, "/console/assets/", "", nil, 404},
	} {
		code, text := page(t, h, tt.by, tt.path, tt.form, tt.change)
		if code != tt.want {
			t.Errorf("%s is answered with %d, want %d\n%s", tt.name, code, tt.want, text)
		}
	}
	// An operator, who may not move money, gets a slip of the refusal.
	if code, _ := page(t, h, operator, "/console/accounts/100/act", form, nil); code != 303 {
		t.Errorf("the operator's form is answered with %d", code)
	}
	entries := h.Entries(t)
	if moved := daemontest.Count(entries, func(e *audit.Entry) bool {
		return e.Operation == atm.Withdraw && len(e.State) > 0
	}); moved != 0 {
		t.Errorf("%d entries moved money", moved)
	}
	denied := daemontest.Count(entries, func(e *audit.Entry) bool {
		return e.Operation == atm.Withdraw && e.Status.Code == atm.PermissionDenied
	})
	if denied != 1 {
		t.Errorf("%d refusals of withdraw are in the log, want 1", denied)
	}
}

// TestFormOfARevokedCallerIsRefused revokes a caller between the head of a form
// and its body.
func TestFormOfARevokedCallerIsRefused(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, func(o *daemon.Options) { o.Server.Console = true })
	conn, err := tls.Dial("tcp", h.Addr, h.TLS(t, "demo"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	form := "act=withdraw&amount=1.00&request_id=r1"
	if _, err := fmt.Fprintf(conn, "POST /console/accounts/100/act HTTP/1.1\r\nHost: %s\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n", h.Addr,
		len(form)); err != nil {
		t.Fatal(err)
	}
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.user.revoke", "user:demo"))
	daemontest.AwaitReplicas()
	if _, err := io.WriteString(conn, form); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("the form is answered with %s", answer.Status)
	}
	if moved := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == atm.Withdraw
	}); moved != 0 {
		t.Errorf("%d entries of withdraw", moved)
	}
}

// TestConsoleEscapesWhatStrangersWrote puts markup into every part of a page that a request can
// fill.
func TestConsoleEscapesWhatStrangersWrote(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, func(o *daemon.Options) { o.Server.Console = true })
	demo := consoleClient(t, h.TLS(t, "demo"))
	const markup = `%22%3E%3Cscript%3Ealert(1)%3C/script%3E`
	const memo = `"><script>alert(1)</script>&amp;<!--`
	a := daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), 100, 100, "memo",
		client.Memo(memo)))
	slip, _, _ := strings.Cut(a.Receipt, " ")
	for _, path := range []string{
		"/console/accounts/" + markup, "/console/slips/" + markup,
		"/console/account?number=" + markup,
		"/console/accounts/100/review?act=" + markup + "&amount=1&request_id=r",
		"/console/accounts/100/review?act=withdraw&amount=" + markup + "&request_id=" + markup,
		"/console/accounts/100/review?act=transfer&amount=x&to=" + markup + "&request_id=r",
		"/console/accounts/100/review?act=withdraw&amount=1&request_id=r&memo=" + markup,
		"/console/accounts/100/review?act=withdraw&amount=x&request_id=r&memo=" + markup,
		"/console/accounts/100", "/console/accounts/100/statement", "/console/slips/" + slip,
		"/console/accounts/100/statement?from=" + markup + "&to=" + markup,
	} {
		if _, text := page(t, h, demo, path, "", nil); strings.Contains(text, "<script>alert") {
			t.Errorf("%s shows the markup:\n%s", path, text)
		}
	}
	for _, path := range []string{"accounts/100", "accounts/100/statement", "slips/" + slip} {
		if _, text := page(t, h, demo, "/console/"+path, "", nil); !strings.Contains(
			html.UnescapeString(text), memo) {
			t.Errorf("%s does not show the memo:\n%s", path, text)
		}
	}
}

// TestMemoIsTypedReviewedAndShown withdraws with a memo as a browser without scripts does, and
// reads it on the slip and in the statement as a file.
func TestMemoIsTypedReviewedAndShown(t *testing.T) {
	t.Parallel()
	v := visitorAs(t, consoleServer(t), "demo")
	const path, memo = "/console/accounts/100/", `=1+1 "rent", it's`
	shows(t, v.see(http.StatusOK, "/console/accounts/100"), `name="memo"`)
	typed := url.Values{
		"act": {"withdraw"}, "amount": {"5"}, "request_id": {"one"}, "memo": {" " + memo + " "},
	}
	review := v.see(http.StatusOK, path+"review?"+typed.Encode())
	shows(t, review, memo, `withdraw 100 5.00 --memo '=1+1 "rent", it'\''s'`)
	form := formOf(review)
	v.send(http.StatusSeeOther, path+"act", form)
	v.send(http.StatusSeeOther, path+"act", form)
	shows(t, v.see(http.StatusOK, path+"statement"), memo, "$995.00")
	file := v.see(http.StatusOK, path+"statement.csv")
	rows, err := csv.NewReader(strings.NewReader(file)).ReadAll()
	if err != nil || len(rows) != 3 || rows[0][6] != "memo" || rows[2][6] != "'"+memo {
		t.Errorf("the file has %q, %v", rows, err)
	}
	typed.Set("memo", "\u202eback")
	shows(t, v.see(http.StatusUnprocessableEntity, path+"review?"+typed.Encode()),
		"A memo has at most 140 characters")
	form.Set("memo", "two\nrows")
	form.Set("request_id", "two")
	shows(t, v.send(http.StatusUnprocessableEntity, path+"act", form),
		"A memo has at most 140 characters")
	shows(t, v.see(http.StatusOK, path+"statement"), "$995.00")
}

// TestConsoleThatIsOffIsNotReachable asks a server without a console, and one with it for the
// link on its first page.
func TestConsoleThatIsOffIsNotReachable(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{true, false} {
		h := daemontest.Start(t, func(o *daemon.Options) { o.Server.Console = on })
		demo := consoleClient(t, h.TLS(t, "demo"))
		for path, want := range map[string]int{
			"/console/": 200, "/console/assets/console.css": 200, "/console/log.vkey": 200,
		} {
			if !on {
				want = 404
			}
			if code, _ := page(t, h, demo, path, "", nil); code != want {
				t.Errorf("with the console %t, %s is answered with %d", on, path, code)
			}
		}
		_, first := page(t, h, demo, "/", "", nil)
		if strings.Contains(first, `href="/console/"`) != on {
			t.Errorf("with the console %t, the first page links to it: %t", on, !on)
		}
	}
}
