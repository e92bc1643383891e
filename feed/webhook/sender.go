package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// TryWithin bounds one try: to resolve the name, connect, send, and read the answer.
const TryWithin = 10 * time.Second

const (
	maxHeaderBytes     = 64 << 10 // of an answer
	maxIdlePerReceiver = 16
	maxIdle            = 128 // of all receivers
	maxIdleTime        = 30 * time.Second
	userAgent          = "atm-webhook/1"
)

// Config is what a Sender trusts.
type Config struct {
	// Roots are the authorities whose certificates receivers may have. Optional; the system's.
	Roots *x509.CertPool

	// Certificate returns the certificate for a receiver that asks for one, as in tls.Config:
	// never nil, but empty if there is none. Optional; no receiver gets one.
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)

	// Allow has the networks that may be sent to although they are not of the public Internet.
	// Those of IPv4 are given as IPv4.
	Allow []netip.Prefix
}

// A Sender sends webhooks. It is safe for concurrent use. How many are in flight, and so how many
// connections it has in use, is bounded by its callers.
//
// It speaks HTTP/1.1, which every receiver does. With one webhook in flight for a subscription,
// HTTP/2 has nothing to share, and takes 30 µs more of the processor on either side.
type Sender struct {
	allow     []netip.Prefix
	within    time.Duration
	transport *http.Transport
}

// NewSender returns a Sender. Close ends what it keeps.
func NewSender(c Config) *Sender { return newSender(c, net.DefaultResolver, TryWithin) }

func newSender(c Config, resolver *net.Resolver, within time.Duration) *Sender {
	s := &Sender{allow: c.Allow, within: within}
	// Control runs after the name is resolved and before each address is connected to. A name
	// that resolves to something else the second time is checked the second time.
	dialer := &net.Dialer{Resolver: resolver, Timeout: within, ControlContext: s.control}
	s.transport = &http.Transport{
		// A proxy would resolve and connect for us, where Control does not see it. So the
		// environment names none.
		Proxy:       nil,
		DialContext: dialer.DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: c.Roots, GetClientCertificate: c.Certificate,
			NextProtos: []string{"http/1.1"},
		},
		// Transport goes on connecting when the request is given up, so it has these as well.
		TLSHandshakeTimeout:    within,
		ResponseHeaderTimeout:  within,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // 64 KiB are 64 KiB
		MaxIdleConnsPerHost:    maxIdlePerReceiver,
		MaxIdleConns:           maxIdle,
		IdleConnTimeout:        maxIdleTime,
	}
	return s
}

// control refuses to connect to an address that is not allowed.
func (s *Sender) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%s address %q: %w", network, address, err)
	}
	return checkAddress(at.Addr(), s.allow)
}

// Close closes the connections that are kept for the next webhook.
func (s *Sender) Close() { s.transport.CloseIdleConnections() }

// A Message is one webhook.
type Message struct {
	ID          string    // the same for each try; see Sign
	Time        time.Time // of the try
	ContentType string    // optional; application/json
	Body        []byte
}

// Send makes one try. The error is nil if the receiver took the message: it answered 2xx, and
// the answer did not break off in the part that is read. Any other error is a sentence for the
// operator, in printable characters and without addresses. It wraps what caused it, such as an
// *AddressError or the error of ctx.
func (s *Sender) Send(ctx context.Context, url string, m Message, keys ...Key) (Answer, error) {
	if err := CheckURL(url, s.allow...); err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.Body))
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrURL, err)
	}
	request.Header.Set("Content-Type", cmp.Or(m.ContentType, "application/json"))
	request.Header.Set("User-Agent", userAgent)
	// It is not sent: it tells Transport to use a new connection if the receiver has closed the one
	// that was kept. The receiver knows by the id if it gets the message twice.
	request.Header["Idempotency-Key"] = nil
	if err := Sign(request.Header, m.ID, m.Time, m.Body, keys...); err != nil {
		return Answer{}, err
	}
	// A Transport follows no redirect and keeps no cookie; a Client would.
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		return Answer{}, s.explain(ctx, err)
	}
	defer response.Body.Close()
	body, err := readBody(response)
	if err != nil && isSuccess(response.StatusCode) {
		return Answer{}, s.explain(ctx, err)
	}
	return answer(response, body, time.Now())
}
