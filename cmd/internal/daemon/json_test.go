//go:build unix

package daemon_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// header returns what sets a header of a request; an empty value removes it.
func header(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Del(name)
		for _, value := range values {
			r.Header.Add(name, value)
		}
	}
}

// TestBadRequestsOfJSONAreRefused sends what is no call, or no call by its caller, and finds that
// nothing but faults was recorded.
func TestBadRequestsOfJSONAreRefused(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	const deposit = `{"account":100,"amount":"1"}`
	for _, tt := range []struct {
		name, method, body string
		change             func(*http.Request)
		want               int
		code               atm.Code // of the dict; empty for none
	}{
		{"two accounts", "deposit", `{"account":100,"account":100,"amount":1}`, nil, 400, atm.Fault},
		{"an account beyond 2^53", "deposit", `{"account":9007199254740993,"amount":1}`, nil, 404, atm.AccountNotFound},
		{"an account beyond 2^64", "deposit", `{"account":100000000000000000000,"amount":1}`, nil, 400, atm.Fault},
		{"an account with an exponent", "deposit", `{"account":1e2,"amount":1}`, nil, 422, atm.Fault},
		{"an amount that is NaN", "deposit", `{"account":100,"amount":NaN}`, nil, 400, atm.Fault},
		{"an amount called NaN", "deposit", `{"account":100,"amount":"NaN"}`, nil, 422, atm.AmountInvalid},
		{"an amount without end", "deposit", `{"account":100,"amount":1e999999999}`, nil, 422, atm.AmountTooLarge},
		{"an amount of nearly nothing", "deposit", `{"account":100,"amount":1e-999999999}`, nil, 422, atm.AmountNotPositive},
		{"a fraction of a cent", "deposit", `{"account":100,"amount":12.345}`, nil, 422, atm.AmountPrecision},
		{"a negative amount", "deposit", `{"account":100,"amount":-1}`, nil, 422, atm.AmountNotPositive},
		{"UTF-16", "deposit", "\xff\xfe{\x00}\x00", nil, 400, atm.Fault},
		{"10,000 deep", "deposit", strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), nil, 400, atm.Fault},
		{"10 MB", "deposit", `{"account":"` + strings.Repeat("1", 10<<20) + `"}`, nil, 413, ""},
		{"an unknown member", "deposit", `{"account":100,"amount":1,"Amount":2}`, nil, 422, atm.Fault},
		{"a NUL", "deposit", `{"account":100,"amount":1,"memo":"\u0000"}`, nil, 400, atm.Fault},
		{"an unknown method", "deposits", "{}", nil, 404, atm.Fault},
		{"an escaped method", "deposi%74", deposit, nil, 404, atm.Fault},
		{"a path behind the method", "deposit/", deposit, nil, 404, atm.Fault},
		{"a request id in the query", "deposit?request_id=1", deposit, nil, 400, ""},
		{"XML", "deposit", daemontest.Call("deposit", "100", "1"), nil, 400, atm.Fault},
		{"a form", "deposit", deposit, header("Content-Type", "text/plain"), 415, ""},
		{"another charset", "deposit", deposit, header("Content-Type", "application/json; charset=utf-16"), 415, ""},
		{"two types", "deposit", deposit, header("Content-Type", "application/json", "text/plain"), 415, ""},
		{"no type", "deposit", deposit, header("Content-Type"), 415, ""},
		{"compression", "deposit", deposit, header("Content-Encoding", "gzip"), 415, ""},
		{"a page of another site", "deposit", deposit, header("Sec-Fetch-Site", "cross-site"), 403, ""},
		{"a page of a site beside", "deposit", deposit, header("Sec-Fetch-Site", "same-site"), 403, ""},
		{"another origin", "deposit", deposit, header("Origin", "https://example.org"), 403, ""},
		{"a null origin", "deposit", deposit, header("Origin", "null"), 403, ""},
		{"two keys", "deposit", deposit, header("Idempotency-Key", `"a"`, `"b"`), 400, ""},
		{"two keys in one", "deposit", deposit, header("Idempotency-Key", `"a", "b"`), 400, ""},
		{"an empty key", "deposit", deposit, header("Idempotency-Key", `""`), 400, ""},
		{"a key too long", "deposit", deposit, header("Idempotency-Key", strings.Repeat("x", 129)), 422, atm.Fault},
		{
			"a key and another id", "deposit", `{"account":100,"amount":"1","request_id":"a"}`,
			header("Idempotency-Key", `"b"`), 409, atm.IdempotencyConflict,
		},
		{"a key for many", "system.multicall", `{"calls":[]}`, header("Idempotency-Key", "a"), 422, atm.Fault},
		{"a method of operators", "admin.account.freeze", `{"account":100}`, nil, 403, atm.PermissionDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, dict := h.PostJSON(t, c, tt.method, tt.body, tt.change)
			code, _ := dict["code"].(string)
			if resp.StatusCode != tt.want || code != string(tt.code) {
				t.Errorf("%s %v, not %d %s", resp.Status, dict, tt.want, tt.code)
			}
			for name := range resp.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("the answer has %s", name)
				}
			}
		})
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "OPTIONS", "DELETE"} {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+h.Addr+"/v1/deposit", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" {
			t.Errorf("%s: %s, Allow %s", method, resp.Status, resp.Header.Get("Allow"))
		}
	}
	stranger := h.TLS(t, "demo")
	stranger.GetClientCertificate = nil
	stranger.Certificates = nil
	if resp, _ := h.PostJSON(t, daemontest.HTTPClient(t, stranger), "deposits", "{}", nil); resp.
		StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger is told %s", resp.Status)
	}
	if resp, dict := h.PostJSON(t, c, "inquiry", `{"account":100}`,
		header("Content-Type", `application/json; charset="UTF-8"`)); resp.StatusCode != 200 ||
		dict["result"] != "1000.00" {
		t.Errorf("afterwards: %s %v", resp.Status, dict)
	}
	faults := 0
	for index, e := range h.Entries(t) {
		switch {
		case e.Operation != atm.Deposit:
		case e.Status.Code == atm.OK:
			t.Errorf("entry %d: %+v", index, e)
		case e.Status.Code == atm.Fault:
			faults++
		}
	}
	if faults != 3 { // an exponent, an unknown member, a key too long
		t.Errorf("%d faults are recorded", faults)
	}
}

