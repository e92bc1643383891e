package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"example.com/atm"
)

var (
	// ErrNotAuthenticated reports that the server does not accept the client's credentials.
	ErrNotAuthenticated = errors.New("not authenticated")

	// ErrConnect reports that no call was sent, because the server cannot be reached or one side
	// does not trust the other.
	ErrConnect = errors.New("cannot connect")

	// ErrLost reports a call that was sent and got no answer.
	ErrLost = errors.New("no answer came")
)

// An HTTPError is an answer with an HTTP status other than 200.
type HTTPError struct {
	StatusCode int
	Sentence   string
	RetryAfter time.Duration // 0 if the server did not say
}

// Error implements error.
func (e *HTTPError) Error() string {
	return fmt.Sprintf("the server refuses the request: %s (%d)", e.Sentence, e.StatusCode)
}

// Is reports that a 401 is ErrNotAuthenticated.
func (e *HTTPError) Is(target error) bool {
	return target == ErrNotAuthenticated && e.StatusCode == http.StatusUnauthorized
}

// unknown reports whether the call may have been carried out all the same. A server answers 503
// before it carries a call out; a proxy in front of it answers the others when it got no answer.
func (e *HTTPError) unknown() bool {
	return e.StatusCode >= 500 && e.StatusCode != http.StatusServiceUnavailable
}

// A FaultError is an XML-RPC fault: the call was malformed and had no effect. Where the server
// failed instead, a call that moves money ends with an *OutcomeUnknownError, which wraps it.
type FaultError struct {
	Code int
	Text string
}

// faultInternal is the code of a server that failed, perhaps after the call had its effect.
const faultInternal = -32603

// Error implements error.
func (e *FaultError) Error() string { return fmt.Sprintf("%s (fault %d)", e.Text, e.Code) }

// An OutcomeUnknownError reports a call that the server may have carried out. Another call with
// the same request id tells.
type OutcomeUnknownError struct {
	Request atm.RequestID
	Err     error
}

// Error implements error.
func (e *OutcomeUnknownError) Error() string { return "the outcome is unknown: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *OutcomeUnknownError) Unwrap() error { return e.Err }

// refusedCertificate has the alerts by which a server refuses a client's certificate (RFC 8446,
// section 6): bad, unsupported, revoked, expired and unknown certificate, unknown authority,
// access denied, required.
var refusedCertificate = map[tls.AlertError]bool{
	42: true, 43: true, 44: true, 45: true, 46: true,
	48: true, 49: true, 116: true,
}

// certificateRefused is all that a client can know, because a server does not tell a stranger
// the reason.
const certificateRefused = "the certificate is revoked, expired, or not mapped to anybody"

// advice explains as far as possible why the certificate in cfg was refused, and what to do.
func advice(cfg *tls.Config, now time.Time) string {
	pair := presented(cfg)
	if pair == nil {
		return ""
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return ""
	}
	reason := "; by its dates it is good, so it was revoked, its authority retired, or its " +
		"holder disabled"
	if now.After(cert.NotAfter) {
		reason = "; it ended on " + cert.NotAfter.UTC().Format(time.RFC3339)
	}
	return reason + ". An operator issues another one, or the owner of the server's disk: atmctl " +
		"cert issue KIND:NAME --out DIR --data DIR"
}

// presented is the certificate that a server is shown; nil for none.
func presented(cfg *tls.Config) (pair *tls.Certificate) {
	switch {
	case cfg == nil:
	case cfg.GetClientCertificate != nil:
		pair, _ = cfg.GetClientCertificate(&tls.CertificateRequestInfo{Version: tls.VersionTLS13})
	case len(cfg.Certificates) > 0:
		pair = &cfg.Certificates[0]
	}
	if pair == nil || len(pair.Certificate) == 0 {
		return nil
	}
	return pair
}

// classify wraps an error of the transport in one of the errors of this package. sent reports
// whether there was a connection on which the call may have been sent.
func classify(err error, sent bool) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // the URL is known to the caller
	}
	var refusal *HTTPError
	var alert tls.AlertError
	var missing tokenError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &missing):
		return fmt.Errorf("%w: %w", ErrNotAuthenticated, missing.error)
	case errors.As(err, &alert) && refusedCertificate[alert]:
		return fmt.Errorf("%w: %s: %w", ErrNotAuthenticated, certificateRefused, err)
	case !sent, errors.As(err, &alert):
		return fmt.Errorf("%w: %w", ErrConnect, err)
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

const (
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
)

// pause waits before another try, longer each time, and at least as long as the server asked
// for. It reports false if ctx ends first.
func pause(ctx context.Context, try int, refusal *HTTPError) bool {
	d := firstPause << (try - 1)
	d += rand.N(d) // so that many clients do not retry at the same time
	if refusal != nil {
		d = max(d, refusal.RetryAfter)
	}
	d = min(d, longestPause)
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
