package server

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// A repeat is the head of a call that net/http has read and found good. Who keeps a
// connection sends the same one again and again, but for the values of a few
// fields: such calls are answered without reading their heads anew, and without
// what else net/http does around a request. A call that differs in another byte,
// or has not arrived whole, is left to net/http.
type repeat struct {
	pieces  []piece
	request *http.Request // the last of these calls
	body    wholeBody     // of it
}

// A piece of a head is the same in all of them. Behind it is the value of a field
// that may change.
type piece struct {
	text  []byte
	field int // in changing; none behind the last piece
}

// changing are the fields whose values may differ between one call and the next.
// None of them but the length means anything to HTTP itself.
var changing = [...]string{contentLength: "Content-Length", "Authorization", "Idempotency-Key", "Traceparent"}

const (
	contentLength = 0
	none          = -1
)

var lineEnd = []byte("\r\n")

// newRepeat returns what calls after r are compared with. r is what net/http read
// from head. It returns nil where that would take more than to compare.
func newRepeat(head []byte, r *http.Request) *repeat {
	if !r.ProtoAtLeast(1, 1) || r.Close || len(r.Header["Expect"]) > 0 ||
		bytes.Count(head, []byte("\n")) != bytes.Count(head, lineEnd) {
		return nil
	}
	c := &repeat{request: r}
	var has [len(changing)]bool
	begin := 0 // of the piece
	for at := 0; at < len(head); {
		line := head[at : at+bytes.Index(head[at:], lineEnd)]
		name, _, _ := strings.Cut(string(line), ":")
		if i := slices.IndexFunc(changing[:], func(field string) bool { return strings.EqualFold(field, name) }); i >= 0 {
			if has[i] {
				return nil // which of two counts is not decided here
			}
			has[i] = true
			c.pieces = append(c.pieces, piece{head[begin : at+len(name)+len(":")], i})
			begin = at + len(line)
		}
		at += len(line) + len(lineEnd)
	}
	c.pieces = append(c.pieces, piece{head[begin:], none})
	return c
}

// next returns the call that p begins with and what comes after it, or nil when that
// is no repeat or its end is not there. A call is good until the next one is read.
func (c *repeat) next(p []byte) (r *http.Request, rest []byte) {
	var values [len(changing)][]byte
	for _, piece := range c.pieces {
		if !bytes.HasPrefix(p, piece.text) {
			return nil, nil
		}
		p = p[len(piece.text):]
		if piece.field == none {
			break
		}
		end := bytes.IndexByte(p, '\r')
		if end < 0 || !printable(p[:end]) {
			return nil, nil
		}
		values[piece.field] = bytes.Trim(p[:end], " ")
		p = p[end:]
	}
	length, ok := bodyLength(values[contentLength])
	if !ok || length > len(p) {
		return nil, nil
	}
	for _, piece := range c.pieces[:len(c.pieces)-1] {
		value := values[piece.field] // which may be empty
		if known := c.request.Header[changing[piece.field]]; known[0] != string(value) {
			known[0] = string(value)
		}
	}
	c.body.Reset(p[:length])
	c.request.Body, c.request.ContentLength = &c.body, int64(length)
	return c.request, p[length:]
}

func printable(value []byte) bool {
	for _, b := range value {
		if b < ' ' || b > '~' {
			return false
		}
	}
	return true
}

// bodyLength reads the Content-Length of a call that arrives in one piece.
func bodyLength(value []byte) (n int, ok bool) {
	for _, b := range value {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = 10*n + int(b-'0')
	}
	return n, 0 < len(value) && len(value) <= len("9999")
}

// A wholeBody is a body that has arrived.
type wholeBody struct{ bytes.Reader }

// Close implements io.Closer.
func (*wholeBody) Close() error { return nil }
