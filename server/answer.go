package server

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// An answer is an http.ResponseWriter that keeps what is written, to be sent in one
// piece.
type answer struct {
	header http.Header
	status int // 0 before it is written
	body   []byte
	sent   []byte // the body and what comes before it
}

var answers = sync.Pool{New: func() any { return &answer{header: make(http.Header)} }}

// largeAnswer is how much of an answer, in bytes, is kept for another one.
const largeAnswer = 16 << 10

// release gives the answer back. Nobody uses it after that.
func (a *answer) release() {
	if cap(a.sent) <= largeAnswer {
		clear(a.header)
		*a = answer{header: a.header, body: a.body[:0], sent: a.sent[:0]}
		answers.Put(a)
	}
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.body = append(a.body, p...)
	return len(p), nil
}

// bytes returns the response (RFC 9112, section 4) that is sent now.
func (a *answer) bytes(now time.Time) []byte {
	a.WriteHeader(http.StatusOK)
	b := append(a.sent, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(append(b, ' '), http.StatusText(a.status)...)
	b = append(b, "\r\nDate: "...)
	b = now.UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(a.body)), 10)
	b = append(b, "\r\n"...)
	for name, values := range a.header {
		if name == "Content-Length" {
			continue
		}
		for _, value := range values {
			b = append(append(b, name...), ": "...)
			b = append(append(b, value...), "\r\n"...)
		}
	}
	b = append(b, "\r\n"...)
	a.sent = append(b, a.body...)
	return a.sent
}
