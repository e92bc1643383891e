package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"example.com/atm/internal/owner"
)

// Files are the credentials of a client: what it trusts the server by, and the
// certificate and key that say who it is. All in PEM.
type Files struct{ CA, Cert, Key string }

// InFolder are the files that atmctl cert issue writes into a folder.
func InFolder(dir string) Files {
	return Files{
		CA:   filepath.Join(dir, "ca.crt"),
		Cert: filepath.Join(dir, "client.crt"),
		Key:  filepath.Join(dir, "client.key"),
	}
}

// Folder is where the certificate lies.
func (f Files) Folder() string { return filepath.Dir(f.Cert) }

// Trusting is what a client trusts the server by alone, for who signs in by
// other means than a certificate.
func Trusting(ca string) (*tls.Config, error) {
	authority, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s holds no certificate", ca)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}, nil
}

// pairTries bounds how often a certificate and a key that do not match are
// read.
const pairTries = 3

// TLS reads the credentials. A key that others may read is refused, where the system has
// permission bits.
func (f Files) TLS() (*tls.Config, error) {
	trusting, err := Trusting(f.CA)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(f.Key)
	if err != nil {
		return nil, err
	}
	if owner.OthersMayUse(info) {
		return nil, fmt.Errorf("%s may be read by others (mode %04o); chmod 600 it", f.Key,
			info.Mode().Perm())
	}
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	for try := 1; err != nil && try < pairTries; try++ { // they may have been replaced just between
		cert, err = tls.LoadX509KeyPair(f.Cert, f.Key)
	}
	if err != nil {
		return nil, fmt.Errorf("%s and its key: %w", f.Cert, err)
	}
	// The certificate is sent whatever authorities the server names: a server
	// that does not know it says so better than we could.
	trusting.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &cert, nil
	}
	return trusting, nil
}

// ErrNoCredentials reports that there is nothing to sign in with.
var ErrNoCredentials = errors.New("there are no credentials")

// OrDefault returns f when it names all three files. When it names none and
// the server is on this machine, it returns those in dir, if the folder is the
// caller's own: nobody else can have put them there. Where the system does not tell
// whose a folder is, as on Windows, there is no default.
func (f Files) OrDefault(host, dir string) (Files, error) {
	if f != (Files{}) {
		if f.CA == "" || f.Cert == "" || f.Key == "" {
			return Files{}, fmt.Errorf("%w: --ca, --cert and --key go together", ErrNoCredentials)
		}
		return f, nil
	}
	const name = "; name them with --ca, --cert and --key"
	if !isLoopback(host) {
		return Files{}, fmt.Errorf("%w for %s"+name, ErrNoCredentials, host)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return Files{}, fmt.Errorf("%w: there is no %s"+name, ErrNoCredentials, dir)
	}
	switch {
	case !owner.Known:
		return Files{}, fmt.Errorf("%w: %s is not used, because %w"+name, ErrNoCredentials, dir,
			owner.ErrUnknown)
	case !owner.IsCaller(info):
		return Files{}, fmt.Errorf("%w: %s is somebody else's"+name, ErrNoCredentials, dir)
	}
	return InFolder(dir), nil
}
