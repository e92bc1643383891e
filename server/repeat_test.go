package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

// readCall reads a request as net/http does. It has nil for what net/http refuses.
func readCall(stream string) (r *http.Request, head []byte) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(filtered(stream))))
	end := strings.Index(stream, "\r\n\r\n")
	if err != nil || end < 0 || r.Method != http.MethodPost || len(r.Header[refusedCoding]) > 0 {
		return nil, nil
	}
	return r, []byte(stream[:end+len(headEnd)])
}

func TestRepeat(t *testing.T) {
	const head = "POST /RPC2 HTTP/1.1\r\nHost: a\r\nauthorization: Bearer x\r\nContent-Type: text/xml\r\nContent-Length: "
	const first = head + "3\r\n\r\nabc"
	for _, tt := range []struct {
		name, first, second string
		is                  bool
		rest                string
	}{
		{"the same", first, first, true, ""},
		{"another body", first, head + "3\r\n\r\nxyz", true, ""},
		{"another length", first, head + "11\r\n\r\nhello world", true, ""},
		{"spaces", first, head + " 003  \r\n\r\nabc", true, ""},
		{"another token", first, strings.Replace(first, "Bearer x", "Digest username=\"y\"", 1), true, ""},
		{"no token", first, strings.Replace(first, "Bearer x", "", 1), true, ""},
		{"two at once", first, first + first, true, first},
		{"part of the next", first, first + "POST", true, "POST"},
		{"no body", first, head + "0\r\n\r\n", true, ""},

		{"another path", first, strings.Replace(first, "RPC2", "RPC3", 1), false, ""},
		{"a field more", first, strings.Replace(first, "Host", "Connection: close\r\nHost", 1), false, ""},
		{"a field more at the end", first, strings.Replace(first, "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 1), false, ""},
		{"a field less", first, strings.Replace(first, "Host: a\r\n", "", 1), false, ""},
		{"a name in other letters", first, strings.Replace(first, "authorization", "Authorization", 1), false, ""},
		{"no length", first, head + "\r\n\r\nabc", false, ""},
		{"a negative length", first, head + "-3\r\n\r\nabc", false, ""},
		{"a length and a sign", first, head + "+3\r\n\r\nabc", false, ""},
		{"a length of two words", first, head + "3 3\r\n\r\nabc", false, ""},
		{"a long length", first, head + "00003\r\n\r\nabc", false, ""},
		{"a body cut short", first, head + "4\r\n\r\nabc", false, ""},
		{"a head cut short", first, head + "3\r\n\r", false, ""},
		{"a head cut in a value", first, head, false, ""},
		{"a line feed in a value", first, strings.Replace(first, "Bearer x", "Bearer x\nX: y", 1), false, ""},
		{"a carriage return in a value", first, strings.Replace(first, "Bearer x", "Bearer x\rX: y", 1), false, ""},
		{"a zero byte in a value", first, strings.Replace(first, "Bearer x", "Bearer\x00x", 1), false, ""},

		{"after HTTP/1.0", strings.Replace(first, "1.1", "1.0", 1), strings.Replace(first, "1.1", "1.0", 1), false, ""},
		{"after a last one", strings.Replace(first, "Host", "Connection: close\r\nHost", 1), strings.Replace(first, "Host", "Connection: close\r\nHost", 1), false, ""},
		{"after one with an expectation", strings.Replace(first, "Host", "Expect: 100-continue\r\nHost", 1), strings.Replace(first, "Host", "Expect: 100-continue\r\nHost", 1), false, ""},
		{"after two lengths", head + "3\r\nContent-Length: 3\r\n\r\nabc", head + "3\r\nContent-Length: 3\r\n\r\nabc", false, ""},
		{"after a bare line feed", strings.Replace(first, "Host: a\r", "Host: a", 1), strings.Replace(first, "Host: a\r", "Host: a", 1), false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, head := readCall(tt.first)
			if r == nil {
				t.Fatal("the first one is not a good one")
			}
			c := newRepeat(head, r)
			if c == nil {
				if tt.is {
					t.Fatal("nothing can repeat it")
				}
				return
			}
			got, rest := c.next([]byte(tt.second))
			if (got != nil) != tt.is || string(rest) != tt.rest {
				t.Errorf("%v, %q", got, rest)
			}
			if want, _ := readCall(tt.second); got != nil && !reflect.DeepEqual(got.Header, want.Header) {
				t.Errorf("header %q, want %q", got.Header, want.Header)
			}
		})
	}
}

// TestWhoAnswers has the calls of a connection answered by one handler where net/http
// gets them and by another, which knows no such path, where they are repeats.
func TestWhoAnswers(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	s := &Server{cfg: Config{TLS: certified.TLS, HeaderBytes: 16 << 10, HeaderTimeout: time.Minute, IdleTimeout: time.Minute}}
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	standard := http.Server{ConnContext: withWire, ConnState: s.states.note, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c := wireOf(r.Context())
		c.learn(r)
		c.calling.Store(true)
		defer c.calling.Store(false)
		io.Copy(io.Discard, r.Body)
		time.Sleep(time.Millisecond) // as long as a commit
	})}
	defer standard.Close()
	go standard.Serve(&wireListener{listener, s})
	trusted := certified.Client().Transport.(*http.Transport).TLSClientConfig
	for _, tt := range []struct {
		name   string
		header func(call int) string
		is     bool // answered as repeats in the end, when net/http has one without having begun with the next
	}{
		{"all alike", func(int) string { return "" }, true},
		{"alike from the second one on", func(call int) string { return strings.Repeat("X: y\r\n", min(call, 1)) }, true},
		{"each another", func(call int) string { return strings.Repeat("X: y\r\n", call) }, false},
		{"with an expectation", func(int) string { return "Expect: 100-continue\r\n" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: trusted.RootCAs, ServerName: "example.com"})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			answers := bufio.NewReader(conn)
			is := false
			for call := 0; call < 50 && !is; call++ {
				io.WriteString(conn, "POST /nothing HTTP/1.1\r\nHost: a\r\n"+tt.header(call)+"Content-Length: 5\r\n\r\nhello")
				resp, err := http.ReadResponse(answers, nil)
				if err == nil && resp.StatusCode == http.StatusContinue {
					resp, err = http.ReadResponse(answers, nil)
				}
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				if is = resp.StatusCode == http.StatusNotFound; is && call < 2 {
					t.Errorf("call %d is none", call)
				}
			}
			if is != tt.is {
				t.Errorf("a call was taken for a repeat: %t", is)
			}
		})
	}
}