// TestFacesShareRequestIds sends one intention by XML-RPC and by JSON, each with a parameter and
// with a header in both of its forms: it happens once.
func TestFacesShareRequestIds(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	first := daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), 100, 500, "one id"))
	for _, ask := range []struct {
		body   string
		change func(*http.Request)
	}{
		{`{"account":"100","amount":5,"request_id":"one id"}`, nil},
		{`{"account":100,"amount":"5.00"}`, header("Idempotency-Key", `"one id"`)},
		{`{"amount":5.0,"account":100}`, header("Idempotency-Key", "one id")},
		{`{"account":100,"amount":5,"request_id":"one id"}`, header("Idempotency-Key", `"one id"`)},
	} {
		resp, dict := h.PostJSON(t, c, "deposit", ask.body, ask.change)
		if resp.StatusCode != 200 || dict["receipt"] != first.Receipt || dict["result"] != "1005.00" {
			t.Errorf("%s: %s %v", ask.body, resp.Status, dict)
		}
	}
	for _, key := range []string{"one id", `"one id"`} {
		_, text := h.Post(t, c, daemontest.Call("deposit", "100", "5"), header("Idempotency-Key", key))
		if !strings.Contains(text, first.Receipt) {
			t.Errorf("%s by XML-RPC: %s", key, text)
		}
	}
	resp, dict := h.PostJSON(t, c, "deposit", `{"account":100,"amount":6}`,
		header("Idempotency-Key", "one id"))
	if resp.StatusCode != http.StatusConflict || dict["code"] != "IDEMPOTENCY_CONFLICT" {
		t.Errorf("%s %v", resp.Status, dict)
	}
	replays := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == atm.Deposit && e.ReplayOf >= 0
	})
	if replays != 6 {
		t.Errorf("%d replays are recorded", replays)
	}
}

// TestCallerRevokedWhileAJSONBodyArrivesIsRefused disables a user between head and body of a call,
// on one server: a replica learns it within a second.
func TestCallerRevokedWhileAJSONBodyArrivesIsRefused(t *testing.T) {
	t.Parallel()
	h := daemontest.StartOne(t, t.TempDir()+"/atm-data", nil)
	daemontest.WithAlice(t, h)
	cfg := h.Issue(t, "user:alice")
	body, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+h.Addr+
		"/v1/deposit", body)
	if err != nil {
		t.Fatal(err)
	}
	const call = `{"account":200,"amount":1}`
	req.ContentLength = int64(len(call))
	req.Header.Set("Content-Type", "application/json")
	go func() {
		io.WriteString(w, call[:1])
		_, err := h.As(t, "operator").Call(t.Context(), "admin.user.disable", "user:alice")
		if err != nil {
			w.CloseWithError(err)
			return
		}
		io.WriteString(w, call[1:])
		w.Close()
	}()
	resp, err := daemontest.HTTPClient(t, cfg).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("answered %s", resp.Status)
	}
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.user.enable", "user:alice"))
	a := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.account.show", 200))
	if text := fmt.Sprint(a.Result); !strings.Contains(text, "50.00") {
		t.Errorf("the account is %s", text)
	}
}

func TestDocumentIsReadByAnybodyAndKept(t *testing.T) {
	t.Parallel()
	h := daemontest.StartOne(t, t.TempDir()+"/atm-data", func(o *daemon.Options) {
		o.Server.PublicURL = "https://bank.example.com"
	})
	stranger := h.TLS(t, "demo")
	stranger.GetClientCertificate = nil
	c := daemontest.HTTPClient(t, stranger)
	get := func(path, tag string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+h.Addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", tag)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(text)
	}
	const path = "/v1/openapi.json"
	resp, text := get(path, `"another"`)
	tag := resp.Header.Get("Etag")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || tag == "" ||
		!strings.Contains(text, `"https://bank.example.com"`) ||
		!strings.Contains(text, `"/v1/mandate.create"`) {
		t.Fatalf("%s %.300s", resp.Status, text)
	}
	for _, asked := range []string{tag, "W/" + tag, `"x", ` + tag} {
		if resp, text := get(path, asked); resp.StatusCode != http.StatusNotModified || text != "" {
			t.Errorf("%s: %s", asked, resp.Status)
		}
	}
	// The page for people has both protocols, and what the type of a refusal refers to.
	_, page := get("/", "")
	for _, part := range []string{"/v1/deposit\n", "/RPC2", path, `id="INSUFFICIENT_FUNDS"`} {
		if !strings.Contains(strings.ReplaceAll(page, "</code>", "\n"), part) {
			t.Errorf("the page lacks %q", part)
		}
	}
}
