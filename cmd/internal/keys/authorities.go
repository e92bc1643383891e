package keys

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"example.com/atm/auth"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/durable"
	"example.com/atm/teller"
	"example.com/atm/vault/people"
)

// Authorities issue the certificates of an installation.
type Authorities struct {
	dir      *datadir.Dir
	replicas Replicas
	root     *x509.Certificate   // its key may be elsewhere
	foreign  []*x509.Certificate // authorities of other organisations
	signing  atomic.Pointer[signing]
}

func openAuthorities(cfg Config) (*Authorities, error) {
	a := &Authorities{dir: cfg.Dir, replicas: cfg.Replicas}
	rootCert, _ := cfg.Dir.RootCA()
	pem, err := os.ReadFile(rootCert)
	if err != nil {
		return nil, err
	}
	if a.root, err = certs.ParseCertificate(pem); err != nil {
		return nil, fmt.Errorf("%s: %w", rootCert, err)
	}
	if err := FinishRollover(cfg.Dir); err != nil {
		return nil, err
	}
	authorities, err := readSigning(cfg.Dir)
	if err != nil {
		return nil, err
	}
	a.signing.Store(authorities)
	return a, nil
}

// signing has the authorities in force.
type signing struct {
	server, client *certs.Authority
	clients        *certs.ClientVerifier // trusts client and its predecessor before a rollover
}

func readSigning(dir *datadir.Dir) (*signing, error) {
	s := &signing{}
	var err error
	if s.server, err = certs.LoadAuthority(dir.ServerCA()); err != nil {
		return nil, err
	}
	if s.client, err = certs.LoadAuthority(dir.ClientCA()); err != nil {
		return nil, err
	}
	trusted := []*x509.Certificate{s.client.Certificate}
	switch text, err := os.ReadFile(dir.OldClientCA()); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		old, err := certs.ParseCertificate(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir.OldClientCA(), err)
		}
		trusted = append(trusted, old)
	}
	s.clients = certs.NewClientVerifier(trusted...)
	return s, nil
}

// Root is the authority that clients must trust.
func (a *Authorities) Root() *x509.Certificate { return a.root }

// Clients is the clients' authority in force.
func (a *Authorities) Clients() *x509.Certificate { return a.signing.Load().client.Certificate }

// TLSClients has the authorities that the handshake names to clients, as of the start.
func (a *Authorities) TLSClients() *certs.ClientVerifier {
	return certs.NewClientVerifier(append([]*x509.Certificate{a.Clients()}, a.foreign...)...)
}

// VerifyClient verifies a chain by the authorities in force.
func (a *Authorities) VerifyClient(chain []*x509.Certificate, now time.Time) error {
	return a.signing.Load().clients.Verify(chain, now)
}

// IssueClient signs a client certificate for subject.
func (a *Authorities) IssueClient(request []byte, subject string, life time.Duration) (
	teller.Issued, error,
) {
	cert, err := a.signing.Load().client.SignRequest(request,
		auth.Identity(a.dir.Config.Name, subject), life, a.replicas.Now())
	if err != nil {
		return teller.Issued{}, err
	}
	return teller.Issued{
		Certificate: string(certs.EncodeCertificate(cert)),
		Authority:   string(certs.EncodeCertificate(a.root)),
		Serial:      cert.SerialNumber.Text(16),
		SHA256:      certs.SHA256(cert),
		NotAfter:    cert.NotAfter,
	}, nil
}

// RevocationList signs a list of these certificates (RFC 5280), in PEM.
func (a *Authorities) RevocationList(revoked []people.Revocation) (string, error) {
	serials := make(map[string]time.Time, len(revoked))
	for _, r := range revoked {
		serials[r.Name] = r.At
	}
	list, err := a.signing.Load().client.RevocationList(serials, a.replicas.Now())
	return string(list), err
}

// InForce reports whether a serial number, in hexadecimal, is of the clients' authority in
// force.
func (a *Authorities) InForce(serial string) bool {
	n, ok := new(big.Int).SetString(serial, 16)
	return ok && a.signing.Load().client.Numbered(n)
}

// An Expiry is the end of a certificate of the installation.
type Expiry struct {
	Certificate string
	At          time.Time
}

// Expiries are the ends of the certificates of the authorities and of the server.
func (a *Authorities) Expiries() []Expiry {
	s := a.signing.Load()
	list := []Expiry{
		{"root", a.root.NotAfter},
		{"servers", s.server.Certificate.NotAfter},
		{"clients", s.client.Certificate.NotAfter},
	}
	certFile, _ := a.dir.Server()
	if text, err := os.ReadFile(certFile); err == nil {
		if cert, err := certs.ParseCertificate(text); err == nil {
			list = append(list, Expiry{"server", cert.NotAfter})
		}
	}
	return list
}

// version identifies the versions of the files.
func (a *Authorities) version() (v [3]certs.Version) {
	server, _ := a.dir.ServerCA()
	client, _ := a.dir.ClientCA()
	for i, file := range []string{server, client, a.dir.OldClientCA()} {
		v[i] = certs.VersionOf(file)
	}
	return v
}

// renewServer signs a server certificate if there is none, or if the existing one lacks a host
// of hosts or is in the last third of its life. The key is kept.
func (a *Authorities) renewServer(hosts []string, fresh bool) error {
	certFile, keyFile := a.dir.Server()
	text, err := os.ReadFile(certFile)
	switch {
	case err == nil:
		cert, err := certs.ParseCertificate(text)
		if err != nil {
			return fmt.Errorf("%s: %w", certFile, err)
		}
		if hosts == nil {
			hosts = certificateHosts(cert)
		}
		if !certs.NeedsRenewal(cert, hosts, a.replicas.Now()) {
			return nil
		}
	case !os.IsNotExist(err) || !fresh:
		return err
	case hosts == nil:
		hosts = usualHosts()
	}
	pem, err := durable.ReadSecret(keyFile)
	if err != nil {
		return err
	}
	key, err := certs.ParseKey(pem)
	if err != nil {
		return fmt.Errorf("%s: %w", keyFile, err)
	}
	by := a.signing.Load().server
	cert, err := by.IssueServer(key.Public(), hosts, serverCertificateLife, a.replicas.Now())
	if err != nil {
		return fmt.Errorf("server certificate: %w", err)
	}
	chain := append(certs.EncodeCertificate(cert), certs.EncodeCertificate(by.Certificate)...)
	return durable.WriteFile(certFile, chain, 0o644)
}

// serverCertificateLife is the life of a server certificate. It is renewed in its last third.
const serverCertificateLife = 397 * 24 * time.Hour

// usualHosts are the default names and addresses of a server.
func usualHosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	name, err := os.Hostname()
	if err == nil && (datadir.IsServerName(strings.ToLower(name)) || net.ParseIP(name) != nil) &&
		!slices.Contains(hosts, name) {
		hosts = append(hosts, name)
	}
	return hosts
}

func certificateHosts(cert *x509.Certificate) []string {
	hosts := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}
