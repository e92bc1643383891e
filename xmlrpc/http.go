package xmlrpc

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Precheck answers requests that can be refused by their head alone, before authentication: a
// method other than POST, a media type other than XML, a Content-Encoding, no Content-Length,
// or a body that is too large. It reports whether the request may go on to ServeCall. It does
// not read the body.
func (s *Server[C]) Precheck(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, HEAD, POST")
		Decline(w, http.StatusMethodNotAllowed, "An XML-RPC call is sent with POST.")
	case len(r.TransferEncoding) > 0 || r.ContentLength < 0 || len(r.Header["Content-Length"]) == 0:
		Decline(w, http.StatusLengthRequired, "An XML-RPC call has a Content-Length, and no "+
			"Transfer-Encoding.")
	case len(r.Header["Content-Encoding"]) > 0:
		Decline(w, http.StatusUnsupportedMediaType, "An XML-RPC call has no Content-Encoding.")
	case r.ContentLength > s.cfg.Limits.BodyBytes:
		Decline(w, http.StatusRequestEntityTooLarge,
			fmt.Sprintf("A call has at most %d bytes.", s.cfg.Limits.BodyBytes))
	default:
		if _, ok := mediaType(r); ok {
			return true
		}
		Decline(w, http.StatusUnsupportedMediaType, "The Content-Type of an XML-RPC call is "+
			"text/xml or application/xml.")
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
	var err error
	if *body, err = readBody((*body)[:0], r.Body, s.cfg.Limits.BodyBytes); err != nil {
		refuseBody(w, err)
		return
	}
	if s.cfg.Arrived != nil {
		if caller, ok = s.cfg.Arrived(w, r, caller); !ok {
			return
		}
	}
	if len(*body) > largeCall {
		select {
		case s.large <- struct{}{}:
			defer func() { <-s.large }()
		case <-r.Context().Done():
			return // the client has disconnected
		}
	}
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

var errTooLarge = errors.New("body too large")

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
