//go:build unix

package daemon_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"html"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// TestWhatIsNoCallIsRefusedBelowRPC sends requests that HTTP refuses.
func TestWhatIsNoCallIsRefusedBelowRPC(t *testing.T) {
	h := daemontest.Start(t, nil)
	inquiry := daemontest.Call("inquiry", "100")
	head := "Host: localhost\r\nContent-Type: text/xml\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(inquiry))
	for _, tt := range []struct {
		name, request string
		code          int
		want          string // text in the answer
		closes        bool
	}{
		{"a good call", "POST /RPC2 HTTP/1.1\r\n" + head + length + "Connection: close\r\n\r\n" +
			inquiry, 200, "<string>1000.00</string>", true},
		{"a good call to /", "POST / HTTP/1.1\r\n" + head + length + "Connection: close\r\n\r\n" +
			inquiry, 200, "<string>1000.00</string>", true},
		{"no length", "POST /RPC2 HTTP/1.1\r\n" + head + "\r\n", 411, "Content-Length", true},
		{"chunked", "POST /RPC2 HTTP/1.1\r\n" + head +
			"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, "", true},
		{"chunked and a length", "POST /RPC2 HTTP/1.1\r\n" + head + length +
			"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, "", true},
		{
			"another coding", "POST /RPC2 HTTP/1.1\r\n" + head + "Transfer-Encoding: gzip\r\n\r\n",
			501, "", true,
		},
		{"identity and a length", "POST /RPC2 HTTP/1.1\r\n" + head + length +
			"Transfer-Encoding: identity\r\n\r\n" + inquiry, 501, "", true},
		{"two codings", "POST /RPC2 HTTP/1.1\r\n" + head + "transfer-encoding: gzip, " +
			"chunked\r\n\r\n0\r\n\r\n", 501, "", true},
		{
			"two headers of codings", "POST /RPC2 HTTP/1.1\r\n" + head +
				"Transfer-Encoding: chunked\r\nTRANSFER-ENCODING: chunked\r\n\r\n0\r\n\r\n", 501,
			"", true,
		},
		{"chunked by GET", "GET / HTTP/1.1\r\n" + head +
			"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, "", true},
		{"a coding with an odd name", "POST /RPC2 HTTP/1.1\r\n" + head + length +
			"Transfer-Encoding : chunked\r\n\r\n" + inquiry, 400, "", true},
		{
			"a coding folded into a value", "POST /RPC2 HTTP/1.1\r\n" + head + length +
				"Connection: close\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n" + inquiry, 200,
			"", true,
		},
		{"two lengths", "POST /RPC2 HTTP/1.1\r\n" + head + length + "Content-Length: 0\r\n\r\n" +
			inquiry, 400, "", true},
		{
			"too long", "POST /RPC2 HTTP/1.1\r\n" + head + "Content-Length: 262145\r\n\r\n", 413,
			"262144", true,
		},
		{"10 GiB announced", "POST /RPC2 HTTP/1.1\r\n" + head +
			"Content-Length: 10737418240\r\n\r\n", 413, "", true},
		{"wrong media type", "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: " +
			"text/plain\r\n" + length + "\r\n" + inquiry, 415, "text/xml", true},
		{"compressed", "POST /RPC2 HTTP/1.1\r\n" + head + length +
			"Content-Encoding: gzip\r\n\r\n" + inquiry, 415, "", true},
		{"PUT", "PUT /RPC2 HTTP/1.1\r\n" + head + length + "\r\n" + inquiry, 405, "Allow: ", true},
		{
			"DELETE", "DELETE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405,
			"Allow: ", true,
		},
		{"another path", "POST /RPC3 HTTP/1.1\r\n" + head + length + "Connection: close\r\n\r\n" +
			inquiry, 404, "/RPC2", true},
		{"another site's page", "POST /RPC2 HTTP/1.1\r\n" + head + length +
			"Sec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n" + inquiry, 403, "", true},
		{"two Authorization headers", "POST /RPC2 HTTP/1.1\r\n" + head + length +
			"Authorization: Bearer a\r\nAuthorization: Bearer b\r\nConnection: close\r\n\r\n" +
			inquiry, 400, "", true},
		{
			"a header beside a good certificate", "POST /RPC2 HTTP/1.1\r\n" + head + length +
				"Authorization: Bearer a\r\nConnection: close\r\n\r\n" + inquiry, 401,
			"Www-Authenticate: ", true,
		},
		{"large headers", "POST /RPC2 HTTP/1.1\r\n" + head + length + "X-Large: " +
			strings.Repeat("x", 32<<10) + "\r\n\r\n" + inquiry, 431, "", true},
		{
			"headers below the limit", "POST /RPC2 HTTP/1.1\r\n" + head + length +
				"Connection: close\r\nX-Large: " + strings.Repeat("x", 15<<10) + "\r\n\r\n" +
				inquiry,
			200, "<string>1000.00</string>", true,
		},
		{"body cut short", "POST /RPC2 HTTP/1.1\r\n" + head + length + "Connection: close\r\n\r\n" +
			"<methodCall>", 400, "", true},
		{"no XML", "POST /RPC2 HTTP/1.1\r\n" + head + "Content-Length: 5\r\nConnection: " +
			"close\r\n\r\nhello", 200, "-32700", true},
		{"nonsense", "HELO localhost\r\n\r\n", 400, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "body cut short" {
				conn, err := tls.Dial("tcp", h.Addr, h.TLS(t, "demo"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				io.WriteString(conn, tt.request)
				conn.CloseWrite()
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || resp.StatusCode != tt.code {
					t.Errorf("%v, %v", resp, err)
				}
				return
			}
			answer := h.Raw(t, "demo", tt.request) // returns when the server has closed the connection
			if !strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", tt.code)) ||
				!strings.Contains(answer, tt.want) {
				t.Errorf("answer %.600q, want %d and %q", answer, tt.code, tt.want)
			}
			if strings.Contains(answer, "\r\nServer:") {
				t.Error("the answer names the server's program")
			}
		})
	}
}

// TestPipelinedCodingIsRefused sends two requests at once, of which the second has a
// Transfer-Encoding.
func TestPipelinedCodingIsRefused(t *testing.T) {
	h := daemontest.Start(t, nil)
	inquiry := daemontest.Call("inquiry", "100")
	head := fmt.Sprintf("Host: localhost\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n",
		len(inquiry))
	answers := h.Raw(t, "demo", "POST /RPC2 HTTP/1.1\r\n"+head+"\r\n"+inquiry+
		"POST /RPC2 HTTP/1.1\r\n"+head+"Transfer-Encoding: chunked\r\n\r\n"+inquiry+
		"POST /RPC2 HTTP/1.1\r\n"+head+"\r\n"+inquiry)
	if strings.Count(answers, "HTTP/1.1 200 OK\r\n") != 1 ||
		strings.Count(answers, "HTTP/1.1 411 ") != 1 || strings.Count(answers, "HTTP/1.1 ") != 2 {
		t.Errorf("%q", answers)
	}
}

// TestPipelinedCallsAreAnsweredInOrder sends calls before earlier ones are answered, split into
// packets at each place.
func TestPipelinedCallsAreAnsweredInOrder(t *testing.T) {
	h := daemontest.Start(t, nil)
	inquiry := daemontest.Call("inquiry", "100")
	one := fmt.Sprintf("POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
		"text/xml\r\nContent-Length: %d\r\n\r\n%s", len(inquiry), inquiry)
	last := strings.Replace(one, "Host:", "Connection: close\r\nHost:", 1)
	stream := one + one + last
	for cut := 0; cut < len(stream); cut += 37 {
		conn, err := tls.Dial("tcp", h.Addr, h.TLS(t, "demo"))
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		io.WriteString(conn, stream[:cut])
		time.Sleep(time.Millisecond) // the first part may or may not have arrived
		io.WriteString(conn, stream[cut:])
		answers, err := io.ReadAll(conn)
		if got := strings.Count(string(answers), "<string>1000.00</string>"); got != 3 {
			t.Errorf("cut at %d: %d answers, %v", cut, got, err)
		}
		conn.Close()
	}
}

// TestKeptConnectionAnswersAsNewOnesDo sends each call over a connection of its own, and all
// calls over one connection. The answers are the same.
func TestKeptConnectionAnswersAsNewOnesDo(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	receipt := regexp.MustCompile(`<string>\d+ [^<]{44}</string>`) // each call has another receipt
	open := func() (*tls.Conn, *bufio.Reader) {
		conn, err := tls.Dial("tcp", h.Addr, h.TLS(t, "demo"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(5 * time.Minute)) // of thousands of calls
		return conn, bufio.NewReader(conn)
	}
	answer := func(r *bufio.Reader) (*http.Response, string) {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if date, err := http.ParseTime(resp.Header.Get("Date")); resp.StatusCode == http.StatusOK &&
			(err != nil || time.Since(date) > time.Hour) {
			t.Errorf("Date: %s", resp.Header.Get("Date"))
		}
		for _, name := range []string{"Date", "Content-Length", "Www-Authenticate"} {
			resp.Header.Del(name)
		}
		return resp, receipt.ReplaceAllString(string(body), "")
	}
	request := func(header, body string) string {
		return fmt.Sprintf("POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
			"text/xml\r\n%sContent-Length: %d\r\n\r\n%s", header, len(body), body)
	}
	inquiry, bad := daemontest.Call("inquiry", "100"), "Authorization: Bearer no.such.token\r\n"
	keyed := func(key, amount string) string {
		return request("Idempotency-Key: \""+key+"\"\r\n", daemontest.Call("deposit", "100",
			amount))
	}
	for _, group := range [][]string{
		{
			request("", inquiry), request("", inquiry),
			request("", daemontest.Call("inquiry", "101")),
			request("", "hello"), request("", ""),
			request("", daemontest.Call("withdraw", "100", "-1")),
			request("", daemontest.Call("noSuchMethod")),
			request("", daemontest.Call("system.listMethods")), request("", inquiry),
		},
		{
			keyed("a", "1.00"), keyed("a", "1.00"), keyed("a", "2.00"), keyed("a", "1.00"),
			keyed("", "1.00"),
		},
		{
			request("", inquiry), request("", inquiry), request(bad, inquiry), request("", inquiry),
			request("X: y\r\n", inquiry), request("", inquiry),
		},
		{
			request("", inquiry), request("", inquiry), request("", inquiry),
			request("Connection: close\r\n", inquiry),
		},
		{
			request("", inquiry), request("", inquiry), request("", inquiry),
			request("Transfer-Encoding: chunked\r\n", inquiry),
		},
		{
			request("", inquiry), request("", inquiry), request("", inquiry),
			request("Content-Length: 0\r\n", inquiry),
		},
	} {
		kept, answers := open()
		for i, request := range group {
			alone, its := open()
			io.WriteString(alone, request)
			want, wantBody := answer(its)
			io.WriteString(kept, request)
			got, gotBody := answer(answers)
			if got.Status != want.Status || got.Proto != want.Proto || gotBody != wantBody ||
				got.Close != want.Close ||
				!maps.EqualFunc(got.Header, want.Header, slices.Equal) {
				t.Errorf("%d: %s %v\n%s\nalone: %s %v\n%s", i, got.Status, got.Header, gotBody,
					want.Status, want.Header, wantBody)
			}
			alone.Close()
		}
	}

	// A caller whose token has expired is throttled in the end, which closes the connection.
	issued, _ := daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.token.issue",
		"user:demo",
		"inquiry", "600")).Result.(map[string]any)
	kept, answers := open()
	call := func(token string) *http.Response {
		io.WriteString(kept, request("Authorization: Bearer "+token+"\r\n", inquiry))
		resp, _ := answer(answers)
		return resp
	}
	for range 4 {
		if resp := call(fmt.Sprint(issued["token"])); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	for i := 0; ; i++ {
		resp := call("no.such.token")
		if resp.StatusCode == http.StatusTooManyRequests && resp.Close {
			break
		}
		if resp.StatusCode != http.StatusUnauthorized || resp.Close || i == 2000 {
			t.Fatalf("%d: %s %v", i, resp.Status, resp.Header)
		}
	}
	if _, err := answers.ReadByte(); err != io.EOF {
		t.Errorf("after the last answer: %v", err)
	}
}

// TestIdleConnectionsAreClosed uses a connection for longer than the idle timeout, but never
// idle for that long, and then waits until the server closes it.
func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, func(o *daemon.Options) { o.Server.IdleTimeout = 3 * time.Second })
	conn, err := tls.Dial("tcp", h.Addr, h.TLS(t, "demo"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	inquiry, answers := daemontest.Call("inquiry", "100"), bufio.NewReader(conn)
	for range 20 {
		fmt.Fprintf(conn, "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
			"text/xml\r\nContent-Length: %d\r\n\r\n%s", len(inquiry), inquiry)
		resp, err := http.ReadResponse(answers, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		io.Copy(io.Discard, resp.Body)
		time.Sleep(200 * time.Millisecond)
	}
	if _, err := answers.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection: %v", err)
	}
}

// TestCallOfAGoneCallerIsCarriedOut disconnects as soon as a deposit is sent. The deposit is
// carried out.
func TestCallOfAGoneCallerIsCarriedOut(t *testing.T) {
	h := daemontest.Start(t, nil)
	deposit := daemontest.Call("deposit", "100", "1.00")
	conn, err := tls.Dial("tcp", h.Addr, h.TLS(t, "demo"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
		"text/xml\r\nContent-Length: %d\r\n\r\n%s", len(deposit), deposit)
	conn.NetConn().Close()
	client := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, answer := h.Post(t, client, daemontest.Call("inquiry", "100"), nil)
		if strings.Contains(answer, "<string>1001.00</string>") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the deposit is not there: %s", answer)
		}
	}
}

func TestGoodAnswersHaveSafeHeaders(t *testing.T) {
	h := daemontest.Start(t, nil)
	resp, _ := h.Post(t, daemontest.HTTPClient(t, h.TLS(t, "demo")), daemontest.Call("inquiry",
		"100"), nil)
	for name, want := range map[string]string{
		"Content-Type": "text/xml; charset=utf-8", "Cache-Control": "no-store",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if resp.ContentLength <= 0 || len(resp.TransferEncoding) > 0 {
		t.Errorf("length %d, transfer encoding %v", resp.ContentLength, resp.TransferEncoding)
	}
}

func TestPlainHTTPIsToldToUseHTTPS(t *testing.T) {
	h := daemontest.Start(t, nil)
	conn, err := net.Dial("tcp", h.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 400 ") ||
		!strings.Contains(string(answer), "HTTPS") {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestWeakTLSIsRefused(t *testing.T) {
	h := daemontest.Start(t, nil)
	old := h.TLS(t, "demo")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if conn, err := tls.Dial("tcp", h.Addr, old); err == nil {
		conn.Close()
		t.Error("TLS 1.2 was accepted")
	}
	cfg := h.TLS(t, "demo")
	cfg.NextProtos = []string{"h2", "http/1.1"}
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for range 2 {
		conn, err := tls.Dial("tcp", h.Addr, cfg)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		io.ReadAll(conn)
		state := conn.ConnectionState()
		conn.Close()
		if state.NegotiatedProtocol != "http/1.1" || state.DidResume ||
			state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
			t.Errorf("protocol %q, resumed %v, version %x, key exchange %v",
				state.NegotiatedProtocol, state.DidResume, state.Version, state.CurveID)
		}
	}
}

func TestPageOfMethodsNeedsNoSignInAndShowsNoData(t *testing.T) {
	h := daemontest.Start(t, nil)
	cfg := h.TLS(t, "demo")
	cfg.GetClientCertificate = nil // the page needs no sign-in
	for _, path := range []string{"/", "/RPC2"} {
		resp, err := daemontest.HTTPClient(t, cfg).Get("https://" + h.Addr + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(text), "withdraw") ||
			!strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %s, %v", path, resp.Status, err)
		}
		if strings.Contains(string(text), h.Name) || strings.Contains(string(text), "1000.00") {
			t.Errorf("%s tells data", path)
		}
	}
}

// TestExamplesEndBeforeTheFirstArgumentThatTheyLeaveOut reads the examples of methods whose
// request id comes after an optional argument.
func TestExamplesEndBeforeTheFirstArgumentThatTheyLeaveOut(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	r, err := daemontest.HTTPClient(t, h.TLS(t, "demo")).Get("https://" + h.Addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{
		`server.deposit(100, "12.50", "order-4711")`, `server.authorize(100, "12.50")`,
		`server.capture("h4711")`,
	} {
		if page := html.UnescapeString(string(text)); !strings.Contains(page, call) {
			t.Errorf("the page of methods does not have %s", call)
		}
	}
}