// FuzzRepeat compares what a repeat is taken for with what net/http reads.
func FuzzRepeat(f *testing.F) {
	const head = "POST / HTTP/1.1\r\nHost: a\r\nTraceparent: 00\r\nIdempotency-Key: k\r\nContent-Length: "
	f.Add(head+"3\r\n\r\nabc", head+"3\r\n\r\nabc")
	f.Add(head+"3\r\n\r\nabc", head+" 5 \r\n\r\nabcde")
	f.Add(head+"3\r\nX: y\r\n\r\nabc", head+"1\r\nX: y\r\n\r\nabc")
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nAuthorization: Basic a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nAuthorization: \t\r\n\r\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		r, head := readCall(first)
		if r == nil {
			t.Skip()
		}
		c := newRepeat(head, r)
		if c == nil {
			t.Skip()
		}
		got, rest := c.next([]byte(second))
		if got == nil {
			t.Skip()
		}
		whole := bufio.NewReader(strings.NewReader(filtered(second)))
		want, err := http.ReadRequest(whole)
		if err != nil {
			t.Fatalf("%q after %q: %v", second, first, err)
		}
		wantBody, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatalf("%q after %q: %v", second, first, err)
		}
		wantRest, _ := io.ReadAll(whole)
		gotBody, _ := io.ReadAll(got.Body)
		if !bytes.Equal(gotBody, wantBody) || filtered(string(rest)) != string(wantRest) {
			t.Errorf("%q after %q: body %q and %q, want %q and %q", second, first, gotBody, rest, wantBody, wantRest)
		}
		if !maps.EqualFunc(got.Header, want.Header, func(a, b []string) bool { return reflect.DeepEqual(a, b) }) {
			t.Errorf("%q after %q: header %q, want %q", second, first, got.Header, want.Header)
		}
		if got.Method != want.Method || got.RequestURI != want.RequestURI || got.URL.String() != want.URL.String() || got.Host != want.Host ||
			got.Proto != want.Proto || got.ContentLength != want.ContentLength || got.Close != want.Close || len(want.TransferEncoding) > 0 {
			t.Errorf("%q after %q: %+v, want %+v", second, first, got, want)
		}
	})
}
