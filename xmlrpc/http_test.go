package xmlrpc

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// listen serves s on a real port, as a program does.
func listen(t *testing.T, s *Server[*caller]) (address string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			s.ServePage(w, r)
		case s.Precheck(w, r):
			s.ServeCall(w, r, alice)
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// exchange sends a request verbatim and returns the answer, its body, and whether the server
// closed the connection after it.
func exchange(t *testing.T, address, request string) (response *http.Response, body string,
	closed bool,
) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	response, err = http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.Close {
		_, err := reader.ReadByte() // returns when the server has closed the connection
		closed = err != nil
	}
	return response, string(content), closed
}

func post(headers, body string) string {
	return "POST /RPC2 HTTP/1.1\r\nHost: bank.example\r\n" + headers + "\r\n" + body
}

func TestHTTPStatusSaysWhatIsWrongBelowRPC(t *testing.T) {
	address := listen(t, newTestServer(t, nil, Config[*caller]{}))
	whoami := "<methodCall><methodName>whoami</methodName></methodCall>"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(whoami))
	const textXML = "Content-Type: text/xml\r\n"
	for _, tt := range []struct {
		name, request string
		status        int
		contains      string
	}{
		{"call", post(textXML+length, whoami), 200, "<string>alice</string>"},
		{"application/xml", post("Content-Type: Application/XML; charset=\"utf-8\"\r\n"+length,
			whoami), 200, "alice"},
		{
			"charset", post("Content-Type: text/xml; charset=klingon\r\n"+length, whoami), 200,
			"<int>-32701</int>",
		},
		{"empty body", post(textXML+"Content-Length: 0\r\n", ""), 200, "<int>-32700</int>"},
		{"no call", post(textXML+"Content-Length: 4\r\n", "<a/>"), 200, "<int>-32600</int>"},

		{"no type", post(length, whoami), 415, "text/xml"},
		{"JSON", post("Content-Type: application/json\r\n"+length, whoami), 415, "text/xml"},
		{"a form", post("Content-Type: text/plain\r\n"+length, whoami), 415, "text/xml"},
		{"two types", post(textXML+textXML+length, whoami), 415, "text/xml"},
		{
			"type with junk", post("Content-Type: text/xml; charset\r\n"+length, whoami), 415,
			"text/xml",
		},
		{
			"gzip", post(textXML+"Content-Encoding: gzip\r\n"+length, whoami), 415,
			"Content-Encoding",
		},
		{
			"empty Content-Encoding", post(textXML+"Content-Encoding:\r\n"+length, whoami), 415,
			"Content-Encoding",
		},

		{"no length", post(textXML, ""), 411, "Content-Length"},
		{
			"chunked", post(textXML+"Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), 411,
			"Content-Length",
		},
		{
			"chunked and length", post(textXML+"Transfer-Encoding: chunked\r\n"+length,
				"0\r\n\r\n"),
			411, "Content-Length",
		},

		{
			"10 GiB announced", post(textXML+"Content-Length: 10737418240\r\n", ""), 413,
			"262144 bytes",
		},
		{"a byte too many", post(textXML+"Content-Length: 262145\r\n", ""), 413, "262144 bytes"},

		{"PUT", "PUT /RPC2 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405, "POST"},
		{"OPTIONS", "OPTIONS /RPC2 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "POST"},
	} {
		response, body, closed := exchange(t, address, tt.request)
		if response.StatusCode != tt.status || !strings.Contains(body, tt.contains) {
			t.Errorf("%s: %d %s, want %d with %q", tt.name, response.StatusCode, body, tt.status,
				tt.contains)
		}
		h := response.Header
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Server") != "" {
			t.Errorf("%s: headers %v", tt.name, h)
		}
		if h.Get("Content-Length") != strconv.Itoa(len(body)) {
			t.Errorf("%s: Content-Length %s of %d bytes", tt.name, h.Get("Content-Length"),
				len(body))
		}
		if (tt.status != 200) != closed {
			t.Errorf("%s: connection closed: %v", tt.name, closed)
		}
		if allow := h.Get("Allow"); (tt.status == 405) != (allow == "GET, HEAD, POST") {
			t.Errorf("%s: Allow %q", tt.name, allow)
		}
		if tt.status == 200 && (h.Get("Content-Type") != "text/xml; charset=utf-8" ||
			!strings.HasPrefix(body, `<?xml version="1.0"?>`)) {
			t.Errorf("%s: %v %s", tt.name, h, body)
		}
	}
}

// TestConnectionIsKeptAfterAFault sends several calls over one connection, with faults among
// them.
func TestConnectionIsKeptAfterAFault(t *testing.T) {
	conn, err := net.Dial("tcp", listen(t, newTestServer(t, nil, Config[*caller]{})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for _, method := range []string{"whoami", "nosuch", "panics", "whoami"} {
		body := "<methodCall><methodName>" + method + "</methodName></methodCall>"
		if _, err := io.WriteString(conn,
			post(fmt.Sprintf("Content-Type: text/xml\r\nContent-Length: %d\r\n", len(body)),
				body)); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != 200 ||
			response.Close {
			t.Errorf("%s: %v, %v", method, response, err)
		}
	}
}

// TestBodyThatDoesNotArriveClosesTheConnection has a client that disconnects, a client that
// times out, and a body that turns out to be longer than announced, as happens behind a
// middleware with a limit.
func TestBodyThatDoesNotArriveClosesTheConnection(t *testing.T) {
	s := newTestServer(t, nil, Config[*caller]{Limits: Limits{BodyBytes: 1000}})
	start := strings.NewReader("<methodCall>")
	for status, body := range map[int]io.Reader{
		http.StatusBadRequest: io.MultiReader(start,
			iotest.ErrReader(io.ErrUnexpectedEOF)),
		http.StatusRequestTimeout: iotest.ErrReader(&net.OpError{
			Op:  "read",
			Err: timeout(t),
		}),
		http.StatusRequestEntityTooLarge: bytes.NewReader(make([]byte, 1001)),
	} {
		r := httptest.NewRequest(http.MethodPost, "/RPC2", body)
		r.Header.Set("Content-Type", "text/xml")
		w := httptest.NewRecorder()
		s.ServeCall(w, r, alice)
		if w.Code != status || w.Header().Get("Connection") != "close" {
			t.Errorf("%d %v, want %d", w.Code, w.Header(), status)
		}
	}
}

// timeout is the error of a read past its deadline.
func timeout(t *testing.T) error {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if err := a.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	_, err := a.Read(make([]byte, 1))
	return err
}

// TestWorstBodiesGetWellFormedAnswers sends the bodies that cost the most to decode.
func TestWorstBodiesGetWellFormedAnswers(t *testing.T) {
	address := listen(t, newTestServer(t, nil, Config[*caller]{}))
	for name, body := range worstBodies() {
		response, answer, _ := exchange(t, address,
			post(fmt.Sprintf("Content-Type: text/xml\r\nContent-Length: %d\r\n", len(body)),
				string(body)))
		if err := xml.Unmarshal([]byte(answer), new(struct{})); response.StatusCode != 200 ||
			err != nil {
			t.Errorf("%s: %d %.200s %v", name, response.StatusCode, answer, err)
		}
	}
}
