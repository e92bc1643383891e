package certs

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"example.com/atm/internal/durable"
)

// ServerConfig is the server side of every connection: TLS 1.3, HTTP/1.1, no session tickets,
// and an optional client certificate.
//
// The handshake requests the certificate, and the ClientVerifier verifies it on each request.
// So a client with a bad certificate gets an answer, and a certificate that expires stops
// working on an open connection. TLS itself proves that the client has the key.
//
// With old, TLS 1.2 is allowed as well, with forward secrecy and AEAD ciphers only.
func ServerConfig(server *Reloader, clients *ClientVerifier, old bool) *tls.Config {
	least := uint16(tls.VersionTLS13)
	if old {
		least = tls.VersionTLS12
	}
	return &tls.Config{
		MinVersion: least,
		CipherSuites: []uint16{ // for TLS 1.2; those of 1.3 are not configurable
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true, // a resumed session would not present its certificate
		ClientAuth:             tls.RequestClientCert,
		ClientCAs:              clients.roots, // tells clients which certificate to choose
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return server.current(time.Now()), nil
		},
	}
}

// reloadEvery is the shortest time between two checks of the files of a Reloader.
const reloadEvery = time.Second

// A Reloader serves a certificate and key from files, and reloads them when they change. It
// reports a bad pair and does not use it.
type Reloader struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate // guarded by mu; the last good one
	looked time.Time        // guarded by mu
	seen   [2]Version       // guarded by mu; of the files when they were last read
}

// A Version identifies the version of a file.
type Version struct {
	size int64
	time time.Time
}

// NewReloader returns a reloader after reading the pair once.
func NewReloader(certFile, keyFile string, log *slog.Logger) (*Reloader, error) {
	r := &Reloader{
		certFile: certFile, keyFile: keyFile, log: log,
		seen: versions(certFile, keyFile), looked: time.Now(),
	}
	var err error
	r.pair, err = r.read()
	return r, err
}

func (r *Reloader) read() (*tls.Certificate, error) {
	cert, err := os.ReadFile(r.certFile)
	if err != nil {
		return nil, err
	}
	key, err := durable.ReadSecret(r.keyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and its key: %w", r.certFile, err)
	}
	return &pair, nil
}

func versions(cert, key string) [2]Version { return [2]Version{VersionOf(cert), VersionOf(key)} }

// VersionOf is the version of a file, or the zero value if the file does not exist.
func VersionOf(file string) Version {
	info, err := os.Stat(file)
	if err != nil {
		return Version{}
	}
	return Version{info.Size(), info.ModTime()}
}

// current returns the pair to serve.
func (r *Reloader) current(now time.Time) *tls.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.looked) < reloadEvery {
		return r.pair
	}
	r.looked = now
	v := versions(r.certFile, r.keyFile)
	if v == r.seen {
		return r.pair
	}
	r.seen = v
	pair, err := r.read()
	if err != nil {
		r.log.Error("the new server certificate is not used", slog.Any("error", err))
		return r.pair
	}
	r.log.Info("server certificate replaced", slog.Time("not_after", pair.Leaf.NotAfter))
	r.pair = pair
	return pair
}

// A ClientVerifier verifies the certificates of clients.
type ClientVerifier struct{ roots *x509.CertPool }

// NewClientVerifier returns a verifier that trusts these authorities.
func NewClientVerifier(authorities ...*x509.Certificate) *ClientVerifier {
	v := &ClientVerifier{roots: x509.NewCertPool()}
	for _, cert := range authorities {
		v.roots.AddCert(cert)
	}
	return v
}

// The reasons for which a client's certificate is refused. Their texts are in the audit log.
var (
	ErrExpired          = errors.New("certificate expired or not valid yet")
	ErrUnknownAuthority = errors.New("certificate of an unknown authority")
	ErrNotForClients    = errors.New("certificate not for clients")
	ErrWeakKey          = errors.New("certificate with a weak key")
	ErrBadChain         = errors.New("certificate chain not acceptable")
)

// maxChain bounds the certificates that a client may send.
const maxChain = 4

// Verify checks that the first certificate of chain is for clients, is valid at now, and leads
// to a trusted authority.
func (v *ClientVerifier) Verify(chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 || len(chain) > maxChain {
		return ErrBadChain
	}
	leaf := chain[0]
	// Check sizes before verifying anything with one of the keys. Authorities may have more kinds
	// of keys than clients.
	if strongKey(leaf.PublicKey) != nil {
		return ErrWeakKey
	}
	for _, cert := range chain[1:] {
		if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && strongKey(key) != nil {
			return ErrWeakKey
		}
	}
	if leaf.IsCA {
		return ErrNotForClients
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         v.roots,
		Intermediates: intermediates,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return ErrNotForClients // a certificate for any usage was not issued for this
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return ErrUnknownAuthority
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return ErrExpired
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return ErrNotForClients
	}
	return ErrBadChain
}
