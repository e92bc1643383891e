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

// Precheck answers what can be refused by the head of a request alone, before
// anybody asks who sent it: another method than POST, another media type than
// XML, a Content-Encoding, no Content-Length, and too large a body. It reports
// whether the request may go on to ServeCall. The answer leaves before any of
// the body is read.
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

// mediaType reports whether the content is XML, and returns its charset
// parameter, or "".
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

// largeCall is how many bytes of body make a call a large one.
const largeCall = 16 << 10

// ServeCall answers a request that Precheck let pass and whose caller is
// known. Faults travel in an answer with status 200. It writes the answer in
// one piece, after the reply of the method is there.
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
			return // the client is gone
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
	w.Write(*out) // a client that is gone may ask again
}

var errTooLarge = errors.New("body too large")

// readBody appends what r holds to buf. The buffer grows with what arrives,
// not with what was announced.
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

// lingerTime is how long a client may go on sending a body that was declined.
// If the server closed at once, a client that is still writing would see a
// reset connection instead of the answer.
const lingerTime = 500 * time.Millisecond

// Decline answers below RPC with a sentence, and ends the connection: what is
// left of the body is not worth reading.
func Decline(w http.ResponseWriter, status int, sentence string) {
	// tests answer into a buffer, which has none
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingerTime))
	h := w.Header()
	Protect(h)
	h.Set("Connection", "close")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(sentence)+1))
	w.WriteHeader(status)
	io.WriteString(w, sentence+"\n")
}

// Values of headers that all answers share. Nobody changes them.
var (
	noStore    = []string{"no-store"}
	noSniff    = []string{"nosniff"}
	answerType = []string{"text/xml; charset=utf-8"}
)

// Protect sets the headers that every answer has.
func Protect(h http.Header) {
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
}
