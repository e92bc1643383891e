package server

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func filtered(stream string, cuts ...int) string {
	var f headFilter
	p := []byte(stream)
	from := 0
	for _, cut := range append(cuts, len(p)) {
		f.filter(p[from:cut])
		from = cut
	}
	return string(p)
}

func TestHeadFilter(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: a\r\n"
	for _, tt := range []struct{ name, in, want string }{
		{"nothing to change", get + "\r\n", get + "\r\n"},
		{"a coding", get + "Transfer-Encoding: chunked\r\n\r\n", get + "Transfer_Encoding: chunked\r\n\r\n"},
		{"any case", get + "tRANSFER-eNCODING: x\n\n", get + "tRANSFER_eNCODING: x\n\n"},
		{"bare line feeds", "GET / HTTP/1.1\nTransfer-Encoding: x\n\n", "GET / HTTP/1.1\nTransfer_Encoding: x\n\n"},
		{"in a value", get + "X: Transfer-Encoding: x\r\n\r\n", get + "X: Transfer-Encoding: x\r\n\r\n"},
		{"a continued line", get + "X: y\r\n z\r\n\r\n", get + "X: y\r\n:z\r\n\r\n"},
		{"in a body", get + "Content-Length: 24\r\n\r\nTransfer-Encoding: x\r\n\r\n", get + "Content-Length: 24\r\n\r\nTransfer-Encoding: x\r\n\r\n"},
		{
			"after a body", get + "content-length:\t 3 \r\n\r\nabc" + "\r\n" + get + "Transfer-Encoding: x\r\n\r\n",
			get + "content-length:\t 3 \r\n\r\nabc" + "\r\n" + get + "Transfer_Encoding: x\r\n\r\n",
		},
		{
			"after a long length", get + "Content-Length: " + strings.Repeat("0", 200) + "1\r\n\r\na" + get + "Transfer-Encoding: x\r\n\r\n",
			get + "Content-Length: " + strings.Repeat("0", 200) + "1\r\n\r\na" + get + "Transfer_Encoding: x\r\n\r\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := filtered(tt.in); got != tt.want {
				t.Errorf("%q becomes %q, want %q", tt.in, got, tt.want)
			}
			for cut := range len(tt.in) { // the same, however it arrives
				if got := filtered(tt.in, cut); got != tt.want {
					t.Errorf("cut at %d: %q", cut, got)
				}
			}
		})
	}
}

// FuzzHeadFilter reads what the filter lets through as net/http does: no
// request has a coding, whatever came before it and however it was cut.
func FuzzHeadFilter(f *testing.F) {
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 60, 90)
	f.Add("GET / HTTP/1.0\nTransfer-Encoding: gzip\nContent-Length:\n 5\n\nhello", 3, 16)
	f.Add("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 00\r\ntransfer-encoding: identity\r\n\r\n", 1, 2)
	f.Fuzz(func(t *testing.T, stream string, one, two int) {
		if one < 0 || two < one || two > len(stream) {
			t.Skip()
		}
		whole := filtered(stream)
		if parts := filtered(stream, one, two); parts != whole {
			t.Fatalf("in parts %q, whole %q", parts, whole)
		}
		r := bufio.NewReader(bytes.NewReader([]byte(whole)))
		for {
			for next, err := r.Peek(1); err == nil && slices.Contains([]byte("\r\n"), next[0]); next, err = r.Peek(1) {
				r.Discard(1)
			}
			req, err := http.ReadRequest(r)
			if err != nil {
				if strings.Contains(err.Error(), "transfer encoding") {
					t.Fatalf("%q: %v", whole, err)
				}
				return // net/http closes the connection
			}
			if len(req.TransferEncoding) > 0 {
				t.Fatalf("%q: %q", whole, req.TransferEncoding)
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
		}
	})
}
