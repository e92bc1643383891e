package client

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"time"

	"example.com/atm/auth/signature"
)

// ErrCannotSign reports that there is no certificate, or none with a key that can sign requests.
var ErrCannotSign = errors.New("requests cannot be signed without a certificate and its key")

// signerIn returns a signer with the key of the certificate that a server is shown.
func signerIn(cfg *tls.Config) (*signature.Signer, error) {
	pair := presented(cfg)
	if pair == nil {
		return nil, ErrCannotSign
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, ErrCannotSign
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	return signature.NewSigner(cert, key)
}

// signing is a transport that signs requests.
type signing struct {
	base http.RoundTripper
	tls  *tls.Config
}

// RoundTrip implements http.RoundTripper.
func (s signing) RoundTrip(r *http.Request) (*http.Response, error) {
	signer, err := signerIn(s.tls) // as of now: a certificate may have been renewed
	if err != nil {
		return nil, tokenError{err}
	}
	signed := r.Clone(r.Context())
	var body []byte
	if r.Body != nil {
		defer r.Body.Close()
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		signed.GetBody = func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(body)), nil
		}
		signed.Body, _ = signed.GetBody()
	}
	if err := signer.Sign(signed, body, time.Now()); err != nil {
		return nil, tokenError{err}
	}
	return s.base.RoundTrip(signed)
}
