package xmlrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Precheck answers requests that can be refused by their head alone, before authentication: those
// of CheckHead, and a media type other than XML. It reports whether the request may go on to
// ServeCall. It does not read the body.
func (s *Server[C]) Precheck(w http.ResponseWriter, r *http.Request) bool {
	if !CheckHead(w, r, "An XML-RPC call", "GET, HEAD, POST", s.cfg.Limits.BodyBytes) {
		return false
	}
	if _, ok := mediaType(r); !ok {
		Decline(w, http.StatusUnsupportedMediaType, "The Content-Type of an XML-RPC call is "+
			"text/xml or application/xml.")
		return false
	}
	return true
}

// CheckHead answers requests that no call arrives by: a method other than POST, a Content-Encoding,
// no Content-Length, or more than most bytes. what is a call in a sentence, and allow the methods
// that the path has. It is for other protocols beside XML-RPC as well.
func CheckHead(w http.ResponseWriter, r *http.Request, what, allow string, most int64) bool {
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", allow)
		Decline(w, http.StatusMethodNotAllowed, what+" is sent with POST.")
	case len(r.TransferEncoding) > 0 || r.ContentLength < 0 || len(r.Header["Content-Length"]) == 0:
		Decline(w, http.StatusLengthRequired, what+" has a Content-Length, and no "+
			"Transfer-Encoding.")
	case len(r.Header["Content-Encoding"]) > 0:
		Decline(w, http.StatusUnsupportedMediaType, what+" has no Content-Encoding.")
	case r.ContentLength > most:
		Decline(w, http.StatusRequestEntityTooLarge,
			fmt.Sprintf("A call has at most %d bytes.", most))
	default:
		return true
	}
	return false
}

// mediaType reports whether the content is XML, and returns its charset parameter, or "".
func mediaType(r *http.Request) (charset string, ok bool) {
	header := r.Header["Content-Type"]
	if len(header) != 1 {
		return "", false
	}
	if header[0] == "text/xml" {
		return "", true // what nearly every client sends
	}
	media, params, err := mime.ParseMediaType(header[0])
	return params["charset"], err == nil && (media == "text/xml" || media == "application/xml")
}

// largeCall is the size of a body from which a call counts as large, in bytes.
const largeCall = 16 << 10

// ServeCall answers a request that has passed Precheck and whose caller is authenticated.
// Faults are answers with status 200. It writes the answer in one piece, after the method's
// reply is complete.
func (s *Server[C]) ServeCall(w http.ResponseWriter, r *http.Request, caller C) {
	charset, ok := mediaType(r)
	if !ok {
		Decline(w, http.StatusUnsupportedMediaType, "The Content-Type of an XML-RPC call is "+
			"text/xml or application/xml.")
		return
	}
	body := buffers.Get().(*[]byte)
	defer releaseBuffer(body)
	if *body, ok = ReadBody(w, r, (*body)[:0], s.cfg.Limits.BodyBytes); !ok {
		return
	}
	if s.cfg.Arrived != nil {
		if caller, ok = s.cfg.Arrived(w, r, caller, *body); !ok {
			return
		}
	}
	done, ok := s.Turn(r.Context(), len(*body))
	if !ok {
		return // the client has disconnected
	}
	defer done()
	out := buffers.Get().(*[]byte)
	defer releaseBuffer(out)
	var release func()
	if *out, release, ok = s.serve(r.Context(), (*out)[:0], *body, charset, caller); !ok {
		w.Header().Set("Retry-After", "1")
		Decline(w, http.StatusServiceUnavailable, "Too many large answers are on their way. Ask "+
			"again in a moment.")
		return
	}
	defer release()
	h := w.Header()
	Protect(h)
	h["Content-Type"] = answerType
	h["Content-Length"] = []string{strconv.Itoa(len(*out))}
	w.Write(*out) // a client that has disconnected may ask again
}

// Turn waits until a call with a body of so many bytes may be carried out: there are at most
// Limits.LargeCalls large ones at a time, those of other protocols among them. done is called after
// the call. ok is false if ctx is done before.
func (s *Server[C]) Turn(ctx context.Context, bytes int) (done func(), ok bool) {
	if bytes <= largeCall {
		return func() {}, true
	}
	select {
	case s.large <- struct{}{}:
		return func() { <-s.large }, true
	case <-ctx.Done():
		return nil, false
	}
}

var errTooLarge = errors.New("body too large")

// ReadBody appends the body of r, of at most most bytes, to buf. If it does not arrive whole,
// ReadBody answers the request and returns false.
func ReadBody(w http.ResponseWriter, r *http.Request, buf []byte, most int64) ([]byte, bool) {
	buf, err := readBody(buf, r.Body, most)
	if err != nil {
		refuseBody(w, err)
	}
	return buf, err == nil
}

// readBody appends the content of r to buf. The buffer grows with the bytes that arrive, not
// with the announced length.
func readBody(buf []byte, r io.Reader, most int64) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > most:
			return buf, errTooLarge
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

func refuseBody(w http.ResponseWriter, err error) {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errTooLarge), errors.As(err, &tooLarge):
		Decline(w, http.StatusRequestEntityTooLarge, "The call is too large.")
	case errors.Is(err, os.ErrDeadlineExceeded):
		Decline(w, http.StatusRequestTimeout, "The call took too long to arrive.")
	default:
		Decline(w, http.StatusBadRequest, "The call ended before its Content-Length.")
	}
}

// lingerTime is how long a client may go on sending a refused body. If the server closed at
// once, a client that is still writing would get a reset connection instead of the answer.
const lingerTime = 500 * time.Millisecond

// Decline answers with an HTTP status and a sentence, and closes the connection without reading
// the rest of the body.
func Decline(w http.ResponseWriter, status int, sentence string) {
	// Response recorders of tests do not support deadlines.
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingerTime))
	h := w.Header()
	Protect(h)
	h.Set("Connection", "close")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(sentence)+1))
	w.WriteHeader(status)
	io.WriteString(w, sentence+"\n")
}

// Header values that all answers share. They are never modified.
var (
	noStore    = []string{"no-store"}
	noSniff    = []string{"nosniff"}
	answerType = []string{"text/xml; charset=utf-8"}
)

// Protect sets the headers common to all answers.
func Protect(h http.Header) {
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
}
