package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"example.com/atm/internal/printable"
)

// MaxRetryAfter bounds what a receiver can ask for.
const MaxRetryAfter = time.Hour

const (
	maxAnswerBytes  = 64 << 10 // are read of an answer, so that its connection can be kept
	maxExcerptBytes = 200      // of an answer, or of an error, are shown
)

// An Answer is what a receiver said.
type Answer struct {
	Status     int           // of HTTP; 0 if there was none, or it was 2xx and the rest broke off
	RetryAfter time.Duration // what 429 and 503 ask for, at most MaxRetryAfter, or 0
}

func isSuccess(status int) bool { return status >= 200 && status <= 299 }

// readBody reads the beginning of an answer. An answer that is longer is not kept up with: its
// connection is closed.
func readBody(r *http.Response) ([]byte, error) {
	if r.StatusCode == http.StatusSwitchingProtocols {
		return nil, nil // what follows is no body, and never ends
	}
	return io.ReadAll(io.LimitReader(r.Body, maxAnswerBytes))
}

// answer says what the receiver answered, and why it is no success unless it is one.
func answer(r *http.Response, body []byte, now time.Time) (Answer, error) {
	a := Answer{Status: r.StatusCode}
	if isSuccess(a.Status) {
		return a, nil
	}
	if a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable {
		a.RetryAfter = retryAfter(r.Header.Get("Retry-After"), now)
	}
	text := fmt.Sprintf("the receiver answered %d", a.Status)
	if known := http.StatusText(a.Status); known != "" {
		text += " " + known
	}
	if a.Status >= 300 && a.Status <= 399 {
		text += "; redirects are not followed"
	}
	refusal := &AnswerError{Sentence: text}
	if len(body) > 0 {
		refusal.Excerpt = excerpt(string(body))
	}
	return a, refusal
}

// An AnswerError is an answer that is no success.
type AnswerError struct {
	Sentence string // which answer it is
	Excerpt  string // the beginning of what the receiver says, printable; empty for nothing
}

// Error implements error.
func (e *AnswerError) Error() string {
	if e.Excerpt == "" {
		return e.Sentence
	}
	return e.Sentence + ": " + e.Excerpt
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3).
func retryAfter(value string, now time.Time) time.Duration {
	const most = uint64(MaxRetryAfter / time.Second)
	seconds, err := strconv.ParseUint(value, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, most)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), MaxRetryAfter)
	}
	return 0
}

// excerpt returns the beginning of a stranger's text, for a line.
func excerpt(text string) string {
	return printable.Text(text[:min(len(text), maxExcerptBytes)])
}

// A failure is a try without an answer.
type failure struct {
	sentence string
	causes   []error
}

func (f *failure) Error() string   { return f.sentence }
func (f *failure) Unwrap() []error { return f.causes }

// explain turns what net/http and crypto/tls report into a sentence. Theirs have addresses of
// our network in them, and words of the receiver's.
func (s *Sender) explain(ctx context.Context, err error) error {
	f := &failure{causes: []error{err}}
	if ctx.Err() != nil {
		f.causes = append(f.causes, ctx.Err())
	}
	var timeout net.Error
	address, isAddress := errors.AsType[*AddressError](err)
	switch {
	case isAddress:
		f.sentence = address.Error()
	case errors.Is(ctx.Err(), context.Canceled):
		f.sentence = "the try was stopped before there was an answer"
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		f.sentence = fmt.Sprintf("there was no whole answer within %v", s.within)
	default:
		f.sentence = sentence(err)
	}
	return f
}

// sentence says why there was no answer.
func sentence(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return "the name of the receiver has no address"
		}
		return "the name of the receiver could not be resolved"
	}
	if verification, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate of the receiver is not good: " + certificateFault(verification.Err)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the receiver refused the connection"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF):
		return "the receiver closed the connection before there was a whole answer"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // without the addresses of both ends
	}
	return "there was no answer: " + excerpt(err.Error())
}

func certificateFault(err error) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok &&
		invalid.Reason == x509.Expired {
		return "it has expired, or is not valid yet"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "it is for another name"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "it is of an authority that is not trusted here"
	}
	return excerpt(err.Error())
}
