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

// Files are the files with the credentials of a client, all in PEM: the authorities that it
// trusts, and its certificate and key.
type Files struct{ CA, Cert, Key string }

// InFolder names the files that atmctl cert issue writes into a folder.
func InFolder(dir string) Files {
	return Files{
		CA:   filepath.Join(dir, "ca.crt"),
		Cert: filepath.Join(dir, "client.crt"),
		Key:  filepath.Join(dir, "client.key"),
	}
}

// Folder is the folder of the certificate.
func (f Files) Folder() string { return filepath.Dir(f.Cert) }

// Trusting returns a configuration that trusts the authorities in a file, for clients that sign
// in without a certificate.
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

// pairTries bounds how often a certificate and a key that do not match are read.
const pairTries = 3

// TLS reads the credentials. It refuses a key that others may read, on systems with permission
// bits.
func (f Files) TLS() (*tls.Config, error) {
	trusting, err := Trusting(f.CA)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(f.Key)
	if err != nil {
		return nil, err
	}
	if owner.Exposed(f.Key, info) {
		return nil, fmt.Errorf("%s may be read by others (mode %04o); chmod 600 it", f.Key,
			info.Mode().Perm())
	}
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	for try := 1; err != nil && try < pairTries; try++ { // they may just have been replaced
		cert, err = tls.LoadX509KeyPair(f.Cert, f.Key)
	}
	if err != nil {
		return nil, fmt.Errorf("%s and its key: %w", f.Cert, err)
	}
	// Send the certificate whatever authorities the server names: the server's answer explains a
	// refusal better than the client could.
	trusting.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &cert, nil
	}
	return trusting, nil
}

// ErrNoCredentials reports that there are no credentials.
var ErrNoCredentials = errors.New("there are no credentials")

// OrDefault returns f if it names all three files. If it names none and the server is on this
// machine, it returns those in dir, provided that the caller owns the folder, so that no other
// user can have put them there. On systems that do not report the owner of a folder, such as
// Windows, there is no default.
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
		return Files{}, fmt.Errorf("%w: %s belongs to another user"+name, ErrNoCredentials, dir)
	}
	return InFolder(dir), nil
}
